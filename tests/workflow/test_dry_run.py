"""What Snakemake plans, and refuses to plan, on trees without results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mirage.operations.work import Work
from workflow.conftest import Project

STUDIES = [
    "judge-folders",
    "quickstart",
    "retina",
    "retina-chase",
    "cells",
    "brain",
    "brain-small",
    "chest",
    "chest-small",
    "mammography",
    "mammography-calcifications",
    "mammography-small",
]


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_plans_at_demo_scale(project: Project, study: str) -> None:
    """Each shipped study ends in its report and needs no data."""
    project.set_config(run=[study], scale="demo")
    planned = project.planned()
    assert planned["report_study"] == 1
    assert planned["simulate_raw"] >= 1


def test_report_counts_the_jobs_that_snakemake_would_measure(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark files that a report reads are those of its jobs: none is missed, no other is counted."""
    chosen = {"run": ["quickstart", "brain-small"], "scale": "demo"}
    project.set_config(**chosen)
    monkeypatch.chdir(project.folder)
    work = Work.planned({})
    shown = ("report", "print")
    for study in chosen["run"]:
        measured = {job.benchmark for job in work.of_study(study) if job.stage not in shown} - {None}
        assert set(work.graph.report_plan(study)["benchmarks"]) == measured


def test_profiles_are_found(project: Project) -> None:
    """`snakemake --profile slurm` works from a clone, and so do the others."""
    for profile in ("slurm", "profiles/local", "profiles/ci"):
        project.snakemake("-n", "--profile", profile)


def make_tree(root: Path, *folders: str) -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True)


DRIVE = [f"training/{name}" for name in ("images", "1st_manual", "mask")]
DRIVE += [f"test/{name}" for name in ("images", "1st_manual", "2nd_manual", "mask")]


def test_published_retina_study_plans_on_an_empty_native_tree(project: Project) -> None:
    """At full scale the study needs the folders of DRIVE and MESSIDOR, and plans all its jobs."""
    make_tree(project.folder / "resources" / "drive", *DRIVE)
    make_tree(project.folder / "resources" / "messidor", "Base11", "Base12")
    project.set_config(run=["retina"])
    planned = project.planned()
    assert planned["prepare_shard"] == 9
    assert planned["train_generator"] == 4
    assert planned["evaluate_arm"] == 35
    assert "simulate_raw" not in planned


def test_ten_thousand_brains_are_planned_in_shards(project: Project) -> None:
    """Jobs follow from shards, not from subjects: fewer than 2,000 for 50,000 files."""
    for index in range(10_000):
        name = f"BraTS20_Training_{index + 1:05d}"
        make_tree(project.folder / "resources" / "brats", name)
        for part in ("flair", "t1", "t1ce", "t2", "seg"):
            (project.folder / "resources" / "brats" / name / f"{name}_{part}.nii.gz").touch()
    shards = {name: {"shards": 200} for name in ("brats", "brats_whole")}
    project.set_config(run=["brain"], datasets=shards)
    planned = project.planned()
    assert planned["prepare_shard"] == 400
    assert sum(planned.values()) < 2000


def test_a_hundred_thousand_radiographs_are_planned_in_shards(project: Project) -> None:
    """As many rows as NIH ChestX-ray8 has, over the folders of its archives."""
    raw = project.folder / "resources" / "chest"
    make_tree(raw, *(f"images_{number:03d}" for number in range(1, 13)))
    for index in range(112_120):
        (raw / f"images_{1 + index % 12:03d}" / f"{index:08d}_000.png").touch()
    source = {"reader": "folder", "path": "resources/chest", "images": "**/*.png", "channels": "grey"}
    dataset = {"source": source, "prepare": {"size": 64, "fov": "none"}, "shards": 100}
    project.set_config(
        run=["archive"],
        datasets={"chest": dataset},
        generators={"chest_gan": {"arch": "dcgan", "data": "chest"}},
        recipes={"chest_made": {"recipe": "unconditional", "generator": "chest_gan", "count": 100000}},
        evaluations={"chest_looks": {"evaluator": "fidelity", "real": "chest", "synthetic": "chest_made"}},
        studies={"archive": {"title": "Chest", "question": "Alike?", "evaluations": ["chest_looks"]}},
    )
    planned = project.planned()
    assert planned["prepare_shard"] == 100
    assert sum(planned.values()) < 2000


FILMS: dict[str, Any] = {
    "source": {"reader": "mini_mias"},
    "simulate": {"subjects": 6, "size": 128},
    "prepare": {"size": None, "fov": "film"},
    "split": {"by": "hash"},
}
LESIONS = {"kind": "lesions", "side": 32}


def films(normalise: dict[str, Any] | None, patches: dict[str, Any]) -> dict[str, Any]:
    """A dataset of patches of simulated films."""
    return {**FILMS, "prepare": {**FILMS["prepare"], "normalise": normalise, "patches": patches}}


