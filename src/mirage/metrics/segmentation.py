"""Scores of one binary segmentation against its truth, inside a field of view.

Edge cases follow MetricsReloaded (Maier-Hein et al. 2024) and are the same everywhere:

- F1 and clDice: 1 when truth and prediction are both empty, 0 when just one of them is.
- Sensitivity without a positive pixel, specificity without a negative one, and both areas under curves
  with one class only are undefined: NaN. A NaN is kept as a row and left out of means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mirage.errors import DataError

Array = np.ndarray


@dataclass(frozen=True)
class Confusion:
    """Pixel counts of a binary segmentation."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def f1(self) -> float:
        """F1 of the foreground, which is its Dice coefficient: 2 TP / (2 TP + FP + FN)."""
        return _f1(self.tp, self.fp, self.fn)

    @property
    def macro_f1(self) -> float:
        """Mean of the F1 of foreground and of background.

        A thin foreground makes it much larger than F1. On the 20 DRIVE test images the second observer
        scores F1 0.788 and macro-F1 0.879 against the first; the 0.8988 and 0.8877 published for the
        dual-GAN retina study lie above what F1 allows and read like this quantity ("macro-F1-like").
        """
        return (self.f1 + _f1(self.tn, self.fn, self.fp)) / 2

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN); NaN without positives."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP); NaN without negatives."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def accuracy(self) -> float:
        """Share of pixels that agree."""
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else float("nan")


def _f1(tp: int, fp: int, fn: int) -> float:
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else 1.0


def _inside(fov: Array | None, *arrays: Array) -> list[Array]:
    """Values of the arrays inside the field of view, flat."""
    shapes = {array.shape for array in arrays} | ({fov.shape} if fov is not None else set())
    if len(shapes) != 1:
        raise DataError(f"truth, prediction and field of view differ in shape: {sorted(shapes)}")
    if fov is None:
        return [array.ravel() for array in arrays]
    keep = fov.astype(bool)
    return [array[keep] for array in arrays]


def confusion(truth: Array, prediction: Array, fov: Array | None = None) -> Confusion:
    """Count agreements of two binary masks of one shape (non-zero is foreground) inside ``fov``.

    Raises:
        DataError: the shapes differ.
    """
    t, p = (array.astype(bool) for array in _inside(fov, truth, prediction))
    tp = int(np.count_nonzero(t & p))
    positives, predicted = int(np.count_nonzero(t)), int(np.count_nonzero(p))
    return Confusion(tp, predicted - tp, positives - tp, t.size - positives - predicted + tp)


def cldice(truth: Array, prediction: Array, fov: Array | None = None) -> float:
    """Centreline Dice of two binary masks (H, W) (Shit et al., CVPR 2021), with thinned skeletons.

    Harmonic mean of the share of the predicted skeleton inside the truth and the share of the true
    skeleton inside the prediction. The masks are cut to ``fov`` before they are thinned.

    Raises:
        DataError: the shapes differ.
    """
    from skimage.morphology import skeletonize

    _inside(fov, truth, prediction)
    keep = np.ones(truth.shape, bool) if fov is None else fov.astype(bool)
    t, p = truth.astype(bool) & keep, prediction.astype(bool) & keep
    if not t.any() or not p.any():
        return float(not t.any() and not p.any())
    skeleton_t, skeleton_p = skeletonize(t), skeletonize(p)
    precision = np.count_nonzero(skeleton_p & t) / np.count_nonzero(skeleton_p)
    sensitivity = np.count_nonzero(skeleton_t & p) / np.count_nonzero(skeleton_t)
    total = precision + sensitivity
    return float(2 * precision * sensitivity / total) if total else 0.0


