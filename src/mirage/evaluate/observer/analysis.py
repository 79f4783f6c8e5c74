"""What readers' answers tell: for each reader, between readers, over readers; and what they do not tell."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_curve

from mirage.amounts import count
from mirage.evaluate.observer.answers import PLAUSIBILITY
from mirage.evaluate.observer.key import PLACES, SINGLE, Key
from mirage.evaluate.statistics import (
    ReaderMean,
    chance_p,
    clopper_pearson,
    cohen_kappa,
    delong,
    detectability,
    equivalence_p,
    fleiss_kappa,
    forced_choice,
    holm,
    mcnemar,
    mean_area,
    mean_share,
    plan_detection,
    plan_equivalence,
)
from mirage.evaluate.statistics.guessing import ALPHA
from mirage.evaluate.statistics.readers import FEWEST

ALL = "readers"
"""Arm of what is of all readers."""
SHARES = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
MARGINS = (0.05, 0.1, 0.15, 0.2)
UNKNOWN = (float("nan"), float("nan"))
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Result:
    """The analysis of a study.

    Attributes:
        rows: of ``metrics.parquet``.
        readers: one row a reader, with its confusion table, statistics, ``word`` and ``sentence``.
        pairs: one row for two readers: kappas and McNemar's test.
        cases: one row a reader and case: answer, truth, whether right, rating, seconds, where it is from.
        roc: operating points of the ratings: reader, fpr, tpr.
        overall: word over all readers: ``told_apart``, ``equivalent``, ``inconclusive`` or ``waiting``.
        sentences: the findings in words.
        remarks: what has to be known to read them.
    """

    rows: list[dict[str, Any]]
    readers: pd.DataFrame
    pairs: pd.DataFrame
    cases: pd.DataFrame
    roc: pd.DataFrame
    overall: str
    sentences: list[str]
    remarks: list[str]


def analyse(key: Key, answers: pd.DataFrame, margin: float) -> Result:
    """Analyse all answers.

    Statistics: accuracy with the exact interval of Clopper and Pearson and the exact binomial p against one
    half, p also adjusted for all readers by Holm; d' and criterion with the log-linear correction; area under
    the ROC of the ratings (DeLong); Cohen's kappa with the truth and between readers, Fleiss' kappa of
    several; McNemar's test; equivalence to guessing within the margin by two one-sided exact tests; from
    three readers on the mean accuracy and area by Obuchowski and Rockette. Pairs have accuracy, its tests,
    d' and the share of left answers.

    Args:
        key: the truth.
        answers: as :func:`mirage.evaluate.observer.answers.read_answers` gives them; empty before there are
            any.
        margin: of the equivalence test, share.
    """
    if not len(answers):
        empty = pd.DataFrame()
        waiting = "Waiting for readers: nobody has sent answers back yet."
        return Result(_counts(key), empty, empty, empty, empty, "waiting", [waiting], [])
    cases = answers.merge(key.cases, on="case", suffixes=("", "_key"), validate="many_to_one")
    cases["correct"] = np.where(cases["answer"] == "", np.nan, cases["answer"] == cases["truth"])
    cases["synthetic"] = cases["case"].map(key.synthetic)
    names = list(dict.fromkeys(answers["reader"]))
    found = [_reader(key, name, cases[cases["reader"] == name], margin) for name in names]
    for one, adjusted in zip(found, holm([one["p"] for one in found]), strict=True):
        one["p_holm"] = adjusted
        one["word"], one["sentence"] = _word(one, margin)
    readers = pd.DataFrame(found)
    rows = [*_counts(key), *(row for one in found for row in _rows(one, key))]
    wide = _complete(cases, names)
    pairs = _pairs(key, wide)
    rows += [row for one in pairs.to_dict("records") for row in _pair_rows(one)]
    over = _over_readers(key, cases, wide, margin)
    rows += over.rows
    rows += _plausibility(key, cases, names)
    overall = _overall(found, over)
    sentences = [*(one["sentence"] for one in found), *over.sentences]
    return Result(
        rows, readers, pairs, cases, _roc(key, cases, names), overall, sentences, _remarks(key, found)
    )


def planning() -> pd.DataFrame:
    """Cases that an aim takes with 80 % power at 5 %: ``aim, share, normal, exact``.

    ``detection``: of a true share of right answers; ``equivalence``: to one half within +- the share.
    """
    rows = [("detection", share, *plan_detection(share)) for share in SHARES]
    rows += [("equivalence", margin, *plan_equivalence(margin)) for margin in MARGINS]
    return pd.DataFrame(rows, columns=["aim", "share", "normal", "exact"])


def _reader(key: Key, name: str, own: pd.DataFrame, margin: float) -> dict[str, Any]:
    """Everything about one reader."""
    decided = own[own["answer"] != ""]
    right = int(decided["correct"].sum())
    total = len(decided)
    share = clopper_pearson(right, total) if total else (float("nan"), *UNKNOWN)
    found: dict[str, Any] = {
        "reader": name,
        "years": own["years"].iloc[0],
        "cases": len(own),
        "of": len(key.cases),
        "undecided": len(own) - total,
        "right": right,
        "accuracy": share[0],
        "accuracy_low": share[1],
        "accuracy_high": share[2],
        "p": chance_p(right, total) if total else float("nan"),
        "equivalence_p": equivalence_p(right, total, margin) if total else float("nan"),
        "seconds": own["seconds"].median(),
    }
    truth, said = decided["synthetic"].to_numpy(bool), _said(decided)
    if key.mode != SINGLE:
        left = int((~said).sum())
        return found | {
            "d_prime": forced_choice(right, total),
            "left": left / total,
            "left_p": chance_p(left, total),
        }
    counts = {
        "hits": int((truth & said).sum()),
        "misses": int((truth & ~said).sum()),
        "false_alarms": int((~truth & said).sum()),
        "correct_rejections": int((~truth & ~said).sum()),
    }
    found |= counts
    if total:
        found |= _named("kappa", cohen_kappa(said, truth))
    if truth.any() and not truth.all():
        found |= _detection(counts)
    rated = own[own["rating"].notna()]
    synthetic = rated["synthetic"].to_numpy(bool)
    if synthetic.any() and not synthetic.all():
        area = delong(rated["rating"][synthetic], rated["rating"][~synthetic])
        found |= {"auc": area.estimate, "auc_low": area.low, "auc_high": area.high}
    return found


def _said(cases: pd.DataFrame) -> Flags:
    """Whether the answer was synthetic, or right of a pair."""
    return cases["answer"].isin(("synthetic", PLACES[1])).to_numpy(bool)


def _detection(counts: dict[str, int]) -> dict[str, float]:
    signals, noises = counts["hits"] + counts["misses"], counts["false_alarms"] + counts["correct_rejections"]
    found = detectability(counts["hits"], signals, counts["false_alarms"], noises)
    rates = {
        "hit_rate": clopper_pearson(counts["hits"], signals),
        "false_alarm_rate": clopper_pearson(counts["false_alarms"], noises),
        "d_prime": found.d_prime,
    }
    ends = {
        f"{name}{end}": value
        for name, interval in rates.items()
        for end, value in zip(("", "_low", "_high"), interval, strict=True)
    }
    return {**ends, "criterion": found.criterion}


def _named(prefix: str, kappa: Any) -> dict[str, float]:
    return {
        prefix: kappa.estimate,
        f"{prefix}_low": kappa.low,
        f"{prefix}_high": kappa.high,
        f"{prefix}_max": kappa.largest,
        "pabak": kappa.pabak,
    }


def _word(one: dict[str, Any], margin: float) -> tuple[str, str]:
    """What is shown for one reader, and the sentence that says it."""
    right, total = one["right"], one["cases"] - one["undecided"]
    if not total:
        return "inconclusive", f"{one['reader']} decided on no case."
    points = f"{100 * margin:g} points"
    told, alike = one["p_holm"] < ALPHA, one["equivalence_p"] < ALPHA
    numbers = (
        f"{right} of {total} right ({100 * one['accuracy']:.1f} %, 95 % interval "
        f"{100 * one['accuracy_low']:.1f} to {100 * one['accuracy_high']:.1f} %, exact {_p(one['p'])}; "
        f"equivalence to guessing within {points}: {_p(one['equivalence_p'])})"
    )
    if told:
        how = (
            "told the kinds apart"
            if one["accuracy"] > 0.5
            else "sees a difference, named the wrong way round"
        )
        less = f", by less than {points}" if alike else ""
        return "equivalent" if alike else "told_apart", f"{one['reader']} {how}{less}: {numbers}."
    if alike:
        return "equivalent", f"{one['reader']} did as guessing does, within {points}: {numbers}."
    needed = plan_equivalence(margin).exact
    return "inconclusive", (
        f"{one['reader']}: inconclusive, neither a difference nor guessing is shown: {numbers}. Showing "
        f"guessing within {points} takes about {needed} cases."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _counts(key: Key) -> list[dict[str, Any]]:
    truths = key.cases["truth"]
    return [
        _row(truth, "cases", None, float((truths == truth).sum()), UNKNOWN, int((truths == truth).sum()))
        for truth in sorted(set(truths))
    ]


def _row(
    arm: str,
    metric: str,
    label: str | None,
    value: float,
    ends: tuple[float, float],
    items: int,
    p: float = float("nan"),
    p_holm: float = float("nan"),
) -> dict[str, Any]:
    return {
        "arm": arm,
        "metric": metric,
        "label": label,
        "kind": "absolute",
        "value": value,
        "low": ends[0],
        "high": ends[1],
        "n_items": items,
        "n_subjects": items,
        "p": p,
        "p_holm": p_holm,
    }


PLAIN = ("kappa_max", "pabak", "criterion", "equivalence_p", "seconds")
COUNTED = ("hits", "misses", "false_alarms", "correct_rejections", "undecided")
WITH_ENDS = ("hit_rate", "false_alarm_rate", "d_prime", "auc", "kappa")


def _rows(one: dict[str, Any], key: Key) -> list[dict[str, Any]]:
    """Rows of one reader."""
    name, total = one["reader"], one["cases"]
    ends = one["accuracy_low"], one["accuracy_high"]
    rows = [_row(name, "accuracy", None, one["accuracy"], ends, total, one["p"], one["p_holm"])]
    for metric in WITH_ENDS:
        if metric in one:
            ends = one.get(f"{metric}_low", UNKNOWN[0]), one.get(f"{metric}_high", UNKNOWN[0])
            rows.append(_row(name, metric, None, one[metric], ends, total))
    rows += [_row(name, metric, None, one[metric], UNKNOWN, total) for metric in PLAIN if metric in one]
    if key.mode == SINGLE:
        return rows + [_row(name, metric, None, one[metric], UNKNOWN, total) for metric in COUNTED]
    return [*rows, _row(name, "left", None, one["left"], UNKNOWN, total, one["left_p"])]


def _complete(cases: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Answers, cases x readers; empty where a reader did not answer or decide."""
    wide = cases.pivot(index="case", columns="reader", values="answer")[names]
    return wide.fillna("")