def test_a_normaliser_is_fitted_where_one_is_asked_for_and_shared(project: Project) -> None:
    """Once, and read by the dataset that borrows it; a dataset without plans no such job."""
    nyul, normal = {"method": "nyul"}, {"kind": "normal", "side": 32}
    datasets = {
        "lesions": films(nyul, LESIONS),
        "healthy": films({**nyul, "fitted_on": "lesions"}, normal),
        "plain": films({"method": "clahe"}, LESIONS),
    }
    config: dict[str, Any] = {
        "run": ["films"],
        "datasets": datasets,
        "generators": {"gan": {"arch": "dcgan", "data": "healthy"}},
        "recipes": {"made": {"recipe": "unconditional", "generator": "gan", "count": 9}},
        "evaluations": {"looks": {"evaluator": "fidelity", "real": "healthy", "synthetic": "made"}},
        "studies": {"films": {"title": "Films", "question": "Alike?", "evaluations": ["looks"]}},
    }
    project.set_config(**config)
    planned = project.planned()
    # The lender is part of the study, too.
    assert (planned["fit_normaliser"], planned["prepare_shard"]) == (1, 2)
    assert "fit_normaliser" not in project.snakemake("-n", "results/datasets/plain/manifest.parquet")
    target = "results/datasets/healthy/manifest.parquet"
    project.snakemake("--cores", "1", target)
    info = json.loads((project.folder / "results/datasets/healthy/dataset.json").read_text())
    fitted = json.loads((project.folder / "results/datasets/lesions/normaliser.json").read_text())
    assert info["lineage"] == sorted(f"{fitted['namespace']}/{subject}" for subject in fitted["subjects"])
    assert "Nothing to be done" in project.snakemake("-n", target)
    datasets["healthy"]["prepare"]["patches"] = {**normal, "count": 3}
    project.set_config(**config)
    printed = project.snakemake("-n", target)
    assert "prepare_shard" in printed
    assert "fit_normaliser" not in printed


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ([], "resources/drive"),
        (DRIVE[1:], "training/images"),
        (DRIVE[:3], "test"),
    ],
)
def test_wrong_layout_names_the_missing_piece(project: Project, present: list[str], missing: str) -> None:
    """A folder that is not there is reported before anything runs."""
    make_tree(project.folder / "resources" / "messidor", "Base11")
    make_tree(project.folder / "resources" / "drive", *present) if present else None
    project.set_config(run=["retina"])
    printed = project.snakemake("-n", expect=1)
    assert missing in printed
    assert "Traceback" not in printed


def test_only_features_that_evaluations_name_are_made(project: Project) -> None:
    """A fit brings the features of the dataset it is fitted on; nothing is made where masks are compared."""
    quick: dict[str, Any] = {"quick_fidelity": {"encoders": ["pixpca", "randconv"]}}
    quick |= {
        name: {"encoders": []} for name in ("quick_fidelity_single", "quick_privacy", "quick_privacy_single")
    }
    project.set_config(run=["quickstart"], evaluations=quick)
    planned = project.planned()
    assert (planned["freeze_encoder"], planned["fit_encoder"], planned["extract_features"]) == (2, 2, 2)
    quick["quick_fidelity"]["compare"] = "mask"
    quick["quick_fidelity_single"]["encoders"] = ["pixpca"]
    project.set_config(run=["quickstart"], evaluations=quick)
    planned = project.planned()
    assert (planned["freeze_encoder"], planned["fit_encoder"], planned["extract_features"]) == (1, 1, 1)


def test_an_encoder_that_chooses_weights_is_fitted_before_training(project: Project) -> None:
    """The training of that generator alone is given it; no features are extracted but those of its data."""
    plain = project.planned()
    frechet = {"training": {"frechet": {"encoder": "randconv"}, "select_window": 3}}
    project.set_config(run=["quickstart"], generators={"quick_single": frechet})
    planned = project.planned()
    assert planned["fit_encoder"] == plain["fit_encoder"] + 1
    assert planned["extract_features"] == plain["extract_features"]
    commands = re.findall(r"mirage train (.*)--config \S*/models/(\w+)/config", project.snakemake("-n", "-p"))
    given = {name: argument.strip() for argument, name in commands}
    assert given.pop("quick_single").endswith("encoders/quick_fundus/randconv/encoder.json")
    assert given
    assert not any(given.values())


def test_an_encoder_can_be_renamed_and_changed(project: Project) -> None:
    """Built-in entries are there unwritten; a key of one, or an entry of another name, is the user's."""
    project.set_config(
        run=["quickstart"],
        encoders={"pixpca": {"components": 8}, "small": {"encoder": "randconv", "side": 32}},
        evaluations={"quick_fidelity": {"encoders": ["pixpca", "small"]}},
    )
    assert project.planned()["fit_encoder"] == 2
    project.set_config(run=["quickstart"], evaluations={"quick_fidelity": {"encoders": ["pixpac"]}})
    printed = project.snakemake("-n", expect=1)
    assert "evaluations.quick_fidelity.encoders: 'pixpac' is no encoder; did you mean 'pixpca'?" in printed


def test_unknown_key_is_refused_before_planning(project: Project) -> None:
    """The message has file, key and the nearest spelling, and no traceback."""
    project.set_config(run=["quickstart"], generators={"quick_masks": {"trainin": {}}})
    printed = project.snakemake("-n", expect=1)
    assert "generators.quick_masks.trainin: unknown key; did you mean 'training'?" in printed
    assert "Traceback" not in printed
