"""Figures of merit of free-response detection: what marks with scores say of images with and without lesions.

``FROC`` has every distinct score as a threshold. Figures that compare lesions with the highest false mark of
normal images (AFROC, wAFROC and the inferred ROC) follow Chakraborty; a lesion without a mark, and an image
without a false mark, are rated minus infinity, and two such ratings are tied, which is the straight line that
closes the curve at (1, 1). Every figure takes weights of images, so that a bootstrap is one call.

Sources: LUNA16 (Setio 2017) for ``froc_mean``; Niemeijer 2011 for ``cpm``; Chakraborty 2017 and RJafroc for
AFROC and wAFROC; NODE21 (Sogancioglu 2024) for ``node21``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mirage.errors import DataError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""False positives an image at which LUNA16 reads the sensitivity."""
CHUNK = 1 << 22
"""Weighted marks computed at a time."""


@dataclass(frozen=True)
class FreeResponse:
    """What a detector marked on K images with L lesions.

    Attributes:
        images: K.
        lesion_image: (L,) image of each lesion.
        lesion_score: (L,) score of the mark that hit it, -inf where none did.
        false_image, false_score: (F,) image and score of every false positive.
        lesion_weight: (L,) weight of a lesion within its image, for wAFROC; summing to 1 an image. Equal by
            default.

    Raises:
        DataError: a score that is not a number, or an image that is not there.
    """

    images: int
    lesion_image: Indices
    lesion_score: Floats
    false_image: Indices
    false_score: Floats
    lesion_weight: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        for name in ("lesion_image", "false_image"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        for name in ("lesion_score", "false_score"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        named = np.concatenate([self.lesion_image, self.false_image])
        if len(named) and not 0 <= named.min() <= named.max() < self.images:
            raise DataError(
                f"marks or lesions on image {named.max()} (or below 0), there are {self.images} images"
            )
        if np.isnan(self.lesion_score).any() or not np.isfinite(self.false_score).all():
            raise DataError("a score is not a number; leave out marks without a score")
        if not len(self.lesion_weight):
            counts = np.bincount(self.lesion_image, minlength=max(self.images, 1))
            object.__setattr__(self, "lesion_weight", 1 / np.maximum(counts, 1)[self.lesion_image])

    @property
    def diseased(self) -> npt.NDArray[np.bool_]:
        """(K,) images that have lesions."""
        found = np.zeros(self.images, bool)
        found[self.lesion_image] = True
        return found

    @property
    def highest_false(self) -> Floats:
        """(K,) highest score of a false positive, -inf where an image has none."""
        return self._highest(self.false_image, self.false_score)

    @property
    def image_score(self) -> Floats:
        """(K,) highest score of any mark, -inf where an image has none."""
        return np.maximum(self.highest_false, self._highest(self.lesion_image, self.lesion_score))

    def _highest(self, image: Indices, score: Floats) -> Floats:
        highest = np.full(self.images, -np.inf)
        np.maximum.at(highest, image, score)
        return highest


@dataclass(frozen=True)
class Froc:
    """A free-response curve; the first point is (0, 0), above every score.

    Attributes:
        threshold: (T,) scores from high to low; a mark counts from this score on. The first is +inf.
        false_positives: (T,) false positives an image, over all images.
        sensitivity: (T,) share of the lesions that are found.
    """

    threshold: Floats
    false_positives: Floats
    sensitivity: Floats


def froc(data: FreeResponse) -> Froc:
    """The curve through every distinct score.

    Raises:
        DataError: there are no images, or no lesions to be found.
    """
    threshold, rates, found = _weighted_curves(data, np.ones((1, _some(data).images)))
    return Froc(np.concatenate([[np.inf], threshold]), rates[0], found[0])


def sensitivity_at(
    data: FreeResponse, rates: Sequence[float], weights: Floats | None = None, *, reached: bool = False
) -> Floats:
    """Sensitivity at so many false positives an image.

    Args:
        data: marks and lesions.
        rates: (R,) false positives an image.
        weights: (B, K) how often each image counts; None: once.
        reached: the best operating point that has at most so many false positives, else linear interpolation
            between points as LUNA16 does it. Beyond the last point the sensitivity stays what it is.

    Returns:
        (B, R) in [0, 1]; NaN where the weights leave no image or no lesion.

    Raises:
        DataError: there are no images, or no lesions to be found.
    """
    given = _weights(_some(data), weights)
    wanted, found = np.asarray(rates, np.float64), []
    rows = max(1, CHUNK // max(1, len(data.false_score) + len(data.lesion_score)))
    for start in range(0, len(given), rows):
        _, false, true = _weighted_curves(data, given[start : start + rows])
        for x, y in zip(false, true, strict=True):
            if reached:
                found.append(y[np.searchsorted(x, wanted, side="right") - 1])
            else:
                found.append(np.interp(wanted, x, y))
    read = np.array(found)
    read[~_any_lesion(data, given)] = np.nan
    return read


def cpm(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Competition performance metric (B,): mean sensitivity at 1/8 ... 8 false positives an image.

    Read at operating points that the detector reaches: what a user could really set. ``froc_mean`` is the
    same with points joined by lines, as LUNA16 has it; the two differ on small test sets only.
    """
    return np.asarray(sensitivity_at(data, RATES, weights, reached=True).mean(axis=1))


def froc_mean(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """LUNA16's score (B,): mean sensitivity at 1/8 ... 8 false positives an image, points joined by lines."""
    return np.asarray(sensitivity_at(data, RATES, weights).mean(axis=1))


def sensitivity(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Share of the lesions (B,) that any mark hits, however many false positives that takes."""
    given = _weights(_some(data), weights)
    times = given[:, data.lesion_image]
    return _ratio((times * (data.lesion_score > -np.inf)).sum(axis=1), times.sum(axis=1))


def false_positives(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """All false positives an image (B,)."""
    given = _weights(data, weights)
    return _ratio(given[:, data.false_image].sum(axis=1), given.sum(axis=1))


def afroc(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Area under AFROC (B,): lesions against the highest false mark of normal images, each lesion alike."""
    return _lesions_against(data, weights, _normals(data, "AFROC", "AFROC1"), equal_images=False)


def afroc1(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Area under AFROC1 (B,): as AFROC, against the highest false mark of every image."""
    return _lesions_against(data, weights, np.ones(data.images, bool), equal_images=False)


def wafroc(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Area under wAFROC (B,): as AFROC with lesions weighted so that every diseased image counts once."""
    return _lesions_against(data, weights, _normals(data, "wAFROC", "wAFROC1"), equal_images=True)


def wafroc1(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Area under wAFROC1 (B,): as wAFROC, against the highest false mark of every image.

    Of use only where there are no normal images.
    """
    return _lesions_against(data, weights, np.ones(data.images, bool), equal_images=True)


def roc_auc(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Area under the inferred ROC (B,): an image's score is its highest mark, whatever that hits.

    Raises:
        DataError: no normal or no diseased image.
    """
    normal = _normals(data, "the inferred ROC", "FROC")
    given, score = _weights(_some(data), weights), data.image_score
    wins = _wins(score[normal], given[:, normal], score[~normal])
    return _ratio((wins * given[:, ~normal]).sum(axis=1), given[:, ~normal].sum(axis=1))


def node21(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Rank of NODE21 (B,): 0.75 of the inferred ROC's area, 0.25 of the sensitivity at 0.25 false positives.

    Args:
        data: matched by :data:`mirage.metrics.hits.NODE21`; another rule gives another number.
        weights: (B, K) how often each image counts.

    Raises:
        DataError: no normal or no diseased image.
    """
    return 0.75 * roc_auc(data, weights) + 0.25 * sensitivity_at(data, [0.25], weights)[:, 0]


Figure = Callable[[FreeResponse, Floats | None], Floats]
FIGURES: dict[str, Figure] = {
    "cpm": cpm,
    "froc_mean": froc_mean,
    "sensitivity": sensitivity,
    "false_positives": false_positives,
    "afroc": afroc,
    "afroc1": afroc1,
    "wafroc": wafroc,
    "wafroc1": wafroc1,
    "roc_auc": roc_auc,
    "node21": node21,
}
"""Name in tables -> figure of merit; all but ``node21`` of marks matched by the configured rule."""
NEED_NORMALS = frozenset({"afroc", "wafroc", "roc_auc", "node21"})
"""Figures that are refused where every image has a lesion."""


def _some(data: FreeResponse) -> FreeResponse:
    if not data.images or not len(data.lesion_image):
        raise DataError(
            f"{data.images} images with {len(data.lesion_image)} lesions: there is nothing to be found; give "
            "the test set images with boxes"
        )
    return data


def _normals(data: FreeResponse, figure: str, instead: str) -> npt.NDArray[np.bool_]:
    """(K,) images without lesions.

    Raises:
        DataError: there are none.
    """
    normal = ~_some(data).diseased
    if not normal.any():
        raise DataError(
            f"{figure} compares lesions with images that have none, and all {data.images} images of the test "
            f"set have one; add normal images to the test set, or take {instead}, which is another quantity"
        )
    return normal


def _weights(data: FreeResponse, weights: Floats | None) -> Floats:
    return np.ones((1, data.images)) if weights is None else weights


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Quotient (B,), NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _any_lesion(data: FreeResponse, weights: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray(weights[:, data.lesion_image].sum(axis=1) > 0)


def _weighted_curves(data: FreeResponse, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Thresholds (T,), false positives an image and sensitivities (B, T + 1), from (0, 0) on."""
    hit = data.lesion_score > -np.inf
    score = np.concatenate([data.lesion_score[hit], data.false_score])
    image = np.concatenate([data.lesion_image[hit], data.false_image])
    true = np.arange(len(score)) < hit.sum()
    order = np.argsort(-score, kind="stable")
    score, times, true = score[order], weights[:, image[order]], true[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else np.empty(0, int)
    totals = weights.sum(axis=1), weights[:, data.lesion_image].sum(axis=1)
    curves = [
        np.cumsum(times * mine, axis=1)[:, last] / np.maximum(total, 1e-300)[:, None]
        for mine, total in zip((~true, true), totals, strict=True)
    ]
    false, found = (np.concatenate([np.zeros((len(weights), 1)), curve], axis=1) for curve in curves)
    return score[last], false, found


def _wins(rivals: Floats, weights: Floats, scores: Floats) -> Floats:
    """Weighted share (B, N) of rivals that each score exceeds, a tie counting half.

    Args:
        rivals: (R,) ratings.
        weights: (B, R) of the rivals.
        scores: (N,) ratings.
    """
    order = np.argsort(rivals, kind="stable")
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    sides = [np.searchsorted(rivals[order], scores, side=side) for side in ("left", "right")]
    won = (below[:, sides[0]] + below[:, sides[1]]) / 2
    total = below[:, -1:]
    return np.divide(won, total, out=np.full_like(won, np.nan), where=total > 0)


def _lesions_against(
    data: FreeResponse, weights: Floats | None, rivals: npt.NDArray[np.bool_], *, equal_images: bool
) -> Floats:
    """Mean share (B,) of the rival images' highest false marks that lesions exceed."""
    given = _weights(_some(data), weights)
    wins = _wins(data.highest_false[rivals], given[:, rivals], data.lesion_score)
    share = given[:, data.lesion_image] * (data.lesion_weight if equal_images else 1.0)
    return _ratio((wins * share).sum(axis=1), share.sum(axis=1))
