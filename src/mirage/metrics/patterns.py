"""Patterns: what is left of an image without its brightness, its contrast and what all images share.

Distances between grey values are dominated by brightness: a copy that is a little darker lies farther from
its original than another image of the same brightness. A pattern has the mean of every channel and the part
along the mean of all images that are compared taken out, and is scaled to one variance; the correlation of
two patterns is the partial correlation of the images given the average one. Their ``rms`` distance
(:mod:`mirage.metrics.neighbours`) is sqrt(2 - 2 r): 0 for the same image in whatever brightness and
contrast, 1.41 for unrelated ones.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mirage.metrics.neighbours import Floats, views


def template(images: Iterable[Floats]) -> Floats:
    """Direction (C, ...) of the mean of images, each centred and scaled, over all their views.

    Args:
        images: float32 (C, ...) of one shape, at least one, read once.
    """
    total, count = np.zeros(()), 0
    for image in images:
        total, count = total + _scaled(_centred(image)), count + 1
    return _scaled(np.mean(views(total / count), axis=0))


def pattern(image: Floats, common: Floats) -> Floats:
    """Pattern (C, ...) of an image, float32 of mean square 1; zeros where nothing is left.

    Args:
        image: float32 (C, ...).
        common: of the same shape, from :func:`template`.
    """
    centred = _centred(image)
    left = centred - (centred * common).sum() / max(common.size, 1) * common
    return np.asarray(_scaled(left, np.abs(centred).max(initial=0)), np.float32)


def similarity(distance: np.ndarray) -> np.ndarray:
    """Correlation of patterns at an ``rms`` distance."""
    return 1 - np.square(distance) / 2


def _centred(image: np.ndarray) -> np.ndarray:
    """Without the mean of every channel, float64."""
    values = image.astype(np.float64)
    return values - values.mean(axis=tuple(range(1, image.ndim)), keepdims=True)


def _scaled(values: np.ndarray, of: float = 1.0) -> np.ndarray:
    """With mean square 1; zeros where all that is left, beside values as large as ``of``, is rounding."""
    size = np.sqrt(np.mean(np.square(values)))
    return values / size if size > 1e-6 * of and size > 0 else np.zeros_like(values)
