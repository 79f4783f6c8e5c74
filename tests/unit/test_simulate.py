"""Phantoms: native layouts, known truth, determinism, plausible anatomy and colour."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from mirage.config.datasets import SimulateOptions, SourceOptions
from mirage.errors import ConfigError, LayoutError
from mirage.files import read_json
from mirage.simulate import WRITERS, simulate
from mirage.simulate.fundus import real_colours, simulate_fundus
from mirage.simulate.native import CHASE, DRIVE, MESSIDOR, SQUARE
from mirage.simulate.vessels import AVASCULAR, anatomy, grow
from mirage.sources import READERS, Source, open_source

IMAGES = (".pgm", ".png", ".gif", ".tif", ".jpg", ".gz", ".dcm", ".mha", ".IMG")
PATTERNS = {"masks": "masks/{stem}_mask.png", "fov": "fov/{stem}_fov.png", "table": "table.csv"}


def simulated(reader: str, folder: Path, **options) -> Source:
    """Simulate a layout and open it with the reader of real data."""
    simulate(SimulateOptions(**{"subjects": 3, "size": 64, **options}), reader, folder)
    extra = PATTERNS if reader == "folder" else {}
    return open_source(
        TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": "unused", **extra}), folder
    )


def digests(folder: Path) -> dict[str, str]:
    """Relative path of every file but the summary -> digest."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in IMAGES
    }


@pytest.mark.parametrize(
    ("reader", "items", "channels"),
    [
        ("drive", 3, {"label", "fov"}),
        ("chasedb1", 6, {"label", "observer2"}),
        ("messidor", 3, set()),
        ("bubil", 3, {"label"}),
        ("folder", 4, {"label", "fov"}),
    ],
)
def test_phantoms_are_read_by_the_reader_of_real_data(tmp_path, reader, items, channels):
    """Every layout has its items, subjects, masks and sizes."""
    source = simulated(reader, tmp_path / "raw")
    source.check_layout()
    found = list(source.items())
    assert len(found) == items
    assert len({item.subject_id for item in found}) == 3
    for item in found:
        raw = item.load()
        assert raw.image.shape[0] == len(source.channel_names)
        assert raw.image.shape[1] in (64, round(64 * 1030 / 811))
        assert set(raw.masks) - {"observer2"} == channels - {"observer2"}
        if "label" in channels:
            assert 0.005 < raw.masks["label"].mean() < 0.25


def test_every_reader_has_a_simulator_and_no_other_name_is_taken(tmp_path):
    """The two registries agree."""
    assert set(WRITERS) == set(READERS)
    with pytest.raises(ConfigError, match="'nih' is no reader with a simulator"):
        simulate(SimulateOptions(subjects=1, size=32), "nih", tmp_path / "x")


