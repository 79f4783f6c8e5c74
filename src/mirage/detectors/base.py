"""The base of all detectors: images with boxes in, marks with scores out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mirage.config.base import Options
from mirage.config.generators import Augment
from mirage.data import Item, Items
from mirage.errors import DataError
from mirage.generators.base import ImageSpec, square_side
from mirage.metrics.detection import FreeResponse, froc_mean
from mirage.metrics.hits import Floats, HitRule, Marks, match
from mirage.training.augment import apply_change, change_boxes, draw_change
from mirage.training.previews import panel
from mirage.training.trainable import Trainable

CORNERS = ("x0", "y0", "x1", "y1")
LEAST_SIDE = 0.5
"""Pixels; boxes that augmentation clips to less are dropped."""


class Detector(Trainable):
    """A network that marks lesions with boxes, trained on the generators' own loop.

    A batch holds ``image`` (N, C, H, W) in [-1, 1], ``boxes`` (N, ``most_boxes``, 4) in pixels, padded with
    zeros, and ``count`` (N,), how many of them there are. An image without boxes is a normal one.

    Class attributes:
        arch: name in the configuration and the registry.
        gpu_batch: images that a GPU looks at at once.

    Args:
        options: the architecture's options.
        spec: the images.
        labels: names of the boxes that are lesions; None: all.
        most_boxes: of an image.

    Raises:
        ConfigError: volumes, or images that are not square.
    """

    arch: ClassVar[str]
    gpu_batch: ClassVar[int] = 8
    metric_name = "val_froc_mean"
    metric_mode = "max"

    def __init__(
        self, options: Options, spec: ImageSpec, labels: Sequence[str] | None, most_boxes: int
    ) -> None:
        super().__init__()
        self.options: Any = options
        self.spec = spec
        self.image_shape = tuple(spec.image_shape)
        self.size = square_side(self.arch, spec)
        self.labels = None if labels is None else frozenset(labels)
        self.most_boxes = most_boxes

    @classmethod
    def fitted(cls, options: Any, boxes: Floats) -> Any:
        """The options with all that is to be learnt of training boxes (N, 4), N >= 1, before the weights."""
        return options

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def unit(self, image: np.ndarray) -> Tensor:
        """Stored image (C, H, W) to float32 in [0, 1] by the stored value range."""
        low, high = self.spec.value_range
        return torch.from_numpy((image.astype(np.float32) - np.float32(low)) / np.float32(high - low))

    def normalise(self, image: np.ndarray) -> Tensor:
        """Stored image (C, H, W) to the network's input in [-1, 1]."""
        return self.unit(image) * 2 - 1

    def boxes(self, item: Item) -> Floats:
        """Lesions of an item (L, 4), x0, y0, x1, y1 in pixels."""
        wanted = [box for box in item.boxes if self.labels is None or box["label"] in self.labels]
        return np.array([[box[key] for key in CORNERS] for box in wanted], np.float64).reshape(-1, 4)

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``image``, ``boxes`` and ``count`` of an item; boxes follow the augmentation.

        Raises:
            DataError: more boxes than ``most_boxes``.
        """
        boxes = self.boxes(item)
        if len(boxes) > self.most_boxes:
            raise DataError(f"an item has {len(boxes)} boxes, the detector was built for {self.most_boxes}")
        if rng is None or augment is None:
            image = self.normalise(item.image)
        else:
            change = draw_change(augment, rng)
            # Beyond a radiograph there is nothing; its mirror image would hold lesions without boxes.
            unit, _ = apply_change(self.unit(item.image), None, augment, change, "zeros")
            image, boxes = unit * 2 - 1, change_boxes(boxes, change, (self.size, self.size))
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(axis=1)]
        padded = torch.zeros(self.most_boxes, 4)
        padded[: len(boxes)] = torch.from_numpy(boxes).float()
        return {"image": image, "boxes": padded, "count": torch.tensor(len(boxes))}

    @abstractmethod
    def detect(self, images: Tensor) -> list[Marks]:
        """Marks of images (N, C, H, W) in [-1, 1] on the device of the weights, in evaluation mode."""

    def mark(self, data: Items) -> list[Marks]:
        """Marks of all items; an item's marks depend on nothing but the item.

        One image at a time on a CPU, where the batch size would decide the last bits; in batches of a fixed
        size on a GPU.
        """
        chunk = 1 if self.device.type == "cpu" else self.gpu_batch
        training, found = self.training, []
        self.eval()
        with torch.inference_mode():
            for start in range(0, len(data), chunk):
                wanted = range(start, min(start + chunk, len(data)))
                images = torch.stack([self.normalise(data.image(index)) for index in wanted])
                padding = images[-1:].expand(chunk - len(images), *images.shape[1:])
                given = torch.cat([images, padding]).to(self.device)
                found += self.detect(given)[: len(wanted)]
        self.train(training)
        return found

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``val_froc_mean``: LUNA16's score at an overlap of 0.2; 0 where there is no lesion to find."""
        truths = [self.boxes(validation.item(index)) for index in range(len(validation))]
        if not sum(map(len, truths)):
            return {self.metric_name: 0.0}
        return {self.metric_name: float(froc_mean(_responses(self.mark(validation), truths))[0])}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """A row an item: with its lesions, and with the marks of at least half of the highest score."""
        rows = []
        self.eval()
        for item in items:
            with torch.inference_mode():
                (marks,) = self.detect(self.normalise(item.image)[None].to(self.device))
            sure = marks.boxes[marks.scores >= 0.5 * marks.scores.max(initial=0.0)]
            picture = panel(item.image, *self.spec.value_range)
            rows.append(np.stack([outlined(picture, self.boxes(item)), outlined(picture, sure)]))
        return np.stack(rows)


def _responses(marks: Sequence[Marks], truths: Sequence[Floats]) -> FreeResponse:
    """What the marks say of the truths, at an overlap of 0.2."""
    lesion_image, lesion_score, false_image, false_score = [], [], [], []
    for image, (own, truth) in enumerate(zip(marks, truths, strict=True)):
        matched = match(HitRule(), own.boxes, own.scores, truth)
        best = np.full(len(truth), -np.inf)
        hit = matched.outcome == "hit"
        best[matched.lesion[hit]] = own.scores[hit]
        false = own.scores[matched.outcome == "false"]
        lesion_image += [image] * len(truth)
        lesion_score += best.tolist()
        false_image += [image] * len(false)
        false_score += false.tolist()
    return FreeResponse(
        len(marks),
        np.array(lesion_image, int),
        np.array(lesion_score, float),
        np.array(false_image, int),
        np.array(false_score, float),
    )


def outlined(picture: np.ndarray, boxes: Floats) -> np.ndarray:
    """A picture (H, W, 3), uint8, with yellow outlines of boxes."""
    drawn = picture.copy()
    height, width = picture.shape[:2]
    for x0, y0, x1, y1 in boxes:
        left, right = (int(np.clip(round(x), 0, width - 1)) for x in (x0, x1 - 1))
        top, bottom = (int(np.clip(round(y), 0, height - 1)) for y in (y0, y1 - 1))
        for window in (
            (slice(top, bottom + 1), [left, right]),
            ([top, bottom], slice(left, right + 1)),
        ):
            drawn[window] = (255, 255, 0)
    return drawn
