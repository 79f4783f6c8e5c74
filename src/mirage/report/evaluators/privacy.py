"""Novelty and privacy in the report: verdicts by the release gate, and what no number of it can bear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mirage.config.evaluations import PrivacyEvaluation
from mirage.data import Dataset
from mirage.evaluate.privacy.gate import ALONE
from mirage.files import read_json
from mirage.report.book import Book
from mirage.report.chapters.base import Chapter, listing, words
from mirage.report.evaluators import privacy_tables
from mirage.report.evaluators.novelty_chapter import novelty_chapter
from mirage.report.evaluators.privacy_chapter import privacy_chapter
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import estimate, number, setting
from mirage.report.summary import COLUMNS, pick, read_metrics, row_key
from mirage.report.verdicts import Verdict, Word, worst

TITLES = {
    **privacy_tables.TITLES,
    "flagged": "flagged as copies by the copy detector",
    "recall": "injected copies found",
    "auc": "membership attack (AUC)",
    "tpr_at_fpr_1": "members told at 1 % false alarms",
}
NOVELTY_LIMITS = ("exact copies", "near copies", "copies flagged")
DECIDE_NOVELTY = ("exact_copies", "near_copies", "flagged", "nearest")
DECIDE_PRIVACY = (
    "exact_copies",
    "near_copies",
    "flagged",
    "auc",
    "tpr_at_fpr_1",
    "dcr_share",
    "exact_duplicates",
    "reidentified",
)


def summarise(name: str, config: PrivacyEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of the evaluation, which come with their intervals, under the summary's columns."""
    renamed = read_metrics(folders).rename(columns={"value": "estimate"}).assign(evaluation=name)
    return renamed.reindex(columns=list(COLUMNS))