def _pairs(key: Key, wide: pd.DataFrame) -> pd.DataFrame:
    """Every two readers, on the cases that both decided."""
    found = []
    truth = key.cases.set_index("case")["truth"]
    for first, second in itertools.combinations(wide.columns, 2):
        both = wide[(wide[first] != "") & (wide[second] != "")]
        if both.empty:
            continue
        known = truth[both.index]
        kappa = cohen_kappa(*(both[name].isin(("synthetic", PLACES[1])) for name in (first, second)))
        test = mcnemar(both[first] == known, both[second] == known)
        found.append(
            {
                "first": first,
                "second": second,
                "cases": len(both),
                **_named("kappa", kappa),
                "agreement": kappa.agreement,
                "first_alone": test.first,
                "second_alone": test.second,
                "p": test.p,
            }
        )
    table = pd.DataFrame(found)
    return table.assign(p_holm=holm(table["p"].tolist())) if found else table


def _pair_rows(one: dict[str, Any]) -> list[dict[str, Any]]:
    name, other, total = one["first"], one["second"], one["cases"]
    difference = (one["first_alone"] - one["second_alone"]) / total
    return [
        _row(name, "kappa", other, one["kappa"], (one["kappa_low"], one["kappa_high"]), total),
        _row(name, "kappa_max", other, one["kappa_max"], UNKNOWN, total),
        _row(name, "pabak", other, one["pabak"], UNKNOWN, total),
        _row(name, "accuracy_difference", other, difference, UNKNOWN, total, one["p"], one["p_holm"]),
    ]