def test_existing_data_are_never_overwritten_and_failures_leave_nothing(tmp_path, monkeypatch):
    """A folder with anything in it is refused; a crash half-way leaves no folder at all."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mine.txt").write_text("x")
    with pytest.raises(LayoutError, match="exists already"):
        simulate(SimulateOptions(subjects=1, size=32), "drive", tmp_path / "raw")

    def fail(*_):
        raise RuntimeError("disk full")

    from mirage.simulate import native

    monkeypatch.setattr(native, "write_drive", fail)
    with pytest.raises(RuntimeError):
        simulate(SimulateOptions(subjects=1, size=32), "drive", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("reader", sorted(READERS))
def test_fewer_subjects_are_a_part_of_more_and_another_seed_differs(tmp_path, reader):
    """Files of 2 subjects are byte for byte among those of 3; no image survives a change of seed."""
    for name, options in {"two": {"subjects": 2}, "three": {}, "other": {"seed": 1}}.items():
        simulated(reader, tmp_path / name, **options)
    two, three, other = (digests(tmp_path / name) for name in ("two", "three", "other"))
    assert two.items() <= three.items()
    assert len(two) < len(three)
    photographs = [path for path in three if not any(word in path for word in ("mask", "fov", "_seg_"))]
    assert sum(three[path] == other.get(path) for path in photographs) == 0


def test_drive_phantoms_fill_both_parts_with_native_numbers_and_modes(tmp_path):
    """Training counts from 21, test from 1 and alone has a second observer."""
    simulated("drive", tmp_path / "raw", subjects=4)
    names = {path for path in digests(tmp_path / "raw") if path.startswith("test")}
    assert names == {
        f"test/{name}"
        for number in ("01", "02")
        for name in (
            f"images/{number}_test.tif",
            f"1st_manual/{number}_manual1.gif",
            f"2nd_manual/{number}_manual2.gif",
            f"mask/{number}_test_mask.gif",
        )
    }
    assert (tmp_path / "raw/training/images/22_training.tif").exists()
    truth = read_json(tmp_path / "raw" / "ground_truth.json")
    assert set(truth["images"]) == {"21_training", "22_training", "01_test", "02_test"}


def test_bubil_phantoms_have_the_quirks_of_the_original(tmp_path):
    """Black cells, 1-bit gold, mixed modes, a `Seg_` name, one palette image of another size."""
    source = simulated("bubil", tmp_path / "raw")
    root = tmp_path / "raw"
    gold = Image.open(root / "GoldStandard" / "seg_B01.png")
    assert gold.mode == "1"
    assert np.asarray(gold)[0, 0]
    assert Image.open(root / "RawImages" / "B02.png").mode == "P"
    modes = {Image.open(path).mode for path in root.glob("ExpertsAnnotations/*/*.png")}
    assert modes == {"L", "RGB"}
    assert (root / "ExpertsAnnotations" / "Person3_Amira" / "Seg_B03.png").exists()
    sizes = {item.load().image.shape for item in source.items()}
    assert len(sizes) == 2
    options = {"reader": "bubil", "path": "unused"}
    for name in ("majority", "Person1_ImageJ"):
        other = open_source(
            TypeAdapter(SourceOptions).validate_python({**options, "annotator": name}), tmp_path / "raw"
        )
        for one, two in zip(source.items(), other.items(), strict=True):
            cell, drawn = one.load().masks["label"], two.load().masks["label"]
            assert 0.7 < 2 * (cell & drawn).sum() / (cell.sum() + drawn.sum()) < 1


@pytest.mark.parametrize(
    "camera", [DRIVE, CHASE, MESSIDOR, SQUARE], ids=["drive", "chase", "messidor", "square"]
)
def test_marked_vessels_are_darker_than_what_surrounds_them(camera):
    """The mask is of the image: green falls on vessels, by more on wide ones."""
    from scipy.ndimage import binary_dilation, binary_erosion

    phantom = simulate_fundus(0, 1, 0, camera, 256)
    vessels = phantom.vessels.astype(bool)
    beside = (
        binary_dilation(vessels, iterations=4) & ~binary_dilation(vessels, iterations=2) & (phantom.fov > 0)
    )
    green = phantom.image[..., 1].astype(float)
    assert green[vessels].mean() < 0.9 * green[beside].mean()
    assert green[binary_erosion(vessels, iterations=1)].mean() < 0.9 * green[beside].mean()
    assert not (vessels & (phantom.fov == 0)).any()
    assert 0.05 < vessels.sum() / phantom.fov.sum() < 0.2


def test_the_second_observer_agrees_about_as_well_as_people_do():
    """Dice of published second observers is about 0.79 on DRIVE."""
    dices = []
    for subject in range(6):
        phantom = simulate_fundus(0, subject, 0, DRIVE, 384)
        first, second = phantom.vessels, phantom.observer2
        dices.append(2 * (first & second).sum() / (first.sum() + second.sum()))
    assert 0.68 < np.mean(dices) < 0.9
    assert max(dices) < 0.97


def test_colours_are_those_of_the_real_photograph():
    """Channel medians over many subjects, without a camera's tint, stay near those of skimage's retina."""
    medians = [
        np.median(p.image[p.fov > 0], axis=0)
        for p in (simulate_fundus(0, s, 0, SQUARE, 64) for s in range(12))
    ]
    np.testing.assert_allclose(np.mean(medians, axis=0), real_colours().median, rtol=0.15)
    assert np.std(medians, axis=0).min() > 2


def test_both_eyes_share_colour_and_mirror_the_disc():
    """The disc lies on the nasal side: right in a right eye's image, left in a left eye's."""
    for subject in range(3):
        right, left = (simulate_fundus(0, subject, eye, SQUARE, 96) for eye in (0, 1))
        assert right.truth["disc_xy"][0] > 60
        assert left.truth["disc_xy"][0] < 36
        one, two = (np.median(eye.image[eye.fov > 0], axis=0).astype(float) for eye in (right, left))
        other = simulate_fundus(0, subject + 7, 0, SQUARE, 96)
        assert abs(one - two).sum() < 30
        assert (other.vessels != right.vessels).any()


def test_the_disc_is_bright_and_the_fovea_dark_and_without_vessels():
    """Ground truth points at them."""
    phantom = simulate_fundus(3, 0, 0, DRIVE, 256)
    green = phantom.image[..., 1].astype(float)
    inside = np.median(green[phantom.fov > 0])

    def around(x: float, y: float, radius: int) -> tuple[slice, slice]:
        return slice(int(y) - radius, int(y) + radius), slice(int(x) - radius, int(x) + radius)

    disc, fovea = phantom.truth["disc_xy"], phantom.truth["fovea_xy"]
    assert np.percentile(green[around(*disc, 10)], 75) > 1.4 * inside
    assert green[around(*fovea, 4)].mean() < inside
    assert not phantom.vessels[around(*fovea, 4)].any()


def test_vessels_thin_out_and_keep_clear_of_the_fovea():
    """Murray's law only ever divides; the avascular zone stays empty."""
    rng = np.random.default_rng(0)
    vessels = grow(anatomy(rng), rng, (0.0, 0.0), 24.0)
    assert len(vessels) > 60
    assert all((np.diff(vessel.widths) <= 1e-6).all() for vessel in vessels)
    points = np.concatenate([vessel.points for vessel in vessels])
    assert np.hypot(*points.T).min() > AVASCULAR * 0.7
    arteries = [vessel.widths[0] for vessel in vessels if vessel.artery]
    veins = [vessel.widths[0] for vessel in vessels if not vessel.artery]
    assert max(veins) > max(arteries)


def test_graded_retinopathy_shows_lesions():
    """The same eye at grade 3 differs from grade 0 in small spots only, and its vessels are the same."""
    healthy, sick = (simulate_fundus(0, 0, 0, MESSIDOR, 128, grade=grade) for grade in (0, 3))
    assert healthy.truth["retinopathy_grade"] == 0
    assert sick.truth["retinopathy_grade"] == 3
    np.testing.assert_array_equal(healthy.fov, sick.fov)
    changed = np.abs(healthy.image.astype(int) - sick.image).max(axis=2) > 25
    assert 0 < changed.sum() < 0.5 * healthy.fov.sum()
