"""Detection in the report: figures with intervals by patients, what is not defined, pictures and words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mirage.config.evaluations import DetectionEvaluation, StudyConfig
from mirage.data import Dataset
from mirage.evaluate.marks import Tables
from mirage.evaluate.table import COLUMNS, write_table
from mirage.files import write_json
from mirage.metrics.average_precision import coco_scores
from mirage.metrics.detection import FreeResponse, cpm
from mirage.report import Finished, ReportInputs, build_report
from mirage.report.evaluators import detection as report
from mirage.report.evaluators.detection_scores import Column, average_precision, paired_rows, resample
from mirage.report.summary import pick, summarise

BOX = (10.0, 10.0, 20.0, 20.0)
ELSEWHERE = (30.0, 30.0, 40.0, 40.0)


def frames(items: list[tuple[str, str, bool]], found: dict[str, float], false: dict[str, float]) -> Tables:
    """One lesion on every diseased image; scores of the mark that hits it and of a false mark, by item."""
    marks, truths, images = [], [], []
    corners = ("x0", "y0", "x1", "y1")
    for test in ("benchmark", "own"):
        for item, subject, diseased in items:
            named = {"test": test, "item_id": item, "subject_id": subject}
            images.append({**named, "diseased": diseased})
            if diseased:
                truths.append(
                    {**named, "lesion": 0, **dict(zip(corners, BOX, strict=True)), "label": "Nodule"}
                )
            for scores, box, outcome in ((found, BOX, "hit"), (false, ELSEWHERE, "false")):
                if item in scores and (diseased or outcome == "false"):
                    lesion = 0 if outcome == "hit" else None
                    place = dict(zip(corners, box, strict=True))
                    told = {"score": scores[item], "lesion": lesion, "outcome": outcome}
                    marks.append({**named, "diseased": diseased, **place, **told})
    tables = Tables(pd.DataFrame(marks), pd.DataFrame(truths), pd.DataFrame(images))
    tables.marks["lesion"] = tables.marks["lesion"].astype("Int64")
    return tables


def write_arm(folder: Path, arm: str, seed: int, tables: Tables, refused: dict[str, str]) -> Path:
    """A result folder as the evaluator leaves it."""
    tables.write(folder / "details")
    own = tables.of_test("benchmark")
    counted = {
        "images": len(own.items),
        "normal": int((~own.items["diseased"]).sum()),
        "subjects": own.items["subject_id"].nunique(),
        "lesions": len(own.truths),
    }
    facts = {
        "arm": arm,
        "seed": seed,
        "hit_rule": "hit: overlap (IoU) at least 0.2; further marks on a found lesion are ignored",
        "columns": {"benchmark": counted, "own": counted},
        "refused": {"benchmark": refused},
        "train": [{"data": arm, "images": 40}],
    }
    write_json(folder / "details/arm.json", facts)
    rows = pd.DataFrame({"metric": ["map", "ap50"], "label": "benchmark", "value": [0.3, 0.5]})
    table = rows.assign(evaluation="nodules", arm=arm, seed=seed, fold=None, subject_id=None, item_id=None)
    write_table(folder / "metrics.parquet", table, COLUMNS)
    return folder


def finished(tmp_path: Path, test: Dataset, *, normals: bool) -> ReportInputs:
    """Two arms and two seeds: `real` finds a quarter of the lesions, `inserted` nearly all of them."""
    view = test.select("test").items
    ids = list(zip(view["item_id"], view["subject_id"], strict=True))
    items = [(item, subject, not (normals and number % 3 == 0)) for number, (item, subject) in enumerate(ids)]
    arms = {"real": {"train": ["real"]}, "inserted": {"train": ["inserted"]}}
    refused = {} if normals else {"wafroc": "no normal images", "roc_auc": "none", "node21": "none"}
    folders = []
    for arm, every in (("real", 4), ("inserted", 1)):
        for seed in (0, 1):
            rng = np.random.default_rng(seed)
            found = {item: float(rng.uniform(0.5, 0.9)) for item, _, _ in items[::every]}
            false = {item: float(rng.uniform(0.1, 0.6)) for item, _, _ in items}
            folder = tmp_path / "nodules" / arm / f"seed-{seed}"
            folders.append(write_arm(folder, arm, seed, frames(items, found, false), refused))
    config = DetectionEvaluation.model_validate(
        {"evaluator": "detection", "test": "real", "arms": arms, "seeds": [0, 1]}
    )
    data = {"real": test.folder, "inserted": tmp_path / "inserted"}
    return ReportInputs({"nodules": Finished(config, folders)}, data)


@pytest.mark.parametrize("normals", [True, False])
def test_a_study_of_detectors_has_its_page(
    normals: bool, tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """Tables, curves, good and bad detections, the verdict, and what is not defined without normal images."""
    test = toy_dataset("real", splits={"train": 6, "test": 16}, size=48)
    toy_dataset("inserted", splits={"train": 8}, origin="synthetic", size=48)
    inputs = finished(tmp_path, test, normals=normals)
    (verdict,) = report.verdicts(inputs.evaluations, {"inserted"}, summarise(inputs))
    assert verdict.word == "pass"
    assert "CPM" in verdict.sentences[0]
    study = StudyConfig(title="T", question="Q", evaluations=["nodules"])
    build_report(study, "t", inputs, tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    shown = ("results", "forest", "froc", "sensitivities", "metrics", "hit_fraction", "good", "bad")
    assert {f"{id}/nodules" for id in shown} <= set(re.findall(r"[a-z_]+/nodules", text))
    assert "overlap (IoU) at least 0.2" in text
    assert "comparison is void" in text
    assert ("not defined" in text) == (not normals)
    assert ("no normal images" in text) == (not normals)
    assert text.count("FROC curves; lesions found at 1 false positive") >= 1


def test_summary_has_both_columns_and_pairs_only_the_shared_one(
    tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """Differences are of the benchmark; the own images of two arms are not the same ones."""
    test = toy_dataset("real", splits={"train": 6, "test": 16}, size=48)
    summary = summarise(finished(tmp_path, test, normals=True))
    assert set(pick(summary, "nodules", metric="cpm/own")["arm"]) == {"real", "inserted"}
    assert pick(summary, "nodules", metric="cpm/own", kind="difference").empty
    (gap,) = pick(summary, "nodules", metric="cpm", kind="difference").itertuples()
    assert (gap.arm, gap.verdict, gap.n_subjects, gap.n_seeds) == ("inserted", "better", 16, 2)
    assert gap.low <= gap.estimate <= gap.high
    assert gap.p_holm < 0.05
    coco = pick(summary, "nodules", metric="map")
    assert coco["low"].isna().all()
    assert set(summary["metric"]) >= {"wafroc", "node21", "ap", "hit_fraction", "sensitivity_at_0.125"}
    assert "wafroc1" not in set(summary["metric"])


def test_estimates_are_those_of_the_metrics_and_an_arm_does_not_differ_from_itself() -> None:
    """Patients are drawn alike in every arm."""
    items = [(f"i{k}", f"s{k // 2}", k % 2 == 0) for k in range(24)]
    found = {f"i{k}": 0.9 - 0.02 * k for k in range(0, 24, 4)}
    false = {f"i{k}": 0.5 + 0.01 * k for k in range(24)}
    tables = frames(items, found, false).of_test("benchmark")
    column = Column({0: tables}, 0.05)
    own = resample(column, 200)
    assert own.patients == 12
    assert own.estimate["cpm"] == pytest.approx(float(cpm(tables.free_response())[0]))
    assert own.estimate["hit_fraction"] == 0.5
    rows = paired_rows({"a": own, "b": resample(column, 200)}, "a", ())
    gaps = [row for row in rows if row["kind"] == "difference"]
    assert all((row["estimate"], row["low"], row["high"]) == (0, 0, 0) for row in gaps)
    assert {row["verdict"] for row in gaps} == {"inconclusive"}


def test_average_precision_is_cocos_where_the_rules_agree() -> None:
    """One lesion an image, marks that hit fully or not at all: AP is that of any overlap."""
    rng = np.random.default_rng(3)
    hit, false = rng.uniform(size=(2, 30))
    hit[rng.uniform(size=30) < 0.3] = -np.inf
    data = FreeResponse(30, np.arange(30), hit, np.arange(30), false)
    boxes, scores = [], []
    for one, other in zip(hit, false, strict=True):
        own = [(BOX, one)] if np.isfinite(one) else []
        own.append((ELSEWHERE, other))
        boxes.append(np.array([box for box, _ in own]))
        scores.append(np.array([score for _, score in own]))
    truths = [np.array([BOX])] * 30
    wanted = coco_scores(boxes, scores, truths)["ap50"]
    assert average_precision(data)[0] == pytest.approx(wanted, abs=1e-6)
    twice = average_precision(data, np.full((1, 30), 2.0))[0]
    assert twice == pytest.approx(average_precision(data)[0])


def test_good_and_bad_detections_are_ranked() -> None:
    """By the surest hit; without one, the surest false mark is the worst. Normal images: neither."""
    items: list[Any] = [
        ("a", "a", True),
        ("b", "b", True),
        ("c", "c", True),
        ("d", "d", False),
        ("e", "e", True),
    ]
    tables = frames(items, {"a": 0.9, "b": 0.2}, {"a": 0.1, "b": 0.8, "c": 0.7, "d": 0.9, "e": 0.3})
    tables = tables.of_test("benchmark")
    assert report.ranked_items(tables, "good") == ["a", "b", "e", "c"]
    assert report.ranked_items(tables, "bad") == ["c", "e", "b", "a"]
