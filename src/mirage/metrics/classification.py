"""Scores of a classifier of two classes, for many weightings of the images at once.

A bootstrap over patients is a matrix of weights (B, N), how often each image counts, so that all its draws
cost one sort. ``weights=None`` counts every image once and gives arrays of length 1. An image is called
positive where its score reaches the threshold. What is not defined, for want of a class, is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
BINS = 15
"""Of the expected calibration error, of equal width (Guo 2017)."""


def counts(truth: Flags, called: Flags, weights: Floats | None = None) -> Floats:
    """True positives, false positives and false negatives (B, 3).

    Args:
        truth: (N,) whether an image is positive.
        called: (N,) whether it is called so.
        weights: (B, N).
    """
    table = np.stack([truth & called, ~truth & called, truth & ~called], axis=1).astype(np.float64)
    return np.asarray(_given(truth, weights) @ table)


def f1_of(found: Floats) -> Floats:
    """F1 (B,) of counts (B, 3): 2 TP / (2 TP + FP + FN); NaN without any positive, called or true."""
    total = 2 * found[:, 0] + found[:, 1] + found[:, 2]
    return _divided(2 * found[:, 0], total)


def best_threshold(truth: Flags, score: Floats) -> float:
    """Threshold of highest F1, halfway to the next lower score; the highest of several.

    Raises:
        ValueError: no positive, so that F1 is 0 whatever the threshold.
    """
    if not truth.any():
        raise ValueError("no positive to choose a threshold on")
    levels = np.unique(score)[::-1]
    order = np.argsort(-score, kind="stable")
    last = np.searchsorted(-score[order], -levels, side="right")
    true = np.cumsum(truth[order])[last - 1]
    f1 = 2 * true / (last + truth.sum())
    best = int(np.argmax(f1))
    below = levels[best + 1] if best + 1 < len(levels) else 0.0
    middle = float((levels[best] + below) / 2)
    # Between scores of a very sure network there may be no number: halfway is then rounded down to the lower.
    return middle if middle > below else float(levels[best])


def roc_auc(truth: Flags, score: Floats, weights: Floats | None = None) -> Floats:
    """Area under the ROC curve (B,), ties counted half."""
    positive, negative = _by_level(truth, score, weights)
    above = np.cumsum(positive, axis=1) - positive / 2  # of positives, at or above each level
    total = positive.sum(axis=1) * negative.sum(axis=1)
    return _divided((above * negative).sum(axis=1), total)


def average_precision(truth: Flags, score: Floats, weights: Floats | None = None) -> Floats:
    """Average precision (B,): mean over positives of the precision at their score, without interpolation."""
    positive, negative = _by_level(truth, score, weights)
    found = np.cumsum(positive, axis=1)
    precision = _divided(found, found + np.cumsum(negative, axis=1))
    return _divided(np.nansum(positive * precision, axis=1), positive.sum(axis=1))


def brier(truth: Flags, score: Floats, weights: Floats | None = None) -> Floats:
    """Mean squared difference (B,) of score and truth."""
    given = _given(truth, weights)
    return _divided(given @ (score - truth) ** 2, given.sum(axis=1))


def calibration_error(truth: Flags, score: Floats, weights: Floats | None = None) -> Floats:
    """Expected calibration error (B,): mean distance of mean score and share of positives, over 15 bins."""
    given = _given(truth, weights)
    bins = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    member = (bins[:, None] == np.arange(BINS)).astype(np.float64)
    gaps = np.abs(given @ (member * (score - truth)[:, None]))
    return _divided(gaps.sum(axis=1), given.sum(axis=1))


def _by_level(truth: Flags, score: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives (B, L) at each distinct score, the highest first."""
    given = _given(truth, weights)
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))
    positive = np.add.reduceat(given[:, order] * truth[order], starts, axis=1)
    negative = np.add.reduceat(given[:, order] * ~truth[order], starts, axis=1)
    return np.asarray(positive), np.asarray(negative)


def _given(truth: Flags, weights: Floats | None) -> Floats:
    return np.ones((1, len(truth))) if weights is None else weights


def _divided(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)
