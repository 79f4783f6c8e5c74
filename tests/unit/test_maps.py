"""Maps of feature spaces: three methods of the same images, further real groups beside, and the caption."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feature_tables import bank_of
from test_config import load
from test_fidelity import facts, learnt
from test_made import MADE, REAL, configured

from mirage.config.evaluations import FidelityEvaluation
from mirage.config.maps import MapOptions, Method
from mirage.data import Dataset
from mirage.errors import ConfigError, DataError, LeakError
from mirage.evaluate import fidelity
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.fidelity.draws import spread
from mirage.evaluate.fidelity.embeddings import embed
from mirage.graph import Graph
from mirage.report.book import Book
from mirage.report.chapters.base import Chapter
from mirage.report.evaluators.fidelity import summarise
from mirage.report.evaluators.fidelity_features import feature_exhibits
from mirage.report.feature_figures import group_looks

ALL: list[Method] = ["pca", "tsne", "umap"]
TISSUE = {"tissue": {"data": "other"}}


@pytest.mark.parametrize(
    ("keys", "other", "message"),
    [
        (
            {"maps": {"context": {"tissue": {"data": "othr"}}}},
            REAL,
            r"looks.maps.context.tissue.data: 'othr' is no dataset; did you mean 'other'\?",
        ),
        (
            {"maps": {"context": TISSUE}},
            MADE,
            r"looks.maps.context.tissue.data: 'other' holds images that a generator has made",
        ),
        (
            {"maps": {"context": TISSUE}},
            {**REAL, "prepare": {"size": 32}},
            r"looks: 'other' has `prepare.size` 32, 'real' 16; prepare both alike",
        ),
        (
            {"maps": {"context": {"tissue": {"data": "real"}}}},
            REAL,
            r"maps.context.tissue.data: 'real' is compared",
        ),
        ({"maps": {"context": {"heldout": {"data": "other"}}}}, REAL, r"the name is kept for heldout images"),
        ({"maps": {"context": TISSUE}, "compare": "mask"}, REAL, r"`compare: mask` looks at no images"),
        ({"maps": {"methods": ["umap", "umap"]}}, REAL, r"a method is listed twice"),
    ],
)
def test_groups_that_cannot_be_drawn_are_named(
    tmp_path: Path, keys: dict[str, Any], other: dict[str, Any], message: str
) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, keys, other=other)


def test_a_group_is_prepared_but_its_features_are_not_extracted() -> None:
    """It may be large and few are drawn: the job gets its manifest, and the encoders of the real dataset."""
    graph = Graph(load(run=["mammography"]))
    assert f"{graph.root}/datasets/mammo_patches/manifest.parquet" in graph.set_manifests("mass_fidelity")
    assert not [table for table in graph.set_features("mass_fidelity") if "mammo_patches" in table]
    folder = f"{graph.root}/encoders/mammo_masses"
    wanted = [f"{folder}/{encoder}" for encoder in ("pixpca", "randconv", "radiomics")]
    assert graph.set_encoders("mass_fidelity") == [f"{one}/encoder.json" for one in wanted]
    assert graph.set_encoder_weights("mass_fidelity") == [f"{one}/weights.safetensors" for one in wanted]
    assert graph.set_encoders("calcification_fidelity") == []
    assert "mammo_patches" not in graph.config.study_data("mammography-calcifications")


def test_nothing_but_a_map_waits_for_umap() -> None:
    """Its import compiles for seconds."""
    light = "import sys, mirage.evaluate.fidelity; print([m for m in ('umap', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_items_are_drawn_from_all_patients_before_a_second_one_of_any() -> None:
    """30 patches of one woman do not stand for the others."""
    subjects = np.repeat(np.arange(5), [30, 1, 1, 2, 1])
    rng = np.random.default_rng(0)
    assert sorted(subjects[spread(rng, subjects, 5)]) == [0, 1, 2, 3, 4]
    seven = spread(rng, subjects, 7)
    assert sorted(subjects[seven]) == [0, 0, 1, 2, 3, 3, 4]
    assert (np.diff(seven) > 0).all()
    assert spread(rng, subjects, 99).tolist() == list(range(35))


def test_all_methods_draw_the_same_points_and_keep_clusters(recwarn: pytest.WarningsRecorder) -> None:
    """Three clusters far apart: neighbours are of the same one on every map; the same seed, the same map."""
    groups = np.repeat(["training", "synthetic", "tissue"], 30)
    values = np.random.default_rng(0).standard_normal((90, 12)).astype(np.float32)
    values[30:60, 0] += 30
    values[60:, 1] += 30
    ids = [f"i{number}" for number in range(90)]
    options = MapOptions(methods=ALL, perplexity=500, neighbours=500, min_dist=0.3)
    _, told = embed(values, groups.tolist(), ids, "x", options, 3)
    assert [*told] == ALL
    assert told["tsne"]["perplexity"] == pytest.approx(89 / 3)
    assert (told["umap"]["neighbours"], told["umap"]["min_dist"], told["umap"]["seed"]) == (89, 0.3, 3)
    options = MapOptions(methods=ALL, neighbours=10)
    table, told = embed(values, groups.tolist(), ids, "x", options, 3)
    for _, places in table.groupby("method"):
        assert places["item_id"].tolist() == ids
        points = places[["x", "y"]].to_numpy()
        gaps = np.linalg.norm(points[:, None] - points, axis=-1) + np.diag(np.full(90, np.inf))
        assert (groups[gaps.argmin(axis=1)] == groups).mean() > 0.9
    assert min(told["tsne"]["trustworthiness"], told["umap"]["trustworthiness"]) > 0.8
    again, _ = embed(values, groups.tolist(), ids, "x", options, 3)
    pd.testing.assert_frame_equal(table, again)
    one, _ = embed(values, groups.tolist(), ids, "x", MapOptions(methods=["umap"], neighbours=10), 3)
    pd.testing.assert_frame_equal(one, table[table["method"] == "umap"].reset_index(drop=True))
    assert [str(warning.message) for warning in recwarn] == []


def test_images_that_are_all_the_same_have_no_neighbours_to_keep() -> None:
    """Principal components are drawn; t-SNE and UMAP would draw noise."""
    values = np.ones((14, 3), np.float32)
    table, told = embed(values, ["training"] * 14, ["i"] * 14, "x", MapOptions(methods=ALL), 0)
    assert [*told] == ["pca"]
    assert set(table["method"]) == {"pca"}
    assert embed(values[:5], ["training"] * 5, ["i"] * 5, "x", MapOptions(), 0)[1] == {}


def test_images_that_differ_in_one_feature_have_maps() -> None:
    """There is no second principal component to start from."""
    values = np.zeros((14, 3), np.float32)
    values[:, 1] = np.arange(14) // 2
    table, told = embed(values, ["training"] * 14, ["i"] * 14, "x", MapOptions(methods=ALL), 0)
    assert [*told] == ALL
    assert np.isfinite(table[["x", "y"]]).all(axis=None)


class Drawn:
    """A real, a synthetic and another real dataset, and their evaluation with few resamples."""

    def __init__(self, toy_dataset: Any, folder: Path) -> None:
        self.folder = folder
        self.real = toy_dataset(splits={"train": 16, "test": 14})
        self.made = learnt(toy_dataset("made", splits={"train": 15}, seed=9), self.real)
        self.other = self.marked(toy_dataset("other", splits={"train": 14, "test": 6}, seed=4))
        bank = bank_of(folder / "bank", ["pixpca"], ("toy", self.real), ("made", self.made))
        self.files = [folder / f"bank/features/pixpca/{name}.parquet" for name in ("toy", "made")]
        self.without = bank
        self.bank = FeatureBank(self.files, [folder / "bank/encoders/pixpca/encoder.json"])

    @staticmethod
    def marked(data: Dataset, **columns: Any) -> Dataset:
        """The dataset with an attribute: every other item is negative."""
        path = data.folder / "manifest.parquet"
        table = pd.read_parquet(path)
        kinds = ["negative" if number % 2 else "positive" for number in range(len(table))]
        table.assign(kind=kinds, **columns).to_parquet(path)
        return Dataset(data.folder)

    def config(self, values: tuple[str, ...] = ("negative",), **maps: Any) -> FidelityEvaluation:
        group = {"data": "other", "only": {"attribute": "kind", "values": list(values)}}
        keys: dict[str, Any] = {"real": "toy", "synthetic": "made", "encoders": ["pixpca"], "bootstrap": 50}
        maps = {"methods": ["pca"], "context": {"normal_tissue": group}, **maps}
        return FidelityEvaluation.model_validate({"evaluator": "fidelity", **keys, "maps": maps})

    def run(self, config: FidelityEvaluation, out: str = "out", bank: FeatureBank | None = None) -> Path:
        datasets = {"toy": self.real, "made": self.made, "other": self.other}
        fidelity.run(config, "looks", datasets, bank or self.bank, self.folder / out)
        return self.folder / out


@pytest.fixture
def drawn(toy_dataset: Any, tmp_path: Path) -> Drawn:
    """See the class."""
    return Drawn(toy_dataset, tmp_path)


def test_a_further_group_is_drawn_and_changes_no_measure(drawn: Drawn) -> None:
    """The items that are meant and no others; metrics are the same bits as without it."""
    out = drawn.run(drawn.config())
    places = pd.read_parquet(out / "details/embeddings.parquet")
    kinds = drawn.other.items.set_index("item_id")["kind"]
    shown = places[places["side"] == "normal_tissue"]["item_id"]
    assert sorted(shown) == sorted(kinds.index[kinds == "negative"])
    assert places["side"].value_counts().to_dict() == {
        "training": 16,
        "heldout": 14,
        "synthetic": 15,
        "normal_tissue": 10,
    }
    alone = drawn.run(drawn.config(context={}), "alone", drawn.without)
    tables = [pd.read_parquet(folder / "metrics.parquet") for folder in (out, alone)]
    pd.testing.assert_frame_equal(*tables)
    axes = pd.read_parquet(alone / "details/embeddings.parquet")
    compared = places[places["side"] != "normal_tissue"].reset_index(drop=True)
    pd.testing.assert_frame_equal(compared, axes)


def test_groups_that_are_not_what_they_say_are_refused(drawn: Drawn, toy_dataset: Any) -> None:
    """No such item, no encoder, synthetic items, and images that are compared already."""
    with pytest.raises(DataError, match=r"other: none .* kind dense; there are values .* negative, positive"):
        drawn.run(drawn.config(("dense",)))
    with pytest.raises(DataError, match=r"maps.context.normal_tissue: no fitted encoder pixpca"):
        drawn.run(drawn.config(), bank=drawn.without)
    drawn.other = drawn.marked(drawn.other, origin="synthetic")
    with pytest.raises(LeakError, match=r"maps.context.normal_tissue: 10 items of other are synthetic"):
        drawn.run(drawn.config())
    drawn.other = drawn.marked(toy_dataset("other", splits={"train": 16, "test": 14}))
    with pytest.raises(
        DataError, match=r"15 of 15 images drawn have the same pixels as real images .* `only`"
    ):
        drawn.run(drawn.config())


def test_the_caption_says_how_far_the_maps_can_be_trusted(drawn: Drawn) -> None:
    """Parameters, numbers drawn, trustworthiness, and the area with its interval; hollow what is beside."""
    config = drawn.config(methods=ALL, perplexity=7, neighbours=6, min_dist=0.25, items=12)
    out = drawn.run(config)
    summary, chapter = summarise("looks", config, [out]), Chapter("Fidelity", "fidelity")
    book = Book(drawn.folder / "report")
    feature_exhibits(chapter, "looks", config, out, summary, book)
    (maps,) = (exhibit for exhibit in book.exhibits if exhibit.id == "maps/looks")
    found = facts(out)["encoders"]["pixpca"]["maps"]
    row = summary[(summary["metric"] == "c2st") & (summary["arm"] == "synthetic")].iloc[0]
    for wanted in (
        "perplexity 7",
        "6 neighbours, least distance 0.25",
        "Hollow: normal tissue, real images of another kind that enter no measure",
        "on t-SNE and UMAP are no evidence",
        f"UMAP {found['umap']['trustworthiness']:.2f}",
        f"area {row['estimate']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
        "real, training: 12, real, held out: 12, synthetic: 12, real, normal tissue: 10",
        "seed 0",
    ):
        assert wanted in maps.caption, maps.caption
    assert maps.svg.count("trustworthiness") == 3
    marks = re.findall(r"<use [^>]*/>", maps.svg[maps.svg.index("clip-path") :])
    points = [mark for mark in marks if " x=" in mark and "style" not in mark]
    assert len(points) == 3 * (12 + 12 + 12 + 10)
    assert max(map(len, points)) < 70
    assert "pixpca: UMAP" in maps.svg


def test_groups_differ_in_more_than_colour() -> None:
    """Every marker is another, and what is compared with nothing is hollow."""
    names = ["training", "heldout", "synthetic", "normal_tissue", "dense_tissue", "other"]
    looks = group_looks(pd.Series(names))
    assert len({look["marker"] for _, look in looks.values()}) == len(names)
    hollow = [name for name, (_, look) in looks.items() if look.get("markerfacecolor") == "none"]
    assert hollow == names[3:]
    assert looks["normal_tissue"][0] == "real, normal tissue"
