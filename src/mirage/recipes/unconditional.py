"""Recipe `unconditional`: images, or masks, straight from noise, or from noise and attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mirage.data.manifest import CORE
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.recipes.base import Made, Recipe


class Unconditional(Recipe):
    """One generator, one item a seed.

    A generator of masks gives a dataset whose image is its mask, stretched over the grey values, so that it
    can be looked at and compared like any other. Attributes that a generator is conditioned on are those of
    the item, under the names that real items have them.
    """

    @property
    def count(self) -> int:
        return int(self.options.count)

    @property
    def _of_masks(self) -> bool:
        return bool(self.model(self.options.generator).options.of == "mask")

    @property
    def spec(self) -> ImageSpec:
        spec = self.model(self.options.generator).spec
        if not self._of_masks:
            return spec
        return replace(
            spec,
            image_shape=(1, *spec.image_shape[1:]),
            image_dtype="uint8",
            value_range=(0.0, 255.0),
            channel_names=["mask"],
        )

    @property
    def mask_channels(self) -> list[str]:
        if self._of_masks:
            return ["label"]
        return ["fov"] if "fov" in self.spec.mask_channels else []

    def check(self) -> None:
        generator, attributes = self.model(self.options.generator), self.options.attributes
        generator.check_attributes(self.options.conditions)
        taken = sorted(attributes.keys() & {*CORE.names, *generator.draw_attributes(0, {})})
        if taken:
            raise DataError(
                f"recipe {self.name}: attributes.{taken[0]} is a column that the recipe writes itself; leave "
                "it out"
            )

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        generator, fixed = self.model(self.options.generator), self.options.attributes
        told = [
            generator.draw_attributes(
                self.seed_of("unconditional/attributes", index), self.options.conditions
            )
            for index in indices
        ]
        drawn = generator.sample(
            generator.condition_of_attributes(told),
            [self.seed_of("unconditional", index) for index in indices],
        )
        for index, attributes, array in zip(indices, told, generator.decode(drawn), strict=True):
            if self._of_masks:
                top = max(self.spec.labels, default=1)
                image = (array.astype(np.uint16) * 255 // top).astype(np.uint8)
                row = self.row(index, mask_origin="synthetic", attributes={**fixed, **attributes})
                yield Made(row, image, {"label": array[0]})
            else:
                row = self.row(index, attributes={**fixed, **attributes})
                yield Made(row, array, self.with_fov(array, {}) or None)
