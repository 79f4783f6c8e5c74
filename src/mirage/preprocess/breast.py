"""The breast in a mammogram: by its background's grey value, where it has one, or by a threshold.

Processed digital mammograms have one grey value outside the breast but for burnt-in words. It is 0 in most,
and another where a window or look-up table is applied or the file is inverted. Digitised film has none: its
background is uneven, and holds labels, tape, scratches and the scanner's frame. There a threshold finds what
is bright, and the breast is the largest part of it.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from mirage.preprocess.geometry import resize, whole

WORKING_SIDE = 512
"""Longer side, pixels, at which the outline is found."""
SMOOTHING = 1.5
"""Standard deviation, working pixels, of the blur before the threshold: film grain is finer."""
CUT = 7
"""Radius, working pixels, of the opening that parts labels, tape and streaks from the breast."""
BINS = 256
FRAME = 0.02
"""Share of Otsu's threshold below which there is no film but the scanner's black."""
FLAT = 0.05
"""Least share of an image that its background's grey value has; one with less is all breast."""
DARK = 0.3
"""A background is darker than this share of the way from the lowest value to the 99th percentile."""
EVERY = 4
"""Every so many pixels of a row and column are looked at to find the background's grey value."""
SKIN = 0.4
"""Where the skin's edge is, as a share of the way from the film's dark part to Otsu's threshold; on the 21
films of mini-MIAS that were looked at, it keeps the dim edge and leaves out the film around."""


def breast_mask(image: np.ndarray, method: str) -> np.ndarray:
    """Find the breast; the pectoral muscle, where it is shown, belongs to it.

    ``nonzero`` takes every pixel that is not 0. The others take pixels above a threshold, of whose parts the
    largest is kept once thin bridges to labels are cut, and filled: ``digital`` above the grey value that is
    commonest among dark ones, and all of an image that has no such; ``otsu`` by Otsu (1979), which loses the
    skin's dim edge; ``triangle`` by Zack (1977), which keeps it and, on film, the background too; ``film``
    below Otsu's, between it and the dark part of the film, whatever that is.

    Args:
        image: (C, H, W), any real type; tissue bright on dark.
        method: nonzero, digital, otsu, triangle or film.

    Returns:
        uint8 (H, W), 1 inside.

    Raises:
        ValueError: an unknown method, an image of one grey value, or ``nonzero`` where no pixel is 0.
    """
    if method == "nonzero":
        found: np.ndarray = (image != 0).any(axis=0).astype(np.uint8)
        if found.all():
            raise ValueError("no pixel is 0, so the background is not; use `fov: digital`, or `film`")
        return found
    shape = image.shape[1:]
    scale = min(1.0, WORKING_SIDE / max(shape))
    size = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    if method == "digital":
        level = _background(image)
        if level is None:
            return np.ones(shape, np.uint8)
        above = np.any(image > level, axis=0, keepdims=True)
        inside = _largest(resize(above, whole(shape), size)[0] >= 0.5)
    else:
        brightness = ndimage.gaussian_filter(resize(image, whole(shape), size).max(axis=0), SMOOTHING)
        inside = _largest(brightness > _threshold(brightness, method))
    return (resize(inside[None].astype(np.uint8), whole(size), shape)[0] >= 0.5).astype(np.uint8)


def _background(image: np.ndarray) -> float | None:
    """The grey value at and below which there is no breast; None where there is none.

    It is the commonest dark one, or the highest dark one that flat areas have: beside padding there can be
    the background of the exposed field.
    """
    seen = image[:, ::EVERY, ::EVERY].max(axis=0)
    lowest = float(seen.min())
    highest = float(np.percentile(seen, 99))
    if lowest == highest:
        raise ValueError(
            f"99 % of the image have the grey value {lowest:g}, so there is no breast to be found in it"
        )
    dark = seen <= lowest + DARK * (highest - lowest)
    values, counts = np.unique(seen[dark], return_counts=True)
    common = values[counts.argmax()] if counts.max() >= FLAT * seen.size else None
    flat = dark[1:, 1:] & (seen[1:, 1:] == seen[:-1, 1:]) & (seen[1:, 1:] == seen[1:, :-1])
    values, counts = np.unique(seen[1:, 1:][flat], return_counts=True)
    found = [*values[counts >= FLAT * seen.size], *([] if common is None else [common])]
    return float(max(found)) if found else None


def _threshold(brightness: np.ndarray, method: str) -> float:
    from skimage.filters import threshold_otsu, threshold_triangle

    lowest = float(brightness.min())
    if lowest == brightness.max():
        raise ValueError("the image has one grey value, so there is no breast to be found in it")
    if method == "triangle":
        return float(threshold_triangle(brightness, nbins=BINS))
    tissue = float(threshold_otsu(brightness, nbins=BINS))
    if method == "otsu":
        return tissue
    if method == "film":
        film = brightness[(brightness > lowest + FRAME * (tissue - lowest)) & (brightness < tissue)]
        dark = float(np.median(film)) if film.size else lowest
        return dark + SKIN * (tissue - dark)
    raise ValueError(
        f"unknown method {method!r} to find a breast; known are nonzero, digital, otsu, triangle, film"
    )


def _largest(bright: np.ndarray) -> np.ndarray:
    """The largest part, without what thin bridges join to it; filled."""
    # The image's edge is no edge of the breast: without a border of the same, an opening would round it off.
    padded = np.pad(bright, CUT + 1, mode="edge")
    opened = _widened(~_widened(~padded, outside=True), outside=False)
    opened = opened[CUT + 1 : -CUT - 1, CUT + 1 : -CUT - 1]
    labels, count = ndimage.label(opened if opened.any() else bright)
    if not count:
        return np.ones_like(bright)
    return _filled(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


def _widened(mask: np.ndarray, outside: bool) -> np.ndarray:
    """A mask (H, W) grown by a disc of radius ``CUT``; ``outside``: what lies beyond the edge.

    A disc is a stack of rows: the mask is grown along its rows step by step, and each stage is moved up and
    down to where the disc is that wide. Looking up a structuring element at each pixel takes fifty times as
    long.
    """
    wide = np.pad(mask, CUT, constant_values=outside)
    height, width = mask.shape
    rows, grown = wide[:, CUT:-CUT].copy(), np.zeros_like(mask)
    reach = 0
    for down in range(CUT, -1, -1):
        for step in range(reach + 1, math.isqrt(CUT * CUT - down * down) + 1):
            rows |= wide[:, CUT - step : CUT - step + width]
            rows |= wide[:, CUT + step : CUT + step + width]
            reach = step
        grown |= rows[CUT - down : CUT - down + height]
        grown |= rows[CUT + down : CUT + down + height]
    return grown


def _filled(part: np.ndarray) -> np.ndarray:
    """A mask (H, W) with its holes, which are what no path leads out of."""
    labels, _ = ndimage.label(np.pad(~part, 1, constant_values=True))
    return np.asarray(labels[1:-1, 1:-1] != labels[0, 0])
