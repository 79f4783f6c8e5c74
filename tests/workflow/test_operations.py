"""`mirage doctor`, `plan`, `status` and `why` in a project that has run in part."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from workflow.conftest import Project, make_project

DATASET = "results/demo/datasets/quick_fundus/manifest.parquet"
FROZEN = "results/demo/synthetic/quick_dual_gan/config.yaml"
WEIGHTS = "results/demo/models/quick_masks/seed-0/weights.safetensors"
STATE = "results/demo/models/quick_masks/seed-0/state"
QUICK = "config/studies/quickstart.yaml"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one dataset and one frozen recipe. Tests leave it as they find it."""
    project = make_project(tmp_path_factory.mktemp("operations") / "project")
    project.set_config(run=["quickstart"], scale="demo")
    project.snakemake("--profile", "profiles/ci", "--", DATASET, FROZEN)
    return project


def edit(old: str, new: str) -> Any:
    return lambda text: text.replace(old, new, 1)


def test_plan_tells_what_is_left_and_what_it_takes(begun: Project) -> None:
    """Preparation is done; trainings have never run, so they may take what they ask for."""
    found = begun.mirage("plan", "--cores", "2")
    stages = found["studies"][0]["stages"]
    assert [stages[stage]["jobs"] for stage in ("simulate", "prepare", "train")] == [0, 0, 6]
    assert stages["train"]["hours"] == 12
    assert stages["train"]["hours_at_most"] == 3
    assert found["machine"]["hours"] >= found["machine"]["critical_path_hours"]


def test_plan_of_what_has_run_before_takes_as_long_again(begun: Project) -> None:
    """The benchmark files of past jobs are the estimate, and sizes come from what is there."""
    with begun.edited(QUICK, edit("prepare: {size: 64, crop", "prepare: {size: 32, crop")):
        prepare = begun.mirage("plan")["studies"][0]["stages"]["prepare"]
    assert (prepare["jobs"], prepare["hours_at_most"], prepare["hours_unknown"]) == (3, 0, 0)
    assert 0 < prepare["hours"] < 1
    assert prepare["bytes"] > 32 * 64 * 64 * 3
    assert prepare["memory_mb"] is None or prepare["memory_mb"] > 1


def test_why_names_the_edited_key(begun: Project) -> None:
    """From a study, a rule or an entry to the key that was edited, with its old and new value."""
    with begun.edited(
        QUICK, edit("images: quick_photos\n    count: 48", "images: quick_photos\n    count: 49")
    ):
        found = begun.mirage("why", FROZEN, "quick_dual_gan", "quickstart")
    told = [[cause["changes"] for cause in one["causes"]] for one in found]
    change = {"key": "recipes.quick_dual_gan.count", "old": 48, "new": 49}
    assert told == [[[{**change, "old_is_default": False, "new_is_default": False}]]] * 3
    [found] = begun.mirage("why", FROZEN)
    assert found["jobs"] == {}
    assert found["made_by"][0]["job"] == "freeze_recipe quick_dual_gan"


def test_why_follows_the_chain_to_its_root(begun: Project) -> None:
    """The manifest would be made anew since the phantoms would be."""
    with begun.edited(QUICK, edit("simulate: {subjects: 32", "simulate: {subjects: 32, seed: 7")):
        [found] = begun.mirage("why", DATASET)
    [cause] = found["causes"]
    assert (cause["kind"], cause["job"]) == ("options", "simulate_raw quick_fundus")
    assert cause["changes"][0]["key"] == "datasets.quick_fundus.simulate.seed"
    assert cause["changes"][0]["old_is_default"]
    assert cause["then"] == {"prepare_shard": 2, "gather_dataset": 1}


def test_why_tells_what_is_gone(begun: Project) -> None:
    """A file that was deleted is missing, not changed."""
    frozen = begun.folder / FROZEN
    kept = frozen.read_bytes()
    frozen.unlink()
    [found] = begun.mirage("why", FROZEN)
    frozen.write_bytes(kept)
    assert [cause["kind"] for cause in found["causes"]] == ["missing"]


def test_doctor_tells_what_is_wrong_and_exits_accordingly(begun: Project) -> None:
    """Data that are missing are problems, all of them, and the status is 1; the rest is in place."""
    with begun.edited("config/config.yaml", lambda _: "run: [retina]\n"):
        found = begun.mirage("doctor", expect=1)["findings"]
    problems = {finding["topic"] for finding in found if finding["level"] == "problem"}
    assert {"data drive", "data messidor"} <= problems <= {"data drive", "data messidor", "profile"}
    levels = {finding["topic"]: finding["level"] for finding in found}
    assert {levels[topic] for topic in ("torch", "snakemake", "CPU", "results", "lock")} == {"ok"}


def training(project: Project) -> dict[str, Any]:
    """What `mirage status` says of the training of the masks."""
    jobs = project.mirage("status")["jobs"]
    return next(job for job in jobs if job["job"] == "train_generator quick_masks seed 0")


def test_status_sees_a_training_run_and_die(begun: Project, tmp_path: Path) -> None:
    """While Snakemake runs and holds its lock: steps and device; after both were killed: that it was."""
    shutil.copytree(begun.folder, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    endless = edit("demo: {training: {steps: 80}}", "demo: {training: {steps: 1000000}}")
    with project.edited(QUICK, endless):
        with project.snakemake_in_background("--profile", "profiles/ci", "--", WEIGHTS) as snakemake:
            while not (project.folder / STATE / "progress.json").exists():
                assert snakemake.poll() is None, project.logs()
                time.sleep(0.5)
            running = training(project)
        killed = training(project)
    assert running["state"] == "running"
    assert running["training"]["steps"] == 1000000
    assert running["training"]["device"].startswith(("cpu", "cuda", "mps"))
    assert (killed["state"], killed["training"]["alive"]) == ("failed", False)
    assert "was killed at step" in killed["note"]
