"""Random changes of training items, the same for an image, its masks and its boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mirage.config.generators import Augment

Outside = Literal["zeros", "reflection"]


@dataclass(frozen=True)
class Change:
    """One drawn change; :func:`augment` makes it in this order.

    Attributes:
        hflip, vflip: mirror left-right, up-down.
        turn: radians about the image's centre.
        zoom: magnification about the centre.
        gamma: exponent of the image.
        brightness: factor of the image.
    """

    hflip: bool
    vflip: bool
    turn: float
    zoom: float
    gamma: float
    brightness: float


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
    return apply_change(image, masks, options, draw_change(options, rng), outside)


def apply_change(
    image: Tensor, masks: Tensor | None, options: Augment, change: Change, outside: Outside
) -> tuple[Tensor, Tensor | None]:
    """What :func:`augment` does with what it has drawn; arguments as there."""
    axes = [axis for axis, flipped in ((-1, change.hflip), (-2, change.vflip)) if flipped]
    if axes:
        image = image.flip(axes)
        masks = None if masks is None else masks.flip(axes)
    if options.rotate_deg or options.scale:
        image, masks = _rotate_and_zoom(image, masks, change.turn, change.zoom, outside)
    if options.gamma:
        image = image.pow(change.gamma)
    if options.brightness:
        image = (image * change.brightness).clamp(0, 1)
    return image, masks


def draw_change(options: Augment, rng: np.random.Generator) -> Change:
    """Draw the change of one item; always the same number of draws."""
    flips, (angle, zoom, gamma, brightness) = rng.random(2) < 0.5, rng.uniform(-1, 1, 4).tolist()
    return Change(
        hflip=bool(options.hflip and flips[-1]),
        vflip=bool(options.vflip and flips[-2]),
        turn=math.radians(angle * options.rotate_deg),
        zoom=1 + zoom * options.scale,
        gamma=1 + gamma * options.gamma,
        brightness=1 + brightness * options.brightness,
    )


def change_boxes(boxes: np.ndarray, change: Change, size: tuple[int, int]) -> np.ndarray:
    """What a change makes of boxes in an image.

    A turned box becomes the box around the ellipse that filled it: lesions are round, and the box around its
    corners would grow with every turn. Boxes whose centre leaves the image are dropped, others clipped to it.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels, half-open.
        change: from :func:`draw_change` with the same numbers as the image's.
        size: height and width of the image.

    Returns:
        (M, 4), M <= N, float64, in the same order.
    """
    extent = np.array([size[1], size[0]], np.float64)
    found = np.asarray(boxes, np.float64).reshape(-1, 4)
    centre, half = (found[:, :2] + found[:, 2:]) / 2, (found[:, 2:] - found[:, :2]) / 2
    centre = np.where([change.hflip, change.vflip], extent - centre, centre) - extent / 2
    cos, sin = math.cos(change.turn), math.sin(change.turn)
    centre = change.zoom * centre @ np.array([[cos, -sin], [sin, cos]]) + extent / 2
    half = change.zoom * np.sqrt(half**2 @ np.array([[cos**2, sin**2], [sin**2, cos**2]]))
    low, high = np.clip(centre - half, 0, extent), np.clip(centre + half, 0, extent)
    inside = ((centre >= 0) & (centre < extent) & (high > low)).all(axis=1)
    return np.asarray(np.concatenate([low, high], axis=1)[inside])


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
