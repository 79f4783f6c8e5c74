"""Runs: every dataset and model with what identifies it, and the rules and commits behind all exhibits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mirage.amounts import duration
from mirage.data import Dataset
from mirage.files import read_json
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import words
from mirage.report.chapters.spent import measured
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH
from mirage.report.sources import RULES, Made, anchor


def models_behind(config: Any) -> list[str]:
    """``name, seed n`` of every trained generator that the options of a recipe name, once."""
    if isinstance(config, list):
        return list(dict.fromkeys(found for item in config for found in models_behind(item)))
    if not isinstance(config, Mapping):
        return []
    if config.keys() == {"generator", "seed"}:
        return [f"{config['generator']}, seed {config['seed']}"]
    return models_behind(list(config.values()))


def run_table(made: Sequence[Made], inputs: ReportInputs, data: Mapping[str, Dataset], book: Book) -> Exhibit:
    """Every dataset and model: seed, commit, configuration, models behind it, fingerprint, when, how long."""
    seconds = measured(inputs.benchmarks)
    fingerprints: dict[tuple[str, str], str | None] = {
        (name, ""): dataset.info.fingerprint for name, dataset in data.items()
    }
    for name, folders in inputs.models.items():
        for folder in folders:
            model = read_json(folder / "model.json")
            fingerprints[name, folder.name] = (model.get("training") or {}).get("fingerprint")
    table = [
        {
            "kind": one.kind,
            "name": one.name,
            "seed": one.part.removeprefix("seed-") or one.record.get("seed"),
            "commit": one.commit,
            "uncommitted_changes": one.edited,
            "config_hash": one.record.get("config_hash"),
            "models": "; ".join(models_behind(one.record.get("config"))),
            "fingerprint": fingerprints[one.name, one.part],
            "made": one.record.get("finished"),
            "seconds": _seconds(one, seconds),
        }
        for one in made
        if one.kind != "evaluation"
    ]
    caption = (
        "Runs: datasets and models, with the commit and the digest of the options that made them. The "
        "fingerprint of a dataset is a hash over its manifest and images; that of a model is the fingerprint "
        "of the data it learnt from. Time is over all jobs of the run; + marks a commit with further changes."
    )
    head = ["name", "seed", "commit", "options", "made with", "fingerprint", "made", "time"]
    rows = [_run(record) for record in table]
    return book.table("runs", head, rows, caption=caption, data=pd.DataFrame(table))


def _run(record: Mapping[str, Any]) -> list[Cell]:
    took = record["seconds"]
    return [
        Cell(words(record["name"]), note=record["kind"]),
        Cell(DASH if record["seed"] is None else str(record["seed"]), number=True),
        Cell(f"{record['commit'] or DASH}{'+' if record['uncommitted_changes'] else ''}"),
        Cell(str(record["config_hash"] or DASH)[:12]),
        Cell(words(record["models"]) or DASH),
        Cell(str(record["fingerprint"] or DASH)[:12]),
        Cell(str(record["made"] or DASH).replace("T", " ").removesuffix("+00:00")),
        Cell(DASH if took is None else duration(took), number=True),
    ]


def _seconds(one: Made, measured_jobs: pd.DataFrame) -> float | None:
    """Wall time of a run's jobs; None where none was measured."""
    if one.kind == "model":
        own = measured_jobs[measured_jobs["job"] == f"train_generator/{one.name}/{one.part}"]
    else:
        first = ("simulate_raw", "fit_normaliser")
        makes = (*first, "prepare_shard", "synthesise_shard", "gather_dataset", "gather_synthetic")
        own = measured_jobs[(measured_jobs["entry"] == one.name) & measured_jobs["rule"].isin(makes)]
    return float(own["seconds"].sum()) if len(own) else None


def source_table(made: Sequence[Made], commit: str, book: Book) -> Exhibit:
    """Every rule that made a result, by commit; exhibits link to its rows."""
    found: dict[tuple[str, str], list[Made]] = {}
    for one in made:
        found.setdefault((one.rule, one.commit), []).append(one)
    drawn = ("report_study", commit)
    found.setdefault(drawn, [])
    rows, records = [], []
    for (rule, own), results in found.items():
        names = list(dict.fromkeys(one.name for one in results))
        edited = any(one.edited for one in results)
        told = ", ".join(words(name) for name in names) or "this report, its figures and tables"
        rows.append(
            [
                Cell(rule, note=RULES[rule], anchor=anchor(rule, own)),
                Cell(own or "unknown", note="with uncommitted changes" if edited else ""),
                Cell(told),
            ]
        )
        records.append({"rule": rule, "file": RULES[rule], "commit": own, "uncommitted_changes": edited})
        records[-1]["results"] = "; ".join(names)
    caption = (
        "Rules of the workflow that made the results, their files, and the commits they ran at. The source "
        "line below every figure and table leads here."
    )
    return book.table(
        "sources", ["rule", "commit", "made"], rows, caption=caption, data=pd.DataFrame(records)
    )
