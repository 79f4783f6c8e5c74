"""Normalised grey values: curves, what they are fitted on, and where they are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from mirage.config import slices
from mirage.config.datasets import DatasetConfig, PrepareOptions
from mirage.config.encoders import BUILT_IN
from mirage.config.model import Config
from mirage.config.normalise import NormaliseOptions
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.leaks import check_training
from mirage.data.normaliser import read_normaliser
from mirage.errors import DataError, LeakError
from mirage.graph import Graph
from mirage.prepare import fit_normaliser, prepare_shard
from mirage.prepare.normaliser import fit_on
from mirage.preprocess.breast import breast_mask
from mirage.preprocess.normalise import Curve, clahe, curve_of, percentiles, signature
from mirage.sources import open_source

SIDE = 64
HASH = {"by": "hash", "test": 0.3, "val": 0.2}


def method(**options):
    """Options of one method."""
    return TypeAdapter(NormaliseOptions).validate_python(options)


# --- curves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_percentiles_are_numpys_however_they_are_counted(dtype):
    """Of integers by counting."""
    values = np.random.default_rng(0).integers(0, 250, 4321).astype(dtype)
    at = [0, 0.5, 12.3, 50, 99.7, 100]
    np.testing.assert_allclose(percentiles(values, at), np.percentile(values, at), rtol=1e-6)
    with pytest.raises(DataError, match="the field of view is empty"):
        percentiles(values[:0], at)


@pytest.mark.parametrize("name", ["nyul", "match"])
def test_images_of_other_exposures_become_one(name):
    """Eight images whose grey values are the same but for brightness, contrast and gamma."""
    rng = np.random.default_rng(1)
    tissue = rng.beta(2, 3, 20000)
    shown = [(tissue**gamma * gain + shift) for gamma in (0.7, 1.0) for gain, shift in ((9e3, 2e3), (4e4, 0))]
    images = [np.rint(image).astype(np.uint16) for image in shown]
    options, ends = method(method=name), (0.0, 65535.0)
    standard = np.mean([signature(image, options, ends) for image in images], axis=0)
    stored = [curve_of(image, options, standard, ends).stored(image, 16) / 65535 for image in images]
    before = np.std([np.percentile(image / 65535, [5, 25, 50, 75, 95]) for image in images], axis=0)
    after = np.std([np.percentile(image, [5, 25, 50, 75, 95]) for image in stored], axis=0)
    assert (after < 0.01).all()
    assert (before > 0.025).all()
    for image, other in zip(images, stored, strict=True):  # an ascending curve keeps the order of values
        order = np.argsort(image, kind="stable")
        assert (np.diff(other[order]) >= 0).all()


def test_what_lies_beyond_the_landmarks_goes_on_and_is_cut():
    """By the slope of the curve's end, to 0 and 1 at most; no two values of an image change places."""
    curve = Curve.through(np.array([10, 20, 20, 30]), np.array([0.2, 0.4, 0.6, 0.8]))
    stored = curve.stored(np.array([0, 5, 10, 20, 25, 33, 200], np.uint8), 8) / 255
    np.testing.assert_allclose(stored, [0, 0.05, 0.2, 0.5, 0.65, 0.89, 1], atol=0.003)
    np.testing.assert_array_equal(
        curve.stored(np.arange(60, dtype=np.uint16), 16), curve.stored(np.arange(60.0), 16)
    )
    with pytest.raises(DataError, match="are all 7"):
        Curve.through(np.full(3, 7), np.array([0, 0.5, 1]))


