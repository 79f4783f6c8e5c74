"""Observer study: do readers tell synthetic images from real ones?

A page is made that readers open in their browser, and a key that stays here (:mod:`page`, :mod:`key`). What
they send back is analysed (:mod:`answers`, :mod:`analysis`). That a reader is not significantly better than
guessing is never taken to show that the kinds cannot be told apart: that is what the test of equivalence is
for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.config.evaluations import ObserverEvaluation
from mirage.data import Dataset
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.observer.analysis import Result, analyse, planning
from mirage.evaluate.observer.answers import PLAUSIBILITY, read_answers
from mirage.evaluate.observer.cases import offers_of, real_part
from mirage.evaluate.observer.key import read_key
from mirage.evaluate.observer.page import make_study
from mirage.evaluate.table import COLUMNS, COUNT, NUMBER, TEXT, write_table
from mirage.files import read_json, write_json
from mirage.provenance import describe

logger = logging.getLogger(__name__)
METRICS = {
    **COLUMNS,
    "kind": TEXT,
    "low": NUMBER,
    "high": NUMBER,
    "n_items": COUNT,
    "n_subjects": COUNT,
    "p": NUMBER,
    "p_holm": NUMBER,
}
CASES = {
    "reader": TEXT,
    "case": TEXT,
    "order": COUNT,
    "truth": TEXT,
    "answer": TEXT,
    "rating": NUMBER,
    "correct": NUMBER,
    "seconds": NUMBER,
    "comment": TEXT,
    "dataset": TEXT,
    "item_id": TEXT,
    "subject_id": TEXT,
    "other_dataset": TEXT,
    "other_item_id": TEXT,
    "other_subject_id": TEXT,
}
PAGE, KEY, MADE = "for_readers/observer.html", "key.csv", "made.json"
"""Files of a study: the page alone in a folder that can be handed out, its key, and how both were made."""


def make(config: ObserverEvaluation, name: str, datasets: Mapping[str, Dataset], out: Path) -> None:
    """Make the page and the key of a study.

    Args:
        config: the evaluation.
        name: its name.
        datasets: whole datasets by name, all that it names.
        out: folder that gets ``for_readers/observer.html``, ``key.csv`` and, last, ``made.json``: the
            study's id, how the kinds differed, what the audit of the files found, provenance.

    Raises:
        DataError: too few images, or none that can be shown.
    """
    real, synthetic = datasets[config.real], datasets[config.synthetic]
    made = make_study(
        offers_of(real_part(real, config), config.real_where),
        offers_of(synthetic, config.synthetic_where, synthetic=True),
        config,
        out / PAGE,
        out / KEY,
    )
    for remark in made.remarks:
        logger.warning("%s", remark)
    options = config.model_dump(mode="json", exclude={"runtime", "demo", "answers", "margin"})
    prints = {dataset: data.info.fingerprint for dataset, data in datasets.items()}
    facts = {
        "evaluation": name,
        "study": made.study,
        "cases": made.cases,
        "page_bytes": made.page_bytes,
        "remarks": list(made.remarks),
        "audit": made.audit.facts(),
        "provenance": describe("observer_page", options, seed=config.seed, **prints),
    }
    write_json(out / MADE, facts)


def run(
    config: ObserverEvaluation,
    name: str,
    datasets: Mapping[str, Dataset],
    bank: FeatureBank,
    out: Path,
    files: Sequence[Path] = (),
) -> None:
    """Analyse what readers sent back; before they have, say that it waits.

    Args:
        config: the evaluation.
        name: its name.
        datasets: whole datasets by name.
        bank: unused; readers need no features.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        files: the key, what was said when it was made, and the answers.

    Writes:
        ``metrics.parquet``: the tidy columns and ``kind``, ``low``, ``high``, ``n_items``, ``n_subjects``,
        ``p``, ``p_holm``. An arm is a reader, ``readers`` for what is of all, or a truth with its number of
        cases; ``label`` is the other reader of a pair, or a finding.
        ``details/readers.parquet``: one row a reader with the confusion table.
        ``details/pairs.parquet``: one row for two readers.
        ``details/cases.parquet``: one row a reader and case, with truth and origin.
        ``details/roc.parquet``: reader, fpr, tpr.
        ``details/planning.parquet``: cases that an aim takes.
        ``details/observer.json``: the word over all readers, sentences, remarks, audit, provenance.

    Raises:
        DataError: a key or an answer that does not fit.
    """
    key_file, made_file, *answers = files
    key, made = read_key(key_file), read_json(made_file)
    result = analyse(key, read_answers(answers, key), config.margin)
    options = config.model_dump(mode="json", exclude={"runtime", "demo"})
    prints = {dataset: data.info.fingerprint for dataset, data in datasets.items()}
    facts = {
        "page": PAGE,
        "study": made["study"],
        "made": {name: made[name] for name in ("cases", "page_bytes", "remarks", "audit")},
        "provenance": describe("evaluate_observer", options, seed=config.seed, **prints),
    }
    write_result(result, name, out, facts)


def write_result(result: Result, name: str, out: Path, facts: Mapping[str, Any]) -> None:
    """Write the tables of an analysis; see :func:`run`."""
    details = out / "details"
    details.mkdir(parents=True, exist_ok=True)
    for file, table in (("readers", result.readers), ("pairs", result.pairs), ("roc", result.roc)):
        write_table(details / f"{file}.parquet", table, _columns(table))
    write_table(details / "cases.parquet", result.cases, _with_findings(result.cases))
    plan = planning()
    write_table(details / "planning.parquet", plan, _columns(plan))
    said = {
        "evaluation": name,
        "word": result.overall,
        "readers": len(result.readers),
        "sentences": result.sentences,
        "remarks": result.remarks,
    }
    write_json(details / "observer.json", said | dict(facts))
    write_table(out / "metrics.parquet", pd.DataFrame(result.rows).assign(evaluation=name), METRICS)


def _columns(table: pd.DataFrame) -> dict[str, Any]:
    kinds = {"i": COUNT, "f": NUMBER}
    return {str(name): kinds.get(getattr(kind, "kind", ""), TEXT) for name, kind in table.dtypes.items()}


def _with_findings(cases: pd.DataFrame) -> dict[str, Any]:
    return CASES | {str(name): NUMBER for name in cases.columns if str(name).startswith(PLAUSIBILITY)}


__all__ = ["KEY", "MADE", "PAGE", "make", "run", "write_result"]
