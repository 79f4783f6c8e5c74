"""Recipe `mask_then_image`: the two stages of the dual GAN (Guibas, Virdi, Li 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.preprocess.masks import remove_small
from mirage.recipes.base import Made, Recipe

CUT_DRAWS = 64
CUT_HALVINGS = 12


class MaskThenImage(Recipe):
    """Stage I draws a label mask, it is cleaned, stage II makes the photograph of it."""

    @property
    def count(self) -> int:
        return int(self.options.count)

    @property
    def spec(self) -> ImageSpec:
        return self.model(self.options.images).spec

    @property
    def mask_channels(self) -> list[str]:
        return ["label", "fov"] if "fov" in self.spec.mask_channels else ["label"]

    def check(self) -> None:
        masks, images = self.model(self.options.masks).spec, self.spec
        if masks.labels != images.labels or masks.image_shape[1:] != images.image_shape[1:]:
            raise DataError(
                f"stage I draws {masks.labels} at {masks.image_shape[1:]}, stage II was trained on "
                f"{images.labels} at {images.image_shape[1:]}; prepare both datasets alike"
            )

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        masks = self._draw_masks(indices)
        images = self._draw_images({index: mask for index, mask in masks.items() if mask is not None})
        for index in indices:
            label = masks[index]
            if label is None:
                reason = (
                    f"no mask with {self.options.min_foreground:.2%} foreground in "
                    f"{self.options.max_draws} draws; train the mask generator longer or lower min_foreground"
                )
                yield Made(self.row(index, status="failed", reason=reason))
            else:
                image = images[index]
                yield Made(
                    self.row(index, mask_origin="synthetic"), image, self.with_fov(image, {"label": label})
                )

    @cached_property
    def _cut(self) -> float:
        """Level, in [-1, 1], at which masks are binarised; the same for all shards.

        The quantile at which fixed draws, once cleaned, have the training masks' mean share of foreground,
        found by halving. Cleaning takes foreground away, so it lies below the quantile of that share.
        """
        generator = self.model(self.options.masks)
        share = self.learnt(self.options.masks)["foreground"]
        if not self.options.match_foreground or share is None or len(generator.made_labels) != 1:
            return 0.0
        draws = generator.sample_freely([self.seed_of("cut", index) for index in range(CUT_DRAWS)])
        values = np.sort(draws.cpu().numpy(), axis=None)
        low, high = 0, int((1 - share) * (len(values) - 1))
        for _ in range(CUT_HALVINGS):
            middle = (low + high) // 2
            masks = generator.decode(draws - float(values[middle]))[:, 0]
            kept = np.mean([np.count_nonzero(self._cleaned(mask)) for mask in masks]) / masks[0].size
            low, high = (middle, high) if kept > share else (low, middle)
        return float(values[high])

    def _draw_masks(self, indices: Sequence[int]) -> dict[int, np.ndarray | None]:
        """A cleaned label mask (H, W) for each index; None where no draw had enough foreground."""
        generator, cut = self.model(self.options.masks), self._cut
        found: dict[int, np.ndarray | None] = dict.fromkeys(indices)
        for draw in range(self.options.max_draws):
            missing = [index for index in indices if found[index] is None]
            if not missing:
                break
            seeds = [self.seed_of("mask", index, draw) for index in missing]
            drawn = generator.decode(generator.sample_freely(seeds) - cut)
            for index, array in zip(missing, drawn, strict=True):
                label = self._cleaned(array[0])
                if np.count_nonzero(label) >= max(1, self.options.min_foreground * label.size):
                    found[index] = label
        return found

    def _cleaned(self, label: np.ndarray) -> np.ndarray:
        cleaned: np.ndarray = label * remove_small(label, self.options.min_component)
        return cleaned

    def _draw_images(self, masks: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """The image (C, H, W) of each mask (H, W)."""
        if not masks:
            return {}
        generator = self.model(self.options.images)
        conditions = torch.stack([generator.condition_of_label(mask) for mask in masks.values()])
        seeds = [self.seed_of("image", index) for index in masks]
        return dict(zip(masks, generator.decode(generator.sample(conditions, seeds)), strict=True))
