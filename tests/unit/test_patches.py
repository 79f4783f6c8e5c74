"""Patches of prepared images, and splits that datasets of one archive agree on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mirage.config.chest import NihChestSource
from mirage.config.datasets import DatasetConfig, PrepareOptions, SimulateOptions, SplitOptions
from mirage.config.patches import Patches
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.splits import assign_splits
from mirage.prepare import prepare_shard
from mirage.prepare.patches import places
from mirage.simulate import simulate
from mirage.sources import open_source

SIDE = 96


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated NIH archive of 24 patients, read as if it were the real one."""
    folder = tmp_path_factory.mktemp("nih") / "raw"
    simulate(SimulateOptions(subjects=24, size=SIDE), "nih_chest", folder)
    return folder


def prepared(archive: Path, folder: Path, *, split=None, shards=1, prepare=None, **options) -> Dataset:
    """Prepare a dataset of the archive."""
    source = NihChestSource(reader="nih_chest", path=str(archive), **options)
    config = DatasetConfig(
        source=source,
        prepare=PrepareOptions(**{"size": SIDE, "fov": "none", **(prepare or {})}),
        shards=shards,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        prepare_shard(config, open_source(source), shard, folder)
    split = SplitOptions(**(split or {}))
    gather(folder, name=folder.name, shards=shards, split=split, max_failed_fraction=0.5)
    return Dataset(folder)


PATCHES = {"patches": {"count": 4, "side": 32}}


def test_patches_are_the_pixels_and_boxes_of_the_whole_image(archive, tmp_path):
    """Every patch is where its attributes say, with what its boxes have there."""
    whole = prepared(archive, tmp_path / "whole")
    patches = prepared(archive, tmp_path / "patches", prepare=PATCHES)
    assert patches.info.image_shape == (1, 32, 32)
    assert len(patches) == 4 * len(whole)
    at = {item_id: index for index, item_id in enumerate(whole.items["item_id"])}
    boxes = 0
    for index, row in enumerate(patches.items.itertuples()):
        item_id, _, number = row.item_id.rpartition("/")
        assert number in {"p00", "p01", "p02", "p03"}
        x, y = row.patch_x, row.patch_y
        source = whole.item(at[item_id])
        np.testing.assert_array_equal(patches.image(index), source.image[:, y : y + 32, x : x + 32])
        assert row.subject_id == whole.items["subject_id"][at[item_id]]
        for box in patches.item(index).boxes:
            boxes += 1
            assert 0 <= box["x0"] < box["x1"] <= 32
            assert any(
                box["x1"] == min(found["x1"] - x, 32) and box["y0"] == max(found["y0"] - y, 0)
                for found in source.boxes
            )
    assert boxes > 10


def test_places_depend_on_the_item_alone_and_cover_the_image():
    """Fewer patches are the first of more; another item or seed has others; all places occur."""
    options = Patches(count=400, side=16)
    many = places(options, 24, "a")
    assert places(Patches(count=7, side=16), 24, "a") == many[:7]
    assert places(options, 24, "b") != many
    assert places(Patches(count=400, side=16, seed=1), 24, "a") != many
    assert {edge for place in many for edge in place} == set(range(9))
    counts = np.bincount([top for top, _ in many], minlength=9)
    assert counts.min() > 400 / 9 / 2
    inside = places(Patches(count=400, side=16, within=(0.25, 0.0, 1.0, 0.8)), 40, "a")
    assert {left for _, left in inside} == set(range(10, 25))
    assert {top for top, _ in inside} == set(range(17))


def test_shards_change_nothing_about_patches(archive, tmp_path):
    """Resharding keeps every patch, bit for bit."""
    one = prepared(archive, tmp_path / "one", prepare=PATCHES)
    three = prepared(archive, tmp_path / "three", prepare=PATCHES, shards=3)
    for data in (one, three):
        assert data.items["item_id"].is_monotonic_increasing
    assert list(one.items["content_hash"]) == list(three.items["content_hash"])
    assert list(one.items["split"]) == list(three.items["split"])


def test_an_image_that_cannot_be_read_fails_with_all_its_patches(tmp_path):
    """The share of failed rows is that of the images."""
    simulate(SimulateOptions(subjects=6, size=SIDE), "nih_chest", tmp_path / "raw")
    broken, absent, *_ = sorted((tmp_path / "raw").glob("images*/images/*.png"))
    broken.write_bytes(broken.read_bytes()[:200])
    absent.unlink()
    data = prepared(tmp_path / "raw", tmp_path / "data", prepare=PATCHES)
    assert len(data.failures) == 8
    reasons = dict(zip(data.failures["item_id"], data.failures["reason"], strict=True))
    assert "cannot be read" in reasons[f"{broken.stem}/p00"]
    assert "the file is not there" in reasons[f"{absent.stem}/p03"]
    assert broken.stem not in set(data.items["item_id"].str.split("/").str[0])


def test_black_corners_do_not_make_strangers_one_patient(tmp_path):
    """Patches that are alike link nobody; whole images that are alike do."""
    folder = tmp_path / "raw/images"
    folder.mkdir(parents=True)
    rows, values = [], np.random.default_rng(0).integers(1, 255, (10, 4, 4), dtype=np.uint8)
    for number in range(10):
        image = np.zeros((SIDE, SIDE), np.uint8)
        image[:4, :4] = values[min(number, 8)]  # the last two are one image, filed twice
        Image.fromarray(image).save(folder / f"{number:08d}_000.png")
        rows.append(f"{number:08d}_000.png,No Finding,0,{number},30,F,PA,96,96,1,1")
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    (tmp_path / "raw/Data_Entry_2017.csv").write_text("\n".join([header, *rows]) + "\n")
    for seed in range(3):
        split = {"test": 0.5, "seed": seed}
        data = prepared(tmp_path / "raw", tmp_path / f"data{seed}", prepare=PATCHES, split=split)
        assert data.info.duplicates > 20
        of = data.items.drop_duplicates("subject_id").set_index("subject_id")["split"]
        assert sorted(of.unique()) == ["test", "train", "val"]
        assert of["00000008"] == of["00000009"]


def test_two_datasets_of_one_archive_agree_on_every_subject_by_hash(archive, tmp_path):
    """Healthy patches and boxed radiographs: what one learns the other never tests; by rank they would."""
    split = {"by": "hash", "test": 0.4, "val": 0.2}
    sides = []
    for name, options in (
        ("healthy", {"findings": ["No Finding"], "prepare": PATCHES}),
        ("boxed", {"boxed_only": True}),
        ("all", {"views": ["PA", "AP"]}),
    ):
        data = prepared(archive, tmp_path / name, split=split, **options)
        sides.append(dict(zip(data.items["subject_id"], data.items["split"], strict=True)))
    healthy, boxed, everything = sides
    assert healthy.keys() | boxed.keys() <= everything.keys()
    for side in (healthy, boxed):
        assert all(everything[subject] == split for subject, split in side.items())
        assert len(set(side.values())) > 1
    by_rank = SplitOptions(by="random", test=0.4)
    subjects = [f"s{number}" for number in range(60)]
    ranked = [
        assign_splits({name: set() for name in part}, {name: name for name in part}, by_rank, "x")
        for part in (subjects, subjects[::2])
    ]
    assert any(ranked[0][name] != split for name, split in ranked[1].items())


def test_hash_splits_keep_the_shares_on_average_and_ignore_the_sources_own():
    """Of 4000 subjects."""
    subjects = [f"{number:08d}" for number in range(4000)]
    options = SplitOptions(by="hash", test=0.2, val=0.1)
    native = {subject: {"train"} for subject in subjects}
    found = list(assign_splits(native, {name: name for name in subjects}, options, "x").values())
    assert found.count("test") == pytest.approx(800, abs=80)
    assert found.count("val") == pytest.approx(320, abs=60)
    other = assign_splits(native, {name: name for name in subjects}, SplitOptions(by="hash", seed=1), "x")
    assert list(other.values()) != found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 64, "patches": {"side": 65}}, "more than the 64 pixels"),
        ({"size": 64, "patches": {"side": 33, "within": [0.5, 0, 1, 1]}}, "more than the 32 pixels"),
        ({"size": 64, "patches": {"side": 16, "within": [0.5, 0, 0.4, 1]}}, "no left < right"),
    ],
)
def test_patches_that_do_not_fit_are_refused_at_parse_time(options, said):
    """With what is left."""
    with pytest.raises(ValidationError, match=said):
        PrepareOptions(**options)


def test_what_is_stored_already_is_not_changed_by_skipping_the_scaling(archive, tmp_path):
    """The short way for 8-bit images of the right size gives the values of the long one."""
    short = prepared(archive, tmp_path / "short")
    window = {"intensity": {"kind": "window", "low": 0, "high": 255}}
    long = prepared(archive, tmp_path / "long", prepare=window)
    assert list(short.items["content_hash"]) == list(long.items["content_hash"])
    for index in range(len(short)):
        assert short.item(index).boxes == long.item(index).boxes
