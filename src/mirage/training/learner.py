"""A model with its optimisers, averaged weights and precision: one training step, and its state."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mirage import seeds
from mirage.config.generators import TrainingOptions
from mirage.errors import CheckpointError
from mirage.training.batches import micro_batches
from mirage.training.device import average_in_place, gather, seed_noise
from mirage.training.ema import EMA
from mirage.training.trainable import Trainable

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Learner:
    """Trains a model's networks in turn.

    Args:
        fabric: device, precision and ranks.
        model: moved to the device.
        options: accumulation and averaging.
        seed: the training seed.
    """

    def __init__(self, fabric: Fabric, model: Trainable, options: TrainingOptions, seed: int) -> None:
        self.fabric, self.model, self.options, self.seed = fabric, model, options, seed
        last = {2: torch.channels_last, 3: torch.channels_last_3d}[model.spatial_dims]
        wanted = model.channels_last in (True, fabric.device.type)
        self.layout = last if wanted else torch.contiguous_format
        model.to(device=fabric.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.networks = {name: list(model.get_submodule(name).parameters()) for name in model.phases}
        self.optimisers = {
            name: fabric.setup_optimizers(model.configure_optimizer(name, parameters))
            for name, parameters in self.networks.items()
        }
        self.rates = {
            name: [group["lr"] for group in optimiser.optimizer.param_groups]
            for name, optimiser in self.optimisers.items()
        }
        self.buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self.ema = EMA(model, model.sampling_modules, options.ema_decay) if options.ema_decay else None

    def step(self, step: int, micro_batches: list[dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Train every network whose turn it is once and return phase -> losses, still on the device.

        A chunk of the batch has the same noise whether it is a micro-batch here or a rank elsewhere.
        """
        self.model.train()
        micro_batches = [self._on_device(batch) for batch in micro_batches]
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        means: dict[str, dict[str, Tensor]] = {}
        for number, phase in enumerate(self.model.phases):
            if (step + 1) % self.model.interval(phase):
                continue
            for name, parameters in self.networks.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == phase)
            means[phase] = {}
            running = _RunningBuffers(self.buffers, len(micro_batches), ranks)
            for piece, batch in enumerate(micro_batches):
                seed_noise(
                    seeds.integer(self.seed, "noise", step, number, piece * ranks + rank), self.fabric.device
                )
                with self.fabric.autocast():
                    losses = self.model.training_step(batch, phase)
                self.fabric.backward(sum(losses.values()) / len(micro_batches))
                for name, loss in losses.items():
                    means[phase][name] = means[phase].get(name, 0) + loss.detach() / len(micro_batches)
                running.take()
            running.settle()
            average_in_place([p.grad for p in self.networks[phase] if p.grad is not None], ranks)
            self._set_rates(phase, step)
            self.optimisers[phase].step()
            self.optimisers[phase].zero_grad(set_to_none=True)
        if self.ema and any(name in means for name in self.model.sampling_modules):
            self.ema.update(step)
        return means

    def _set_rates(self, phase: str, step: int) -> None:
        """Learning rates of a step: the optimiser's own times the model's factor, whatever was before."""
        factor = self.model.learning_rate_factor(phase, step / self.options.steps)
        groups = self.optimisers[phase].optimizer.param_groups
        for group, rate in zip(groups, self.rates[phase], strict=True):
            group["lr"] = rate * factor

    def _on_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        device, image_ndim = self.fabric.device, self.model.spatial_dims + 2
        return {
            key: value.to(device, memory_format=self.layout, non_blocking=True)
            if value.ndim == image_ndim
            else value.to(device, non_blocking=True)
            for key, value in batch.items()
        }

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block the model holds the averaged weights, where there are any."""
        return self.ema.applied() if self.ema else nullcontext()

    def weights(self) -> dict[str, Tensor]:
        """Present weights of the sampling modules."""
        return sampling_weights(self.model)

    def finish(self, weights: dict[str, Tensor] | None) -> None:
        """Leave the model with the given sampling weights, else the averaged or last ones."""
        if weights is None and self.ema:
            weights = self.ema.average
        if weights is not None:
            load_weights(sampling_weights(self.model), weights)
        self.model.requires_grad_(True)
        self.model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on; every rank must call it."""
        return {
            "model": self.model.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "ema": self.ema.average if self.ema else None,
            "extra": gather(self.model.extra_state(), self.fabric.world_size),
            "micro_batches": micro_batches(self.options, self.fabric.world_size),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave.

        Raises:
            CheckpointError: on this number of devices the training would go on as another one.
        """
        self._check_devices(state)
        self.model.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.optimizer.load_state_dict(state["optimisers"][name])
        if self.ema:
            self.ema.load(state["ema"])
        extra = state["extra"]
        self.model.load_extra_state(extra[self.fabric.global_rank % len(extra)])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def _check_devices(self, state: dict[str, Any]) -> None:
        """A step must be cut as before, and what each rank keeps (an image pool) must find its rank."""
        ranks, before = self.fabric.world_size, len(state["extra"])
        now, then = micro_batches(self.options, ranks), state["micro_batches"]
        if now != then or (any(state["extra"]) and ranks != before):
            raise CheckpointError(
                f"this training was begun on {before} device(s), {then} micro-batch(es) a step; going on "
                f"with {ranks} and {now} would give the result of neither. Set runtime.gpus to {before}, or "
                "delete its folder `state` to train from the start"
            )


class _RunningBuffers:
    """What the micro-batches of a step do to buffers, such as the running statistics of batch norm.

    Each micro-batch starts from the same values and the mean of their changes is kept, so that it does not
    matter whether they come one after the other or on several ranks.

    Args:
        buffers: floating-point buffers of the model, changed in place.
        micro_batches: of a step, on this rank.
        ranks: ranks that work on the step.
    """

    def __init__(self, buffers: list[Tensor], micro_batches: int, ranks: int) -> None:
        self.buffers = buffers if micro_batches * ranks > 1 else []
        self.ranks, self.micro_batches = ranks, micro_batches
        self.before = [buffer.clone() for buffer in self.buffers]
        self.changes = [torch.zeros_like(buffer) for buffer in self.buffers]

    def take(self) -> None:
        """After a micro-batch: note what it changed, and take it back."""
        for buffer, before, change in zip(self.buffers, self.before, self.changes, strict=True):
            change += (buffer - before) / self.micro_batches
            buffer.copy_(before)

    def settle(self) -> None:
        """After the last micro-batch: apply the mean change."""
        average_in_place(self.changes, self.ranks)
        for buffer, change in zip(self.buffers, self.changes, strict=True):
            buffer += change


def sampling_weights(model: Trainable) -> dict[str, Tensor]:
    """Weights of the sampling modules under names such as ``generator.layers.0.weight``."""
    return _weights(model, model.sampling_modules)


def discriminator_weights(model: Trainable) -> dict[str, Tensor]:
    """Weights of the modules that only training needs; empty where there are none."""
    return _weights(model, model.discriminators)


def _weights(model: Trainable, names: Sequence[str]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name in names
        for key, value in model.get_submodule(name).state_dict().items()
    }


def load_weights(own: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    """Copy weights into a model's own, strictly.

    Args:
        own: what ``sampling_weights`` or ``discriminator_weights`` gave.
        weights: of the same names and shapes.

    Raises:
        ValueError: names or shapes that are not the model's.
    """
    if own.keys() != weights.keys():
        odd = sorted(own.keys() ^ weights.keys())
        raise ValueError(f"weights are not this model's: {len(odd)} names differ, the first is {odd[0]}")
    for key, value in own.items():
        if value.shape != weights[key].shape:
            raise ValueError(f"weight {key} has shape {tuple(weights[key].shape)}, not {tuple(value.shape)}")
        value.copy_(weights[key])
