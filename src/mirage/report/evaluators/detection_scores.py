"""Figures of merit of detectors with intervals: patients are resampled, and seeds where there are several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mirage.config.evaluations import ArmsEvaluation
from mirage.errors import DataError
from mirage.evaluate.marks import TESTS, Tables, read_tables
from mirage.evaluate.statistics import holm
from mirage.evaluate.statistics.resampling import bootstrap_interval, bootstrap_weights, limits
from mirage.metrics.detection import FIGURES, RATES, FreeResponse, froc, sensitivity_at
from mirage.metrics.hits import NODE21
from mirage.report.evaluators.arms import added, likes
from mirage.report.numbers import setting

Floats = npt.NDArray[np.float64]
DRAWS = 1000
"""Resamples of the patients."""
SENSITIVITY = "sensitivity_at_"
HIT_FRACTION = "hit_fraction"
FALSE_POSITIVES = np.concatenate([[0.0], np.geomspace(1 / 16, 16, 41)])
"""False positives an image at which a curve's band is drawn."""


@dataclass(frozen=True)
class Column:
    """One test column of an arm: its tables by seed, over the same images in the same order.

    Attributes:
        seeds: seed -> tables.
        shown_from: score from which marks count for the hit fraction.
    """

    seeds: Mapping[int, Tables]
    shown_from: float

    @property
    def items(self) -> pd.DataFrame:
        """Images, of any seed."""
        return next(iter(self.seeds.values())).items

    @property
    def patients(self) -> npt.NDArray[np.int64]:
        """(K,) number of each image's subject."""
        return next(iter(self.seeds.values())).patients()


def read_columns(folders: Mapping[int, Path], shown_from: float) -> dict[str, Column]:
    """Test columns of one arm.

    Args:
        folders: seed -> result folder.
        shown_from: see :class:`Column`.

    Raises:
        DataError: no marks, or seeds whose benchmark was of different images. Their own images differ where
            each seed has its own choice of training images; that column is then left out.
    """
    found = {seed: read_tables(folder / "details") for seed, folder in folders.items()}
    columns = {}
    for test in TESTS:
        own = {seed: _ordered(tables.of_test(test)) for seed, tables in found.items()}
        if any(not len(tables.items) for tables in own.values()):
            continue
        if len({tuple(tables.items["item_id"]) for tables in own.values()}) > 1:
            if test == "own":  # of a part of the training images, which is another for each seed
                continue
            raise DataError(f"{next(iter(folders.values())).parent}: seeds were scored on different images")
        columns[test] = Column(own, shown_from)
    return columns


def _ordered(tables: Tables) -> Tables:
    return Tables(tables.marks, tables.truths, tables.items.sort_values("item_id", ignore_index=True))


def rate_name(rate: float) -> str:
    """Metric of the sensitivity at so many false positives an image."""
    return f"{SENSITIVITY}{setting(rate)}"


def figures_of(tables: Tables, shown_from: float, weights: Floats | None) -> dict[str, Floats]:
    """Every figure that is defined (B,), by name.

    Args:
        tables: of one column and seed.
        shown_from: score from which marks count for the hit fraction.
        weights: (B, K) how often each image counts; None: once.
    """
    data, ranked = tables.free_response(), tables.rematched(NODE21).free_response()
    values: dict[str, Floats] = {}
    for name, figure in FIGURES.items():
        try:
            values[name] = figure(ranked if name == "node21" else data, weights)
        except DataError:
            continue  # no normal images
    for name in ("afroc", "wafroc"):
        if name in values:
            del values[f"{name}1"]  # of use only where the other is not defined
    if len(data.lesion_image):
        reached = sensitivity_at(data, RATES, weights, reached=True)
        values |= {rate_name(rate): reached[:, number] for number, rate in enumerate(RATES)}
        values[HIT_FRACTION] = _weighted_share(data, data.lesion_score >= shown_from, weights)
        values["ap"] = average_precision(data, weights)
    return values


