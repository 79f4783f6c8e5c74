"""`mirage evaluate` from folders to reports, on images as people have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from mirage.data import Dataset
from workflow.conftest import Project

pytestmark = pytest.mark.timeout(900)
REPORT = "results/studies/judged/report.html"


def draw(folder: Path, seed: int, count: int = 12, odd: bool = False) -> Path:
    """Clouds of 32 x 32 pixels; odd ones also of other sizes, depths and colours, with unusual names."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        sides = (48, 40) if odd and number % 5 == 0 else (32, 32)
        cloud = gaussian_filter(rng.normal(size=sides), 2)
        grey = np.clip(0.5 + 0.15 * cloud / cloud.std(), 0, 1)
        kinds = {
            1: np.dstack([grey, 0.9 * grey, 0.8 * grey]) * 255,
            2: grey * 65535,
            3: np.dstack([grey, grey, grey, np.ones_like(grey)]) * 255,
        }
        values = kinds.get(number % 4, grey * 255) if odd else grey * 255
        kind = np.uint16 if odd and number % 4 == 2 else np.uint8
        name = f"D:\\Käfer {number:02d}.png" if odd else f"{number:02d}.png"
        Image.fromarray(values.astype(kind)).save(folder / name)
    return folder


def evaluate(folder: Path, *arguments: str, expect: int = 0) -> str:
    """Run the command in a folder that knows nothing of Mirage; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mirage.cli", "evaluate", *arguments, "--encoder=pixpca", "--cores=2"],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / ".cache")},
        capture_output=True,
        text=True,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == expect, printed
    assert "Traceback" not in printed
    return printed


def test_odd_images_are_judged_and_the_study_goes_on_by_hand(tmp_path: Path) -> None:
    """Mixed sizes, depths and colours, constant and damaged images, other files, and names of all kinds."""
    draw(tmp_path / "Köpfe [alt]", 0, 24, odd=True)
    draw(tmp_path / "held out", 1, odd=True)
    made = draw(tmp_path / "made", 2, odd=True)
    for number in range(4):
        Image.fromarray(np.full((32, 32), 80, np.uint8)).save(made / f"black{number}.png")
    damaged = tmp_path / "Köpfe [alt]" / "damaged.png"
    damaged.write_bytes(next(made.iterdir()).read_bytes()[:50])
    (made / "readme.txt").write_text("made by us")
    arguments = ("--real-train", "Köpfe [alt]", "--real-holdout", "held out", "--synthetic", "made")
    printed = evaluate(tmp_path, *arguments, "--out", "our results")
    out = tmp_path / "our results"
    assert (out / REPORT).is_file()
    assert (out / REPORT).with_name("thesis.pdf").is_file()
    assert str(Path("our results") / REPORT) in printed
    assert "made: files that are no images were left out (1 *.txt)" in printed
    assert list(Dataset(out / "results/datasets/training").failures["item_id"]) == ["damaged"]
    synthetic = Dataset(out / "results/datasets/synthetic")
    assert set(synthetic.items["origin"]) == {"synthetic"}
    assert synthetic.info.duplicates == 3
    by_hand = Project(out)
    assert "Nothing to be done" in by_hand.snakemake("-n")
    study = out / "config/studies/judged.yaml"
    study.write_text(study.read_text(encoding="utf-8").replace("title: ", "title: Our "), encoding="utf-8")
    assert set(by_hand.planned()) == {"report_study", "print_study", "export_latex", "reports"}


def test_training_images_under_other_names_raise_the_alarm(tmp_path: Path) -> None:
    """The gate of the privacy evaluation fails, and says of what."""
    real = draw(tmp_path / "real", 0, 16)
    draw(tmp_path / "held", 1, 16)
    (tmp_path / "made").mkdir()
    for number, path in enumerate(sorted(real.iterdir())):
        (tmp_path / "made" / f"gan{number}.png").write_bytes(path.read_bytes())
    evaluate(tmp_path, "--real-train=real", "--real-holdout=held", "--synthetic=made", "--out=out")
    privacy = tmp_path / "out/results/evaluations/privacy"
    assert json.loads((privacy / "details/privacy.json").read_text())["gate"] == "fail"
    rows = pd.read_parquet(privacy / "metrics.parquet")
    exact = rows[(rows["metric"] == "exact_copies") & (rows["arm"] == "synthetic")]["value"]
    assert exact.tolist() == [1.0]


def test_images_on_both_real_sides_are_named_and_no_report_is_written(tmp_path: Path) -> None:
    """The error of the job is that of the command; without the twin it goes on where it was."""
    real = draw(tmp_path / "real", 0)
    held = draw(tmp_path / "held", 1)
    draw(tmp_path / "made", 2)
    (held / "twin.png").write_bytes((real / "03.png").read_bytes())
    arguments = ("--real-train=real", "--real-holdout=held", "--synthetic=made", "--out=out")
    printed = evaluate(tmp_path, *arguments, expect=1)
    assert "mirage: heldout: 1 of 13 held-out images have the same pixels as training" in printed
    assert "twin (as 03)" in printed
    assert not (tmp_path / "out" / REPORT).exists()