@dataclass(frozen=True)
class Over:
    """What is of all readers together; ``mean`` is their accuracy, None below three of them."""

    rows: list[dict[str, Any]]
    sentences: list[str]
    mean: ReaderMean | None
    equivalence_p: float


def _over_readers(key: Key, cases: pd.DataFrame, wide: pd.DataFrame, margin: float) -> Over:
    """Fleiss' kappa, and the mean accuracy and area, on the cases that all decided."""
    rows: list[dict[str, Any]] = []
    every = wide[(wide != "").all(axis=1)]
    readers, nan = wide.shape[1], float("nan")
    if readers >= FEWEST and len(every):
        kappa = fleiss_kappa(every.isin(("synthetic", PLACES[1])).to_numpy().T)
        rows.append(_row(ALL, "fleiss_kappa", None, kappa[0], kappa[1:], len(every)))
    truth = key.synthetic[every.index].to_numpy(bool)
    fewest = min(truth.sum(), (~truth).sum()) if key.mode == SINGLE else len(truth)
    if readers < FEWEST or fewest < 2:
        return Over(rows, [], None, nan)
    correct = (every.eq(key.cases.set_index("case")["truth"][every.index], axis=0)).to_numpy().T
    mean = mean_share(correct, truth if key.mode == SINGLE else None)
    alike = mean.equivalence_p(margin)
    rows.append(_row(ALL, "accuracy", None, mean.estimate, (mean.low, mean.high), len(every), mean.p))
    rows.append(_row(ALL, "equivalence_p", None, alike, UNKNOWN, len(every)))
    said = [
        f"Over readers and cases like these ({readers} readers, {count(len(every), 'case')} decided by all, "
        f"Obuchowski and Rockette) the mean accuracy is {100 * mean.estimate:.1f} % (95 % interval "
        f"{100 * mean.low:.1f} to {100 * mean.high:.1f} %, {_p(mean.p)}; equivalence to guessing within "
        f"{100 * margin:g} points: {_p(alike)})."
    ]
    ratings = cases.pivot(index="case", columns="reader", values="rating")[wide.columns].dropna()
    truth = key.synthetic[ratings.index].to_numpy(bool)
    if key.mode == SINGLE and min(truth.sum(), (~truth).sum()) >= 2:
        area = mean_area(ratings.to_numpy().T, truth)
        rows.append(_row(ALL, "auc", None, area.estimate, (area.low, area.high), len(ratings), area.p))
        said.append(
            f"The mean area under the ROC of their ratings is {area.estimate:.3f} (95 % interval "
            f"{area.low:.3f} to {area.high:.3f}, {_p(area.p)})."
        )
    return Over(rows, said, mean, alike)


