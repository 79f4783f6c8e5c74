"""The parts of the ledger that need no program: places, objects, times, and what is written to dvc.yaml."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirage.config import load_config
from mirage.errors import LedgerError
from mirage.graph import Graph
from mirage.publish.cards import JobCard, lineage, source_digest
from mirage.publish.commit import refuse_uncommitted
from mirage.publish.damage import refuse_damaged
from mirage.publish.dvc import Dvc
from mirage.publish.ledger import Stage, Stored, pointer, published, write_ledger
from mirage.publish.objects import Objects
from mirage.publish.places import stage_of, stages_of, stored_for
from mirage.publish.times import restore_times

ROOT = Path(__file__).resolve().parents[2]


def shipped(**config: Any) -> Graph:
    return Graph(load_config({"run": ["quickstart"], **config}, ROOT / "config"))


@pytest.mark.parametrize(
    ("output", "stage"),
    [
        ("results/datasets/eyes/manifest.parquet", "dataset-eyes"),
        ("results/simulated/eyes", "dataset-eyes"),
        ("results/synthetic/drawn/config.yaml", "synthetic-drawn"),
        ("results/models/gan/config.yaml", "model-gan"),
        ("results/models/gan/seed-3/weights.safetensors", "model-gan-seed-3"),
        ("results/evaluations/vessels/real/seed-0/details", "evaluation-vessels"),
        ("results/encoders/pixpca.yaml", "encoder-pixpca"),
        ("results/encoders/eyes/pixpca/encoder.json", "encoder-pixpca-OF-eyes"),
        ("results/features/eyes/pixpca/eyes.parquet", "encoder-pixpca-OF-eyes"),
        ("results/features/eyes/pixpca/drawn.parquet", "features-drawn-BY-pixpca-OF-eyes"),
        ("results/studies/quickstart/figures", "study-quickstart"),
    ],
)
def test_every_output_belongs_to_the_stage_of_its_artefact(output: str, stage: str) -> None:
    """At demo scale the stages have names of their own."""
    assert stage_of(shipped(), output) == stage
    assert stage_of(shipped(scale="demo"), output.replace("results", "results/demo", 1)) == f"demo-{stage}"


def test_a_study_is_made_of_the_stages_that_its_files_belong_to() -> None:
    """What is pulled is what was published."""
    graph = shipped()
    inputs = [path for paths in graph.report_inputs("quickstart").values() for path in paths]
    models = {f"model-{name}" for name, _ in graph.config.study_models("quickstart")}
    found = {stage_of(graph, path) for path in [*inputs, graph.report("quickstart")]}
    features = graph.set_features("quick_fidelity") + graph.set_features("quick_fidelity_single")
    found |= {stage_of(graph, path) for path in [*features, f"{graph.root}/encoders/pixpca.yaml"]}
    assert set(stages_of(graph, "quickstart")) == found | models


def test_whole_folders_are_stored_and_no_simulated_data() -> None:
    """Folders inside others are not stored twice; frozen options outside them are."""
    base = "results/evaluations/vessels"
    outputs = [
        f"{base}/real/config.yaml",
        f"{base}/real/seed-0/metrics.parquet",
        f"{base}/real/seed-0/details",
    ]
    assert stored_for(shipped(), outputs) == [f"{base}/real/config.yaml", f"{base}/real/seed-0"]
    outputs = ["results/synthetic/drawn/config.yaml", "results/synthetic/drawn/manifest.parquet"]
    assert stored_for(shipped(), outputs) == ["results/synthetic/drawn"]
    outputs = ["results/encoders/eyes/pixpca/encoder.json", "results/features/eyes/pixpca/eyes.parquet"]
    assert stored_for(shipped(), outputs) == ["results/encoders/eyes/pixpca", outputs[1]]
    outputs = ["results/simulated/eyes", "results/datasets/eyes/manifest.parquet"]
    assert stored_for(shipped(), outputs) == ["results/datasets/eyes"]


def test_stages_metrics_and_plots_of_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing twice changes nothing."""
    monkeypatch.chdir(tmp_path)
    own = {"stages": {"mine": {"cmd": "x"}}, "metrics": ["m.json"], "plots": [{"p.csv": {"x": "step"}}]}
    Path("dvc.yaml").write_text(yaml.safe_dump(own))
    figures = tmp_path / "results/studies/a/figures"
    figures.mkdir(parents=True)
    for name in ("figure-01.svg", "figure-01.csv", "figure-01.pdf"):
        (figures / name).touch()
    stage = Stage("study-a", ["results/studies/a/report.html"], ["results/studies/a"])
    write_ledger([stage], "full")
    first = Path("dvc.yaml").read_text()
    write_ledger([stage], "full")
    assert Path("dvc.yaml").read_text() == first
    written = yaml.safe_load(first)
    assert written["stages"]["mine"] == {"cmd": "x"}
    assert written["stages"]["study-a"]["frozen"] is True
    assert written["stages"]["study-a"]["outs"] == [{"results/studies/a": {"persist": True}}]
    assert written["metrics"] == ["m.json", "results/studies/a/summary.json"]
    assert written["plots"] == [{"p.csv": {"x": "step"}}, "results/studies/a/figures/figure-01.svg"]
    assert published(["study-a"]) == []


def stored_folder(objects: Objects, files: dict[str, bytes]) -> Stored:
    """A folder with these files, as DVC keeps it."""
    listed = []
    for name, content in files.items():
        listed.append({"md5": put(objects, content), "relpath": name})
    return Stored("results/a", put(objects, json.dumps(listed).encode(), ".dir"), "a")


