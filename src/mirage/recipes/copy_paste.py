"""Recipe `copy_paste`: real tumours pasted on other brains (after TumorCP, Yang 2021)."""

from __future__ import annotations

import numpy as np

from mirage.data import Item
from mirage.preprocess.tumour_mixing import Freedom, copy_paste
from mirage.recipes.donors import TumourOnBrain


class CopyPasted(TumourOnBrain):
    """No model: A's tumour, mirrored, turned, scaled and shifted, is blended into B."""

    @property
    def _freedom(self) -> Freedom:
        options = self.options
        return Freedom(options.mirror, options.scale, options.rotate_deg, options.shift)

    @property
    def varies(self) -> bool:
        return self._freedom != Freedom()

    def mix(
        self, donor: Item, host: Item, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        options = self.options
        return copy_paste(
            self.subject(donor),
            self.subject(host),
            self._freedom,
            options.intensity,
            options.blend,
            options.harmonise,
            self.spec.value_range,
            rng,
        )
