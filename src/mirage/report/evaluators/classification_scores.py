"""Figures of classifiers from their scores of single images, with resamples of patients and seeds.

Figures of the folds of a cross-validation are put together as Forman and Scholz (2010) advise: decisions are
counted over all folds before F1 is formed, areas and average precisions are means over folds, since scores of
different classifiers cannot be ranked together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from mirage.errors import DataError
from mirage.evaluate.statistics import LEVEL, Difference, delong_covariance
from mirage.metrics import classification as scores
from mirage.report.evaluators.detection_scores import Resampled

Floats = npt.NDArray[np.float64]
Key = tuple[int, int]
"""Fold and k."""
DRAWS = 400
NO_FOLD = -1


@dataclass(frozen=True)
class Scored:
    """Test images of one fold under one classifier, sorted by item id.

    Attributes:
        items: item ids (N,).
        subjects: (N,).
        positive: (N,) their class.
        score: (N,) probability of it.
        threshold: from which an image is called positive.
    """

    items: npt.NDArray[np.str_]
    subjects: npt.NDArray[np.str_]
    positive: npt.NDArray[np.bool_]
    score: Floats
    threshold: float


Arm = Mapping[int, Mapping[Key, Scored]]
"""Seed -> fold and k -> the test images."""


def read_arm(folders: Mapping[int, Path]) -> Arm:
    """Scores of one arm by seed.

    Raises:
        DataError: a table is missing or damaged.
    """
    return {seed: _read(folder) for seed, folder in sorted(folders.items())}


def _read(folder: Path) -> dict[Key, Scored]:
    try:
        table = pd.read_parquet(folder / "details/scores.parquet")
        rows = pd.read_parquet(folder / "metrics.parquet")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no scores of a classifier ({error}); run the evaluation again") from error
    rows = rows[rows["metric"] == "threshold"].fillna({"fold": NO_FOLD})
    chosen = {(int(row.fold), int(str(row.label).removeprefix("k="))): row.value for row in rows.itertuples()}
    test = table[table["split"] == "test"].fillna({"fold": NO_FOLD}).sort_values("item_id", kind="stable")
    return {
        (int(fold), int(k)): Scored(
            own["item_id"].to_numpy(str),
            own["subject_id"].to_numpy(str),
            own["positive"].to_numpy(bool),
            own["score"].to_numpy(np.float64),
            float(chosen[int(fold), int(k)]),
        )
        for (fold, k), own in test.groupby(["fold", "k"], sort=True)
    }


def sizes_of(arm: Arm) -> list[int]:
    """Every k, rising."""
    return sorted({k for _, k in next(iter(arm.values()))})


def folds_of(arm: Arm) -> list[int]:
    """Every fold, -1 where there is no cross-validation."""
    return sorted({fold for fold, _ in next(iter(arm.values()))})


def figures_of(own: Mapping[Key, Scored], k: int, weights: Mapping[int, Floats] | None) -> dict[str, Floats]:
    """Figures (B,) of one seed's classifiers of k positives, over all folds.

    Args:
        own: fold and k -> test images.
        k: real training positives.
        weights: fold -> (B, N) how often each image counts; None: once.
    """
    parts = [
        (one, None if weights is None else weights[fold]) for (fold, size), one in own.items() if size == k
    ]
    called = {
        "image_f1": [scores.counts(one.positive, one.score >= one.threshold, w) for one, w in parts],
        "image_f1_half": [scores.counts(one.positive, one.score >= 0.5, w) for one, w in parts],
    }
    found = {name: scores.f1_of(np.sum(counted, axis=0)) for name, counted in called.items()}
    for name, figure in (
        ("image_auc", scores.roc_auc),
        ("average_precision", scores.average_precision),
        ("brier", scores.brier),
        ("calibration_error", scores.calibration_error),
    ):
        found[name] = np.mean([figure(one.positive, one.score, w) for one, w in parts], axis=0)
    return found


def resample(arm: Arm, draws: int = DRAWS) -> Resampled:
    """Figures of one arm over all images and seeds, and over resampled patients and seeds.

    The same draws are made whatever the arm, so arms with the same test images are paired. Figures are
    ``<figure>/k=<k>`` and, the mean over all k, ``<figure>``.
    """
    rng = np.random.default_rng(22)
    first = next(iter(arm.values()))
    subjects = sorted({str(name) for one in first.values() for name in one.subjects})
    times = rng.multinomial(len(subjects), np.full(len(subjects), 1 / len(subjects)), size=draws)
    by_seed = rng.multinomial(len(arm), np.full(len(arm), 1 / len(arm)), size=draws) / len(arm)
    whole: list[dict[str, Floats]] = []
    parts: list[dict[str, Floats]] = []
    places = {key: np.searchsorted(subjects, one.subjects) for key, one in first.items()}
    for own in arm.values():
        by_k, drawn = {}, {}
        for k in sizes_of(arm):
            weights = {fold: times[:, places[fold, k]].astype(np.float64) for fold in folds_of(arm)}
            by_k[k], drawn[k] = figures_of(own, k, None), figures_of(own, k, weights)
        whole.append(_named(by_k))
        parts.append(_named(drawn))
    alone = {name: np.array([one[name][0] for one in whole]) for name in whole[0]}
    return Resampled(
        {name: float(np.mean(values)) for name, values in alone.items()},
        {
            name: np.sum([by_seed[:, s] * one[name] for s, one in enumerate(parts)], axis=0)
            for name in whole[0]
        },
        alone,
        len(subjects),
        len(arm),
    )


def _named(by_k: Mapping[int, Mapping[str, Floats]]) -> dict[str, Floats]:
    names = next(iter(by_k.values()))
    means = {name: np.mean([own[name] for own in by_k.values()], axis=0) for name in names}
    return means | {f"{name}/k={k}": own[name] for k, own in by_k.items() for name in names}


def one_image_each(arm: Arm) -> bool:
    """Whether every patient has one test image, as DeLong's interval takes for granted."""
    return all(len(set(one.subjects)) == len(one.subjects) for own in arm.values() for one in own.values())