def _overall(found: list[dict[str, Any]], over: Over) -> str:
    """Over all readers: the worst word of one, unless the mean of three or more shows a difference."""
    words = {one["word"] for one in found}
    if over.mean is not None and over.mean.p < ALPHA and not over.equivalence_p < ALPHA:
        return "told_apart"
    if "told_apart" in words:
        return "told_apart"
    return "equivalent" if words == {"equivalent"} else "inconclusive"


def _plausibility(key: Key, cases: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """How often a real image is rated more plausible than a synthetic one: area, by finding."""
    rows = []
    findings = [name for name in cases.columns if name.startswith(PLAUSIBILITY)]
    for name, finding in itertools.product(names, findings if key.mode == SINGLE else []):
        own = cases[(cases["reader"] == name) & cases[finding].notna()]
        synthetic = own["synthetic"].to_numpy(bool)
        if synthetic.any() and not synthetic.all():
            area = delong(own[finding][~synthetic], own[finding][synthetic])
            label = finding.removeprefix(PLAUSIBILITY)
            rows.append(_row(name, "plausibility", label, area.estimate, area[1:], len(own)))
    return rows


def _roc(key: Key, cases: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    tables = []
    for name in names:
        own = cases[(cases["reader"] == name) & cases["rating"].notna()]
        synthetic = own["synthetic"].to_numpy(bool)
        if key.mode == SINGLE and synthetic.any() and not synthetic.all():
            fpr, tpr, _ = roc_curve(synthetic, own["rating"], drop_intermediate=False)
            tables.append(pd.DataFrame({"reader": name, "fpr": fpr, "tpr": tpr}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _remarks(key: Key, found: list[dict[str, Any]]) -> list[str]:
    said = []
    for one in found:
        name = one["reader"]
        if one["cases"] < one["of"]:
            said.append(
                f"{name} answered {one['cases']} of {count(one['of'], 'case')}; the others are left out."
            )
        if one["undecided"]:
            said.append(
                f"{name} left {count(one['undecided'], 'case')} in the middle of the scale; accuracy leaves "
                "them out, the area under the ROC does not."
            )
        if "auc" in one and (one["accuracy"] - 0.5) * (one["auc"] - 0.5) < 0:
            said.append(
                f"{name}: accuracy and area under the ROC lie on different sides of one half. Neither can be "
                "read without the confusion table and the ratings."
            )
        if one.get("left_p", 1.0) < ALPHA:
            said.append(
                f"{name} chose the left image in {100 * one['left']:.0f} % of the pairs (exact "
                f"{_p(one['left_p'])}), whatever it showed: a bias of place, which lowers accuracy."
            )
    if len(found) > 1:
        said.append(
            "p values of accuracies are exact and, for the words, adjusted for the number of readers by Holm."
        )
    return said