def chapters(
    own: Mapping[str, Finished],
    inputs: ReportInputs,
    data: Mapping[str, Dataset],
    summary: pd.DataFrame,
    book: Book,
) -> list[Chapter]:
    """Novelty, then privacy."""
    return [novelty_chapter(own, data, summary, book), privacy_chapter(own, data, summary, book)]


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Novelty and privacy of the synthetic data."""
    return [novelty_verdict(own, summary), privacy_verdict(own, summary)]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    points = [
        "Searches for copies and membership attacks can find leaks; what these did not find may still be "
        "found by stronger ones. That no leak was found does not show that the synthetic data are private.",
        "No differential privacy was used: nothing formally bounds what the data tell of a patient.",
    ]
    alone = [name for name in own if not len(pick(summary, name, metric="auc", arm="synthetic"))]
    if alone:
        points.append(
            f"{listing([words(name) for name in alone])}: too few held-out subjects, so no membership attack "
            "was measured."
        )
    return points


def novelty_rule(margins: Sequence[float]) -> str:
    """The rule of novelty verdicts, with the tolerances of their evaluations."""
    least = listing([setting(1 - margin) for margin in sorted(set(margins))])
    return (
        "synthetic items are searched for their nearest training item, and so are held-out real ones. Fail: "
        "an image or a mask is an exact copy, or near copies or items that the copy detector flags exceed "
        "their share among held-out items surely by more than the gate's limits, or the whole 95 % interval "
        f"of the ratio of the two median distances lies below {least}, the tolerance. Pass: all limits are "
        "surely kept, a detector that found the injected copies among them, and the whole interval lies "
        "above the tolerance. Otherwise inconclusive. Unrealistic images are also new, so read this with "
        "fidelity."
    )


def novelty_verdict(own: Mapping[str, Finished], summary: pd.DataFrame) -> Verdict:
    """Verdict over all spaces of all privacy evaluations."""
    found, sentences = list[Word](), []
    for name, (config, (folder,)) in own.items():
        gate = pd.read_parquet(folder / "details/gate.parquet")
        copied = gate[gate["limit"].isin(NOVELTY_LIMITS)]
        ratios = _ratios(summary, name)
        exact = _exact(summary, name)
        least = 1 - config.novelty_margin
        if exact or (ratios["high"] < least).any() or "fail" in set(copied["word"]):
            found.append("fail")
        elif len(ratios) and (ratios["low"] >= least).all() and set(copied["word"]) == {"pass"}:
            found.append("pass")
        else:
            found.append("inconclusive")
        said = [*exact, *_nearer(ratios, least), *_limited(copied)]
        sentences.append(f"{words(name)}: {'; '.join(said) or 'only masks were compared, none is a copy'}.")
    rule = novelty_rule([config.novelty_margin for config, _ in own.values()])
    return Verdict("Novelty", worst(found), sentences, rule, _keys(own, summary, DECIDE_NOVELTY))


def _keys(own: Mapping[str, Finished], summary: pd.DataFrame, metrics: Sequence[str]) -> list[str]:
    """Keys of the numbers that decide."""
    rows = summary[summary["evaluation"].isin(own) & (summary["arm"] == "synthetic")]
    return [row_key(row) for row in rows[rows["metric"].isin(metrics)].itertuples()]


def _exact(summary: pd.DataFrame, name: str) -> list[str]:
    rows = pick(summary, name, metric="exact_copies", arm="synthetic")
    return [
        f"exact copies of training {row.label}s {estimate(row.estimate, row.low, row.high)} of "
        f"{row.n_items} items"
        for row in rows.itertuples()
        if row.estimate > 0
    ]


def _ratios(summary: pd.DataFrame, name: str) -> pd.DataFrame:
    """Median distances of images and masks to training ones over those of held-out ones."""
    rows = pick(summary, name, metric="nearest", kind="ratio")
    return rows[rows["label"].isin(("image", "mask"))]


def _nearer(ratios: pd.DataFrame, least: float) -> list[str]:
    return [
        f"{row.label}s lie at {estimate(row.estimate, row.low, row.high, 2)} times the distance of held-out "
        f"ones to training {row.label}s, tolerance {setting(least)}"
        for row in ratios.itertuples()
    ]


def _limited(copied: pd.DataFrame) -> list[str]:
    """What was found of copies, beside the limits."""
    rows = copied[copied["limit"] != "exact copies"]
    return [
        row.reason
        if pd.isna(row.value)
        else f"{row.limit} ({words(row.space)}) {estimate(row.value, row.low, row.high)}"
        f"{'' if row.reason.startswith(ALONE) else ' beyond what is expected of new ones'}, limit "
        f"{number(row.bound, 2)}"
        for row in rows.itertuples()
    ]


PRIVACY_RULE = (
    "the release gate of each evaluation, whose limits its chapter prints. Fail: a limit is surely broken. "
    "Pass: every limit that can pass is surely kept; the distances to training items alone can never pass a "
    "release. Otherwise inconclusive. A pass means that the attacks which were run found nothing: it is no "
    "guarantee, and no substitute for differential privacy or for a review of what is released."
)


def privacy_verdict(own: Mapping[str, Finished], summary: pd.DataFrame) -> Verdict:
    """Verdict over the gates of all privacy evaluations."""
    found, sentences = list[Word](), []
    for name, (_, (folder,)) in own.items():
        found.append(read_json(folder / "details/privacy.json")["gate"])
        gate = pd.read_parquet(folder / "details/gate.parquet")
        sentences.append(f"{words(name)}: {_said(gate, found[-1])}.")
    return Verdict("Privacy", worst(found), sentences, PRIVACY_RULE, _keys(own, summary, DECIDE_PRIVACY))


def _said(gate: pd.DataFrame, word: str) -> str:
    if word == "pass":
        return "no limit of the gate is broken; the attacks that were run found no leak"
    broken = gate[gate["word"] == word]
    named = [
        f"{row.limit} ({words(row.space)})" if isinstance(row.space, str) else row.limit
        for row in broken.itertuples()
    ]
    return f"{'broken' if word == 'fail' else 'not settled'}: {listing(list(dict.fromkeys(named)))}"
