"""Random changes of training items, the same for an image and its masks."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mirage.config.generators import Augment

Outside = Literal["zeros", "reflection"]


def augment(
    image: Tensor,
    masks: Tensor | None,
    options: Augment,
    rng: np.random.Generator,
    outside: Outside = "zeros",
) -> tuple[Tensor, Tensor | None]:
    """Flip, rotate and zoom image and masks together; change gamma and brightness of the image.

    ``hflip`` mirrors the last axis, ``vflip`` the second last. A volume is turned and zoomed in the plane of
    these two, every slice alike. What is exactly 0 around an object stays exactly 0. The same number of draws
    is made whatever the options, so that switching one on leaves the others' values as they were.

    Args:
        image: (C, H, W) or (C, D, H, W), float32 in [0, 1].
        masks: (M, H, W) or (M, D, H, W), uint8, resampled by nearest neighbour.
        options: which changes, and how strong.
        rng: the item's random numbers.
        outside: what comes in over the border of image and masks: nothing, or their mirror image.

    Returns:
        Image in [0, 1] and masks, uint8, of the same shapes.
    """
    flips, (angle, zoom, gamma, brightness) = rng.random(2) < 0.5, rng.uniform(-1, 1, 4).tolist()
    axes = [axis for axis, wanted in ((-1, options.hflip), (-2, options.vflip)) if wanted and flips[axis]]
    if axes:
        image = image.flip(axes)
        masks = None if masks is None else masks.flip(axes)
    if options.rotate_deg or options.scale:
        turn = math.radians(angle * options.rotate_deg)
        image, masks = _rotate_and_zoom(image, masks, turn, 1 + zoom * options.scale, outside)
    if options.gamma:
        image = image.pow(1 + gamma * options.gamma)
    if options.brightness:
        image = (image * (1 + brightness * options.brightness)).clamp(0, 1)
    return image, masks


def _rotate_and_zoom(
    image: Tensor, masks: Tensor | None, turn: float, zoom: float, outside: Outside
) -> tuple[Tensor, Tensor | None]:
    """Rotate by ``turn`` radians and magnify by ``zoom`` about the centre of the last two axes."""
    if image.ndim > 3:
        slices, stack = _rotate_and_zoom(
            image.flatten(0, -3), None if masks is None else masks.flatten(0, -3), turn, zoom, outside
        )
        return slices.view_as(image), None if masks is None or stack is None else stack.view_as(masks)
    height, width = image.shape[-2:]
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    matrix = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    grid = functional.affine_grid(matrix[None], [1, 1, height, width], align_corners=False)

    def moved(pixels: Tensor, mode: str) -> Tensor:
        return functional.grid_sample(pixels[None], grid, mode, outside, align_corners=False)[0]

    image = moved(image, "bilinear").clamp(0, 1)
    return image, None if masks is None else moved(masks.float(), "nearest").byte()
