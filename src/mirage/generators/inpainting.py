"""What all inpainters share: holes, the value in them, one way in and one way out."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mirage import seeds
from mirage.config.generators import Augment, InpainterOptions
from mirage.data import Item, Items
from mirage.errors import ConfigError, DataError
from mirage.generators.base import Generator, ImageSpec, adam, square_side
from mirage.generators.holes import Hole, draw_hole
from mirage.metrics.inpainting import hole_scores
from mirage.training.previews import panel

VALIDATION_ITEMS = 256
"""Held-out items that the validation metric is computed on, evenly spaced among all."""


class Inpainter(Generator):
    """A generator that fills holes of images.

    Images lie in [-1, 1]; pixels of the hole are set to ``hole_value`` before a network sees them. A
    condition is such an image with its hole as a last channel (C + 1, H, W). What ``sample`` returns are
    whole images: what the network draws in the hole, and the given pixels around it.

    Class attributes:
        hole_value: of pixels that are missing.

    Args:
        options: holes, widths, losses.
        spec: square 2D images.

    Raises:
        ConfigError: images that the networks cannot take.
    """

    conditional = True
    sampling_modules = ("generator",)
    channels_last = "cpu"
    metric_name = "hole_l1"
    metric_mode = "min"
    hole_value: ClassVar[float]

    def __init__(self, options: InpainterOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        self.size = square_side(self.arch, spec)
        try:
            self.options.check_size(self.size)
        except ValueError as error:
            raise ConfigError(f"prepare.size: {error}") from error
        self.box_side = options.holes.box_side(self.size)

    @property
    def shows_labels(self) -> bool:
        return False

    @property
    def notes(self) -> dict[str, Any]:
        return {"hole_value": self.hole_value}

    @abstractmethod
    def complete(self, masked: Tensor, hole: Tensor) -> Tensor:
        """What the network draws, (N, C, H, W) in [-1, 1], also outside the hole.

        Args:
            masked: (N, C, H, W) in [-1, 1], ``hole_value`` in the hole.
            hole: (N, 1, H, W), 1 in the hole and 0 elsewhere.
        """

    def masked(self, images: Tensor, hole: Tensor) -> Tensor:
        """Images (..., C, H, W) with ``hole_value`` where the hole (..., 1, H, W) is 1."""
        return torch.where(hole > 0, self.hole_value, images)

    @staticmethod
    def composite(made: Tensor, images: Tensor, hole: Tensor) -> Tensor:
        """What was made where the hole (N, 1, H, W) is 1, the images (N, C, H, W) elsewhere."""
        return torch.where(hole > 0, made, images)

    def hole_of(self, image: np.ndarray, content_hash: str | None = None) -> Hole:
        """The hole of a stored image (C, H, W) where nothing else says which: one a content, always the same.

        Args:
            image: stored.
            content_hash: digest of it where that is known; a digest of the pixels otherwise.
        """
        content = content_hash or hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
        number = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") >> 1
        return draw_hole(self.size, self.options.holes, seeds.rng(number, "inpaint/hole"))

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``real`` (C, H, W) in [-1, 1], ``hole`` (1, H, W), 0 or 1, ``corner`` (2,): the box's top, left."""
        unit, _ = self.augmented(item, rng, augment)
        if rng is None:
            hole = self.hole_of(item.image, item.content_hash)
        else:
            hole = draw_hole(self.size, self.options.holes, rng)
        return {
            "real": self.to_model_range(unit),
            "hole": _as_tensor(hole.mask),
            "corner": torch.tensor([hole.top, hole.left]),
        }

    def condition(self, item: Item) -> Tensor:
        """The item's image with the hole of its content, (C + 1, H, W)."""
        return self.condition_of_hole(item.image, self.hole_of(item.image, item.content_hash).mask)

    def condition_of_hole(self, image: np.ndarray, hole: np.ndarray) -> Tensor:
        """Stored image (C, H, W) and hole (H, W), 1 in it, to a condition (C + 1, H, W)."""
        marked = _as_tensor(hole)
        return torch.cat([self.masked(self.normalise(image), marked), marked])

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        assert conditions is not None
        masked, hole = conditions[:, :-1], conditions[:, -1:]
        return self.composite(self.complete(masked, hole), masked, hole)

    def decode(self, images: Tensor) -> np.ndarray:
        return self.denormalise(images)

    def fill(self, image: np.ndarray, hole: npt.NDArray[np.uint8], seed: int) -> np.ndarray:
        """A stored image whose hole is filled; all other pixels are the given bits.

        Args:
            image: (C, H, W), stored type, of the shape that was learnt.
            hole: (H, W), 1 where pixels are to be replaced, 0 elsewhere.
            seed: of the noise, where the network has any.

        Returns:
            (C, H, W), stored type, a new array.

        Raises:
            DataError: another shape or type than was learnt, or a hole of other values.
        """
        if image.shape != self.image_shape or image.dtype != np.dtype(self.spec.image_dtype):
            raise DataError(
                f"{self.arch}: an image of shape {image.shape} and type {image.dtype} cannot be inpainted, "
                f"the model has learnt from {self.image_shape} and {self.spec.image_dtype}; cut or resize it"
            )
        if hole.shape != image.shape[1:] or not np.isin(hole, (0, 1)).all():
            raise DataError(
                f"{self.arch}: a hole is a mask of 0 and 1 of shape {image.shape[1:]}, found shape "
                f"{hole.shape} and values from {hole.min()} to {hole.max()}"
            )
        made = self.decode(self.sample(self.condition_of_hole(image, hole)[None], [seed]))[0]
        return np.where(hole > 0, made, image)

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        return adam(list(parameters), self.options.lr, self.options.beta1)

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``hole_l1``, ``hole_psnr``, ``hole_ssim`` (:func:`mirage.metrics.inpainting.hole_scores`).

        Means over at most 256 held-out items, each with the hole of its content.
        """
        count = min(len(validation), VALIDATION_ITEMS)
        found = []
        for index in np.linspace(0, len(validation) - 1, count).round().astype(int).tolist():
            item = validation.item(index)
            condition = self.condition(item)
            made = self.sample(condition[None], [index])[0].cpu()
            scores = hole_scores(
                self.unit(item.image).numpy(), ((made + 1) / 2).numpy(), condition[-1].byte().numpy()
            )
            found.append(scores)
        return {name: float(np.mean([scores[name] for scores in found])) for name in found[0]}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """A row an item: with its hole, inpainted, real, and the difference of these two (white: none)."""
        rows = []
        for index, item in enumerate(items):
            condition = self.condition(item)
            made = self.decode(self.sample(condition[None], [index]))[0]
            pictures = [panel(condition[:-1].numpy(), -1, 1), self.picture(made), self.picture(item.image)]
            gap = np.abs(pictures[1].astype(np.int16) - pictures[2])
            rows.append(np.stack([*pictures, (255 - gap).astype(np.uint8)]))
        return np.stack(rows)


def _as_tensor(mask: np.ndarray) -> Tensor:
    """Mask (H, W) to (1, H, W), float32."""
    return torch.from_numpy(mask[None].astype(np.float32))