def _weighted_share(data: FreeResponse, found: npt.NDArray[np.bool_], weights: Floats | None) -> Floats:
    given = np.ones((1, data.images)) if weights is None else weights
    times = given[:, data.lesion_image]
    total = times.sum(axis=1)
    return np.divide((times * found).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def average_precision(data: FreeResponse, weights: Floats | None = None) -> Floats:
    """Average precision (B,) under the hit rule that matched the marks: mean of 101 points, as COCO has it.

    Args:
        data: marks and lesions.
        weights: (B, K) how often each image counts; None: once.
    """
    given = np.ones((1, data.images)) if weights is None else weights
    hit = np.isfinite(data.lesion_score)
    score = np.concatenate([data.lesion_score[hit], data.false_score])
    image = np.concatenate([data.lesion_image[hit], data.false_image])
    order = np.argsort(-score, kind="stable")
    true = (np.arange(len(score)) < hit.sum())[order]
    points = np.linspace(0, 1, 101)
    values = np.full(len(given), np.nan)
    for row, times in enumerate(given):
        lesions = times[data.lesion_image].sum()
        if lesions <= 0:
            continue
        marked = times[image[order]]
        found, wrong = np.cumsum(marked * true), np.cumsum(marked * ~true)
        precision = found / np.maximum(found + wrong, 1e-300)
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        values[row] = best[np.searchsorted(found / lesions, points - 1e-12)].mean()
    return values


@dataclass(frozen=True)
class Resampled:
    """Figures of an arm's column by name: estimates, draws (B,) of patients and seeds, single seeds (S,)."""

    estimate: Mapping[str, float]
    draws: Mapping[str, Floats]
    by_seed: Mapping[str, Floats]
    patients: int
    seeds: int

    def interval(self, name: str) -> tuple[float, float]:
        """95 % interval of a figure, over patients and seeds."""
        return bootstrap_interval(
            self.estimate[name], self.draws[name], self.patients, by_seed=self.by_seed[name]
        )

    def difference(self, base: Resampled, name: str) -> tuple[float, float, float]:
        """A figure minus that of another arm, paired by patient and seed, and the ends of its interval."""
        value = self.estimate[name] - base.estimate[name]
        gaps, by_seed = self.draws[name] - base.draws[name], self.by_seed[name] - base.by_seed[name]
        return value, *bootstrap_interval(value, gaps, self.patients, by_seed=by_seed)


def resample(column: Column, draws: int = DRAWS) -> Resampled:
    """Estimates over all images and seeds, and the same over resampled patients and seeds.

    The same draws are made whatever the arm, so that arms with the same test images are paired.
    """
    rng = np.random.default_rng(20)
    patients = column.patients
    weights = bootstrap_weights(rng, patients, draws)
    count = len(column.seeds)
    by_seed = rng.multinomial(count, np.full(count, 1 / count), size=draws) / count  # (B, S)
    whole = [figures_of(tables, column.shown_from, None) for tables in column.seeds.values()]
    parts = [figures_of(tables, column.shown_from, weights) for tables in column.seeds.values()]
    names = [name for name in whole[0] if all(name in one for one in whole)]
    alone = {name: np.array([one[name][0] for one in whole]) for name in names}
    return Resampled(
        {name: float(np.mean(values)) for name, values in alone.items()},
        {name: np.sum([by_seed[:, s] * one[name] for s, one in enumerate(parts)], axis=0) for name in names},
        alone,
        int(patients.max()) + 1,
        count,
    )


def absolute_rows(found: Resampled, arm: str, suffix: str) -> list[dict[str, Any]]:
    """Rows of the summary of one arm and column; metrics end with ``suffix``."""
    rows = []
    for name, value in found.estimate.items():
        low, high = found.interval(name)
        rows.append({**_named(found, arm, f"{name}{suffix}"), "kind": "absolute", **_ends(value, low, high)})
    return rows


def _named(found: Resampled, arm: str, metric: str) -> dict[str, Any]:
    return {"arm": arm, "metric": metric, "n_subjects": found.patients, "n_seeds": found.seeds}


def _ends(value: float, low: float, high: float) -> dict[str, float]:
    return {"estimate": value, "low": low, "high": high}


def compared_rows(
    found: Mapping[str, Resampled], config: ArmsEvaluation, lower: Sequence[str]
) -> list[dict[str, Any]]:
    """Every arm against the baseline, and against its like where that is another.

    Args:
        found: arm -> figures on the shared test images.
        config: the evaluation.
        lower: metrics of which less is better.
    """
    rows = paired_rows(found, config.baseline, lower) if config.baseline in found else []
    for like, names in likes(config).items():
        pairs = {arm: found[arm] for arm in (like, *names) if arm in found}
        if like in pairs:
            rows += added(paired_rows(pairs, like, lower))
    return rows


def paired_rows(found: Mapping[str, Resampled], baseline: str, lower: Sequence[str]) -> list[dict[str, Any]]:
    """Differences and ratios of every arm to the baseline on the same patients, with p adjusted by Holm.

    Args:
        found: arm -> figures on the shared test images.
        baseline: arm that the others are compared with.
        lower: metrics of which less is better.
    """
    rows: list[dict[str, Any]] = []
    base = found[baseline]
    for name in base.estimate:
        compared = []
        for arm, own in found.items():
            if arm == baseline or name not in own.estimate:
                continue
            value, low, high = own.difference(base, name)
            gap = own.draws[name] - base.draws[name]
            row = {**_named(own, arm, name), "kind": "difference", **_ends(value, low, high)}
            compared.append({**row, "p": _p(gap), "verdict": _verdict(low, high, name in lower)})
            rows += _ratio(own, base, arm, name)
        adjusted = holm([row["p"] for row in compared])
        rows += [{**row, "p_holm": p} for row, p in zip(compared, adjusted, strict=True)]
    return rows


def _ratio(own: Resampled, base: Resampled, arm: str, name: str) -> list[dict[str, Any]]:
    if base.estimate[name] <= 0:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = own.draws[name] / base.draws[name]
    value = own.estimate[name] / base.estimate[name]
    by_seed = own.by_seed[name] / base.estimate[name] - value * (base.by_seed[name] / base.estimate[name] - 1)
    low, high = bootstrap_interval(value, draws, own.patients, by_seed=by_seed)
    return [{**_named(own, arm, name), "kind": "ratio", **_ends(value, max(low, 0.0), high)}]


def _p(draws: Floats) -> float:
    """Two-sided p of a bootstrap: twice the smaller share of draws on one side of zero."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return 1.0
    sides = [float((known <= 0).sum() + 1), float((known >= 0).sum() + 1)]
    return min(1.0, 2 * min(sides) / (len(known) + 1))


def _verdict(low: float, high: float, lower_is_better: bool) -> str:
    if low > 0:
        return "worse" if lower_is_better else "better"
    if high < 0:
        return "better" if lower_is_better else "worse"
    return "inconclusive"


def band(column: Column, draws: int = DRAWS) -> pd.DataFrame:
    """Mean curve over seeds and its 95 % band over patients, at fixed false positives an image.

    Returns:
        ``false_positives, sensitivity, low, high, reached``; ``reached`` is whether any seed's marks go so
        far, beyond which a curve is flat.
    """
    weights = bootstrap_weights(np.random.default_rng(21), column.patients, draws)
    data = [tables.free_response() for tables in column.seeds.values()]
    middle = np.mean([sensitivity_at(one, FALSE_POSITIVES.tolist())[0] for one in data], axis=0)
    drawn = np.mean([sensitivity_at(one, FALSE_POSITIVES.tolist(), weights) for one in data], axis=0)
    ends = [limits(drawn[:, place]) for place in range(len(FALSE_POSITIVES))]
    most = max(float(froc(one).false_positives[-1]) for one in data)
    low, high = zip(*ends, strict=True)
    return pd.DataFrame(
        {
            "false_positives": FALSE_POSITIVES,
            "sensitivity": middle,
            "low": low,
            "high": high,
            "reached": most >= FALSE_POSITIVES,
        }
    )


def by_column(
    columns: Mapping[str, Mapping[str, Column]], test: str, of: Callable[[Column], Any]
) -> dict[str, Any]:
    """``of`` the given test column of every arm that has one."""
    return {arm: of(own[test]) for arm, own in columns.items() if test in own}
