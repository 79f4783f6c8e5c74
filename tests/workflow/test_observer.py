"""An observer study in the workflow: the page waits for readers, and their answers remake what shows them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mirage.data import Dataset
from mirage.report.record import read_record
from workflow.conftest import Project

pytestmark = pytest.mark.timeout(900)
REPORT = "results/demo/studies/readers/report.html"
FOLDER = "results/demo/evaluations/judge_readers"


def configure(project: Project, **evaluation: object) -> None:
    """A study of readers on the simulated folders of `judge-folders`."""
    entry = {
        "evaluator": "observer",
        "real": "judge_heldout",
        "synthetic": "judge_made",
        "n": 10,
        "answers": "answers/*.csv",
        **evaluation,
    }
    study = {"title": "Readers", "question": "Do they tell?", "evaluations": ["judge_readers"]}
    project.set_config(
        run=["readers"], scale="demo", evaluations={"judge_readers": entry}, studies={"readers": study}
    )


def answer(project: Project, reader: str, wrong: int = 0) -> Path:
    """A file as the page writes it, of a reader who has all but ``wrong`` cases right."""
    key = pd.read_csv(project.folder / FOLDER / "key.csv", dtype=str)
    table = key[["study", "case"]].assign(reader=reader, order=range(1, len(key) + 1), seconds=2.5)
    table["rating"] = [5 if truth == "synthetic" else 2 for truth in key["truth"]]
    table.loc[: wrong - 1, "rating"] = 7 - table["rating"]
    path = project.folder / "answers" / f"{reader}.csv"
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    return path


def test_the_page_waits_and_answers_remake_what_shows_them(project: Project) -> None:
    """Page and key come first; answers that arrive are analysed, and the page that was handed out stays."""
    configure(project)
    arguments = ("--cores", "2", "--", REPORT)
    project.snakemake(*arguments)
    page = project.folder / FOLDER / "for_readers" / "observer.html"
    given_out = page.read_bytes()
    assert [path.name for path in page.parent.iterdir()] == ["observer.html"]
    text = (project.folder / REPORT).read_text(encoding="utf-8")
    assert "Waiting for readers" in text
    assert 'href="../../evaluations/judge_readers/for_readers/observer.html"' in text
    assert (
        (project.folder / REPORT)
        .parent.joinpath("../../evaluations/judge_readers/for_readers/observer.html")
        .is_file()
    )
    assert "No human reader study was made" not in text

    shown = pd.read_csv(project.folder / FOLDER / "key.csv", dtype=str)
    real = Dataset(project.folder / "results/demo/datasets/judge_heldout")
    assert set(shown["item_id"][shown["truth"] == "real"]) <= set(real.select("test").items["item_id"])
    assert (shown["truth"] == "real").sum() == 10

    answer(project, "anna")
    answer(project, "ben", wrong=10)
    assert project.planned("--", REPORT) == {"evaluate_set": 1, "report_study": 1}
    project.snakemake(*arguments)
    assert page.read_bytes() == given_out
    text = (project.folder / REPORT).read_text(encoding="utf-8")
    assert "anna told the kinds apart: 20 of 20 right" in text
    assert "ben: inconclusive, neither a difference nor guessing is shown: 10 of 20 right" in text
    assert "misled/judge_readers" in text
    words = {one.axis: one.word for one in read_record((project.folder / REPORT).parent).verdicts}
    assert words["Observers"] == "fail"
    rows = pd.read_parquet(project.folder / FOLDER / "metrics.parquet")
    assert rows[(rows["metric"] == "accuracy") & (rows["arm"] == "anna")]["value"].item() == 1.0
    assert "Nothing to be done" in project.snakemake("-n", "--", REPORT)

    made = {"make_readers_page", "evaluate_set", "report_study"}
    for changed, expected in (
        ({"answers": ["answers/anna.csv", "answers/ben.csv"]}, {"report_study"}),
        ({"answers": ["answers/anna.csv"]}, {"evaluate_set", "report_study"}),
        ({"margin": 0.2}, {"evaluate_set", "report_study"}),
        ({"scale": 4}, made),
        ({"runtime": {"minutes": 9}}, set()),
    ):
        configure(project, **changed)
        assert set(project.planned("--", REPORT)) == expected, changed


def test_answers_that_are_named_have_to_be_there(project: Project) -> None:
    """A pattern may find none yet; a file that is named and missing is a slip, told before anything runs."""
    configure(project)
    assert project.planned()["make_readers_page"] == 1
    configure(project, answers=["answers/anna.csv"])
    printed = project.snakemake("-n", expect=1)
    assert "evaluations.judge_readers.answers: no file answers/anna.csv" in printed
    configure(project, scale=100, plain_answer=False)
    assert "a scale of 100 has a middle" in project.snakemake("-n", expect=1)
