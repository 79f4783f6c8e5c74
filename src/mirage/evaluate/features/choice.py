"""Weights chosen in training by the Fréchet distance of samples to held-out images in an encoder's features.

As in the mammography study: held-out images that stay the same, noise that stays the same, and one encoder,
fitted on the training split before. Samples are coded as they would be stored. Test images play no part.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd

from mirage.config.base import Runtime
from mirage.config.generators import FrechetChoice
from mirage.data import DatasetInfo, Items
from mirage.errors import DataError
from mirage.evaluate.features.encoder import Floats
from mirage.evaluate.features.jobs import features_of, open_encoder, rescale
from mirage.files import digest, read_json
from mirage.generators.base import Generator
from mirage.metrics.distances import frechet_distance
from mirage.training.trainable import Criterion, Trainable

LEAST = 2
"""Held-out images below which there is no covariance to compare."""
FEW = 25
"""Held-out images below which the covariance is mostly noise."""
SCALING_IMAGES = 2048
"""Images of a fold that decide the scales of features, at most."""
CHUNK = 64
"""Samples that are held as tensors at a time."""


logger = logging.getLogger(__name__)


class Samples(Items):
    """Images that a generator has just made, as a dataset would store them.

    Args:
        info: of the real images that they are compared with.
        images: (N, C, H, W), stored type.
    """

    def __init__(self, info: DatasetInfo, images: np.ndarray) -> None:
        self.info, self._images = info, images
        self.items = pd.DataFrame({"item_id": [f"sample_{number:06d}" for number in range(len(images))]})
        self.failures = self.items.iloc[:0]

    def image(self, index: int) -> np.ndarray:
        return cast(np.ndarray, self._images[index])

    def masks(self, index: int) -> np.ndarray:
        raise DataError("samples of a generator in training have no masks; choose by an encoder without any")

    def subjects(self) -> set[str]:
        return set()

    def learnt_from(self) -> set[str]:
        return set()


class Evenly(Items):
    """Items spread evenly over others.

    Args:
        whole: of which they are taken.
        count: of them; all where there are fewer, or for None.
    """

    def __init__(self, whole: Items, count: int | None) -> None:
        kept = min(len(whole), count or len(whole))
        self._whole = whole
        self.chosen = np.linspace(0, len(whole) - 1, kept).round().astype(int)
        self.info, self.failures = whole.info, whole.failures
        self.items = whole.items.iloc[self.chosen].reset_index(drop=True)

    def image(self, index: int) -> np.ndarray:
        return self._whole.image(int(self.chosen[index]))

    def masks(self, index: int) -> np.ndarray:
        return self._whole.masks(int(self.chosen[index]))

    def subjects(self) -> set[str]:
        return self._whole.subjects()

    def learnt_from(self) -> set[str]:
        return self._whole.learnt_from()


class FrechetCriterion(Criterion):
    """The Fréchet distance of samples of fixed noise to fixed held-out images.

    Args:
        folder: of the fitted encoder; its name is the encoder's.
        options: how many images and samples.
        runtime: device and threads.
        validation: the validation split of the data that are learnt.
        scaled_on: images that decide the features' scales in place of those that the encoder was fitted on;
            None: those. For a fold, whose held-out images may be among them.

    Raises:
        CheckpointError: the encoder's folder is damaged.
        DataError: fewer than 2 held-out images, or of another kind than the encoder was fitted on.
    """

    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        folder: Path,
        options: FrechetChoice,
        runtime: Runtime,
        validation: Items,
        scaled_on: Items | None = None,
    ) -> None:
        if len(validation) < LEAST:
            raise DataError(
                f"training.frechet: {validation.info.name} has {len(validation)} validation image(s) to "
                "compare with; give its validation split more, or leave the key out"
            )
        self._encoder, self._runtime, self._samples = open_encoder(folder), runtime, options.samples
        real = Evenly(validation, options.images)
        if len(real) < FEW:
            logger.warning(
                "%s: %d validation images are few to choose weights by; their covariance is mostly noise",
                validation.info.name,
                len(real),
            )
        self._encoder.check(real)
        if scaled_on is not None:
            rescale(self._encoder, Evenly(scaled_on, SCALING_IMAGES), runtime)
        self._real: Floats = features_of(self._encoder, real, runtime)
        facts = read_json(folder / "encoder.json")
        decided_by = (facts["weights_sha256"], facts["options"], facts["version"], options.model_dump())
        self.fingerprint = digest(decided_by)
        self.name = f"val_frechet_{folder.name}"
        self.words = (
            f"Fréchet distance of {options.samples} samples of fixed noise to {len(real)} validation images, "
            f"in the {self._real.shape[1]} features of the encoder {folder.name}"
        )

    def __call__(self, model: Trainable, validation: Items, training: Items) -> dict[str, float]:
        assert isinstance(model, Generator)
        made = Samples(validation.info, np.concatenate([*self._made(model, range(self._samples))]))
        return {self.name: frechet_distance(self._real, features_of(self._encoder, made, self._runtime))}

    @staticmethod
    def _made(model: Generator, seeds: Sequence[int]) -> list[np.ndarray]:
        chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
        return [model.decode(model.sample_freely(chunk)) for chunk in chunks]
