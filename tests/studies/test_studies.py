"""Every shipped study runs to its report at demo scale, and then exactly the right things are remade."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from mirage.data import Dataset
from studies.warm import warm_jobs
from workflow.conftest import Project, make_project

STUDIES = ["judge-folders", "quickstart", "retina", "retina-chase", "cells", "brain", "chest", "mammography"]
pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which all studies have run at demo scale. Tests leave it as they find it."""
    project = make_project(tmp_path_factory.mktemp("studies") / "project")
    project.set_config(run=STUDIES, scale="demo")
    with warm_jobs() as project.programs:
        project.snakemake("--profile", "profiles/ci")
        yield project


@pytest.mark.parametrize("study", STUDIES)
def test_study_ends_in_a_self_contained_report(finished: Project, study: str) -> None:
    """The page is there, under 5 MB, and its numbers stand beside it."""
    folder = finished.folder / "results/demo/studies" / study
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 5_000_000
    assert "<title>" in page
    summary = pd.read_csv(folder / "summary.csv")
    assert {"estimate", "low", "high"} <= set(summary.columns)
    assert json.loads((folder / "summary.json").read_text())
    assert list((folder / "figures").iterdir())
    assert all(len(page.read_bytes()) < 5_000_000 for page in (folder / "models").iterdir())


def test_overview_links_what_exists_and_the_catalogue_misses_nothing(finished: Project) -> None:
    """Every study has its verdicts, and every exhibit that the catalogue names is in its report."""
    folder = finished.folder / "results/demo/overview"
    verdicts = pd.read_csv(next((folder / "tables").glob("*verdicts.csv")))
    assert set(verdicts["study"]) == set(STUDIES)
    covered = pd.concat([pd.read_csv(path) for path in (folder / "tables").glob("*coverage_*.csv")])
    assert (covered["state"] == "regenerated").sum() == 34
    assert "missing" not in set(covered["state"])
    page = (folder / "catalogue.html").read_text(encoding="utf-8")
    for file, anchor in re.findall(r'href="(\.\./studies/[^"#]+)#([^"]+)"', page):
        assert f'id="{anchor}"' in (folder / file).read_text(encoding="utf-8")


def test_synthetic_datasets_know_their_lineage(finished: Project) -> None:
    """A synthetic dataset names every subject its models have learnt from, and none of the test set."""
    real = Dataset(finished.folder / "results/demo/datasets/chase")
    made = Dataset(finished.folder / "results/demo/synthetic/chase_dual_gan")
    assert made.learnt_from() & real.select("train").subjects()
    assert not made.learnt_from() & real.select("test").subjects()


def test_pseudo_labels_keep_images_and_splits(finished: Project) -> None:
    """The photographs are the real ones, bit for bit; only the label is new and says so."""
    plain = Dataset(finished.folder / "results/demo/datasets/messidor")
    labelled = Dataset(finished.folder / "results/demo/synthetic/messidor_labelled")
    assert list(plain.items.item_id) == list(labelled.items.item_id)
    assert list(plain.items.split) == list(labelled.items.split)
    assert all((plain.image(i) == labelled.image(i)).all() for i in range(len(plain)))
    assert set(labelled.items.mask_origin) == {"predicted"}


def test_second_run_has_nothing_to_do(finished: Project) -> None:
    """Nothing is remade when nothing was changed."""
    assert "Nothing to be done" in finished.snakemake("-n")
    assert finished.pending() == set()


def replace(old: str, new: str) -> Callable[[str], str]:
    """An edit; the text must be there."""

    def change(text: str) -> str:
        assert old in text, f"{old!r} is not in the file"
        return text.replace(old, new, 1)

    return change