def test_percentile_and_clahe_need_no_other_image():
    """Ends of the image's own histogram; local contrast where there was little."""
    values = np.arange(1000, dtype=np.uint16)
    curve = curve_of(values, method(method="percentile", low=10, high=90), None, None)
    stored = curve.stored(values, 8)
    assert (stored[:100] == 0).all()
    assert (stored[901:] == 255).all()
    assert stored[500] == pytest.approx(128, abs=1)
    dim = 0.5 + 0.02 * np.random.default_rng(0).random((1, 64, 64))
    dim[:, 0, 0] = 1
    assert clahe(dim, method(method="clahe", clip_limit=0.5)).std() > 5 * dim.std()
    assert (clahe(np.full((1, 32, 32), 0.3), method(method="clahe")) == 0.3).all()


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks."""
    return float(2 * np.logical_and(found, truth).sum() / (np.sum(found) + np.sum(truth)))


@pytest.mark.parametrize("high", [250, 40000])
def test_a_breast_on_film_is_found_among_labels(high):
    """A disc with a dim edge on an uneven, non-zero background, with a bright label and black borders."""
    y, x = np.mgrid[:300, :240]
    far = np.hypot((y - 150) / 120, (x - 20) / 130)
    film = 0.06 + 0.03 * y / 300 + 0.8 * np.clip((1 - far) * 4, 0, 1) * (far < 1)
    film[20:50, 200:225] = 1
    film[:, :20], film[:, 230:] = 0, 0
    film += 0.01 * np.random.default_rng(0).random(film.shape) * (film > 0)
    image = np.rint(film * high).astype(np.uint16)[None]
    truth = (far < 1) & (x >= 20)
    found = breast_mask(image, "film") > 0
    assert overlap(found, truth) > 0.93
    assert overlap(found, truth) > overlap(breast_mask(image, "otsu"), truth) + 0.05
    assert not found[20:50, 200:225].any()
    assert breast_mask(image, "nonzero").sum() > 1.5 * truth.sum()
    digital = np.where(truth, image[0], 0)[None]
    least = {"nonzero": 1, "digital": 0.98, "otsu": 0.87, "triangle": 0.95, "film": 0.91}
    for name, share in least.items():
        assert overlap(breast_mask(digital, name), truth) >= share
    moved = np.where(truth, image[0] + 9, 7)[None].astype(np.uint16)
    moved[0, 20:50, 200:225] = high
    assert overlap(breast_mask(moved, "digital"), truth) > 0.98
    tissue = np.random.default_rng(0).integers(60, 250, (1, 64, 64), dtype=np.uint16)
    assert breast_mask(tissue, "digital").all()  # no background
    with pytest.raises(ValueError, match="no pixel is 0"):
        breast_mask(moved, "nonzero")
    for name in ("otsu", "digital"):
        with pytest.raises(ValueError, match="grey value"):
            breast_mask(np.ones((1, 8, 8), np.uint8), name)


def test_padding_beside_the_background_is_no_reason_to_take_that_for_breast():
    """Most is padding of 0, and the exposed field beside the breast is 100."""
    y, x = np.mgrid[:400, :300]
    truth = (np.hypot(y - 200, x) < 120) & (x < 150)
    image = np.where(truth, np.random.default_rng(0).integers(300, 3000, (400, 300)), 100).astype(np.uint16)
    image[:, 170:] = 0
    assert overlap(breast_mask(image[None], "digital"), truth) > 0.98
    one_in_a_hundred = np.zeros((1, 400, 300), np.uint16)
    one_in_a_hundred[0, 10:30, 200:240] = 4095
    with pytest.raises(ValueError, match="99 % of the image have the grey value 0"):
        breast_mask(one_in_a_hundred, "digital")


# --- fitted on training subjects only ---------------------------------------------------------------


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs of 24 subjects with two images each, of other exposures, on black; one file is broken."""
    folder = tmp_path_factory.mktemp("films")
    y, x = np.mgrid[:SIDE, :SIDE]
    for subject in range(24):
        rng = np.random.default_rng(subject)
        for eye in "LR":
            values = 40 + rng.random((SIDE, SIDE)) ** rng.uniform(0.5, 2) * rng.uniform(80, 200)
            image = values * (np.hypot(y - 32, x - 32) < 28)
            Image.fromarray(image.astype(np.uint8)).save(folder / f"s{subject:02d}{eye}.png")
    (folder / "s07L.png").write_bytes(b"no image")
    return folder


def entry(films: Path, *, normalise=None, split=None, prepare=None, **source) -> DatasetConfig:
    """A dataset of the films."""
    normalise = {"method": "nyul", **(normalise or {})}
    return DatasetConfig.model_validate(
        {
            "source": {
                "reader": "folder",
                "path": str(films),
                "subject": r"(s\d+)",
                "channels": "grey",
                "namespace": "films",
                **source,
            },
            "prepare": {"size": SIDE, "fov": "nonzero", "normalise": normalise, **(prepare or {})},
            "split": HASH if split is None else split,
            "shards": 2,
        }
    )


def made(config: DatasetConfig, folder: Path) -> Dataset:
    """The dataset of a configuration."""
    folder.mkdir(exist_ok=True)
    source = open_source(config.source)
    if config.fits_normaliser:
        fit_normaliser(config, source, folder)
    for shard in range(config.shards):
        prepare_shard(config, source, shard, folder)
    gather(folder, name=folder.name, shards=config.shards, split=config.split, max_failed_fraction=0.5)
    return Dataset(folder)


def sides(data: Dataset) -> dict[str, str]:
    """Subject -> split."""
    return dict(zip(data.items["subject_id"], data.items["split"], strict=True))


