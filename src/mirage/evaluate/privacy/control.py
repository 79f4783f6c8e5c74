"""Copies of training images, turned, lit otherwise and noised: what a copy detector has to find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mirage import seeds
from mirage.config.privacy import CopyControl
from mirage.data import Items
from mirage.metrics.neighbours import ORIENTATIONS, flip, orient


class InjectedCopies(Items):
    """Training items as a careless generator would hand them out.

    Each is turned to another orientation that keeps its shape (a volume is mirrored), multiplied by a factor
    and noised; masks are turned with their image.

    Args:
        training: of which copies are made.
        count: of copies; of so many items chosen at random, each as often as any other.
        options: noise and brightness.
        seed: of choice, orientation, factor and noise.
        among: numbers of the items that may be chosen, at least one; a copy of a blank one is nobody's.
    """

    def __init__(
        self, training: Items, count: int, options: CopyControl, seed: int, among: Sequence[int]
    ) -> None:
        self._training, self._options, self._seed = training, options, seed
        order = seeds.rng(seed, "privacy/control").permutation(len(among))
        self.chosen = np.resize(np.asarray(among)[order], count)
        self.info, self.failures = training.info, training.failures
        self.items = training.items.iloc[self.chosen].reset_index(drop=True)
        shape = training.info.image_shape
        self._volumes = len(shape) == 4
        square = shape[-1] == shape[-2]
        self._turns = range(1, ORIENTATIONS) if self._volumes or square else range(2, ORIENTATIONS, 2)

    def _rng(self, index: int) -> np.random.Generator:
        return seeds.rng(self._seed, "privacy/control", index)

    def _turned(self, array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        orientation = int(rng.choice(self._turns))
        return flip(array, orientation) if self._volumes else orient(array, orientation)

    def image(self, index: int) -> np.ndarray:
        rng, (low, high) = self._rng(index), self.info.value_range
        image = self._turned(self._training.image(self.chosen[index]), rng).astype(np.float32) - low
        image *= rng.uniform(1 - self._options.brightness, 1 + self._options.brightness)
        image += rng.normal(0, self._options.noise * (high - low), image.shape).astype(np.float32)
        image = np.clip(image + low, low, high)
        dtype = np.dtype(self.info.image_dtype)
        return np.round(image).astype(dtype) if dtype.kind in "iu" else image.astype(dtype)

    def masks(self, index: int) -> np.ndarray:
        return self._turned(self._training.masks(self.chosen[index]), self._rng(index))

    def subjects(self) -> set[str]:
        return self._training.subjects()

    def learnt_from(self) -> set[str]:
        return self._training.learnt_from()