QUICK = "config/studies/quickstart.yaml"
CHASE = "config/studies/retina_chase.yaml"
JUDGED = {"evaluate_arm", "report_study"}
ABOVE = {"report_overview", "print_study", "export_latex"}
"""What is made of a report, whatever in it has changed."""
SYNTHESISED = {"synthesise_shard", "gather_synthetic"}
COMPARED = {"extract_features", "evaluate_set"}
ENCODED = {"freeze_encoder", "fit_encoder", *COMPARED, "report_study"}
ROWS: dict[str, tuple[str, Callable[[str], str], set[str], str]] = {
    # name: (file, edit, rules that run again, what all remade outputs have in their path)
    "a comment": (QUICK, lambda text: text + "\n# a remark\n", set(), ""),
    "order of keys": (
        QUICK,
        replace("      features: 16\n      latent: 64\n", "      latent: 64\n      features: 16\n"),
        set(),
        "",
    ),
    "a default spelled out": (
        QUICK,
        replace("      of: mask\n", "      beta1: 0.5\n      of: mask\n"),
        set(),
        "",
    ),
    "the same number in another notation": (
        QUICK,
        replace("ema_decay: 0.99", "ema_decay: 9.9e-1"),
        set(),
        "",
    ),
    "GPU count": (
        QUICK,
        replace("    data: quick_fundus\n", "    data: quick_fundus\n    runtime: {gpus: 1}\n"),
        set(),
        "",
    ),
    "minutes": (
        QUICK,
        replace("    data: quick_fundus\n", "    data: quick_fundus\n    runtime: {minutes: 9}\n"),
        set(),
        "",
    ),
    "learning rate of stage I": (
        QUICK,
        replace("lr_generator: 1e-3", "lr_generator: 2e-3"),
        {"freeze_training", "train_generator", *SYNTHESISED, *JUDGED, *COMPARED},
        "quick",
    ),
    "learning rate of the ablation": (
        QUICK,
        replace("{of: image, features: 16,", "{lr_generator: 1e-3, of: image, features: 16,"),
        {"freeze_training", "train_generator", *SYNTHESISED, *COMPARED, "report_study"},
        "quick",
    ),
    "number of synthetic images": (
        QUICK,
        replace("    images: quick_photos\n    count: 48", "    images: quick_photos\n    count: 49"),
        {"freeze_recipe", *SYNTHESISED, *JUDGED, *COMPARED},
        "quick",
    ),
    "tolerance for failed synthetic items": (
        QUICK,
        replace("    min_component: 6", "    min_component: 6\n    max_failed_fraction: 0.5"),
        {"gather_synthetic", *JUDGED, *COMPARED},
        "quick",
    ),
    "another study": (
        CHASE,
        replace("question: Does", "question: Truly, does"),
        {"report_study"},
        "results/demo/studies/retina-chase/",
    ),
    "price of a core-hour": (
        "config/config.yaml",
        lambda text: text + "cost: {price_per_core_hour: 0.1}\n",
        {"report_study"},
        "results/demo/studies/",
    ),
    "tracking by MLflow": (
        "config/config.yaml",
        lambda text: text + "tracking: {uri: 'http://127.0.0.1:9'}\n",
        set(),
        "",
    ),
    "one arm's training set": (
        QUICK,
        replace(
            "synthetic: {train: [quick_dual_gan], augment: true}", "synthetic: {train: [quick_dual_gan]}"
        ),
        {"freeze_arm", *JUDGED},
        "quick",
    ),
    "a further seed": (QUICK, replace("seeds: [0, 1]", "seeds: [0, 1, 2]"), JUDGED, "quick"),
    "steps of the judges": (
        QUICK,
        replace("steps: 120\n    batch_size: 4\n    judge", "steps: 210\n    batch_size: 4\n    judge"),
        {"freeze_arm", *JUDGED},
        "quick",
    ),
    "an encoder's components": (
        "config/config.yaml",
        lambda text: text + "encoders: {pixpca: {components: 8}}\n",
        ENCODED,
        "results/demo/",
    ),
    "an encoder's runtime": (
        "config/config.yaml",
        lambda text: text + "encoders: {pixpca: {runtime: {minutes: 9}}}\n",
        set(),
        "",
    ),
    "one more encoder": (
        QUICK,
        replace("    encoders: [pixpca]\n", "    encoders: [pixpca, randconv]\n"),
        ENCODED - {"freeze_encoder"},  # another study has it already
        "results/demo/",
    ),
    "size of the images": (
        QUICK,
        replace("prepare: {size: 64, crop", "prepare: {size: 32, crop"),
        {
            "prepare_shard",
            "gather_dataset",
            "train_generator",
            *SYNTHESISED,
            *JUDGED,
            "fit_encoder",
            *COMPARED,
            "evaluate_observer",
        },
        "quick",
    ),
    "split": (
        QUICK,
        replace("split: {by: random, val: 0.1,", "split: {by: random, seed: 1, val: 0.1,"),
        {
            "gather_dataset",
            "train_generator",
            *SYNTHESISED,
            *JUDGED,
            "fit_encoder",
            *COMPARED,
            "evaluate_observer",
        },
        "quick",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_an_edit_remakes_exactly_what_depends_on_it(finished: Project, name: str) -> None:
    """Edit one key, ask for a dry run, and compare the rules that would run again."""
    file, change, rules, where = ROWS[name]
    with finished.edited(file, change):
        pending = finished.pending()
        assert {line.split(" ")[0] for line in pending} == rules | (
            ABOVE if "report_study" in rules else set()
        )
        assert all(where in line for line in pending if not line.startswith("report_overview"))


def test_one_seed_more_trains_only_that_seed(finished: Project) -> None:
    """The judges of the other seeds are kept."""
    with finished.edited(QUICK, replace("seeds: [0, 1]", "seeds: [0, 1, 5]")):
        judged = {line for line in finished.pending() if line.startswith("evaluate_arm")}
    assert judged
    assert all("seed-5" in line for line in judged)


def test_snakemake_report_is_written(finished: Project, tmp_path: Path) -> None:
    """Snakemake's own report holds the studies' pages."""
    finished.snakemake("--report", str(tmp_path / "report.zip"))
    assert (tmp_path / "report.zip").stat().st_size > 10_000


def test_truncated_images_are_reported_and_nothing_is_half_written(finished: Project, tmp_path: Path) -> None:
    """Above the limit the dataset is refused; below it, they are failed rows with their reasons."""
    project = make_project(tmp_path / "project")
    simulated = "results/demo/simulated/quick_fundus"
    shutil.copytree(finished.folder / simulated, project.folder / simulated)
    for path in sorted((project.folder / simulated).rglob("*_training.tif"))[:4]:
        path.write_bytes(path.read_bytes()[:100])
    project.set_config(run=["quickstart"], scale="demo")
    target = "results/demo/datasets/quick_fundus/manifest.parquet"
    arguments = ("--cores", "1", "--rerun-triggers", "input", "--", target)
    project.snakemake(*arguments, expect=1)
    assert not (project.folder / target).exists()
    assert "4 of 32 items failed" in project.logs()
    project.set_config(
        run=["quickstart"], scale="demo", datasets={"quick_fundus": {"max_failed_fraction": 0.5}}
    )
    project.snakemake(*arguments)
    failures = Dataset((project.folder / target).parent).failures
    assert len(failures) == 4
    assert failures.reason.str.len().min() > 10