@pytest.mark.parametrize("split", [HASH, {"by": "random", "test": 0.3}])
def test_only_training_subjects_are_fitted_on_and_all_images_are_mapped(films, tmp_path, split):
    """Whatever a broken file does to ranks; the same training images give the same normaliser."""
    config = entry(films, split=split)
    data = made(config, tmp_path / "data")
    found = read_normaliser(tmp_path / "data/normaliser.json")
    of = sides(data)
    training = {subject for subject, side in of.items() if side == "train"}
    assert set(found.subjects) == training
    assert len(found.items) == (data.items["split"] == "train").sum()
    assert set(of.values()) == {"train", "val", "test"}
    assert len(data.failures) == 1
    medians = [np.median(data.image(index)[data.masks(index)[-1:] > 0]) for index in range(len(data))]
    assert np.std(medians) < 6
    raw = made(entry(films, split=split, normalise={"method": "percentile"}), tmp_path / "raw")
    assert np.std([np.median(raw.image(i)[raw.masks(i)[-1:] > 0]) for i in range(len(raw))]) > 25
    # Grey values of held-out subjects change nothing.
    other = tmp_path / "other"
    other.mkdir()
    for path in films.glob("*.png"):
        held_out = of.get(path.name[:3]) != "train"
        content = Image.fromarray(np.full((SIDE, SIDE), 9, np.uint8)) if held_out else None
        content.save(other / path.name) if content else (other / path.name).write_bytes(path.read_bytes())
    (tmp_path / "second").mkdir()
    again = fit_normaliser(entry(other, split=split), open_source(entry(other).source), tmp_path / "second")
    assert again.standard == found.standard
    assert data.learnt_from() == {f"films/{subject}" for subject in of}
    assert set(data.select("test").info.lineage) == found.learnt_from()
    check_training([data.select("train")], data.select("test"))


def test_a_cap_takes_some_of_the_training_images(films, tmp_path):
    """By a hash; others by another seed."""
    picks = []
    for seed in (0, 0, 1):
        config = entry(films, normalise={"images": 5, "seed": seed})
        picks.append(fit_normaliser(config, open_source(config.source), tmp_path).items)
    assert picks[0] == picks[1] != picks[2]
    assert len(picks[2]) == 5


def test_fitting_on_a_held_out_subject_is_refused_by_name(films):
    """Before any pixel is read."""
    config = entry(films)
    items = list(open_source(config.source).items())[:4]
    splits = {"s00": "train", "s01": "val"}
    with pytest.raises(LeakError, match=r"held out: s01 \(val\)\. "):
        fit_on(items, splits, config.prepare, "films")


def test_a_normaliser_that_knows_held_out_subjects_is_refused(films, tmp_path):
    """Another split of the borrower; a test set whose subjects the lender knows; an edited file."""
    lender = made(entry(films), tmp_path / "lender")
    borrowing = {"fitted_on": "lender"}
    same = made(entry(films, normalise=borrowing), tmp_path / "same")
    assert list(same.items["content_hash"]) == list(lender.items["content_hash"])
    assert sides(same) == sides(lender)
    with pytest.raises(LeakError, match=r"dataset other: its normaliser is fitted on .*\(test\)"):
        made(entry(films, normalise=borrowing, split={**HASH, "seed": 5}), tmp_path / "other")
    foreign = entry(films, normalise={"method": "percentile"}, split={"by": "hash", "test": 1.0})
    with pytest.raises(LeakError, match="has learnt from test subjects"):
        check_training([same.select("test")], made(foreign, tmp_path / "foreign").select("test"))
    file = tmp_path / "lender/normaliser.json"
    text = json.loads(file.read_text())
    file.write_text(json.dumps({**text, "subjects": text["subjects"][1:]}))
    with pytest.raises(DataError, match="was changed after it was written"):
        made(entry(films, normalise=borrowing), tmp_path / "same")


def test_other_options_than_the_files_are_refused(films, tmp_path):
    """A normaliser of another method is not what the configuration says."""
    config = entry(films)
    fit_normaliser(config, open_source(config.source), tmp_path)
    other = entry(films, normalise={"method": "match"})
    with pytest.raises(DataError, match="was fitted with"):
        prepare_shard(other, open_source(other.source), 0, tmp_path)
    with pytest.raises(DataError, match="not a readable normaliser"):
        prepare_shard(config, open_source(config.source), 0, tmp_path / "nowhere")


# --- configuration ----------------------------------------------------------------------------------

STUDY = {"title": "Films", "question": "Alike?", "evaluations": ["looks"]}


