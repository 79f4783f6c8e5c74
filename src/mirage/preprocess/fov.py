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
GLARE = 97
"""Percentile of all pixels that brighter ones, such as letters, glare and logos, are counted as."""
SOLID = 0.6
"""Least share of its bounding box that a field of view fills (a disc: 0.79), where it is small."""
MOST = 0.8
"""Least share of all bright pixels that lie in it, where it is small."""


def derive_fov(image: np.ndarray) -> np.ndarray:
    """Find the field of view by threshold.

    The frame's level is read from the four corners and the tissue's from the image's upper quartile, so the
    threshold follows the camera's exposure and black level. Where most of that quartile is frame too, for the
    field is small, the tissue's level is the upper quartile of what Otsu's threshold (1979) takes for bright.
    The largest bright component is kept, smoothed and filled.

    An image with more than one bright corner has no frame, and its field of view is everything. So it is
    where a corner is bright, or the field small, and what is found is no single solid part of the image.

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
    lit = _lit_level(brightness)
    small = tissue - frame < (lit - frame) / 2
    tissue = lit if small else tissue
    threshold = frame + DARK * (tissue - frame)
    stamped = sum(bool(np.median(corner) > threshold) for corner in corners)
    if tissue <= frame or stamped > 1:
        return np.ones(shape, np.uint8)
    bright = ndimage.gaussian_filter(brightness, 1.0) > threshold
    found = _largest_filled(bright)
    if (small or stamped) and not _is_a_field(found, bright):
        return np.ones(shape, np.uint8)
    return (resize(found[None], whole(size), shape)[0] >= 0.5).astype(np.uint8)


def _corners(brightness: np.ndarray) -> np.ndarray:
    side = max(2, round(CORNER * min(brightness.shape)))
    top, bottom = brightness[:side], brightness[-side:]
    return np.stack([part.ravel() for band in (top, bottom) for part in (band[:, :side], band[:, -side:])])


def _lit_level(brightness: np.ndarray) -> float:
    """Upper quartile of what is bright."""
    from skimage.filters import threshold_otsu

    capped = np.minimum(brightness, np.percentile(brightness, GLARE))
    lit = capped[capped > threshold_otsu(capped)]
    return float(np.percentile(lit, 75)) if lit.size else float(capped.max())


def _is_a_field(found: np.ndarray, bright: np.ndarray) -> bool:
    """Whether a component is one solid part that most bright pixels lie in, and in no corner of the image."""
    (box,) = ndimage.find_objects(found.astype(np.uint8))
    in_corners = found[np.ix_([0, -1], [0, -1])].any()
    solid = found[box].mean() >= SOLID and np.count_nonzero(found & bright) >= MOST * np.count_nonzero(bright)
    return bool(solid and not in_corners)


def _largest_filled(mask: np.ndarray) -> np.ndarray:
    # Opening cuts off glare and text that touch the outline; filling closes dark maculae and lesions.
    opened = ndimage.binary_opening(mask, iterations=2)
    labels, count = ndimage.label(opened)
    if not count:
        return np.ones_like(mask)
    largest = np.bincount(labels.ravel())[1:].argmax() + 1
    filled: np.ndarray = ndimage.binary_fill_holes(labels == largest)
    return filled
