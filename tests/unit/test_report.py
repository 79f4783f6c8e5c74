"""The report: one self-contained page whose numbers trace to the summary."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feature_tables import bank_of
from pages import problems
from PIL import Image

from mirage import evaluate
from mirage.config.cost import Cost
from mirage.config.evaluations import FidelityEvaluation, SegmentationEvaluation, StudyConfig
from mirage.config.publications import Publication
from mirage.data import Dataset, ShardWriter
from mirage.data.dataset import write_info
from mirage.errors import DataError
from mirage.evaluate import run_set
from mirage.metrics.segmentation import mask_scores, probability_scores
from mirage.report import (
    Drawing,
    Finished,
    ReportInputs,
    build_report,
    drawing,
    figures,
    images,
    numbers,
    verdicts,
)
from mirage.report.book import Book, Exhibit
from mirage.report.chapters.closing import limits_chapter
from mirage.report.chapters.runs import models_behind
from mirage.report.chapters.spent import spent
from mirage.report.chapters.training import judged_by, metric_groups
from mirage.report.evaluators import EVALUATORS, arms
from mirage.report.evaluators import segmentation as segmentation_report
from mirage.report.record import read_record
from mirage.report.sources import RULES
from mirage.report.summary import nested, read_metrics, row_key, summarise

ROOT = Path(__file__).parents[2]
ARMS = {
    "real": {"train": ["real"]},
    "synthetic": {"train": ["made"]},
    "both": {"train": ["real", "made"], "augment": True},
}


class Page(HTMLParser):
    """Tags of a page with their attributes, and the text of every table cell with a key."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: dict[str, str] = {}
        self._key: str | None = None
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self._key = dict(attrs).get("data-key")

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._key = None

    def handle_data(self, data: str) -> None:
        if self._key:
            self.cells[self._key] = self.cells.get(self._key, "") + " " + data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def write_arm(folder: Path, arm: str, seed: int, test: Dataset, gain: float) -> Path:
    """Results of one judge, as the evaluation writes them: smeared truth, better with more gain."""
    rng = np.random.default_rng([seed, len(arm)])
    out = folder / arm / f"seed-{seed}"
    rows = []
    with ShardWriter(
        out / "details" / "predictions.arrow", (1, *test.info.image_shape[1:]), np.uint8
    ) as writer:
        for index in range(len(test)):
            truth = test.mask(index)
            noisy = truth * 90 * gain + rng.normal(80, 40, truth.shape)
            probability = np.clip(noisy, 0, 255).astype(np.uint8)
            writer.append(probability[None])
            item = test.items.iloc[index]
            for metric, value in probability_scores(truth, probability, 128).items():
                rows.append((arm, seed, item["subject_id"], item["item_id"], metric, value))
    write_metrics(out, rows)
    made = {"packages": {"torch": "2"}, "config": {"judge": {"features": 12}}}
    facts = {"threshold": 128 / 255, "provenance": made}
    (out / "details" / "arm.json").write_text(json.dumps(facts))
    return out


