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
from PIL import Image

from mirage.config.evaluations import FidelityEvaluation, SegmentationEvaluation, StudyConfig
from mirage.data import Dataset, ShardWriter
from mirage.errors import DataError
from mirage.evaluate import fidelity
from mirage.metrics.segmentation import mask_scores, probability_scores
from mirage.report import Graph, ReportInputs, build_report, graph, images, numbers, verdicts
from mirage.report.chapters.closing import read_benchmarks
from mirage.report.summary import nested, row_key, summarise

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
    with ShardWriter(out / "predictions.arrow", (1, *test.info.image_shape[1:]), np.uint8) as writer:
        for index in range(len(test)):
            truth = test.mask(index)
            noisy = truth * 90 * gain + rng.normal(80, 40, truth.shape)
            probability = np.clip(noisy, 0, 255).astype(np.uint8)
            writer.append(probability[None])
            item = test.items.iloc[index]
            for metric, value in probability_scores(truth, probability, 128).items():
                rows.append((arm, seed, item["subject_id"], item["item_id"], metric, value))
    write_metrics(out, rows)
    facts = {"threshold": 128 / 255, "provenance": {"packages": {"torch": "2"}}}
    (out / "arm.json").write_text(json.dumps(facts))
    return out


def write_metrics(folder: Path, rows: Sequence[tuple[object, ...]]) -> None:
    """Tidy rows (arm, seed, subject, item, metric, value)."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["arm", "seed", "subject_id", "item_id", "metric", "value"]
    table = pd.DataFrame(rows, columns=columns).assign(evaluation="seg", fold=None, label="disc")
    table.to_parquet(folder / "metrics.parquet")


def segmentation(
    folder: Path, test: Dataset, gains: dict[str, float], seeds: Sequence[int] = (0, 1)
) -> tuple[SegmentationEvaluation, list[Path]]:
    """A finished segmentation evaluation of three arms."""
    config = SegmentationEvaluation.model_validate(
        {"evaluator": "segmentation", "test": "real", "arms": ARMS, "seeds": list(seeds)}
    )
    return config, [write_arm(folder, arm, seed, test, gains[arm]) for arm in ARMS for seed in seeds]


def write_model(folder: Path) -> Path:
    """A model folder with history and two previews."""
    (folder / "previews").mkdir(parents=True)
    steps = [step for step in range(10, 60, 10) for _ in range(3)]
    history = {"step": steps, "metric": ["generator", "real", "fake"] * 5, "value": np.linspace(2, 1, 15)}
    pd.DataFrame(history).to_parquet(folder / "history.parquet")
    model = {
        "arch": "dcgan", "seed": 0, "step": 40, "chosen_because": "last step",
        "metric": {"name": "frechet_pixels"}, "training": {"dataset": "real", "fingerprint": "abc"},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(model))
    for step in (20, 40):
        Image.new("RGB", (40, 40), "grey").save(folder / "previews" / f"step-{step:07d}.png")
    return folder


def as_synthetic(dataset: Dataset) -> Dataset:
    """The same folder with its items declared synthetic."""
    path = dataset.folder / "manifest.parquet"
    pd.read_parquet(path).assign(origin="synthetic", split="train").to_parquet(path)
    return Dataset(dataset.folder)


SPLITS = {"train": 8, "val": 2, "test": 6}
STUDY = StudyConfig(
    title="Discs & rings", question="Do made discs help?", evaluations=["seg"], reference="Anon (2020)",
    published={"Figure 1": "examples", "Figure 9": "none: a photograph", "Table 2": "nothing"},
)  # fmt: skip


@pytest.fixture
def study(tmp_path: Path, toy_dataset: Callable[..., Dataset]) -> ReportInputs:
    """Inputs of a full study: real and made discs, a generator, segmentation, fidelity, second observer."""
    real = toy_dataset("real", origin="real", observer2=True, splits=SPLITS)
    made = as_synthetic(toy_dataset("made", seed=5, splits={"train": 9}))
    test = real.select("test")
    results = tmp_path / "evaluations"
    config, folders = segmentation(results / "seg", test, {"real": 1.0, "synthetic": 0.4, "both": 1.01})
    human = []
    for index in range(len(test)):
        item = test.items.iloc[index]
        for metric, value in mask_scores(test.mask(index), test.mask(index, "observer2")).items():
            human.append(("observer2", None, item["subject_id"], item["item_id"], metric, value))
    write_metrics(results / "seg" / "observer2", human)
    near = FidelityEvaluation(evaluator="fidelity", real="real", synthetic="made", bootstrap=50)
    fidelity.run(near, "near", real, made, results / "near")
    benchmark = tmp_path / "benchmarks" / "train" / "gan.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\tmax_rss\n12.5\t0:00:12\t-\n")
    return ReportInputs(
        evaluations={
            "seg": (config, [*folders, results / "seg" / "observer2"]),
            "near": (near, [results / "near"]),
        },
        datasets={"real": real.folder, "made": made.folder},
        models={"gan": [write_model(tmp_path / "models" / "gan" / "seed-0")]},
        benchmarks=[benchmark],
        config_hash="c0ffee",
        commit="0123456789abcdef",
        graph=Graph(
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


def test_page_is_one_small_file_that_loads_nothing(study: ReportInputs, tmp_path: Path) -> None:
    """Under 5 MB, every picture inside with words for it, every link to a file that was written."""
    out = tmp_path / "out"
    build_report(STUDY, "discs", study, out)
    page = Page(out / "report.html")
    assert len(page.text.encode()) < 5_000_000
    assert not re.search(r"https?://|@import|<script|<link", page.text)
    assert len(page.attributes("img")) > 30
    for picture in page.attributes("img"):
        assert picture["src"].startswith("data:image/")
        assert len(picture["src"]) < 4 / 3 * 40_000 + 100
        assert picture["alt"].strip()
    assert all(svg.get("aria-label") for svg in page.attributes("svg"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for anchor in page.attributes("a"):
        target = anchor["href"]
        assert target[1:] in ids if target.startswith("#") else (out / target).is_file()
    assert "Discs &amp; rings" in page.text
    for wanted in ("Privacy was not assessed", "no exhibit", "a photograph", "0123456789ab", "c0ffee"):
        assert wanted in page.text


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
    assert verdicts.utility(study, {"made"}, summary).word == "inconclusive"


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
    assert verdicts.combine(found, "better", "worse") == word


def test_copied_training_masks_fail_novelty(
    study: ReportInputs, tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """A generator that repeats its training data is called out, with the share of copies."""
    copied = as_synthetic(toy_dataset("copied", splits={"train": 8}))
    near = FidelityEvaluation(evaluator="fidelity", real="real", synthetic="copied", bootstrap=50)
    fidelity.run(near, "copies", Dataset(study.datasets["real"]), copied, tmp_path / "copies")
    inputs = replace(study, evaluations={"copies": (near, [tmp_path / "copies"])})
    verdict = verdicts.novelty(inputs, summarise(inputs))
    assert verdict.word == "fail"
    assert all("exact copies 1.000" in sentence for sentence in verdict.sentences)


@pytest.mark.parametrize("channels", [1, 3])
def test_sparse_studies_still_get_a_report(
    channels: int, tmp_path: Path, toy_dataset: Callable[..., Dataset]
) -> None:
    """No masks, 1 or 3 channels, nothing held out, no models, benchmarks, graph or segmentation."""
    plain = {"channels": channels, "labels": 0, "fov": False, "splits": {"train": 5}}
    real = toy_dataset("real", **plain)
    made = as_synthetic(toy_dataset("made", seed=3, **plain))
    config = FidelityEvaluation(evaluator="fidelity", real="real", synthetic="made", bootstrap=50)
    fidelity.run(config, "near", real, made, tmp_path / "near")
    inputs = ReportInputs({"near": (config, [tmp_path / "near"])}, {"real": real.folder, "made": made.folder})
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
    summary = pd.read_parquet(tmp_path / "out" / "summary.csv")
    assert set(summary["verdict"].dropna()) == {"inconclusive"}
    text = (tmp_path / "out" / "report.html").read_text()
    assert "no interval" in text
    assert "not in the intervals" in text
    assert "Fidelity and novelty were not tested" in text


def test_missing_results_are_named(tmp_path: Path) -> None:
    """An evaluation whose table is absent stops the report with the folder's name."""
    config = FidelityEvaluation(evaluator="fidelity", real="a", synthetic="b")
    with pytest.raises(DataError, match="nowhere"):
        build_report(STUDY, "t", ReportInputs({"x": (config, [tmp_path / "nowhere"])}, {}), tmp_path / "out")


