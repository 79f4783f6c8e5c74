"""From draws to rows: the value of synthetic images, that of real ones, their ratio, and intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mirage.amounts import count
from mirage.evaluate.fidelity.draws import Draw, Floats, Plan, around
from mirage.evaluate.fidelity.measures import Found, Measure
from mirage.evaluate.statistics.rates import clopper_pearson
from mirage.evaluate.statistics.resampling import LEAST_SUBJECTS

ABOVE_ZERO = (0.0, float("inf"))
SHARE = (0.0, 1.0)
EVERYWHERE = (-float("inf"), float("inf"))
BIASED = "_biased"
"""Ending of the positive form of a metric, of which its ratio is taken."""


@dataclass(frozen=True)
class Scale:
    """How a metric varies.

    Attributes:
        bounds: its lowest and highest possible value.
        log: whether its interval is symmetric in the logarithm.
        ratio: whether it has one; not of what is about 0 between sets of one kind.
    """

    bounds: tuple[float, float] = ABOVE_ZERO
    log: bool = True
    ratio: bool = True


SCALES = {
    "frechet": Scale(),
    "frechet_pca": Scale(),
    "frechet_infinity": Scale(EVERYWHERE, log=False, ratio=False),
    "sliced_wasserstein": Scale(),
    "kid": Scale(EVERYWHERE, log=False),
    "precision": Scale(SHARE, log=False),
    "recall": Scale(SHARE, log=False),
    "density": Scale(ABOVE_ZERO, log=False),
    "coverage": Scale(SHARE, log=False),
    "vendi": Scale(),
    "feature_wasserstein1": Scale(),
    "mask_contrast": Scale(),
    "js_robust": Scale((0.0, float(np.log(2)))),
    "wasserstein1_robust": Scale(),
    **{
        f"kl_{profile}_{direction}": Scale()
        for profile in ("robust", "published")
        for direction in ("synthetic_real", "real_synthetic")
    },
}
Rows = list[dict[str, Any]]
NOTHING = 1e-9
"""Distances and ratios below are rounding errors of 0."""


def row(
    arm: str,
    metric: str,
    value: float,
    ends: tuple[float, float],
    *,
    protocol: str,
    items: int,
    subjects: int,
    label: str | None = None,
    kind: str = "absolute",
) -> dict[str, Any]:
    """One row of ``metrics.parquet``."""
    return {
        "arm": arm,
        "metric": metric,
        "label": label,
        "kind": kind,
        "protocol": protocol,
        "value": float(value),
        "low": float(ends[0]),
        "high": float(ends[1]),
        "n_items": items,
        "n_subjects": subjects,
    }


def measured(measure: Measure, plan: Plan, label: str, absent: dict[str, str]) -> Rows:
    """All rows of one measure.

    Args:
        measure: what is measured.
        plan: which items are compared.
        label: the encoder.
        absent: gets metric -> why it has no row.
    """
    equal, spread = _all(measure, plan.equal), _all(measure, plan.halves)
    found: Rows = []
    for metric in equal[0][0]:
        if metric.endswith(BIASED):
            continue
        values = [np.array([draw[side][metric] for draw in equal]) for side in (0, 1)]
        if not np.isfinite(values).all():
            absent[metric] = f"{plan.count} items a side are too few"
            continue
        found += _rows(metric, equal, spread, plan, label, absent)
    return found


def _all(measure: Measure, draws: Sequence[Draw]) -> list[tuple[Found, Found]]:
    """(judged, reference) of every draw."""
    found = [measure(draw.base, (draw.judged, draw.reference)) for draw in draws]
    return [(judged, reference) for judged, reference in found]


def _rows(
    metric: str,
    equal: Sequence[tuple[Found, Found]],
    spread: Sequence[tuple[Found, Found]],
    plan: Plan,
    label: str,
    absent: dict[str, str],
) -> Rows:
    scale = SCALES[metric]
    positive = metric + BIASED if metric + BIASED in equal[0][0] else metric
    fewest = plan.fewest

    def column(draws: Sequence[tuple[Found, Found]], side: int, name: str) -> Floats:
        return np.array([draw[side][name] for draw in draws])

    found: Rows = []
    for side, arm in enumerate(("synthetic", "reference")):
        value = float(np.median(column(equal, side, metric)))
        few = min(plan.subjects[side], plan.base_subjects)
        ends = around(value, column(spread, side, metric), few, log=scale.log, bounds=scale.bounds)
        if scale.bounds == SHARE and value in SHARE:
            ends = _of_none_or_all(value, few)
        found.append(planned(arm, metric, value, ends, plan, plan.subjects[side], label))
    own, other = (float(np.median(column(equal, side, positive))) for side in (0, 1))
    if not scale.ratio:
        return found
    if fewest < LEAST_SUBJECTS:
        absent[f"ratio of {metric}"] = too_few(fewest)
        return found
    if not other > NOTHING:
        absent[f"ratio of {metric}"] = f"it is {other:.3g} between real images"
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = column(spread, 0, positive) / column(spread, 1, positive)
    ends = around(own / other, ratios, fewest, log=True)
    if own == 0 and not scale.log:
        ends = 0.0, _of_none_or_all(0.0, fewest)[1] / other
    found.append(planned("synthetic", metric, own / other, ends, plan, fewest, label, kind="ratio"))
    return found


def too_few(subjects: int) -> str:
    """Why there is no ratio of so few patients: it could be anything, and no interval would tell."""
    return f"{count(subjects, 'patient')} a side are too few, {LEAST_SUBJECTS} are needed"


def _of_none_or_all(share: float, subjects: int) -> tuple[float, float]:
    """Exact interval of a share that resampling cannot move."""
    found = clopper_pearson(round(share) * subjects, subjects)
    return found.low, found.high


def planned(
    arm: str,
    metric: str,
    value: float,
    ends: tuple[float, float],
    plan: Plan,
    subjects: int,
    label: str,
    kind: str = "absolute",
) -> dict[str, Any]:
    """A row of what the draws of a plan gave."""
    return row(
        arm,
        metric,
        value,
        ends,
        protocol=plan.protocol,
        items=plan.count,
        subjects=subjects,
        label=label,
        kind=kind,
    )


def derived(
    rows: Rows, metric: str, kind: str, name: str, change: Callable[[float], float], absent: dict[str, str]
) -> Rows:
    """Absolute rows of another name whose values and ends are a monotone function of those of given ones.

    Args:
        rows: found so far.
        metric, kind: which of them are taken.
        name: of the new metric.
        change: the function, of positive numbers; a falling one swaps low and high.
        absent: gets why there is no row of either set, where the value of one is 0.
    """
    found = []
    for one in (one for one in rows if one["metric"] == metric and one["kind"] == kind):
        if one["value"] < NOTHING:
            absent[name] = f"the {metric.replace('_', ' ')} of the {one['arm']} set is 0"
            return []
        value, *ends = (
            change(one[end]) if one[end] > 0 else float("nan") for end in ("value", "low", "high")
        )
        low, high = sorted(ends)
        found.append({**one, "metric": name, "kind": "absolute", "value": value, "low": low, "high": high})
    return found
