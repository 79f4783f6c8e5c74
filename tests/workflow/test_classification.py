"""A classification by fold, from a folder of patches and its table to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from mirage.data import Dataset
from workflow.conftest import Project

pytestmark = pytest.mark.timeout(900)
POSITIVE = {"attribute": "label", "values": ["positive"]}
STUDY: dict[str, Any] = {
    "datasets": {
        "patches": {
            "source": {
                "reader": "folder",
                "path": "resources/patches",
                "images": "*.png",
                "table": "table.csv",
            },
            "prepare": {"size": 32},
        }
    },
    "generators": {
        "lesion_gan": {
            "arch": "dcgan",
            "data": "patches",
            "only": POSITIVE,
            "folds": 3,
            "options": {"features": 4, "max_features": 8},
            "training": {"steps": 2, "batch_size": 4, "validate_every": 2, "preview_every": 2},
        }
    },
    "recipes": {"fakes": {"recipe": "unconditional", "generator": "lesion_gan", "count": 8}},
    "evaluations": {
        "imbalance": {
            "evaluator": "classification",
            "test": "patches",
            "positive": POSITIVE,
            "folds": 3,
            "baseline": "org",
            "arms": {"org": {"train": ["patches"]}, "gan": {"train": ["patches", "fakes"]}},
            "positives": [3, 5],
            "ratio": 1,
            "steps": 2,
            "batch_size": 4,
            "seeds": [0],
            "judge": {"width": 2},
        }
    },
    "studies": {"imbalance": {"title": "T", "question": "Q", "evaluations": ["imbalance"]}},
}


def draw(folder: Path, subjects: int = 18) -> None:
    """Four patches a patient, every other one with a bright spot, and their table."""
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    y, x = np.mgrid[:32, :32]
    for number in range(4 * subjects):
        grey = rng.normal(90, 14, (32, 32))
        if number % 2:
            cx, cy = rng.uniform(9, 23, 2)
            grey += 60 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18)
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
        label = ("negative", "positive")[number % 2]
        rows.append({"file": f"{number:03d}.png", "subject_id": f"p{number // 4:02d}", "label": label})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)


def test_a_generator_is_trained_in_every_fold_and_judged_there(project: Project) -> None:
    """Three generators that know their fold's training patients alone; a report; then nothing to do."""
    draw(project.folder / "resources/patches")
    study = project.folder / "config/studies/imbalance.yaml"
    study.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    project.set_config(run=["imbalance"])
    planned = project.planned()
    assert (planned["train_generator"], planned["synthesise_shard"], planned["evaluate_arm"]) == (3, 3, 2)
    project.snakemake("--cores=2", "results/studies/imbalance/report.html")
    results = project.folder / "results"
    scores = pd.read_parquet(results / "evaluations/imbalance/gan/seed-0/details/scores.parquet")
    patients = set(Dataset(results / "datasets/patches").items["subject_id"])
    tested = scores[scores["split"] == "test"].groupby("fold")["subject_id"].agg(set)
    assert set().union(*tested) == patients
    for fold, own in tested.items():
        learnt = Dataset(results / f"synthetic/fakes-fold-{fold}").learnt_from()
        known = {name.rpartition("/")[2] for name in learnt} & patients
        assert len(known) == 11
        assert not known & own
    assert not project.planned("results/studies/imbalance/report.html")
    with project.edited("config/studies/imbalance.yaml", lambda text: text.replace("count: 8", "count: 9")):
        again = project.planned("results/studies/imbalance/report.html")
    assert "train_generator" not in again
    assert (again["synthesise_shard"], again["evaluate_arm"]) == (3, 1)
