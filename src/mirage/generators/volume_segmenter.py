"""What the segmenters of volumes share: intensities, classes, training windows, validation and previews."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mirage.config.base import Options
from mirage.config.judges import VolumeAugment
from mirage.data import Item, Items
from mirage.data.manifest import ABSENT
from mirage.errors import ConfigError, DataError
from mirage.generators.base import Generator, ImageSpec
from mirage.generators.labels import LabelCode
from mirage.preprocess.windows import crop
from mirage.training.previews import panel


@dataclass(frozen=True)
class Intensities:
    """How the stored values of one item become a network's input: (value - offset) / scale.

    Attributes:
        offset, scale: (C, 1, 1, 1), float32.
    """

    offset: np.ndarray
    scale: np.ndarray

    def apply(self, stored: np.ndarray) -> Tensor:
        """Stored values (C, ...) to the network's input, float32."""
        return torch.from_numpy((stored.astype(np.float32) - self.offset) / self.scale)


class VolumeSegmenter(Generator):
    """A network that gives every voxel of a volume a probability of background and of each label.

    ``sample`` is deterministic: probabilities (N, 1 + labels, D, H, W), the background first; outside the
    brain the background has probability 1. The brain is the mask channel ``brain`` where there is one, else
    every voxel in which a channel is above the lowest stored value.

    Args:
        options: with ``normalise`` and ``augment``.
        spec: volumes with labels.

    Raises:
        ConfigError: images instead of volumes, or volumes that a training window does not fit.
        DataError: the data have no labels.
    """

    conditional = True
    phases = ("net",)
    sampling_modules = ("net",)
    spatial_dims = 3
    gpu_batch = 1
    model_range = (0.0, 1.0)
    metric_name = "val_dice"
    metric_mode = "max"

    def __init__(self, options: Options, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        if len(self.image_shape) != 4:
            raise ConfigError(
                f"arch: {self.arch} needs volumes (C, D, H, W), the data are {self.image_shape}"
            )
        try:
            self.options.check_size(self.extent)
        except ValueError as error:
            raise ConfigError(f"options: {error}") from error
        self.code = LabelCode(self.labels)
        self.classes = len(self.code.values)
        self._known: dict[tuple[str, int], Intensities] = {}

    @property
    def extent(self) -> tuple[int, ...]:
        """(D, H, W) of the volumes."""
        return self.image_shape[1:]

    @property
    def made_labels(self) -> dict[int, str]:
        return self.labels

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.classes, *self.extent)

    def brain(self, item: Item) -> np.ndarray:
        """Voxels of the brain (D, H, W), bool.

        Raises:
            DataError: there is none.
        """
        if item.masks is not None and "brain" in self.mask_channels:
            brain = self.mask(item.masks, "brain")
            inside: np.ndarray = (brain != 0) & (brain != ABSENT)
        else:
            inside = np.any(item.image > self.spec.value_range[0], axis=0)
        if not inside.any():
            raise DataError(f"{self.arch}: an item's brain mask is empty; prepare the data again")
        return inside

    def intensities(self, item: Item, brain: np.ndarray) -> Intensities:
        """Offset and scale of an item; those of a whole volume are computed once in a process.

        Args:
            item: a stored item.
            brain: its brain (D, H, W), bool.
        """
        low, high = self.spec.value_range
        if self.options.normalise == "stored":
            half = np.full(len(item.image), (high - low) / 2)
            return _intensities(low + half, half)
        key = (item.content_hash or "", int(np.count_nonzero(brain)))
        if item.content_hash is None or key not in self._known:
            inside = [channel[brain].astype(np.float64) for channel in item.image]
            # A channel that is the same everywhere tells nothing; dividing by one step leaves it at 0.
            spread = np.array([values.std() or (high - low) / 255 for values in inside])
            self._known[key] = _intensities(np.array([values.mean() for values in inside]), spread)
        return self._known[key]

    def condition(self, item: Item) -> Tensor:
        """The network's input and, as last channel, the brain: (C + 1, D, H, W), float32."""
        brain = self.brain(item)
        normal = self.intensities(item, brain).apply(item.image)
        return torch.cat([normal, torch.from_numpy(brain[None].astype(np.float32))])

    def target(self, item: Item, axes: Sequence[np.ndarray]) -> Tensor:
        """Class of each voxel (d, h, w) of a window, int64.

        Raises:
            DataError: a value that is no label, or an item without a label mask.
        """
        return torch.from_numpy(self.code.index(crop(self.mask(item.masks, "label"), axes)))

    def changed(
        self, windows: Sequence[Tensor], augment: VolumeAugment | None, rng: np.random.Generator | None
    ) -> list[Tensor]:
        """Windows (C, d, h, w) with an offset and a factor of each channel, the same in all of them."""
        if augment is None or rng is None:
            return list(windows)
        shift, scale = rng.normal(size=(2, len(windows[0]), 1, 1, 1)).astype(np.float32)
        shift, scale = shift * np.float32(augment.shift), 1 + scale * np.float32(augment.scale)
        return [(window + torch.from_numpy(shift)) * torch.from_numpy(scale) for window in windows]

    def mirrored(self, rng: np.random.Generator | None) -> bool:
        """Whether a training window is mirrored left-right."""
        augment: VolumeAugment | None = self.options.augment
        drawn = rng is not None and rng.random() < 0.5
        return bool(drawn and augment is not None and augment.flip)

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        assert conditions is not None
        made = torch.zeros(len(conditions), *self.sample_shape, device=conditions.device)
        for probabilities, item in zip(made, conditions, strict=True):
            inside = item[-1] > 0
            self.fill(probabilities, item[:-1], inside)
            probabilities *= inside
            probabilities[0].masked_fill_(~inside, 1)
        return made

    @abstractmethod
    def fill(self, probabilities: Tensor, image: Tensor, inside: Tensor) -> None:
        """Write the probabilities of every voxel of the brain; what stands elsewhere is not used.

        Args:
            probabilities: (classes, D, H, W), float32, written in place.
            image: the network's input (C, D, H, W).
            inside: the brain (D, H, W), bool, not empty.
        """

    def decode(self, images: Tensor) -> np.ndarray:
        """The most probable label, uint8 (N, 1, D, H, W)."""
        masks: np.ndarray = self.code.values[images.argmax(dim=1).cpu().numpy()][:, None]
        return masks

    def predict(self, item: Item) -> np.ndarray:
        """Label mask (D, H, W), uint8, of one stored item."""
        labels: np.ndarray = self.decode(self.sample(self.condition(item)[None], [0]))[0, 0]
        return labels

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``val_dice``: mean over items and labels of Dice; 1 where both masks are empty."""
        scores = []
        for index in range(len(validation)):
            item = validation.item(index)
            found, true = self.predict(item), self.mask(item.masks, "label")
            for value in self.labels:
                f, t = found == value, true == value
                total = np.count_nonzero(f) + np.count_nonzero(t)
                scores.append(2 * np.count_nonzero(f & t) / total if total else 1.0)
        return {self.metric_name: float(np.mean(scores))}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """A row an item: the axial slice with most labelled voxels, its label mask, the predicted one."""
        rows = []
        for item in items:
            true = self.mask(item.masks, "label")
            depth = int(np.argmax(np.count_nonzero(true, axis=(1, 2))))
            masks = (true[None, depth], self.predict(item)[None, depth])
            shown = [panel(mask, 0, max(self.labels)) for mask in masks]
            rows.append(np.stack([panel(item.image[:1, depth], *self.spec.value_range), *shown]))
        return np.stack(rows)


def _intensities(offset: np.ndarray, scale: np.ndarray) -> Intensities:
    """From an offset and a scale (C,) of each channel."""
    return Intensities(*(x.astype(np.float32).reshape(-1, 1, 1, 1) for x in (offset, scale)))