def test_pipeline_is_drawn_in_layers() -> None:
    """Every arrow runs from left to right, boxes do not overlap, late inputs stand beside their user."""
    nodes = [(name, "dataset") for name in "abcdefg"]
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("d", "e"), ("c", "e"), ("f", "e"), ("a", "g")]
    level = graph.layers(Graph(nodes, edges))
    assert all(level[start] < level[end] for start, end in edges)
    assert level["f"] == level["e"] - 1
    plan = graph.layout(Graph(nodes, edges))
    places = list(plan.boxes.values())
    for number, (x, y) in enumerate(places):
        for other_x, other_y in places[number + 1 :]:
            assert abs(x - other_x) >= graph.BOX_WIDTH or abs(y - other_y) >= graph.BOX_HEIGHT
    assert "&lt;b&gt;" in graph.draw(Graph([("<b>", "study")], []), "one node")


@pytest.mark.parametrize("edges", [[("a", "b"), ("b", "a")], [("a", "missing")]])
def test_broken_graphs_are_refused(edges: list[tuple[str, str]]) -> None:
    """A cycle or an edge to nowhere is an error, not an endless loop."""
    with pytest.raises(DataError, match="graph"):
        graph.layout(Graph([("a", "dataset"), ("b", "recipe")], edges))


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


def test_benchmarks_are_grouped_by_stage(tmp_path: Path) -> None:
    """The path below `benchmarks` names stage and job; a dash is no measurement."""
    path = tmp_path / "benchmarks" / "runs" / "train" / "gan" / "seed-0.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("s\th:m:s\tmax_rss\n3.5\t0:00:03\t-\n4\t0:00:04\t100\n")
    table = read_benchmarks([path])
    assert set(table["stage"]) == {"train"}
    assert set(table["job"]) == {"train/gan/seed-0"}
    assert table["seconds"].tolist() == [3.5, 4.0]
    assert np.isnan(table["max_rss_mb"][0])


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
