"""Recipe `pseudo_label`: real images with the masks that a segmenter, trained elsewhere, draws on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from mirage.data import Dataset, ItemRow
from mirage.data.manifest import CORE
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.recipes.base import Made, Recipe


class PseudoLabel(Recipe):
    """Images, splits, subjects, attributes and fields of view stay; the label is predicted and says so.

    A segmenter tells foreground from background; where it was trained on one label of several, that label is
    drawn, else all foreground is one label.
    """

    @property
    def _images(self) -> Dataset:
        return self.datasets[self.options.images]

    @property
    def namespace(self) -> str:
        return self._images.info.namespace

    @property
    def count(self) -> int:
        return len(self._images)

    @property
    def _label(self) -> tuple[int, str]:
        """Value and name of what the segmenter draws."""
        segmenter = self.model(self.options.segmenter)
        chosen = segmenter.options.label
        drawn = {value: name for value, name in segmenter.spec.labels.items() if chosen in (None, name)}
        return next(iter(drawn.items())) if len(drawn) == 1 else (1, "foreground")

    @property
    def spec(self) -> ImageSpec:
        value, name = self._label
        return replace(ImageSpec.of(self._images.info), labels={value: name})

    @property
    def mask_channels(self) -> list[str]:
        return ["label", "fov"] if "fov" in self._images.info.mask_channels else ["label"]

    def check(self) -> None:
        images, segmenter = ImageSpec.of(self._images.info), self.model(self.options.segmenter).spec
        for key in ("image_shape", "image_dtype", "value_range", "channel_names"):
            found, expected = getattr(images, key), getattr(segmenter, key)
            if found != expected:
                raise DataError(
                    f"{self._images.info.name} has {key} {found}, the segmenter "
                    f"{self.options.segmenter.generator} was trained on {expected}; prepare both alike"
                )

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        generator = self.model(self.options.segmenter)
        conditions = torch.stack([generator.condition(self._images.item(index)) for index in indices])
        seeds = [self.seed_of("pseudo_label", index) for index in indices]
        probability = generator.sample(conditions, seeds).cpu().numpy()
        for index, item in zip(indices, probability, strict=True):
            label = (item[0] > self.options.threshold).astype(np.uint8) * np.uint8(self._label[0])
            masks = {"label": label}
            if "fov" in self.mask_channels:
                masks["fov"] = self._images.mask(index, "fov")
                label *= masks["fov"] > 0
            yield Made(self._row_of(index), self._images.image(index), masks)

    def _row_of(self, index: int) -> ItemRow:
        """The image's own row; only where its label comes from is new."""
        item, known = self._images.item(index), self._images.items.iloc[index]
        own = ("shard", "row", "content_hash", "boxes")
        kept = {name: known[name] for name in CORE.names if name not in own}
        return ItemRow(
            **{**kept, "mask_origin": "predicted", "reason": None},
            boxes=item.boxes,
            attributes=item.attributes,
        )
