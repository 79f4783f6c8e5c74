"""The result of an observer study by itself: a page, a text and tables, without a study around them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import mirage
from mirage.amounts import count
from mirage.config.evaluations import ObserverEvaluation
from mirage.evaluate.observer import write_result
from mirage.evaluate.observer.analysis import Result, planning
from mirage.evaluate.observer.key import FORCED, Key
from mirage.evaluate.statistics.guessing import ALPHA, POWER
from mirage.files import atomic_path
from mirage.report.book import Book
from mirage.report.evaluators.observer_chapter import observer_chapter
from mirage.report.html import Page, render
from mirage.report.inputs import Finished
from mirage.report.numbers import estimate, number, setting

NAME = "observer"
WORDS = {
    "told_apart": "real and synthetic images were told apart",
    "equivalent": "the answers are equivalent to guessing, within the margin",
    "inconclusive": "inconclusive, neither a difference nor guessing is shown",
}
SHOWN = ("accuracy", "d_prime", "auc", "kappa", "hit_rate", "false_alarm_rate")


def write_readers(result: Result, key: Key, margin: float, out: Path) -> Path:
    """Write the result of an analysis into a folder.

    Writes ``result.html`` (self-contained, with ``figures/``), ``result.txt``, ``readers.csv``,
    ``cases.csv``, and ``metrics.parquet`` with ``details/`` as an evaluation of a study has them.

    Args:
        result: the analysis.
        key: the truth it was made with.
        margin: of the equivalence test, share.
        out: folder, made when missing.

    Returns:
        The page.
    """
    write_result(result, NAME, out, {"study": key.study})
    for file, table in (("readers.csv", result.readers), ("cases.csv", result.cases)):
        with atomic_path(out / file) as path:
            table.drop(columns=["file", "file_key"], errors="ignore").to_csv(path, index=False)
    with atomic_path(out / "result.txt") as path:
        path.write_text(as_text(result), encoding="utf-8")
    each = len(key.cases) if key.mode == FORCED else max(2, len(key.cases) // 2)
    config = ObserverEvaluation(
        evaluator="observer",
        real="real",
        synthetic="synthetic",
        n=max(2, each),
        mode=_mode(key),
        margin=margin,
    )
    chapter = observer_chapter({NAME: Finished(config, [out])}, {}, Book(out))
    facts = [f"Mirage {mirage.__version__}"] + ([f"study {key.study}"] if key.study else [])
    lead = (
        f"{count(len(result.readers), 'reader')} of {count(len(key.cases), 'case')}: {WORDS[result.overall]}."
    )
    page = Page("Observer study", "What readers' answers show", lead, facts)
    with atomic_path(out / "result.html") as path:
        path.write_text(render(page, [chapter]), encoding="utf-8")
    return out / "result.html"


def _mode(key: Key) -> str:
    return "2afc" if key.mode == FORCED else "single"


def as_text(result: Result) -> str:
    """The result for the terminal."""
    lines = [*result.sentences, *(f"note: {remark}" for remark in result.remarks), ""]
    for row in result.readers.to_dict("records"):
        lines.append(f"{row['reader']}: {row['right']} of {row['cases'] - row['undecided']} right")
        if "hits" in row:
            lines.append(
                f"  synthetic called synthetic {row['hits']}, called real {row['misses']}; real called "
                f"synthetic {row['false_alarms']}, called real {row['correct_rejections']}"
            )
        for metric in SHOWN:
            if metric in row and not pd.isna(row[metric]):
                ends = [row.get(f"{metric}_{end}", float("nan")) for end in ("low", "high")]
                lines.append(f"  {metric.replace('_', ' ')} {estimate(row[metric], *ends)}")
        lines.append(
            f"  p of guessing {number(row['p'])}, adjusted {number(row['p_holm'])}; p of not being "
            f"equivalent to it {number(row['equivalence_p'])}"
        )
    for row in result.pairs.to_dict("records"):
        lines.append(
            f"{row['first']} and {row['second']}: kappa "
            f"{estimate(row['kappa'], row['kappa_low'], row['kappa_high'])} of at most "
            f"{number(row['kappa_max'])}, PABAK {number(row['pabak'])}; right alone {row['first_alone']} and "
            f"{row['second_alone']} times, McNemar p {number(row['p'])}"
        )
    lines += [
        "",
        f"Cases that one reader has to judge ({setting(100 * POWER)} % power, {setting(100 * ALPHA)} % "
        "level; normal approximation, exact test):",
    ]
    said = {
        "detection": "to detect a true accuracy of {} %",
        "equivalence": "to show guessing within {} points",
    }
    lines += [
        f"  {said[row.aim].format(setting(100 * row.share))}: {row.normal}, {row.exact}"
        for row in planning().itertuples()
    ]
    return "\n".join(lines) + "\n"
