"""Recipe `pseudo_label`: real images with the masks that a segmenter, trained elsewhere, draws on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from mirage.data import Dataset
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.recipes.base import Made, Recipe


class PseudoLabel(Recipe):
    """Images, splits, subjects and fields of view stay; the label is predicted and says so."""

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
    def spec(self) -> ImageSpec:
        segmenter = self.model(self.options.segmenter).spec
        spec = replace(ImageSpec.of(self._images.info), labels=segmenter.labels)
        if spec.image_shape[0] != segmenter.image_shape[0]:
            raise DataError(
                f"{self._images.info.name} has {spec.image_shape[0]} channels, the segmenter "
                f"{self.options.segmenter.generator} was trained on {segmenter.image_shape[0]}; "
                "prepare both datasets alike"
            )
        return spec

    @property
    def mask_channels(self) -> list[str]:
        return ["label", "fov"] if "fov" in self._images.info.mask_channels else ["label"]

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        generator = self.model(self.options.segmenter)
        conditions = torch.stack([generator.condition(self._images.image(index)) for index in indices])
        seeds = [self.seed_of("pseudo_label", index) for index in indices]
        probability = generator.sample(conditions, seeds).cpu().numpy()
        for index, item in zip(indices, probability, strict=True):
            label = (item[0] > self.options.threshold).astype(np.uint8)
            masks = {"label": label}
            if "fov" in self.mask_channels:
                masks["fov"] = self._images.mask(index, "fov")
                label *= masks["fov"]
            known = self._images.items.iloc[index]
            row = self.row(
                index,
                item_id=known["item_id"],
                subject_id=known["subject_id"],
                origin=known["origin"],
                split=known["split"],
                mask_origin="predicted",
            )
            yield Made(row, self._images.image(index), masks)