def area_difference(arm: Arm, other: Arm, k: int) -> Difference:
    """Difference of mean areas under the ROC of two arms with k positives, by DeLong's covariance.

    Means are over seeds and folds; seeds are taken as they are, so that this speaks of these classifiers.

    Raises:
        DataError: the arms scored different images, or with other seeds.
    """
    gaps, variance, folds = [], 0.0, folds_of(arm)
    if list(arm) != list(other):
        raise DataError(f"arms with seeds {list(arm)} and {list(other)} cannot be paired")
    for fold in folds:
        tests = [own[fold, k] for side in (arm, other) for own in side.values()]
        if any(not np.array_equal(one.items, tests[0].items) for one in tests):
            raise DataError(
                f"arms were scored on different images in fold {fold}; they must share a test set"
            )
        positive = tests[0].positive
        stacked = np.stack([one.score for one in tests])
        areas, covariance = delong_covariance(stacked[:, positive], stacked[:, ~positive])
        sign = np.repeat([1.0, -1.0], len(arm)) / len(arm)
        gaps.append(float(sign @ areas))
        variance += float(sign @ covariance @ sign) / len(folds) ** 2
    gap, error = float(np.mean(gaps)), float(np.sqrt(max(variance, 0.0)))
    if error == 0:
        return Difference(gap, gap, gap, 1.0 if gap == 0 else 0.0)
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    return Difference(gap, gap - reach, gap + reach, float(2 * stats.norm.sf(abs(gap) / error)))


def by_fold(arm: Arm, other: Arm, metric: str, k: int) -> list[float]:
    """Differences of a figure of two arms, one a fold, the mean over seeds.

    Seeds of a fold share its training and its test images, so they are no further repetitions of the folds.
    """
    return [
        float(
            np.mean(
                [
                    figures_of({(fold, k): own[fold, k]}, k, None)[metric][0]
                    - figures_of({(fold, k): base[fold, k]}, k, None)[metric][0]
                    for own, base in zip(arm.values(), other.values(), strict=True)
                ]
            )
        )
        for fold in folds_of(arm)
    ]


def curves(found: Mapping[str, Resampled], metric: str, sizes: Sequence[int]) -> pd.DataFrame:
    """``arm, k, estimate, low, high`` of one share of all arms; 95 % intervals over patients and seeds."""
    rows: list[dict[str, Any]] = []
    for arm, own in found.items():
        for k in sizes:
            low, high = own.interval(f"{metric}/k={k}")
            rows.append(
                {"arm": arm, "k": k, "estimate": own.estimate[f"{metric}/k={k}"], "low": low, "high": high}
            )
    table = pd.DataFrame(rows).assign(metric=metric)
    return table.assign(low=table["low"].clip(lower=0), high=table["high"].clip(upper=1))
