"""A self-supervised encoder, trained on the real training images alone.

Two views of an image are to have features that are nearer to one another than to those of all other images
of the batch (SimCLR, Chen et al. 2020). Views differ by crop, quarter turns, flips, rotation, zoom, gamma and
brightness, so that a copy that was turned, cut or lightened is still found near its original.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from mirage import seeds, tracking
from mirage.config.base import Runtime
from mirage.config.encoders import SslEncoder
from mirage.config.generators import Augment
from mirage.config.slices import normalise
from mirage.data import Item, Items
from mirage.errors import DataError
from mirage.evaluate.features.encoder import Encoder, Floats, Job, Scaling, Space
from mirage.evaluate.features.pixels import resized, scaled
from mirage.evaluate.features.slices import encode_squares, positions
from mirage.files import digest
from mirage.networks.resnet import Projector, ResNet18
from mirage.training.augment import augment as change
from mirage.training.device import choose_device
from mirage.training.loop import train
from mirage.training.previews import panel
from mirage.training.trainable import Trainable
from mirage.versions import STAGES

VALIDATION_ITEMS = 256


class Contrast(Trainable):
    """Trains an encoder by contrast.

    Args:
        entry: options.
        training: the images; of volumes, slices on three planes are learnt from.
        side: of the squares that are learnt from, pixels.
    """

    phases = ("network",)
    sampling_modules: ClassVar[tuple[str, ...]] = ("network",)
    channels_last: ClassVar[bool | Literal["cpu"]] = True
    distinct_items: ClassVar[bool] = True
    metric_name: ClassVar[str] = "retrieval"
    metric_mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(self, entry: SslEncoder, training: Items, side: int) -> None:
        super().__init__()
        info = training.info
        self.entry, self.side = entry, side
        self.image_shape, self.value_range = info.image_shape, info.value_range
        encoder = ResNet18(info.image_shape[0], entry.width)
        self.network = nn.ModuleDict({"encoder": encoder, "projector": Projector(encoder.out_channels)})

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """Two views (C, side, side) in [0, 1] of an image, or of one slice of a volume."""
        image = scaled(item.image, self.value_range)
        rng = rng or np.random.default_rng(0)
        if image.ndim == 4:
            across = np.moveaxis(image, int(rng.integers(1, 4)), 0)
            image = across[rng.choice(positions(len(across), self.entry.slices))]
        return {name: self._view(image, rng, augment or Augment()) for name in ("first", "second")}

    def _view(self, image: Floats, rng: np.random.Generator, options: Augment) -> Tensor:
        share = rng.uniform(self.entry.crop, 1.0)
        extents = [max(1, round(share * extent)) for extent in image.shape[1:]]
        top, left = (int(rng.integers(0, n - e + 1)) for n, e in zip(image.shape[1:], extents, strict=True))
        cut = image[:, top : top + extents[0], left : left + extents[1]]
        square = torch.from_numpy(resized(cut, (self.side, self.side)))
        return change(torch.rot90(square, int(rng.integers(4)), (1, 2)), None, options, rng, "reflection")[0]

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        return {"contrast": contrast(self._projected(batch), self.entry.temperature)}

    def _projected(self, batch: dict[str, Tensor]) -> Tensor:
        views = torch.cat([batch["first"], batch["second"]])
        return self.network["projector"](self.network["encoder"](views - 0.5))

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        return AdamW(parameters, lr=self.entry.lr, weight_decay=1e-4)

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """Up in the first twentieth of the steps, then down along a cosine."""
        return min(1.0, 20 * done + 0.02) * 0.5 * (1 + float(np.cos(np.pi * done)))

    @torch.no_grad()
    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """Share of held-out images whose second view is nearest to their first one."""
        self.eval()
        views = [
            self.example(
                validation.item(index), seeds.rng(0, "encode/ssl", index), self.entry.training.augment
            )
            for index in range(min(len(validation), VALIDATION_ITEMS))
        ]
        device = next(self.parameters()).device
        batch = {name: torch.stack([view[name] for view in views]).to(device) for name in views[0]}
        first, second = functional.normalize(self._projected(batch).float(), dim=1).chunk(2)
        nearest = (first @ second.T).argmax(dim=1).cpu()
        return {"retrieval": float((nearest == torch.arange(len(views))).double().mean())}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """A row an item: two views."""
        rows = [self.example(item, seeds.rng(0, "encode/ssl", place)) for place, item in enumerate(items)]
        return np.stack([np.stack([panel(view.numpy(), 0, 1) for view in row.values()]) for row in rows])


def contrast(views: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy of views (2 N, D); view n belongs to view n + N."""
    directions = functional.normalize(views.float(), dim=1)
    similar = directions @ directions.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    partners = torch.arange(len(views), device=views.device).roll(len(views) // 2)
    return functional.cross_entropy(similar.masked_fill(itself, float("-inf")), partners)


class SelfSupervised(Encoder):
    """Features of an encoder that has learnt to tell the training images apart.

    Weights: the state of a :class:`ResNet18` under ``encoder.``.
    """

    on_device: ClassVar[bool] = True
    scaling: ClassVar[Scaling] = "all"
    entry: SslEncoder

    @classmethod
    def fit(cls, entry: SslEncoder, training: Items, job: Job) -> Self:
        if len(training) < 2:
            raise DataError(f"{training.info.name}: one training image cannot be contrasted with others")
        space = Space.of(training, entry.side)
        options = entry.training.model_copy(
            update={"batch_size": min(entry.training.batch_size, len(training))}
        )
        torch.manual_seed(seeds.integer(entry.seed, "encode/ssl/init"))
        model = Contrast(entry, training, max(space.size))
        decided = {
            "options": normalise(entry),
            "data": training.info.fingerprint,
            "version": STAGES["encode_ssl"],
        }
        key, parameters = digest(decided), entry.model_dump(mode="json", exclude={"runtime", "demo"})
        with tracking.tracked(f"ssl/{training.info.name}", key, kind="encoder", parameters=parameters):
            train(
                model,
                training,
                job.validation,
                options,
                job.runtime,
                seed=entry.seed,
                state_dir=job.state,
                fingerprint=key,
                previews=job.state.parent / "previews",
                minutes=job.minutes,
            )
        state = model.network["encoder"].state_dict()
        return cls(entry, space, {f"encoder.{name}": value.cpu().numpy() for name, value in state.items()})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"feature_{number}" for number in range(1, 8 * self.entry.width + 1))

    def protocol(self) -> dict[str, Any]:
        planes = {"slices": self.entry.slices} if len(self.space.size) == 3 else {}
        return {**super().protocol(), "square": max(self.space.size), **planes}

    @cached_property
    def network(self) -> ResNet18:
        """The encoder, on the CPU."""
        network = ResNet18(len(self.space.channels), self.entry.width)
        state = {
            name.removeprefix("encoder."): torch.from_numpy(value)
            for name, value in self.weights.items()
            if name.startswith("encoder.")
        }
        network.load_state_dict(state)
        return network.eval()

    def encode(self, data: Items, indices: Sequence[int], runtime: Runtime) -> Floats:
        device = choose_device(runtime)
        network = self.network.to(device)

        @torch.inference_mode()
        def encode(squares: Floats) -> Floats:
            return network(torch.from_numpy(squares - np.float32(0.5)).to(device)).cpu().numpy()

        side = max(self.space.size)
        images = [self.space.image(data, index) for index in indices]
        return encode_squares(images, side, self.entry.slices, encode)
