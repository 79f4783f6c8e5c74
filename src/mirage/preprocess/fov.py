"""The field of view of a photograph: the part of the frame that light reached."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mirage.preprocess.geometry import resize, whole

WORKING_SIDE = 512
"""Longer side, pixels, at which the outline is found: finer than stored images need, and fast."""
DARK = 0.12
"""A pixel is dark below this share of the way from the frame's corners to the bright part of the image."""
CORNER = 0.025
"""Side of the four corner patches that tell the frame's grey value, as a share of the image's side."""


def derive_fov(image: np.ndarray) -> np.ndarray:
    """Find the field of view by threshold.

    The frame's level is read from the four corners and the tissue's from the image's upper quartile, so the
    threshold follows the camera's exposure and black level. The largest bright component is kept, smoothed
    and filled. An image whose corners are not all dark has no frame, and its field of view is everything.

    Args:
        image: (C, H, W), any real type; bright on dark.

    Returns:
        uint8 (H, W), 1 inside.
    """
    shape = image.shape[1:]
    scale = min(1.0, WORKING_SIDE / max(shape))
    size = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    brightness = resize(image, whole(shape), size).max(axis=0)
    corners = _corners(brightness)
    frame, tissue = float(np.median(corners)), float(np.percentile(brightness, 75))
    threshold = frame + DARK * (tissue - frame)
    if tissue <= frame or any(np.median(corner) > threshold for corner in corners):
        return np.ones(shape, np.uint8)
    found = _largest_filled(ndimage.gaussian_filter(brightness, 1.0) > threshold)
    return (resize(found[None], whole(size), shape)[0] >= 0.5).astype(np.uint8)


def _corners(brightness: np.ndarray) -> np.ndarray:
    side = max(2, round(CORNER * min(brightness.shape)))
    top, bottom = brightness[:side], brightness[-side:]
    return np.stack([part.ravel() for band in (top, bottom) for part in (band[:, :side], band[:, -side:])])


def _largest_filled(mask: np.ndarray) -> np.ndarray:
    # Opening cuts off glare and text that touch the outline; filling closes dark maculae and lesions.
    opened = ndimage.binary_opening(mask, iterations=2)
    labels, count = ndimage.label(opened)
    if not count:
        return np.ones_like(mask)
    largest = np.bincount(labels.ravel())[1:].argmax() + 1
    filled: np.ndarray = ndimage.binary_fill_holes(labels == largest)
    return filled