def write_metrics(folder: Path, rows: Sequence[tuple[object, ...]]) -> None:
    """Tidy rows (arm, seed, subject, item, metric, value)."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["arm", "seed", "subject_id", "item_id", "metric", "value"]
    table = pd.DataFrame(rows, columns=columns).assign(evaluation="seg", fold=None, label="disc")
    table.to_parquet(folder / "metrics.parquet")


def segmentation(
    folder: Path, test: Dataset, gains: dict[str, float], seeds: Sequence[int] = (0, 1)
) -> Finished:
    """A finished segmentation evaluation of three arms."""
    config = SegmentationEvaluation.model_validate(
        {"evaluator": "segmentation", "test": "real", "arms": ARMS, "seeds": list(seeds)}
    )
    return Finished(
        config, [write_arm(folder, arm, seed, test, gains[arm]) for arm in ARMS for seed in seeds]
    )


def write_model(folder: Path) -> Path:
    """A model folder with history and two previews."""
    (folder / "previews").mkdir(parents=True)
    steps = [step for step in range(10, 60, 10) for _ in range(3)]
    history = {"step": steps, "metric": ["generator", "real", "fake"] * 5, "value": np.linspace(2, 1, 15)}
    pd.DataFrame(history).to_parquet(folder / "history.parquet")
    model = {
        "arch": "dcgan",
        "seed": 0,
        "step": 40,
        "chosen_because": "last step",
        "metric": {"name": "frechet_pixels"},
        "notes": {"perceptual_features": "fixed random convolutions"},
        "training": {"dataset": "real", "fingerprint": "abc"},
    }
    (folder / "model.json").write_text(json.dumps(model))
    for step in (20, 40):
        Image.new("RGB", (40, 40), "grey").save(folder / "previews" / f"step-{step:07d}.png")
    return folder


def as_synthetic(dataset: Dataset, real: Dataset) -> Dataset:
    """The same folder with its items declared synthetic, by a generator that has learnt from ``real``."""
    path = dataset.folder / "manifest.parquet"
    pd.read_parquet(path).assign(origin="synthetic", split="train").to_parquet(path)
    recipe = {"recipe": "unconditional", "generator": {"generator": "gan", "seed": 3}, "count": 9}
    known = {
        "namespace": dataset.info.name,
        "lineage": sorted(real.select("train").subjects()),
        "provenance": {"seed": 7, "config": recipe, "finished": "2026-01-01"},
    }
    write_info(dataset.folder, dataset.info.model_copy(update=known))
    return Dataset(dataset.folder)


def compare(name: str, real: Dataset, made: Dataset, out: Path) -> Finished:
    """A finished fidelity evaluation of ``made`` against ``real``."""
    config = FidelityEvaluation(
        evaluator="fidelity", real="real", synthetic=made.info.name, bootstrap=50, encoders=["pixpca"]
    )
    bank = bank_of(out / "bank", config.encoders, ("real", real), (made.info.name, made))
    run_set(config, name, {"real": real, made.info.name: made}, bank, out)
    return Finished(config, [out])


SPLITS = {"train": 8, "val": 2, "test": 6}
STUDY = StudyConfig(
    title="Discs & rings",
    question="Do made discs help?",
    evaluations=["seg"],
    follows=["anon"],
)
PUBLISHED = {
    "Figure 1": {"shows": "a disc", "by": {"discs": "examples"}},
    "Figure 9": {"shows": "the clinic", "state": "needs_data", "note": "a photograph"},
    "Table 2": {"shows": "scores", "by": {"discs": "nothing"}},
    "Table 3": {"shows": "more scores", "by": {"other": "results/seg"}},
}
ANON = Publication.model_validate({"reference": "Anon (2020)", "items": PUBLISHED})


@pytest.fixture
def study(tmp_path: Path, toy_dataset: Callable[..., Dataset]) -> ReportInputs:
    """Inputs of a full study: real and made discs, a generator, segmentation, fidelity, second observer."""
    real = toy_dataset("real", origin="real", observer2=True, splits=SPLITS)
    made = as_synthetic(toy_dataset("made", seed=5, splits={"train": 9}), real)
    test = real.select("test")
    results = tmp_path / "evaluations"
    config, folders = segmentation(results / "seg", test, {"real": 1.0, "synthetic": 0.4, "both": 1.01})
    human = []
    for index in range(len(test)):
        item = test.items.iloc[index]
        for metric, value in mask_scores(test.mask(index), test.mask(index, "observer2")).items():
            human.append(("observer2", None, item["subject_id"], item["item_id"], metric, value))
    write_metrics(results / "seg" / "observer2", human)
    benchmark = tmp_path / "benchmarks" / "train_generator" / "gan" / "seed-0.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\tmax_rss\n12.5\t0:00:12\t-\n")
    return ReportInputs(
        evaluations={
            "seg": Finished(config, [*folders, results / "seg" / "observer2"]),
            "near": compare("near", real, made, results / "near"),
        },
        datasets={"real": real.folder, "made": made.folder},
        models={"gan": [write_model(tmp_path / "models" / "gan" / "seed-0")]},
        benchmarks=[benchmark],
        config_hash="c0ffee",
        commit="0123456789abcdef",
        publications={"anon": ANON},
        drawing=Drawing(
            [
                ("real", "dataset"),
                ("gan", "generator"),
                ("made", "recipe"),
                ("seg", "evaluation"),
                ("s", "study"),
            ],
            [("real", "gan"), ("gan", "made"), ("made", "seg"), ("real", "seg"), ("seg", "s")],
        ),
    )


def test_pages_are_small_load_nothing_and_can_be_heard(study: ReportInputs, tmp_path: Path) -> None:
    """Under 5 MB, every picture inside with words for it, and every link leads somewhere, on every page."""
    out = tmp_path / "out"
    build_report(STUDY, "discs", study, out)
    pages = {file: Page(out / file) for file in ("report.html", "models/gan.html")}
    ids = {
        (out / file).resolve(): {attributes.get("id") for _, attributes in page.tags}
        for file, page in pages.items()
    }
    for file, page in pages.items():
        assert problems(page.text) == []
        assert len(page.text.encode()) < 5_000_000
        for picture in page.attributes("img"):
            assert len(picture["src"]) < 4 / 3 * 40_000 + 100
        for anchor in page.attributes("a"):
            target, _, place = anchor["href"].partition("#")
            found = (out / file).parent.joinpath(target).resolve() if target else (out / file).resolve()
            assert found.is_file(), anchor
            assert not place or place in ids[found], anchor
    assert len(pages["report.html"].attributes("img")) > 30
    assert "Discs &amp; rings" in pages["report.html"].text
    for wanted in ("Privacy was not tested", "0123456789ab", "c0ffee"):
        assert wanted in pages["report.html"].text


def test_doubts_about_how_a_dataset_is_read_are_among_the_limits(study: ReportInputs) -> None:
    """A patient may be in training and in test: the report says so."""
    real = Dataset(study.datasets["real"])
    real.info = real.info.model_copy(update={"doubts": ["Every image counts as a subject."]})
    chapter = limits_chapter(replace(study, evaluations={}), {"real": real}, pd.DataFrame(), [])
    assert "real: Every image counts as a subject." in str(chapter.blocks)


def test_every_exhibit_names_its_rule_and_its_data(study: ReportInputs, tmp_path: Path) -> None:
    """The line below an exhibit leads to the row of its rule and commit, and to a CSV."""
    build_report(STUDY, "discs", study, tmp_path)
    record = read_record(tmp_path)
    text = (tmp_path / "report.html").read_text() + (tmp_path / "models/gan.html").read_text()
    for exhibit in record.exhibits.values():
        assert (tmp_path / exhibit["files"]["csv"]).is_file()
    rules = dict(re.findall(r'<figure id="fig-([^"]+)".*?Source: rule <a href="[^"]*">(\w+)<', text, re.S))
    assert len(rules) == len(record.exhibits)
    wanted = {"training-gan": "train_generator", "gallery-made": "gather_synthetic", "data": "report_study"}
    wanted |= {"results-seg": "evaluate_arm", "intensity-near": "evaluate_set", "examples": "report_study"}
    assert rules.items() >= wanted.items()
    for rule, file in RULES.items():
        assert f"rule {rule}:" in (ROOT / file).read_text()


def test_page_of_a_generator_tells_how_it_was_trained(study: ReportInputs, tmp_path: Path) -> None:
    """Curves, previews, kept and best step, options and cost are there; the main page has a summary."""
    build_report(STUDY, "discs", study, tmp_path)
    main, own = ((tmp_path / file).read_text() for file in ("report.html", "models/gan.html"))
    for id in ("training-gan", "previews-gan", "checkpoint-gan", "options-gan"):
        assert f'id="fig-{id}"' in own
        assert f'id="fig-{id}"' not in main
        assert f'href="models/gan.html#fig-{id}"' in main
    assert "40 of 50" in own
    assert 'id="fig-time-gan"' in own
    assert "12 s" in own
    assert "fixed random convolutions" in own


def test_catalogue_is_checked_against_the_exhibits(study: ReportInputs, tmp_path: Path) -> None:
    """An exhibit that exists is linked, one that does not is called out, other studies are named."""
    build_report(STUDY, "discs", study, tmp_path)
    table = pd.read_csv(next((tmp_path / "figures").glob("*coverage_anon.csv"))).set_index("item")
    states = ["regenerated", "needs data", "missing", "not run here"]
    assert table["state"].tolist() == states
    text = (tmp_path / "report.html").read_text()
    assert '<a href="#fig-examples">Figure 2 (discs)</a>' in text
    assert "Table 2: nothing is not in this run" in text
    assert "results/seg in the study other" in text
    assert "a photograph" in text


def test_every_printed_result_stands_in_the_summary(study: ReportInputs, tmp_path: Path) -> None:
    """Cells name a row of summary.csv and print its numbers, bold where decided; summary.json agrees."""
    out = tmp_path / "out"
    build_report(STUDY, "discs", study, out)
    summary = pd.read_csv(out / "summary.csv")
    rows = {row_key(row): row for row in summary.itertuples()}
    assert len(rows) == len(summary)
    page = Page(out / "report.html")
    bold = re.findall(r'data-key="(seg/\w+/f1/difference)">\s*<b>', page.text)
    assert bold == ["seg/synthetic/f1/difference"]
    cells = page.cells
    assert {"seg/synthetic/f1/difference", "seg/observer2/f1/absolute"} <= cells.keys()
    for key, text in cells.items():
        row = rows[key]
        signed = row.kind == "difference"
        allowed = {numbers.number(row.estimate, sign=signed), numbers.significant(row.estimate)}
        allowed |= {numbers.grouped(int(row.estimate))} if float(row.estimate).is_integer() else set()
        assert any(value in text for value in allowed), (key, text)
        if np.isfinite(row.low):
            ends = {numbers.interval(row.low, row.high, sign=signed), numbers.range_of(row.low, row.high)}
            assert any(value in text for value in ends), (key, text)
    tree = json.loads((out / "summary.json").read_text())
    row = rows["seg/both/f1/difference"]
    assert tree["seg"]["both"]["f1"]["difference"]["estimate"] == pytest.approx(row.estimate)


def test_verdict_follows_the_interval(study: ReportInputs) -> None:
    """A clear loss is worse, a difference whose interval spans zero is inconclusive, and so is the axis."""
    summary = summarise(study)
    rows = {row_key(row): row for row in summary.itertuples()}
    assert rows["seg/synthetic/f1/difference"].verdict == "worse"
    both = rows["seg/both/f1/difference"]
    assert both.low < 0 < both.high
    assert both.verdict == "inconclusive"
    own = {"seg": study.evaluations["seg"]}
    (utility,) = segmentation_report.verdicts(own, {"made"}, summary)
    assert utility.word == "inconclusive"
    assert len(utility.sentences) == 2


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ([], "untested"),
        (["inconclusive"], "inconclusive"),
        (["better", "inconclusive"], "pass"),
        (["better", "worse"], "inconclusive"),
        (["worse", "inconclusive"], "inconclusive"),
        (["worse", "worse"], "fail"),
    ],
)
def test_axis_is_inconclusive_unless_something_decides(found: list[str], word: str) -> None:
    """Pass needs a gain and no loss, fail needs losses only."""
    assert arms.of_arms(found) == word


@pytest.mark.parametrize("channels", [1, 3])
def test_sparse_studies_still_get_a_report(
    channels: int, tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """No masks, 1 or 3 channels, nothing held out, no models, benchmarks, graph or segmentation."""
    plain = {"channels": channels, "labels": 0, "fov": False, "splits": {"train": 5}}
    real = toy_dataset("real", **plain)
    made = as_synthetic(toy_dataset("made", seed=3, **plain), real)
    near = compare("near", real, made, tmp_path / "near")
    inputs = ReportInputs({"near": near}, {"real": real.folder, "made": made.folder})
    build_report(StudyConfig(title="T", question="Q", evaluations=["near"]), "t", inputs, tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Utility was not tested" in text
    assert "simulated data" in text
    assert "Time and memory of the stages were not recorded" in text
    assert ">luma<" in text if channels == 3 else ">grey<" in text


def test_one_seed_and_one_subject_give_no_claim(tmp_path: Path, toy_dataset: Callable[..., Dataset]) -> None:
    """Without an interval every comparison is inconclusive, and the limits say why."""
    real = toy_dataset("real", origin="real", splits={"train": 3, "test": 1})
    found = segmentation(tmp_path / "seg", real.select("test"), {"real": 1, "synthetic": 0.3, "both": 3}, [0])
    inputs = ReportInputs({"seg": found}, {"real": real.folder})
    build_report(STUDY, "t", inputs, tmp_path / "out")
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert set(summary["verdict"].dropna()) == {"inconclusive"}
    text = (tmp_path / "out" / "report.html").read_text()
    assert "no interval" in text
    assert "not in the intervals" in text
    assert "Fidelity was not tested" in text
    assert "Novelty was not tested" in text


def test_what_users_and_files_say_is_escaped(
    study: ReportInputs, tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """A script in a subject or item id, a failure's reason, a label or an option is printed, never run."""
    attack = "<script>alert('1')</script>"
    real = Dataset(study.datasets["real"])
    path = real.folder / "manifest.parquet"
    table = pd.read_parquet(path)
    lost = table.iloc[[0]].assign(item_id=f"lost {attack}", status="failed", reason=f"reason {attack}")
    table["item_id"] = table["item_id"].where(table["item_id"] != "train_0", f"item {attack}")
    pd.concat([table.assign(subject_id=table["subject_id"] + attack), lost]).to_parquet(path)
    info = {"modality": f"modality {attack}", "provenance": {"config": {"path": f"option {attack}"}}}
    write_info(real.folder, real.info.model_copy(update=info))
    words = StudyConfig(title=attack, question=attack, evaluations=["seg"], notes=[f"note {attack}"])
    build_report(words, "discs", replace(study, scale="demo"), tmp_path / "out")
    page = Page(tmp_path / "out" / "report.html")
    assert not page.attributes("script")
    assert "<script" not in page.text
    for wanted in ("item", "lost", "reason", "modality", "option", "note"):
        assert f"{wanted} &lt;script&gt;alert" in page.text, wanted