def class_counts(truth: Array, score: Array, fov: Array | None = None) -> tuple[Array, Array]:
    """Negatives and positives at every distinct score, from the lowest score up.

    Scores of type uint8 give two arrays of length 256, one entry a value; other scores one entry for
    each value that occurs. Everything below is exact on these counts: nothing is binned.

    Returns:
        int64 arrays (negatives, positives) of one length.

    Raises:
        DataError: the shapes differ, or a score is NaN.
    """
    t, s = _inside(fov, truth, score)
    t = t.astype(bool)
    if s.dtype == np.uint8:
        index, length = s, 256
    else:
        if np.isnan(s).any():
            raise DataError("a score is NaN; the segmenter's output is damaged")
        values, index = np.unique(s, return_inverse=True)
        length = len(values)
    return np.bincount(index[~t], minlength=length), np.bincount(index[t], minlength=length)


def roc_auc(negatives: Array, positives: Array) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half) of counts from ``class_counts``."""
    n, p = negatives.astype(np.float64), positives.astype(np.float64)
    below = np.cumsum(n) - n
    return _ratio(float(np.sum(p * (below + n / 2))), float(n.sum() * p.sum()))


def average_precision(negatives: Array, positives: Array) -> float:
    """Area under the precision-recall curve as sum of precision x recall step, without interpolation.

    The definition of scikit-learn's ``average_precision_score``. NaN without positives or negatives.
    """
    n, p = negatives[::-1].astype(np.float64), positives[::-1].astype(np.float64)
    if not p.sum() or not n.sum():
        return float("nan")
    tp, called = np.cumsum(p), np.cumsum(p + n)
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
    return float(np.sum(precision * p) / p.sum())


def f1_by_threshold(negatives: Array, positives: Array) -> npt.NDArray[np.float64]:
    """F1 of ``score >= value`` for each of the values of ``class_counts``, float64."""
    fp = np.cumsum(negatives[::-1])[::-1].astype(np.float64)
    tp = np.cumsum(positives[::-1])[::-1].astype(np.float64)
    fn = float(positives.sum()) - tp
    total = 2 * tp + fp + fn
    return np.divide(2 * tp, total, out=np.ones_like(tp), where=total > 0)


def best_threshold(counts: Sequence[tuple[Array, Array]]) -> tuple[int, float]:
    """The uint8 score that, as ``score >= threshold``, gives the highest mean F1 over images.

    Args:
        counts: ``class_counts`` of uint8 scores, one pair an image.

    Returns:
        threshold in 1 ... 255 (the middle one of equally good ones) and its mean F1.
    """
    mean = np.mean([f1_by_threshold(*pair) for pair in counts], axis=0)[1:]
    best = np.flatnonzero(mean >= mean.max() - 1e-12)
    middle = int(best[len(best) // 2])
    return middle + 1, float(mean[middle])


def mask_scores(truth: Array, prediction: Array, fov: Array | None = None) -> dict[str, float]:
    """Scores of a binary mask: f1, macro_f1, sensitivity, specificity, accuracy, cldice."""
    counted = confusion(truth, prediction, fov)
    return {
        "f1": counted.f1,
        "macro_f1": counted.macro_f1,
        "sensitivity": counted.sensitivity,
        "specificity": counted.specificity,
        "accuracy": counted.accuracy,
        "cldice": cldice(truth, prediction, fov),
    }


def probability_scores(
    truth: Array, probability: Array, threshold: int, fov: Array | None = None
) -> dict[str, float]:
    """Scores of a probability map.

    Args:
        truth: binary mask (H, W).
        probability: uint8 (H, W), probability x 255.
        threshold: pixels of at least this value are foreground.
        fov: binary mask (H, W), or None for the whole image.

    Returns:
        ``mask_scores`` at the threshold; ``f1_half``, F1 at probability one half; ``roc_auc``, ``pr_auc``.
    """
    counts = class_counts(truth, probability, fov)
    return {
        **mask_scores(truth, probability >= threshold, fov),
        "f1_half": confusion(truth, probability >= 128, fov).f1,
        "roc_auc": roc_auc(*counts),
        "pr_auc": average_precision(*counts),
    }
