"""Conditional DCGAN: images from noise and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mirage.config.generators import Augment, ConditionalDCGANOptions, ConditionValue
from mirage.data import Dataset, Item
from mirage.errors import DataError
from mirage.generators.attributes import AttributeTable, Values, with_known
from mirage.generators.base import ImageSpec
from mirage.generators.dcgan import DCGAN
from mirage.networks.dcgan import ConditionedGenerator, ProjectionDiscriminator

PREVIEWED = 4
"""Combinations of values that a preview shows, each in a row of its own."""


class ConditionalDCGAN(DCGAN):
    """A DCGAN whose images are of given attributes: lesion type, malignancy, density, vendor, size ...

    The generator gets an embedding of the attributes beside the noise. The discriminator adds to its verdict
    the inner product of another embedding with its last features (projection; Miyato 2018), so that its
    gradient depends on the attributes in every feature; as one more image channel, they would be an input
    among many that a discriminator of few items can do without. Fakes are made of the real batch's own
    attributes, so both sides have the same joint distribution, and only images of the wrong kind betray them.

    Args:
        options: see :class:`mirage.generators.dcgan.DCGAN`; ``conditions`` names the attributes.
        spec: square images of a power-of-two side from 32 to 512, with the ``attributes`` learnt.

    Raises:
        ConfigError: another side, or ``max_features`` below ``features``.
        DataError: masks asked for, but the data have no labels; or no attributes were learnt.
    """

    arch = "conditional_dcgan"
    options_class = ConditionalDCGANOptions
    conditional = True

    @property
    def table(self) -> AttributeTable:
        """The attributes that it is conditioned on.

        Raises:
            DataError: none were learnt.
        """
        if self.spec.attributes is None:
            raise DataError(f"{self.arch}: nothing is known of the attributes of its training items")
        return self.spec.attributes

    def networks(self, options: Any) -> tuple[nn.Module, nn.Module]:
        widths, told = (options.features, options.max_features), self.table.width
        shape = (self.size, self.channels)
        return (
            ConditionedGenerator(*shape, options.latent, told, options.embedding, *widths),
            ProjectionDiscriminator(*shape, told, *widths, kernel=options.critic_kernel),
        )

    @classmethod
    def usable(cls, options: Any, items: Dataset) -> Dataset:
        return with_known(options.conditions, items) if options.unknown == "drop" else items

    @classmethod
    def spec_of(cls, options: Any, training: Dataset) -> ImageSpec:
        return ImageSpec.of(training.info, AttributeTable.learn(options.conditions, training))

    @property
    def shows_labels(self) -> bool:
        return bool(self.made_labels)

    @property
    def notes(self) -> dict[str, Any]:
        return {"conditions": self.table.words}

    def condition(self, item: Item) -> Tensor:
        return self.table.encode(item.attributes)

    def check_attributes(self, given: Values) -> None:
        self.table.check(given)

    def draw_attributes(self, seed: int, given: Values) -> dict[str, ConditionValue | None]:
        return self.table.draw(seed, given)

    def condition_of_attributes(self, drawn: Sequence[Values]) -> Tensor | None:
        return torch.stack([self.table.encode(values) for values in drawn])

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``real``: image or label mask in [-1, 1], (C, H, W); ``condition``: coded attributes (W,)."""
        return {**super().example(item, rng, augment), "condition": self.condition(item)}

    def fakes(self, noise: Tensor, batch: dict[str, Tensor]) -> Tensor:
        made: Tensor = self.generator(noise, batch["condition"])
        return made

    def kinds(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.unique(batch["condition"], dim=0, return_inverse=True)[1]

    def logits(self, critic: str, images: Tensor, batch: dict[str, Tensor]) -> Tensor:
        if critic != "discriminator":
            return super().logits(critic, images, batch)
        told: Tensor = self.discriminator(images, batch["condition"])
        return told

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        made: Tensor = self.generator(self.noise_of(seeds), conditions)
        return made

    def preview_conditions(self) -> Tensor | None:
        """Of the most frequent combinations, one a row."""
        names = [attribute.name for attribute in self.table.attributes]
        most = [dict(zip(names, values, strict=True)) for values, _ in self.table.combinations[:PREVIEWED]]
        rows = [most[place % len(most)] for place in range(PREVIEWED)]
        return self.condition_of_attributes([values for values in rows for _ in range(PREVIEWED)])