def test_demo_runs_say_so_at_the_top(study: ReportInputs, tmp_path: Path) -> None:
    """Before any finding, and only where it is true."""
    build_report(STUDY, "discs", replace(study, scale="demo"), tmp_path / "demo")
    text = (tmp_path / "demo" / "report.html").read_text()
    assert text.index("its numbers mean nothing") < text.index("Findings</h2>")
    build_report(STUDY, "discs", study, tmp_path / "full")
    assert "numbers mean nothing" not in (tmp_path / "full" / "report.html").read_text()


def test_provenance_names_seeds_models_and_options(study: ReportInputs, tmp_path: Path) -> None:
    """What made each synthetic dataset stands in its row, and every option below the table."""
    build_report(STUDY, "discs", study, tmp_path / "out")
    (path,) = (tmp_path / "out" / "figures").glob("*runs.csv")
    made = pd.read_csv(path).set_index("name").loc["made"]
    assert made["seed"] == 7
    assert made["models"] == "gan, seed 3"
    text = (tmp_path / "out" / "report.html").read_text()
    assert "&#34;recipe&#34;: &#34;unconditional&#34;" in text
    assert "&#34;features&#34;: 12" in text
    assert "evaluation seg, both seed-1" in text


def test_models_are_found_wherever_a_recipe_names_them() -> None:
    """At any depth, each once."""
    gan, other = {"generator": "a", "seed": 0}, {"generator": "b", "seed": 2}
    assert models_behind({"x": [gan, {"y": other}], "z": gan, "seed": 4}) == ["a, seed 0", "b, seed 2"]


