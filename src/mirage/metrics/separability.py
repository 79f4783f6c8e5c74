"""Whether two sets can be told apart: by a classifier of all features, or feature by feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mirage.metrics.points import Array, Floats, check_points

FOLDS = 5
STRENGTH = 0.1
"""Inverse of the ridge penalty on z-scored features."""


@dataclass(frozen=True)
class TwoSampleTest:
    """Scores that a classifier gave to items it was not trained on.

    Attributes:
        folds: float64 (folds,), AUC of each fold.
        real, synthetic: float64 (N,) and (M,), score of each item, higher: taken for synthetic. Scores of
            different folds come from different classifiers.
        fold_real, fold_synthetic: int64 (N,) and (M,), the fold in which an item was scored.
    """

    folds: Floats
    real: Floats
    synthetic: Floats
    fold_real: npt.NDArray[np.int64]
    fold_synthetic: npt.NDArray[np.int64]

    @property
    def auc(self) -> float:
        """Mean of the folds: 0.5 where the sets cannot be told apart, 1 where they always can."""
        return float(self.folds.mean())


def classifier_two_sample(
    real: Array,
    synthetic: Array,
    groups: npt.NDArray[np.int64],
    *,
    seed: int,
    folds: int = FOLDS,
) -> TwoSampleTest:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017) by cross-validation, grouped by subject.

    A ridge logistic regression on z-scored features; the scaler is fitted within each training fold. An AUC
    near 0.5 says that this classifier finds no difference, not that there is none.

    Args:
        real: (N, D), float.
        synthetic: (M, D).
        groups: (N + M,), subject of each real, then of each synthetic item; a subject is never in the
            training and in the test part of a fold.
        seed: shuffles subjects into folds.
        folds: at most as many as there are subjects on either side.

    Raises:
        ValueError: too few subjects for two folds with both sets in each.
    """
    real, synthetic = check_points(real, synthetic, least=2)
    subjects = min(len(np.unique(groups[: len(real)])), len(np.unique(groups[len(real) :])))
    folds = min(folds, subjects)
    if folds < 2:
        raise ValueError("cross-validation by subject needs two subjects or more in each set")
    points = np.concatenate([real, synthetic]).astype(np.float64)
    label = np.repeat([0, 1], [len(real), len(synthetic)])
    # Where each item is a subject of its own, groups change nothing but take long to be dealt.
    grouped = len(np.unique(groups)) < len(groups)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    split = kind(folds, shuffle=True, random_state=seed)
    scores, fold = np.empty(len(points)), np.empty(len(points), np.int64)
    found = []
    for number, (train, test) in enumerate(split.split(points, label, groups if grouped else None)):
        if len(np.unique(label[train])) < 2 or len(np.unique(label[test])) < 2:
            raise ValueError(
                f"fold {number + 1} of {folds} holds only one of the two sets; ask for fewer folds, or check "
                "that subjects of both sets are not the same"
            )
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
        model.fit(points[train], label[train])
        scores[test], fold[test] = model.decision_function(points[test]), number
        found.append(roc_auc_score(label[test], scores[test]))
    cut = len(real)
    return TwoSampleTest(np.array(found), scores[:cut], scores[cut:], fold[:cut], fold[cut:])


@dataclass(frozen=True)
class FeatureTests:
    """Each feature of two sets, on its own.

    Attributes:
        statistic: float64 (D,), Kolmogorov-Smirnov distance of the distributions, 0 to 1.
        p: float64 (D,), of equal distributions (exact for small sets).
        q: float64 (D,), p adjusted for the false discovery rate over all features (Benjamini-Hochberg).
        wasserstein: float64 (D,), Wasserstein-1 distance in standard deviations of the real feature; in its
            own units where that is constant.
    """

    statistic: Floats
    p: Floats
    q: Floats
    wasserstein: Floats


def feature_tests(real: Array, synthetic: Array) -> FeatureTests:
    """Kolmogorov-Smirnov test and Wasserstein-1 distance of every feature.

    The p values hold for independent rows: give one row a subject (the mean of its items), or they are too
    small.

    Args:
        real: (N, D), float.
        synthetic: (M, D).

    Raises:
        ValueError: different dimensions, no points, or values that are not finite.
    """
    real, synthetic = (points.astype(np.float64) for points in check_points(real, synthetic))
    tests = [stats.ks_2samp(a, b) for a, b in zip(real.T, synthetic.T, strict=True)]
    p = np.array([test.pvalue for test in tests])
    spread = real.std(axis=0)
    shifts = [stats.wasserstein_distance(a, b) for a, b in zip(real.T, synthetic.T, strict=True)]
    return FeatureTests(
        np.array([test.statistic for test in tests]),
        p,
        stats.false_discovery_control(p, method="bh"),
        np.array(shifts) / np.where(spread > 0, spread, 1.0),
    )
