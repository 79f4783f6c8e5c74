"""nnU-Net v2 itself as a judge: our export, its own programs on a CPU, its predictions scored.

It is no dependency. Where it is installed beside Mirage, `pytest tests/unit/test_nnunet.py` runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mirage.data import Dataset

OPTIONS = {"evaluator": "volume_segmentation", "test": "toy", "arm": {"train": ["toy", "fake"]}}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nnUNetv2_train") is None, reason="nnU-Net v2 is not installed")
def test_nnunet_trains_on_an_export_and_is_scored(toy_volumes: Any, tmp_path: Path) -> None:
    """The steps of docs/external-judges.md, with the shortest of its trainers."""
    fake = toy_volumes("fake", seed=5, splits={"train": 2}, origin="synthetic")
    data: list[Dataset] = [toy_volumes("toy"), fake]
    manifests = [str(part.folder / "manifest.parquet") for part in data]
    folders = {f"nnUNet_{kind}": str(tmp_path / kind) for kind in ("raw", "preprocessed", "results")}
    single = {
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f",
        "OMP_NUM_THREADS": "2",
    }

    def run(*command: str) -> None:
        environment = {**os.environ, **folders, **single}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    frozen = tmp_path / "arm.yaml"
    stage = {"stage": "evaluate_volume_segmentation", "version": 1, "options": OPTIONS}
    frozen.write_text(yaml.safe_dump(stage))
    raw = tmp_path / "raw" / "Dataset501_Toy"
    run("mirage", "export-nnunet", *manifests, "--config", str(frozen), "--out", str(raw))
    run("nnUNetv2_plan_and_preprocess", "-d", "501", "-c", "3d_fullres", "--verify_dataset_integrity")
    split = raw / "splits_final.json"
    shutil.copy(split, tmp_path / "preprocessed" / raw.name)
    chosen = ("-tr", "nnUNetTrainer_1epoch")
    run("nnUNetv2_train", "501", "3d_fullres", "0", *chosen, "-device", "cpu")
    made = tmp_path / "predictions"
    images = ("-i", str(raw / "imagesTs"), "-o", str(made))
    on_cpu = ("-device", "cpu", "-npp", "1", "-nps", "1", "--disable_tta")
    run("nnUNetv2_predict", "-d", "501", "-c", "3d_fullres", "-f", "0", *chosen, *images, *on_cpu)
    used = json.loads((tmp_path / "preprocessed" / raw.name / "splits_final.json").read_text())
    assert used == json.loads(split.read_text())

    scores = tmp_path / "scores"
    files = ("--predictions", str(made), "--classes", str(raw / "classes.json"), "--out", str(scores))
    names = ("--evaluation", "brain", "--arm", "nnunet")
    run("mirage", "score-predictions", *manifests, "--config", str(frozen), *files, *names)
    rows = pd.read_parquet(scores / "metrics.parquet")
    assert set(rows["item_id"].dropna()) == set(data[0].select("test").items["item_id"])
    dice = rows[(rows["metric"] == "dice") & (rows["label"] == "WT")]["value"]
    assert len(dice) == len(data[0].select("test"))
    assert dice.between(0, 1).all()