def test_only_shares_are_cut_at_zero_and_one(tmp_path: Path) -> None:
    """A distance in millimetres keeps an interval beyond 1; where less is better, less wins."""
    rows = [
        (arm, 0, f"s{number}", f"s{number}", metric, value * (0.5 if arm == "both" else 1.0))
        for arm in ("real", "both")
        for metric in ("f1", "mm")
        for number, value in enumerate((0.97, 0.999, 0.98))
    ]
    write_metrics(tmp_path / "a", rows)
    config = SegmentationEvaluation.model_validate(
        {"evaluator": "segmentation", "test": "real", "arms": ARMS}
    )
    scores = arms.Scores(headline="f1", titles={}, shares=["f1"], lower_is_better=["mm"])
    table = arms.summarise("seg", config, read_metrics([tmp_path / "a"]), scores)
    found = {(row.arm, row.metric, row.kind): row for row in table.itertuples()}
    assert found["real", "f1", "absolute"].high == 1
    assert found["real", "mm", "absolute"].high > 1
    assert found["both", "f1", "difference"].verdict == "worse"
    assert found["both", "mm", "difference"].verdict == "better"
    assert found["both", "f1", "difference"].p_holm == 0.25


def test_axes_that_nothing_measures_are_untested() -> None:
    """Every study has a card for every axis, in one order."""
    found = verdicts.in_order(
        [verdicts.Verdict("Novelty", "pass", []), verdicts.Verdict("Speed", "fail", [])]
    )
    assert [(v.axis, v.word) for v in found] == [
        ("Utility", "untested"),
        ("Fidelity", "untested"),
        ("Diversity", "untested"),
        ("Novelty", "pass"),
        ("Privacy", "untested"),
        ("Speed", "fail"),
    ]


