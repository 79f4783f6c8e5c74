"""Metal on radiographs is found, proposed and left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from mirage.cli import app
from mirage.config.chest import NihChestSource
from mirage.config.datasets import SimulateOptions
from mirage.files import read_json
from mirage.preprocess.metal import find_metal
from mirage.simulate import simulate
from mirage.simulate.chest import radiograph
from mirage.simulate.devices import add_device
from mirage.sources import open_source
from mirage.sources.exclusions import read_exclusions


@pytest.mark.parametrize("device", ["pacemaker", "cables"])
def test_metal_is_found_and_bones_and_nodules_are_not(device):
    """The same chests with and without."""
    for seed in range(4):
        made = radiograph(np.random.default_rng(seed), 512, nodules=2)
        assert find_metal(made.image).score == 0
        assert find_metal(add_device(made.image, np.random.default_rng(seed), device)).score > 0.3


def test_what_is_found_does_not_depend_on_the_range_of_values():
    """8 bits, 12 bits and floats."""
    made = radiograph(np.random.default_rng(0), 512)
    metal = add_device(made.image, np.random.default_rng(0), "cables")
    scores = [find_metal(np.rint(metal * high).astype(np.uint16)).score for high in (255, 4095)]
    assert scores[0] == pytest.approx(scores[1], rel=0.05)
    assert find_metal(np.zeros((512, 512), np.uint8)).score == 0


@pytest.mark.parametrize("device", ["pacemaker", "cables"])
def test_metal_is_found_on_dark_bones_too(device):
    """MONOCHROME1 as it is stored: the same finding as on the turned image, and none without metal."""
    made = radiograph(np.random.default_rng(1), 512, nodules=2)
    metal = np.rint(add_device(made.image, np.random.default_rng(1), device) * 255).astype(np.uint8)
    assert find_metal(255 - metal).score == pytest.approx(find_metal(metal).score, rel=0.3)
    assert find_metal(255 - np.rint(made.image * 255).astype(np.uint8)).score == 0


def test_command_proposes_a_list_that_the_source_takes(tmp_path, monkeypatch):
    """What is proposed has metal on it by the truth, is left out, and an edited list is never overwritten."""
    simulate(SimulateOptions(subjects=14, size=512), "nih_chest", tmp_path / "raw")
    studies = Path(__file__).parents[2] / "config/studies"
    (tmp_path / "config/studies").mkdir(parents=True)
    shutil.copy(studies / "quickstart.yaml", tmp_path / "config/studies")
    dataset = {"source": {"reader": "nih_chest", "path": "raw"}, "prepare": {"fov": "none"}}
    config = {"run": ["quickstart"], "datasets": {"nih": dataset}}
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    command = ["exclusions", "nih", "--out", "exclude.csv"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    listed = read_exclusions(Path("exclude.csv"))
    truth = read_json(Path("raw/ground_truth.json"))["images"]
    with_metal = {name for name, entry in truth.items() if entry["device"]}
    assert {Path(file).name for file in listed} == with_metal
    assert len(with_metal) >= 2
    options = NihChestSource(reader="nih_chest", path="raw", exclude="exclude.csv")
    left = {Path(item.attributes["file"]).name for item in open_source(options).items()}
    assert left == truth.keys() - with_metal
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1
    assert "may hold edits" in again.output


def test_real_pacemaker_and_cables_are_among_the_proposals(shared_data):
    """A pacemaker, a port, and the cables of a supine patient; most radiographs are not proposed."""
    found = {}
    for path in sorted((shared_data / "NIH-ChestXray/images").glob("*.png")):
        with Image.open(path) as picture:
            found[path.stem] = find_metal(np.asarray(picture.convert("L"))).score
    assert all(found[name] > 0.3 for name in ("00019211_000", "00020914_000", "00026911_000"))
    assert sum(score > 0.3 for score in found.values()) <= 12