def put(objects: Objects, content: bytes, suffix: str = "") -> str:
    name = hashlib.md5(content).hexdigest() + suffix
    objects.path(name).parent.mkdir(parents=True, exist_ok=True)
    objects.path(name).write_bytes(content)
    return name


def test_missing_and_damaged_objects_are_told_apart(tmp_path: Path) -> None:
    """Each by the file it stands for."""
    objects = Objects(tmp_path)
    stored = stored_folder(objects, {"x": b"one", "y": b"two"})
    assert objects.missing([stored]) == []
    refuse_damaged(objects, [stored])
    objects = Objects(tmp_path)
    objects.path(hashlib.md5(b"one").hexdigest()).write_bytes(b"onE")
    objects.path(hashlib.md5(b"two").hexdigest()).unlink()
    assert objects.missing([stored]) == ["results/a/y"]
    with pytest.raises(LedgerError, match=r"results/a/x: the stored copy .* is damaged") as raised:
        refuse_damaged(objects, [stored])
    assert hashlib.md5(b"onE").hexdigest() in str(raised.value)


def test_a_damaged_list_of_a_folder_is_named(tmp_path: Path) -> None:
    """It is not read."""
    objects = Objects(tmp_path)
    stored = stored_folder(objects, {"x": b"one"})
    objects = Objects(tmp_path)
    objects.path(stored.object).write_text("{")
    with pytest.raises(LedgerError, match="results/a: the stored copy"):
        refuse_damaged(objects, [stored])


def test_a_damaged_copy_from_the_remote_is_not_kept(tmp_path: Path) -> None:
    """So that it is fetched again once the remote is mended."""
    objects = Objects(tmp_path)
    name = put(objects, b"one")
    objects.path(name).write_bytes(b"onE")
    with pytest.raises(LedgerError, match="x: the remote's copy is damaged"):
        refuse_damaged(objects, [Stored("x", name, "a")], {name})
    assert not objects.has(name)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[JobCard]:
    """A script, a dataset made by it at time 200, and a model made of that at time 300."""
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("script.py", 100), ("dataset", 200), ("model", 300)):
        Path(name).write_text(name)
        os.utime(name, (seconds, seconds))
    sources = {"script.py": source_digest("script.py") or ""}
    dataset = JobCard(records={"dataset": {}}, inputs=[], sources=sources, lineages={}, benchmark={})
    learnt = {"dataset": lineage(dataset)}
    model = JobCard(records={"model": {}}, inputs=["dataset"], sources={}, lineages=learnt, benchmark={})
    return [model, dataset]


def times() -> tuple[float, float, float]:
    """Of the script, the dataset and the model."""
    script, dataset, model = (Path(name).stat().st_mtime for name in ("script.py", "dataset", "model"))
    return script, dataset, model


def test_outputs_that_stand_in_order_keep_their_times(made: list[JobCard]) -> None:
    """Nothing was brought back, so nothing is newer."""
    restore_times(made, {"dataset", "model"})
    assert times() == (100, 200, 300)


def test_what_was_made_of_a_replaced_output_is_not_older_than_it(made: list[JobCard]) -> None:
    """The script keeps its time."""
    restore_times(made, {"model"})
    script, dataset, model = times()
    assert script == 100
    assert model >= dataset > 1e9


def test_outputs_of_another_script_are_older_than_the_one_that_is_here(made: list[JobCard]) -> None:
    """Wherever its own time lies."""
    Path("script.py").write_text("another")
    os.utime("script.py", (50, 50))
    restore_times(made, {"dataset", "model"})
    script, dataset, _ = times()
    assert dataset < script == 50


def test_outputs_made_of_something_unknown_are_older_than_it(made: list[JobCard]) -> None:
    """A model whose dataset was not brought back with it may be of another."""
    restore_times(made[:1], {"model"})
    _, dataset, model = times()
    assert model < dataset


def test_a_model_of_data_that_were_made_anew_since_is_older_than_they(made: list[JobCard]) -> None:
    """Another study published the data again, with other options, and the model was not trained again."""
    model, dataset = made
    anew = replace(dataset, records={"dataset": {"params": ["size: 64"]}})
    restore_times([model, anew], set())
    _, data, learnt = times()
    assert learnt < data
    restore_times(made, set())
    _, data, learnt = times()
    assert learnt >= data


def test_a_pointer_of_an_old_dvc_is_refused(tmp_path: Path) -> None:
    """Its hashes cannot be compared with the files."""
    old = tmp_path / "drive.dvc"
    old.write_text(yaml.safe_dump({"outs": [{"md5": "0" * 32, "path": "drive"}]}))
    with pytest.raises(LedgerError, match="dvc cache migrate"):
        pointer(str(old))


def test_a_folder_without_dvc_is_told_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is looked at."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError, match="dvc init"):
        Dvc()


def test_uncommitted_files_that_decide_results_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracked ones wherever they are, untracked ones where they are read; the ledger itself may differ."""
    monkeypatch.chdir(tmp_path)
    for file in ("config/a.yaml", "dvc.lock"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text("one")
    for arguments in ("init --quiet", "add .", "-c user.name=a -c user.email=a@example.org commit -qm one"):
        subprocess.run(["git", *arguments.split()], check=True)
    Path("dvc.lock").write_text("two")
    Path("notes.txt").write_text("mine")
    refuse_uncommitted()
    Path("config/b.yaml").write_text("two")
    with pytest.raises(LedgerError, match="config/b"):
        refuse_uncommitted()
    Path("config/b.yaml").unlink()
    Path("config/a.yaml").write_text("two")
    with pytest.raises(LedgerError, match="config/a"):
        refuse_uncommitted()