def test_every_evaluator_has_a_report() -> None:
    """What can be run can be reported, with the same names."""
    assert EVALUATORS.keys() == evaluate.EVALUATORS.keys()


def test_gradient_penalty_has_a_panel_of_its_own() -> None:
    """R1 has another scale than the losses beside it, and rows at other steps, or a single one."""
    groups = metric_groups(["generator", "real", "fake", "r1", "kid"], "kid")
    assert groups == {
        "generator": ["generator"],
        "discriminator": ["real", "fake"],
        "discriminator: R1 penalty": ["r1"],
        "validation: kid": ["kid"],
    }
    rows = [(step, name, 1.0) for step in range(10, 60, 10) for name in ("generator", "real", "fake")]
    history = pd.DataFrame([*rows, (30, "r1", 400.0), (50, "kid", 0.1)], columns=["step", "metric", "value"])
    drawn = figures.training_curves({0: history}, groups, {0: 50})
    panels = {axis.get_title(loc="left"): axis for axis in drawn.axes if axis.get_visible()}
    assert panels.keys() == groups.keys()
    assert panels["discriminator"].get_ylim()[1] < 2


def test_a_moving_average_is_drawn_with_what_it_averages() -> None:
    """One panel, no further smoothing, and the caption says how many values."""
    groups = metric_groups(["generator", "fid", "fid_average"], "fid_average")
    assert groups == {"generator": ["generator"], "validation: fid": ["fid", "fid_average"]}
    rows = [(step, "fid", float(step % 2)) for step in range(200)]
    rows += [(step, "fid_average", 0.5) for step in range(3, 200)]
    history = pd.DataFrame(rows, columns=["step", "metric", "value"])
    drawn = figures.training_curves({0: history}, {"validation: fid": ["fid", "fid_average"]}, {0: 50})
    raw = drawn.axes[0].lines[0].get_ydata()
    assert np.array_equal(raw, [step % 2 for step in range(200)])
    run = {"metric": {"name": "fid_average", "window": 4}}
    assert judged_by(run) == " fid average: at each step the mean of 4 values, that step's the last."
    run["metric"]["words"] = "Fréchet distance of 50 samples to 20 images"
    assert judged_by(run).startswith(" fid: Fréchet distance of 50 samples to 20 images. fid average: at ")
    assert judged_by({"metric": {"name": "fid"}}) == ""


