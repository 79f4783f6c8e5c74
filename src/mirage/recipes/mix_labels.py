"""Recipe `mix_labels`: the tumour of A on the brain of B, drawn by a generator (after TumorGAN, Li 2020)."""

from __future__ import annotations

import numpy as np

from mirage.data import Item
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.preprocess.tumour_mixing import Freedom, place_label
from mirage.recipes.donors import TumourOnBrain


class MixLabels(TumourOnBrain):
    """A's label map, cut off at the edge of B's brain, is the condition; background is what lies outside."""

    @property
    def spec(self) -> ImageSpec:
        return self.model(self.options.generator).spec

    @property
    def _freedom(self) -> Freedom:
        return Freedom(self.options.mirror, self.options.scale, 0.0, self.options.shift)

    @property
    def varies(self) -> bool:
        return self._freedom != Freedom()

    def check(self) -> None:
        super().check()
        found, expected = ImageSpec.of(self._data.info), self.spec
        for key in ("image_shape", "mask_channels", "labels"):
            if getattr(found, key) != getattr(expected, key):
                raise DataError(
                    f"{self._data.info.name} has {key} {getattr(found, key)}, the generator "
                    f"{self.options.generator.generator} was trained on {getattr(expected, key)}; prepare "
                    "both alike"
                )

    def mix(
        self, donor: Item, host: Item, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        generator, brain = self.model(self.options.generator), self.subject(host).brain
        label, _ = place_label(self.subject(donor).label, brain, self._freedom, rng)
        made = {"label": label, "brain": brain}
        masks = np.stack([made[channel] for channel in generator.mask_channels])
        condition = generator.condition(Item(host.image, masks))
        image = generator.decode(generator.sample(condition[None], [self.seed_of("image", index)]))[0]
        if (image[:, brain == 0] != self.spec.value_range[0]).any():
            raise DataError(
                f"{self.options.generator.generator} draws outside the brain; use an `arch: label_to_brain`"
            )
        return image, label
