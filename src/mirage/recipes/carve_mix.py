"""Recipe `carve_mix`: real tumours carved out of one brain and put into another (CarveMix, Zhang 2021)."""

from __future__ import annotations

import numpy as np

from mirage.data import Item
from mirage.preprocess.tumour_mixing import carve_mix
from mirage.recipes.donors import TumourOnBrain


class CarveMixed(TumourOnBrain):
    """No model: a region around A's tumour, between half its depth and twice it, replaces the same of B."""

    @property
    def varies(self) -> bool:
        return True

    def mix(
        self, donor: Item, host: Item, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        share = float(rng.uniform(-1, 1))  # 2 Beta(1, 1) - 1
        value_range = self.spec.value_range
        return carve_mix(self.subject(donor), self.subject(host), share, self.options.harmonise, value_range)