def test_missing_results_are_named(tmp_path: Path) -> None:
    """An evaluation whose table is absent stops the report with the folder's name."""
    config = FidelityEvaluation(evaluator="fidelity", real="a", synthetic="b")
    with pytest.raises(DataError, match="nowhere"):
        build_report(
            STUDY, "t", ReportInputs({"x": Finished(config, [tmp_path / "nowhere"])}, {}), tmp_path / "out"
        )


def test_pipeline_is_drawn_in_layers() -> None:
    """Every arrow runs from left to right, boxes do not overlap, late inputs stand beside their user."""
    nodes = [(name, "dataset") for name in "abcdefg"]
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("d", "e"), ("c", "e"), ("f", "e"), ("a", "g")]
    level = drawing.layers(Drawing(nodes, edges))
    assert all(level[start] < level[end] for start, end in edges)
    assert level["f"] == level["e"] - 1
    plan = drawing.layout(Drawing(nodes, edges))
    places = list(plan.boxes.values())
    for number, (x, y) in enumerate(places):
        for other_x, other_y in places[number + 1 :]:
            assert abs(x - other_x) >= drawing.BOX_WIDTH or abs(y - other_y) >= drawing.BOX_HEIGHT
    assert "&lt;b&gt;" in drawing.draw(Drawing([("<b>", "study")], []), "one node")


@pytest.mark.parametrize("edges", [[("a", "b"), ("b", "a")], [("a", "missing")]])
def test_broken_graphs_are_refused(edges: list[tuple[str, str]]) -> None:
    """A cycle or an edge to nowhere is an error, not an endless loop."""
    with pytest.raises(DataError, match="graph"):
        drawing.layout(Drawing([("a", "dataset"), ("b", "recipe")], edges))


def test_thumbnails_stay_small_and_outlines_stay_outside() -> None:
    """Noise, the worst case for JPEG, is still under 40 kB; a vessel one pixel wide keeps its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    assert len(images.thumbnail(noise, 900)) < 4 / 3 * images.THUMBNAIL_BYTES + 100
    mask = np.zeros((9, 9), np.uint8)
    mask[4] = 1
    edge = images.outline(mask)
    assert not edge[4].any()
    assert edge[3].all()
    assert edge[5].all()


def test_uint16_images_are_shown_on_their_own_scale() -> None:
    """The stored range maps to 0..255 for every image alike, not by each image's own extremes."""
    image = np.full((1, 4, 4), 32768, np.uint16)
    assert images.to_rgb(image, (0, 65535)).tolist()[0][0] == [128, 128, 128]