def study(**datasets) -> Config:
    """A configuration of datasets of the folder `films`."""
    base = {"reader": "folder", "path": "films", "channels": "grey"}
    entries = {
        name: {"source": base, "split": HASH, "prepare": {"fov": "nonzero", **prepare}}
        for name, prepare in datasets.items()
    }
    first = next(iter(entries))
    return Config.model_validate(
        {
            "run": ["films"],
            "datasets": entries,
            "generators": {"gan": {"arch": "dcgan", "data": first}},
            "recipes": {"fake": {"recipe": "unconditional", "generator": "gan", "count": 9}},
            "evaluations": {"looks": {"evaluator": "fidelity", "real": first, "synthetic": "fake"}},
            "studies": {"films": STUDY},
            "encoders": BUILT_IN,
        }
    )


def test_a_dataset_that_asks_for_none_has_none_in_its_graph_and_slices():
    """Nor does a method that is not fitted."""
    config = study(plain={}, own={"normalise": {"method": "nyul"}}, clahe={"normalise": {"method": "clahe"}})
    graph = Graph(config)
    assert graph.normaliser("plain") is graph.normaliser("clahe") is None
    assert graph.normaliser("own") == "results/datasets/own/normaliser.json"
    assert slices.prepare_slice(config, "plain")["options"]["prepare"] == {"fov": "nonzero"}
    assert not [job for job in graph.study_jobs("films") if job.startswith("fit_normaliser")]
    fitted = study(own={"normalise": {"method": "nyul"}})
    assert Graph(fitted).study_jobs("films").count("fit_normaliser/own") == 1


def test_patches_are_no_part_of_what_decides_a_normaliser():
    """The split is."""
    prepare = {"normalise": {"method": "nyul"}, "size": None, "patches": {"kind": "normal"}}
    config = study(a=prepare)
    found = slices.normaliser_slice(config, "a")
    more = {**prepare, "patches": {"kind": "lesions", "count": 3}, "bits": 16}
    assert slices.normaliser_slice(study(a=more), "a") == found
    assert DatasetConfig.model_validate(found["options"]).fits_normaliser
    other = config.model_dump(mode="json")
    other["datasets"]["a"]["split"]["seed"] = 1
    assert slices.normaliser_slice(Config.model_validate(other), "a") != found


def test_a_borrowed_normaliser_is_the_lenders_and_must_fit():
    """The same options and the same split, by hash."""
    nyul = {"normalise": {"method": "nyul"}}
    borrowed = {"normalise": {"method": "nyul", "fitted_on": "own"}}
    graph = Graph(study(borrower=borrowed, own=nyul))
    assert graph.normaliser("borrower") == "results/datasets/own/normaliser.json"
    assert ("dataset:own", "dataset:borrower") in graph.report_plan("films")["edges"]
    with pytest.raises(ValidationError, match=r"'own' has no normaliser of its own"):
        study(borrower=borrowed, own={})
    with pytest.raises(ValidationError, match=r"'own' has no normaliser of its own"):
        study(borrower=borrowed, own={"normalise": {"method": "nyul", "low": 2}})
    with pytest.raises(ValidationError, match="is no dataset"):
        study(borrower=borrowed)
    config = study(borrower=borrowed, own=nyul).model_dump(mode="json")
    config["datasets"]["own"]["split"]["seed"] = 3
    with pytest.raises(ValidationError, match=r"must put every subject on one side"):
        Config.model_validate(config)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fov": "none", "normalise": {"method": "nyul"}}, "say `fov`"),
        (
            {"normalise": {"method": "nyul"}, "intensity": {"kind": "percentile", "low": 1, "high": 99}},
            "maps native values itself",
        ),
        ({"normalise": {"method": "nyul", "low": 30}}, "must ascend"),
        ({"size": None}, "needs `patches`"),
        ({"size": None, "crop": "centre", "patches": {"kind": "normal"}}, "needs `patches` and `crop: none`"),
        ({"fov": "none", "patches": {"kind": "normal"}}, "say `fov`"),
        ({"patches": {"kind": "lesions", "field": "mm"}}, "needs it, millimetres"),
        ({"patches": {"kind": "lesions", "extent": 300}}, "more than the 256 pixels"),
        ({"patches": {"kind": "normal", "extent": 90, "extent_to": 80}}, "must be more than 90"),
    ],
)
def test_what_cannot_be_is_refused_at_parse_time(options, said):
    """With what to write instead."""
    with pytest.raises(ValidationError, match=said):
        PrepareOptions.model_validate(options)
