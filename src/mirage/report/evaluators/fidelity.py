"""Fidelity in the report: likeness of grey values to real images, and copies of training items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset
from mirage.report.book import Book
from mirage.report.chapters.base import Chapter, words
from mirage.report.evaluators.fidelity_chapter import fidelity_chapter
from mirage.report.evaluators.novelty_chapter import novelty_chapter
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import estimate
from mirage.report.summary import COLUMNS, pick, read_metrics, row_key
from mirage.report.verdicts import Verdict, Word, combine

HEADLINE = "js_robust"
NO_IMAGES = "No evaluation of this study compares images."


def summarise(name: str, config: FidelityEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
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
    """Fidelity, then novelty."""
    return [fidelity_chapter(own, data, summary, book), novelty_chapter(own, data, summary, book)]


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Fidelity and novelty of the synthetic data."""
    return [fidelity_verdict(own, summary), novelty_verdict(own, summary)]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    return ["Fidelity was measured on grey values and areas only; shapes and anatomy were not measured."]


FIDELITY_RULE = (
    "the Jensen-Shannon divergence of grey values from the real training images is divided by that of other "
    "real images, at equal numbers of images. Fail: the whole 95 % range of the ratio lies above 1; pass: "
    "it lies at or below 1; otherwise inconclusive. Only grey values are judged: shapes and anatomy are for "
    "the reader's eye."
)


def fidelity_verdict(own: Mapping[str, Finished], summary: pd.DataFrame) -> Verdict:
    """Verdict over all fidelity evaluations that compare images."""
    found, sentences, keys = [], [], []
    for name in own:
        row = _ratio(summary, name)
        if row is not None:
            word = "worse" if row["low"] > 1 else "better" if row["high"] <= 1 else "inconclusive"
            claim = {
                "worse": "lie farther from real training images than other real images do",
                "better": "lie no farther from real training images than other real images do",
            }.get(word, "cannot be told from other real ones by this measure")
            found.append(word)
            keys.append(row_key(row))
            sentences.append(
                f"{words(name)}: grey values ({row['label']}) {claim}: ratio "
                f"{estimate(row['estimate'], row['low'], row['high'], 2)}, n = {int(row['n_items'])} a side."
            )
    word = combine(found, "better", "worse")
    return Verdict("Fidelity", word, sentences or [NO_IMAGES], FIDELITY_RULE, keys)


def _ratio(summary: pd.DataFrame, evaluation: str) -> pd.Series | None:
    """The ratio that decides: first channel, against held-out real images, else against random halves."""
    rows = pick(summary, evaluation, metric=HEADLINE, kind="ratio")
    for protocol in ("heldout", "halves"):
        chosen = rows[(rows["protocol"] == protocol) & rows["low"].notna()]
        if len(chosen):
            return chosen.iloc[0]
    return None


NOVELTY_RULE = (
    "synthetic items are searched for their nearest training item, and so are held-out real ones. Fail: in "
    "any comparison there is an exact copy, or the whole 95 % interval of the ratio of the two median "
    "distances lies below 1. Pass: in all of them it lies at or above 1 and no item is an exact or near "
    "copy. Otherwise inconclusive. Unrealistic images are also new, so read this with fidelity."
)


def novelty_verdict(own: Mapping[str, Finished], summary: pd.DataFrame) -> Verdict:
    """Verdict over images and masks of all fidelity evaluations."""
    found, sentences, keys = [], [], []
    for name in own:
        rows = pick(summary, name, arm="synthetic")
        for what in ("image", "mask"):
            values = rows[rows["metric"].str.startswith(f"{what}_")].set_index("metric")
            if f"{what}_exact_copies" in values.index:
                ratio = pick(summary, name, metric=f"{what}_nearest", kind="ratio")
                decided, sentence = _copied(values, ratio, what)
                found.append(decided)
                keys += [row_key(row) for row in ratio.itertuples()]
                sentences.append(f"{words(name)}: {sentence}")
    word: Word = "fail" if "worse" in found else "pass" if set(found) == {"better"} else "inconclusive"
    return Verdict("Novelty", word, sentences, NOVELTY_RULE, keys)


def _copied(values: pd.DataFrame, ratio: pd.DataFrame, what: str) -> tuple[str, str]:
    """Word and sentence for the images or the masks of one evaluation."""
    exact, near = (values.loc[f"{what}_{kind}_copies"] for kind in ("exact", "near"))
    shares = (
        f"exact copies {estimate(exact['estimate'], exact['low'], exact['high'])}, near copies "
        f"{estimate(near['estimate'], near['low'], near['high'])} of {int(exact['n_items'])} items"
    )
    row = ratio.iloc[0] if len(ratio) else None
    nearer, farther = (False, False) if row is None else (row["high"] < 1, row["low"] >= 1)
    distance = (
        "no held-out items to compare distances with"
        if row is None
        else f"distance to the nearest training {what} over that of held-out ones "
        f"{estimate(row['estimate'], row['low'], row['high'], 2)}"
    )
    copied = exact["estimate"] > 0
    word = "worse" if copied or nearer else "better" if farther and near["estimate"] == 0 else "inconclusive"
    claim = {
        "worse": f"{what}s repeat training {what}s" if copied else f"{what}s lean towards training {what}s",
        "better": f"no sign of copied {what}s",
    }.get(word, f"copying of {what}s is not settled")
    return word, f"{claim}: {distance}; {shares}."
