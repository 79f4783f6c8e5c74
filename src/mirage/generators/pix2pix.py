"""pix2pix: images from label masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from mirage.config.generators import Augment, Pix2PixOptions
from mirage.data import Item, Items
from mirage.errors import ConfigError
from mirage.generators.base import Generator, ImageSpec, adam, mean_logits, noise_generators, square_side
from mirage.generators.labels import LabelCode
from mirage.generators.pool import ImagePool
from mirage.networks.pix2pix import PatchCritic, UNetGenerator
from mirage.training.losses import fake_loss, generator_loss, real_loss
from mirage.training.previews import panel


class Pix2Pix(Generator):
    """pix2pix (Isola 2017): non-saturating loss plus weighted L1, the critic's loss halved.

    The condition is the mask channel ``label``: one channel for a single label, else one-hot, in [-1, 1].
    Dropout, drawn from the item's seed, is the only noise.

    Args:
        options: features, levels, losses.
        spec: images whose side is at least 32 and a multiple of 2**levels, with labels.

    Raises:
        ConfigError: the side does not fit the levels.
        DataError: the data have no labels.
    """

    arch = "pix2pix"
    options_class = Pix2PixOptions
    conditional = True
    phases = ("generator", "critic")
    sampling_modules = ("generator",)
    metric_name = "val_l1"
    metric_mode = "min"

    def __init__(self, options: Pix2PixOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        self.size = square_side(self.arch, spec)
        levels = options.levels or min(8, self.size.bit_length() - 1)
        if self.size < 32 or self.size % 2**levels:
            raise ConfigError(
                f"prepare.size: pix2pix with {levels} levels needs a side that is a multiple of {2**levels} "
                f"and at least 32, the data have {self.size}; change prepare.size or options.levels"
            )
        self.code = LabelCode(self.labels)
        channels, norm = self.image_shape[0], options.norm
        self.generator = UNetGenerator(
            self.code.channels, channels, options.features, levels, norm, options.dropout
        )
        self.critic = PatchCritic(self.code.channels + channels, options.critic_features, norm)
        self.pool = ImagePool(options.pool)

    def condition(self, item: Item) -> Tensor:
        """The item's mask channel ``label`` to (C', H, W) in [-1, 1]."""
        return self.condition_of_label(self.mask(item.masks, "label"))

    def condition_of_label(self, label: np.ndarray) -> Tensor:
        """Label mask (H, W), uint8, to (C', H, W) in [-1, 1]."""
        return self.code.encode(label)

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``real`` (C, H, W) and ``condition`` (C', H, W), in [-1, 1]."""
        unit, masks = self.augmented(item, rng, augment)
        condition = self.condition_of_label(self.mask(masks, "label"))
        return {"real": self.to_model_range(unit), "condition": condition}

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        """Generator first; its images, or older ones from the pool, are then shown to the critic."""
        condition, real = batch["condition"], batch["real"]
        if phase == "generator":
            fake = self.generator(condition)
            batch["fake"] = fake.detach()
            return {
                "generator": generator_loss(self.critic(condition, fake)),
                "l1": self.options.l1_weight * functional.l1_loss(fake, real),
            }
        shown_condition, shown = self.pool.exchange(condition, batch["fake"])
        return {
            "real": real_loss(self.critic(condition, real)) / 2,
            "fake": fake_loss(self.critic(shown_condition, shown)) / 2,
        }

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        return mean_logits(self.critic(batch["condition"], batch["real"]))

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        return adam(list(parameters), self.options.lr, self.options.beta1)

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        noise = noise_generators(seeds) if self.options.dropout else None
        made: Tensor = self.generator(conditions, noise)
        return made

    def decode(self, images: Tensor) -> np.ndarray:
        return self.denormalise(images)

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``val_l1``: mean absolute difference to the real image on held-out pairs, in [-1, 1] units."""
        errors = []
        for index in range(len(validation)):
            pair = self.example(validation.item(index))
            made = self.sample(pair["condition"][None], [index])[0]
            errors.append(functional.l1_loss(made, pair["real"].to(made.device)))
        return {self.metric_name: float(torch.stack(errors).mean())}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """A row an item: label mask, generated image, real image."""
        rows = []
        for index, item in enumerate(items):
            made = self.decode(self.sample(self.condition(item)[None], [index]))[0]
            shown = panel(self.mask(item.masks, "label")[None], 0, max(self.spec.labels))
            rows.append(np.stack([shown, self.picture(made), self.picture(item.image)]))
        return np.stack(rows)

    def extra_state(self) -> dict[str, Any]:
        return {"pool": self.pool.pairs} if self.pool.size else {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.pool.pairs = list(state.get("pool", []))