def benchmark_file(folder: Path, job: str, **columns: object) -> Path:
    """A file as Snakemake writes it, of one run."""
    path = folder / "benchmarks" / f"{job}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\t".join(columns) + "\n" + "\t".join(map(str, columns.values())) + "\n")
    return path


def cells(exhibit: Exhibit) -> dict[str, dict[str, str]]:
    """Text of a table's cells by the first cell of their row and the head of their column."""
    return {
        row[0].text: {head: cell.text for head, cell in zip(exhibit.head, row, strict=True)}
        for row in exhibit.rows
    }


def test_times_are_grouped_by_stage(tmp_path: Path) -> None:
    """The path below `benchmarks` names the stage; a dash is no measurement."""
    files = [
        benchmark_file(tmp_path, "train/gan/seed-0", s=3.5, max_rss="-"),
        benchmark_file(tmp_path, "train/gan/seed-1", s=4, max_rss=100),
        benchmark_file(tmp_path, "gather/real", s=2, max_rss="NA"),
    ]
    found = cells(spent("time", files, Cost(), Book(tmp_path)))
    assert (found["train"]["jobs"], found["train"]["total time"]) == ("2", "8 s")
    assert (found["train"]["peak memory"], found["gather"]["peak memory"]) == ("100 MB", numbers.DASH)
    assert found["all stages"]["jobs"] == "3"
    assert "price" not in found["train"]


def test_energy_and_money_follow_from_the_configured_rates(tmp_path: Path) -> None:
    """Busy cores and held GPUs use power; reserved cores and GPUs cost money."""
    extended = {"threads": 4, "resources": "{'gpu': 2, 'tmpdir': '/tmp'}"}
    files = [benchmark_file(tmp_path, "train/gan/seed-0", s=3600, max_rss=10, cpu_time=7200, **extended)]
    rates = {"watts_per_core": 10, "watts_per_gpu": 490, "grams_co2_per_kwh": 250}
    cost = Cost(**rates, price_per_core_hour=0.25, price_per_gpu_hour=2, currency="CHF")
    row = cells(spent("time", files, cost, Book(tmp_path)))["train"]
    assert (row["CPU time"], row["GPU time"]) == ("2.0 h", "2.0 h")
    assert row["energy"] == "1.00 kWh"  # 2 h x 10 W + 2 h x 490 W
    assert row["emissions"] == "250 g"
    assert row["price"] == "5.00 CHF"  # 4 x 0.25 + 2 x 2


def test_unknown_gpus_are_said_to_be_unknown(tmp_path: Path) -> None:
    """Without Snakemake's extended columns there is no price, and the caption says why."""
    files = [benchmark_file(tmp_path, "train/gan/seed-0", s=3600, max_rss=10, cpu_time=7200)]
    exhibit = spent("time", files, Cost(price_per_gpu_hour=2, price_per_core_hour=1), Book(tmp_path))
    row = cells(exhibit)["train"]
    assert (row["GPU time"], row["price"]) == (numbers.DASH, numbers.DASH)
    assert "Of 1 job the threads and GPUs are unknown" in exhibit.caption


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0214, "\u22120.021"), (float("nan"), "\u2013"), (4.2e-4, "4.20 \u00d7 10⁻⁴"), (0.0, "0.000")],
)
def test_numbers_are_printed_in_full(value: float, text: str) -> None:
    """A true minus sign, a dash for nothing, and no small number rounded to zero."""
    assert numbers.number(value) == text


def test_undefined_numbers_stay_out_of_summary_json() -> None:
    """JSON has no NaN: an estimate without interval is written alone, one without value not at all."""
    columns = {"evaluation": "e", "arm": "a", "label": None, "protocol": None, "kind": "absolute"}
    rows = [
        {**columns, "metric": "f1", "estimate": 0.5, "low": np.nan, "high": np.nan},
        {**columns, "metric": "auc", "estimate": np.nan, "low": np.nan, "high": np.nan},
    ]
    assert nested(pd.DataFrame(rows)) == {"e": {"a": {"f1": {"absolute": {"estimate": 0.5}}}}}
