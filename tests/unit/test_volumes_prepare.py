"""Preparing volumes: the right way up, in their place, on the right grid, with background 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import ndimage
from volumes import AFFINE, as_file, every_orientation, head, save

from conftest import TCGA
from mirage.config import load_config
from mirage.config.datasets import PRESETS, DatasetConfig, VolumeIntensity
from mirage.config.slices import normalise
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.shards import content_hash
from mirage.errors import ConfigError, DataError
from mirage.files import read_json
from mirage.prepare import Prepared, prepare_shard, prepare_volume
from mirage.preprocess import volumes
from mirage.preprocess.brain import background_of, bounding_box, brain_mask
from mirage.preprocess.pieces import largest_piece, pieces_of, without_holes
from mirage.sources import RawImage, Source, SourceItem, open_source
from mirage.sources.images import read_volume

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {"size": [20, 24, 22]}
"""As the heads of the tests are."""


class Fixed(Source):
    """One volume."""

    modality = "test"
    namespace = "test"

    def __init__(self, raw: RawImage) -> None:
        self.raw = raw
        self.channel_names = [str(channel) for channel in range(len(raw.image))]
        self.labels, self.mask_channels = {1: "NCR", 2: "ED", 3: "ET"}, sorted(raw.masks, reverse=True)

    def check_layout(self) -> None:
        """Nothing to check."""

    def items(self) -> Iterator[SourceItem]:
        """The volume."""
        return iter([SourceItem("i", "s", lambda: self.raw)])


def options(**prepare: Any):
    """Prepare options from plain values."""
    return DatasetConfig.model_validate(
        {"source": {"reader": "brats"}, "prepare": {"kind": "volume", **prepare}}
    ).prepare


def prepared(raw: RawImage, **prepare: Any) -> Prepared:
    """One volume prepared by itself."""
    return prepare_volume(raw, Fixed(raw), options(**{**PLAIN, **prepare}))


def raw_head(seed: int = 0, **masks: np.ndarray) -> RawImage:
    """A head in the stored order of axes, with its labels."""
    images, label, _ = head(seed)
    return RawImage(images, {"label": label, **masks}, affine=AFFINE)


# --- space ------------------------------------------------------------------------------------------


def test_every_direction_of_axes_gives_the_same_stored_volume_in_the_same_place(tmp_path):
    """All 48 ways of writing one head: voxels, spacing and affine are those of the one in stored order."""
    images, label, _ = head()
    expected = prepared(raw_head())
    for codes in every_orientation():
        raw = read_volume(save(images[0], tmp_path / "a.nii", codes))
        raw.masks["label"] = np.asarray(as_file(label, codes).dataobj).transpose()
        stored = prepared(raw)
        np.testing.assert_array_equal(stored.image[0], expected.image[0], err_msg=codes)
        np.testing.assert_array_equal(stored.masks, expected.masks)
        np.testing.assert_allclose(volumes.nifti_affine(stored.attributes), AFFINE, atol=1e-6)
        assert stored.spacing_mm == pytest.approx((1.5, 1.5, 1.5))


def test_stored_axes_run_up_back_and_to_the_left():
    """In scanner coordinates (RAS): d increases with S, h against A, w against R."""
    stored = volumes.nifti_affine(prepared(raw_head()).attributes)
    origin, w, h, d = (stored @ [*voxel, 1] for voxel in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)))
    assert (w - origin)[0] < 0
    assert (h - origin)[1] < 0
    assert (d - origin)[2] > 0


@pytest.mark.parametrize(
    "prepare",
    [
        {},
        {"crop": "brain", "size": [24, 32, 28]},
        {"crop": "brain", "margin": 2, "fit": "stretch", "size": [16, 16, 16]},
        {"drop_slices": [3, 2], "fit": "stretch", "size": [8, 24, 22], "interpolation": "nearest"},
        {"spacing_mm": 1.0, "size": [32, 40, 34]},
        {"spacing_mm": 3.0, "size": [12, 14, 12]},
        {"fit": "stretch", "size": [40, 48, 44]},
    ],
)
@pytest.mark.parametrize("codes", ["LPS", "RAS", "SLA"])
def test_a_label_keeps_its_place_in_the_scanner(tmp_path, prepare, codes):
    """The centre of the tumour, by the stored affine, is where the file has it; also in an oblique volume."""
    turn, about = np.deg2rad(12), np.eye(4)
    about[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    images, label, _ = head()
    raw = read_volume(save(images[0], tmp_path / "a.nii.gz", codes, about @ AFFINE))
    raw.masks["label"] = read_volume(save(label, tmp_path / "s.nii.gz", codes, about @ AFFINE)).image[0]
    stored = prepared(raw, **prepare)
    native = np.argwhere(label > 0).mean(axis=0)[::-1]
    found = np.argwhere(stored.masks[0] > 0).mean(axis=0)[::-1]
    expected = about @ AFFINE @ [*native, 1]
    coarse = max(stored.spacing_mm)
    got = volumes.nifti_affine(stored.attributes) @ [*found, 1]
    np.testing.assert_allclose(got, expected, atol=0.5 * coarse if len(prepare) else 1e-6)


def test_an_exported_volume_opens_where_the_original_is(tmp_path):
    """Written as the docstring says and read by nibabel, both show the same grey at the same point."""
    images, _, _ = head()
    path = save(images[0], tmp_path / "native.nii.gz", "PIR")
    stored = prepared(read_volume(path), crop="brain", size=[24, 32, 28])
    affine = volumes.nifti_affine(stored.attributes)
    nibabel.save(nibabel.Nifti1Image(stored.image[0].transpose(), affine), tmp_path / "out.nii.gz")
    native, out = nibabel.load(path), nibabel.load(tmp_path / "out.nii.gz")
    assert nibabel.aff2axcodes(out.affine) == ("L", "P", "S")
    inside = np.argwhere(np.asarray(out.dataobj) > 0)[::37]
    there = np.linalg.inv(native.affine) @ out.affine @ np.c_[inside, np.ones(len(inside))].T
    voxels = np.rint(there[:3]).astype(int)
    np.testing.assert_allclose(there[:3], voxels, atol=1e-6)
    greys = np.asarray(native.dataobj)[tuple(voxels)].astype(float)
    values = np.asarray(out.dataobj)[tuple(inside.T)].astype(float)
    between = (values > 0) & (values < 65535)
    assert np.corrcoef(greys[between], values[between])[0, 1] > 0.999999


def test_an_affine_is_asked_of_items_that_have_one():
    """Synthetic volumes must take their donor's along."""
    with pytest.raises(DataError, match="no attribute `affine`"):
        volumes.nifti_affine({"age": 3})


def test_a_volume_of_unknown_place_is_stored_as_it_is():
    """No affine, no attribute; spacing where it is known."""
    images, label, _ = head()
    stored = prepared(RawImage(images, {"label": label}, spacing_mm=(2.0, 1.0, 1.0)))
    assert stored.spacing_mm == (2.0, 1.0, 1.0)
    assert "affine" not in stored.attributes
    np.testing.assert_array_equal(stored.masks[0], label)
    with pytest.raises(DataError, match="spacing_mm"):
        prepared(RawImage(images, {}), spacing_mm=1.0)


# --- presets ----------------------------------------------------------------------------------------


def test_the_thesis_preset_is_what_the_thesis_says():
    """30 + 30 slices off 155, 95 to 64 by nearest neighbour, each sequence by its own minimum and maximum."""
    rng = np.random.default_rng(0)
    inside = np.zeros((155, 60, 60), bool)
    inside[5:150, 8:50, 10:52] = True
    images = np.where(inside, rng.integers(50, 900, (2, 155, 60, 60)), 0).astype(np.int16)
    label = (rng.random((155, 60, 60)) < 0.1).astype(np.uint8) * 3 * inside
    stored = prepared(
        RawImage(images, {"label": label}, affine=np.diag([-1, -1, 1, 1.0])),
        preset="thesis",
        size=[64, 60, 60],
    )
    picked = 30 + np.floor((np.arange(64) + 0.5) * 95 / 64).astype(int)
    expected = images[:, picked].astype(float)
    for native, found in zip(expected, stored.image, strict=True):
        low, high = native.min(), native.max()
        np.testing.assert_allclose(found, (native - low) / (high - low) * 65535, atol=0.51)
    np.testing.assert_array_equal(stored.masks[0], label[picked])
    np.testing.assert_array_equal(stored.masks[1], inside[picked])
    assert stored.image.dtype == np.uint16
    assert stored.spacing_mm == pytest.approx((95 / 64, 1, 1))
    assert stored.image[:, ~inside[picked]].max() == 0


def test_the_recommended_preset_centres_the_brain_and_changes_no_voxel():
    """Bounding box in the middle, percentiles of the brain alone, nothing outside it, no interpolation."""
    raw = raw_head()
    brain = head()[2]
    stored = prepared(raw, preset="recommended", size=[32, 32, 32])
    box = bounding_box(stored.masks[1])
    for span in box:
        assert abs((span.start + span.stop) / 2 - 16) <= 0.5
    assert stored.masks[1].sum() == brain.sum()
    for native, found in zip(raw.image, stored.image, strict=True):
        inside = native[bounding_box(brain)].astype(float)
        low, high = np.percentile(native[brain > 0], [0.1, 99.9])
        expected = np.rint((inside - low) / (high - low) * 65535).clip(0, 65535)
        expected *= brain[bounding_box(brain)]
        np.testing.assert_allclose(found[box], expected, atol=1)
        assert found[stored.masks[1] == 0].max() == 0
    assert stored.spacing_mm == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_shorthand_for_its_keys(preset):
    """Spelled out or not, the configuration is the same and remakes nothing; given keys win."""
    by_name, by_key = options(preset=preset), options(**PRESETS[preset])
    assert by_name == by_key
    assert normalise(by_name) == normalise(by_key)
    assert options(**normalise(by_name)) == by_name
    assert options(preset=preset, fit="pad", size=[8, 8, 8], bits=8).fit == "pad"
    restored = options(**normalise(options(preset=preset, fit="pad", outside="keep")))
    assert (restored.fit, restored.outside) == ("pad", "keep")


# --- grids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spacing", "size"), [(1.0, [34, 40, 36]), (2.5, [16, 16, 16])])
def test_resampling_keeps_the_volume_of_what_is_labelled(spacing, size):
    """Millimetres decide, and stored voxels are cubes."""
    axes = np.indices((40, 30, 26), dtype=float)
    ball = (
        sum(((x - n / 2) * s) ** 2 for x, n, s in zip(axes, (40, 30, 26), (0.8, 1.2, 1.4), strict=True))
    ) < 81
    raw = RawImage((ball * 500)[None].astype(np.int16), {"label": ball.astype(np.uint8)})
    raw.affine = np.diag([-1.4, -1.2, 0.8, 1.0])
    stored = prepared(raw, spacing_mm=spacing, size=size, intensity={"kind": "min_max"}, outside="keep")
    assert stored.spacing_mm == pytest.approx((spacing,) * 3)
    exact = 4 / 3 * np.pi * 9**3
    assert stored.attributes["volume_NCR_mm3"] == pytest.approx(exact, rel=0.06)
    assert (stored.image[0] / 65535).sum() * spacing**3 == pytest.approx(exact, rel=0.06)


def test_a_spacing_that_differs_by_rounding_resamples_nothing():
    """Headers say 1.4999999 for 1.5."""
    raw = raw_head()
    raw.affine = AFFINE * np.array([1 - 1e-5] * 3 + [1])
    stored, plain = prepared(raw, spacing_mm=1.5), prepared(raw_head())
    np.testing.assert_array_equal(stored.image, plain.image)
    assert stored.spacing_mm == pytest.approx((1.5 * (1 - 1e-5),) * 3)


def test_linear_averages_where_voxels_grow_and_nearest_picks():
    """A checkerboard becomes grey, or stays black and white."""
    board = (np.indices((16, 16, 16)).sum(axis=0) % 2 * 100).astype(np.int16)
    raw = RawImage(board[None], affine=AFFINE)
    halved = {"fit": "stretch", "size": [8, 8, 8], "brain": "none", "outside": "keep"}
    window = {"kind": "window", "low": 0, "high": 100}
    grey = prepared(raw, **halved, intensity=window, bits=8).image
    picked = prepared(raw, **halved, intensity=window, bits=8, interpolation="nearest").image
    assert set(np.unique(grey)) <= {127, 128}
    assert set(np.unique(picked)) <= {0, 255}


def test_a_brain_that_does_not_fit_is_refused_with_both_sizes():
    """Cut off at the edge, or too large altogether."""
    brain = head()[2]
    spans = [span.stop - span.start for span in bounding_box(brain)]
    with pytest.raises(DataError, match=rf"takes {' x '.join(map(str, spans))} voxels .* is 12 x 32 x 32"):
        prepared(raw_head(), crop="brain", size=[12, 32, 32])
    with pytest.raises(DataError, match="use `crop: brain`"):
        prepared(raw_head(), size=[20, 24, 14])
    assert prepared(raw_head(), crop="brain", size=[spans[0], spans[1], spans[2]]).masks[1].any()


def test_dropping_more_slices_than_there_are_is_refused():
    """Nothing would be left."""
    with pytest.raises(DataError, match="cuts 12 and 9 slices off, the volume has 20"):
        prepared(raw_head(), drop_slices=[12, 9])


def test_a_margin_shows_what_is_around_the_brain_and_no_more():
    """Voxels beyond the margin are background, though the file has something there."""
    images, _, brain = head()
    images[:, :, 0, :] = 77  # a rim far from the brain
    given = RawImage(images, {"brain": brain}, affine=AFFINE)
    fitting = {"crop": "brain", "outside": "keep", "size": [32, 40, 32], "intensity": {"kind": "min_max"}}
    near = prepared(given, margin=1, **fitting)
    far = prepared(given, margin=24, **fitting)
    assert (near.image > 0).sum() < (far.image > 0).sum()
    np.testing.assert_array_equal(near.masks, far.masks)


# --- background and intensities ---------------------------------------------------------------------


@pytest.mark.parametrize("background", [0, -3.2, 1, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_the_brain_is_found_whatever_the_background_is(background, dtype):
    """Zero, the negative constant of a z-scored volume, a positive one; with rounding noise in floats."""
    images, _, brain = head()
    values = images.astype(np.float64) / (100 if np.dtype(dtype).kind == "f" else 1)
    values[:, brain == 0] = background
    values = values.astype(dtype)
    if np.dtype(dtype).kind == "f":
        values += np.random.default_rng(0).normal(0, 1e-6, values.shape).astype(dtype)
    backgrounds = [background_of(volume) for volume in values]
    assert backgrounds == pytest.approx([float(np.dtype(dtype).type(background))] * 4, abs=1e-4)
    np.testing.assert_array_equal(brain_mask(values, backgrounds), brain)
    stored = prepared(RawImage(values, affine=AFFINE), intensity={"kind": "min_max"}, outside="keep")
    assert stored.image[:, brain == 0].max() == 0
    assert stored.image[:, brain == 1].max() == 65535


def test_undershoot_at_the_edge_does_not_lift_the_background():
    """Small negative values, as resampling leaves them, are stored as background, with either range."""
    images, _, brain = head()
    edge = (brain == 1) & ~ndimage.binary_erosion(brain)
    some = edge & (np.random.default_rng(1).random(edge.shape) < 0.02)
    images[:, some] = -54
    for intensity in ({"kind": "min_max"}, {"kind": "percentile", "low": 0, "high": 100}):
        stored = prepared(RawImage(images, affine=AFFINE), intensity=intensity, outside="keep")
        assert stored.image[:, brain == 0].max() == 0
        assert stored.image[:, some].max() == 0
        assert np.median(stored.image[0][brain == 1]) > 1000


def test_a_background_amidst_the_tissue_must_not_be_kept():
    """Z-scored inside the brain and 0 around it: 0 would be grey."""
    images, _, brain = head()
    scored = images.astype(np.float32)
    for volume in scored:
        volume[brain == 1] -= volume[brain == 1].mean()
        volume[brain == 0] = 0
    with pytest.raises(DataError, match="amidst the brain's values"):
        prepared(RawImage(scored, affine=AFFINE), outside="keep")
    stored = prepared(RawImage(scored, affine=AFFINE), outside="zero")
    assert stored.image[:, brain == 0].max() == 0
    assert stored.masks[0].sum() == pytest.approx(brain.sum(), rel=0.01)


def test_a_head_with_noise_around_it_is_found_by_threshold():
    """No constant background: the mask is the head, holes and specks are mended."""
    images, _, brain = head()
    rng = np.random.default_rng(2)
    noisy = (images * 1.0 + np.abs(rng.normal(0, 20, images.shape))).astype(np.int16)
    assert background_of(noisy[0]) is None
    mask = brain_mask(noisy, [None] * 4)
    assert 2 * (mask & brain).sum() / (mask.sum() + brain.sum()) > 0.97


def test_holes_are_filled_and_specks_dropped():
    """Ventricles as dark as the background belong to the brain; crumbs of the skull do not."""
    images, _, brain = head()
    inner = ndimage.binary_erosion(brain, iterations=3)
    images[:, inner] = 0
    images[:, 1, 1, 1] = 500
    mask = brain_mask(images, [0.0] * 4)
    np.testing.assert_array_equal(mask, brain)


def test_a_given_brain_mask_is_used_unless_it_is_to_be_derived():
    """`fov` of the folder reader is the brain mask of a volume; what is labelled is brain."""
    images, label, brain = head()
    smaller = ndimage.binary_erosion(brain).astype(np.uint8)
    for name in ("brain", "fov"):
        raw = RawImage(images, {"label": label, name: smaller}, affine=AFFINE)
        np.testing.assert_array_equal(prepared(raw).masks[1], smaller | (label > 0))
        np.testing.assert_array_equal(prepared(raw, brain="derive").masks[1], brain)
    empty = RawImage(images, {"brain": np.zeros_like(brain)}, affine=AFFINE)
    with pytest.raises(DataError, match="brain mask is empty"):
        prepared(empty)


def test_volumes_that_are_no_heads_take_a_window_and_no_brain():
    """CT: Hounsfield units, one window for all, no mask channel but the label's."""
    values = np.random.default_rng(0).integers(-1000, 1500, (1, 20, 24, 22)).astype(np.int16)
    raw = RawImage(values, affine=AFFINE)
    stored = prepared(
        raw, brain="none", outside="keep", intensity={"kind": "window", "low": -160, "high": 240}, bits=8
    )
    np.testing.assert_array_equal(
        stored.image, np.rint((values.clip(-160, 240) + 160) / 400 * 255).astype(np.uint8)
    )
    assert stored.masks is None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 24, 22), np.int16), "2D"),
        (np.zeros((2, 20, 24, 22), np.int16), "2 channels"),
        (np.full((1, 20, 24, 22), 7, np.int16), "nothing but background"),
    ],
)
def test_what_cannot_be_stored_says_why(image, message):
    """A slice, a sequence too many, a constant."""
    source = Fixed(RawImage(np.zeros((1, 20, 24, 22), np.int16)))
    with pytest.raises(DataError, match=message):
        prepare_volume(RawImage(image, affine=AFFINE), source, options(**PLAIN))


def test_a_sequence_that_is_constant_inside_the_brain_is_refused():
    """It would be divided by nothing."""
    images, _, brain = head()
    images[2] = brain * 9
    with pytest.raises(DataError, match="constant inside the brain"):
        prepared(RawImage(images, affine=AFFINE))


def test_the_lowest_value_is_that_of_the_window_when_one_is_given():
    """Neither the background nor the brain moves it."""
    volume = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    window = VolumeIntensity(kind="window", low=-5, high=9)
    assert volumes.bounds(volume, volume.ravel(), 3.0, window, keep=True) == (-5, 9)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.6, 0.97])
def test_pieces_are_those_of_scipy(density):
    """The largest one and the holes, of sponges of any density, also along the border."""
    rng = np.random.default_rng(int(100 * density))
    for shape in ((7, 9, 8), (1, 6, 5), (5, 1, 7), (6, 5, 1)):
        mask = rng.random(shape) < density
        labels, count = ndimage.label(mask)
        found = pieces_of(mask)
        assert found.count == count
        kept = largest_piece(mask)
        assert kept.sum() == max(np.bincount(labels.ravel())[1:], default=0)
        assert len(np.unique(labels[kept])) == min(1, count)
        filled = ndimage.binary_fill_holes(mask)
        np.testing.assert_array_equal(without_holes(mask), filled)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_percentiles_are_those_of_numpy(dtype):
    """Counted or sorted, interpolated alike; also of few values, and over the whole range of a type."""
    rng = np.random.default_rng(0)
    shares = (0, 0.1, 33.3, 50, 99.9, 100)
    for values in (rng.normal(100, 30, 5001), np.array([7.0]), np.array([0, 255]), rng.integers(0, 9, 40)):
        cast = values.clip(0, 255).astype(dtype)
        np.testing.assert_allclose(volumes.percentiles(cast, shares), np.percentile(cast, shares), rtol=1e-12)
    ends = np.array([-32768, 32767, 5], np.int16)  # whose differences overflow in NumPy's own
    np.testing.assert_allclose(volumes.percentiles(ends, shares), np.percentile(ends.astype(float), shares))


# --- datasets ---------------------------------------------------------------------------------------


def folder_config(raw: Path, **prepare: Any) -> DatasetConfig:
    """A folder of NIfTI volumes with label masks."""
    source = {
        "reader": "folder",
        "path": str(raw),
        "images": "images/*",
        "masks": "labels/{name}",
        "mask_polarity": "labels",
        "labels": {1: "a", 2: "b", 3: "c"},
        "channels": "grey",
    }
    return DatasetConfig.model_validate(
        {"source": source, "prepare": {"kind": "volume", **PLAIN, **prepare}, "split": {"val": 0, "test": 0}}
    )


def test_a_folder_of_volumes_becomes_a_dataset(tmp_path):
    """The reader that most users start with: other directions of axes, a mask on another grid, a slice."""
    raw = tmp_path / "raw"
    for name, codes in (("a.nii.gz", "LPS"), ("b.nii", "RAS"), ("c.nii.gz", "RAS")):
        images, label, _ = head()
        save(images[0], raw / "images" / name, codes)
        save(label, raw / "labels" / name, "LPS" if name == "c.nii.gz" else codes)
    save(head()[0][0][:1], raw / "images" / "d.nii.gz")
    config = folder_config(raw)
    prepare_shard(config, open_source(config.source), 0, tmp_path / "out")
    info = gather(tmp_path / "out", name="x", shards=1, split=config.split, max_failed_fraction=0.5)
    data = Dataset(tmp_path / "out")
    assert info.image_shape == (1, 20, 24, 22)
    assert info.mask_channels == ["label", "brain"]
    assert info.spacing_mm == pytest.approx((1.5, 1.5, 1.5))
    assert info.value_range == (0, 65535)
    assert list(data.items["item_id"]) == ["images/a", "images/b"]
    np.testing.assert_array_equal(data.image(0), data.image(1))
    np.testing.assert_array_equal(data.mask(1, "label"), head()[1])
    np.testing.assert_allclose(volumes.nifti_affine(data.item(1).attributes), AFFINE, atol=1e-6)
    assert data.item(0).attributes["volume_b_mm3"] == (head()[1] == 2).sum() * 1.5**3
    reasons = data.failures.set_index("item_id")["reason"]
    assert "mm from where" in reasons["images/c"]
    assert "2D" in reasons["images/d"]
    assert info.duplicates == 1


def test_shards_hold_the_same_volumes_as_one(tmp_path):
    """However many there are; all facts agree."""
    raw = tmp_path / "raw"
    for at in range(4):
        save(head(at)[0][0], raw / "images" / f"{at}.nii.gz")
    rows = []
    for count in (1, 2):
        config = folder_config(raw).model_copy(update={"shards": count})
        for shard in range(count):
            prepare_shard(config, open_source(config.source), shard, tmp_path / str(count))
        tables = [pd.read_parquet(path) for path in sorted((tmp_path / str(count)).glob("*.parquet"))]
        rows.append(pd.concat(tables).set_index("item_id").sort_index())
        facts = read_json(tmp_path / str(count) / f"shard-0000-of-000{count}.json")
        assert facts["image_shape"] == [1, 20, 24, 22]
    assert list(rows[0]["content_hash"]) == list(rows[1]["content_hash"])
    assert rows[0]["content_hash"].nunique() == 4


def test_the_hash_of_a_volume_sees_every_voxel_and_every_order():
    """One bit, two planes exchanged, another type or shape."""
    volume = np.random.default_rng(0).integers(0, 65536, (2, 5, 6, 7), dtype=np.uint16)
    changed = volume.copy()
    changed[1, 4, 5, 6] ^= 1
    others = [changed, volume[:, ::-1], volume[::-1], volume.view(np.int16), volume.reshape(1, 10, 6, 7)]
    assert len({content_hash(array) for array in [volume, *others]}) == 6
    assert content_hash(volume) == content_hash(np.asfortranarray(volume))


# --- parse time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"source": {"reader": "brats"}}, "brats reads volumes, not images; write `kind: volume`"),
        (
            {"source": {"reader": "drive"}, "prepare": {"kind": "volume", "preset": "thesis"}},
            "drive reads images, not volumes; write `kind: image`",
        ),
        (
            {"source": {"reader": "folder", "path": "x"}, "prepare": {"kind": "volume", "preset": "thesis"}},
            "channels: grey",
        ),
    ],
)
def test_readers_and_kinds_that_do_not_fit_are_refused(entry, message):
    """At parse time."""
    with pytest.raises(ValidationError, match=message):
        DatasetConfig.model_validate(entry)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"margin": 3}, "crop: brain"),
        ({"spacing_mm": 1.0, "fit": "stretch"}, "fit: pad"),
        ({"brain": "none"}, "outside: keep"),
        ({"intensity": {"kind": "percentile", "low": 5, "high": 2}}, "low < high"),
        ({"intensity": {"kind": "min_max", "low": 5}}, "takes no low"),
        ({"size": [4, 32, 32]}, "greater than or equal to 8"),
        ({"preset": "paper"}, "'thesis' or 'recommended'"),
        ({"crop": "fov"}, "'none' or 'brain'"),
    ],
)
def test_options_of_volumes_that_cannot_work_are_refused(keys, message):
    """At parse time."""
    with pytest.raises(ValidationError, match=message):
        options(**{**PLAIN, **keys})


VOLUMES = {"heads": {"source": {"reader": "brats"}, "prepare": {"kind": "volume", "preset": "recommended"}}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"generators": {"g": {"arch": "dcgan", "data": "heads"}}}, "dcgan is for 2D images.*are volumes"),
        (
            {"evaluations": {"e": {"evaluator": "fidelity", "real": "heads", "synthetic": "quick_dual_gan"}}},
            "evaluations.e: cannot mix volumes and 2D images",
        ),
        (
            {
                "recipes": {"r": {"recipe": "pseudo_label", "images": "heads", "segmenter": "s"}},
                "generators": {"s": {"arch": "segmenter", "data": "quick_fundus"}},
            },
            "recipes.r: is for 2D images, 'heads' holds volumes",
        ),
        (
            {"datasets": {"heads": {"prepare": {"sise": [8, 8, 8]}}}},
            r"datasets.heads.prepare.sise: unknown key; did you mean 'size'\?",
        ),
        ({"datasets": {"heads": {"prepare": {"preset": None}}}}, "datasets.heads.prepare.size: .*required"),
    ],
)
def test_volumes_and_2d_methods_are_kept_apart_at_parse_time(overrides, message):
    """Before anything runs, naming the entry and both kinds."""
    config: dict[str, Any] = {"run": ["quickstart"], "datasets": VOLUMES}
    for registry, entries in overrides.items():
        merged = dict(config.get(registry, {}))
        for name, entry in entries.items():
            old = merged.get(name, {})
            merged[name] = {**old, **entry, "prepare": {**old.get("prepare", {}), **entry.get("prepare", {})}}
            if registry != "datasets":
                merged[name] = entry
        config[registry] = merged
    with pytest.raises(ConfigError, match=message):
        load_config(config, ROOT / "config")


# --- real data --------------------------------------------------------------------------------------


def real(shared: Path, out: Path, preset: str, **source: Any) -> Dataset:
    """Some of the real data, prepared."""
    config = DatasetConfig.model_validate(
        {
            "source": {"reader": "brats", **source, "path": str(shared / source["path"])},
            "prepare": {"kind": "volume", "preset": preset},
            "split": {"val": 0, "test": 0},
        }
    )
    prepare_shard(config, open_source(config.source), 0, out)
    gather(out, name="real", shards=1, split=config.split, max_failed_fraction=0)
    return Dataset(out)


def check_upright(brain: np.ndarray) -> None:
    """A brain mask (D, H, W) that is neither upside down, back to front, nor mirrored over an axis swap.

    The cerebrum is wide and the brain stem, below it, narrow and behind the middle; from front to back a
    brain is longer than from side to side; its halves are alike.
    """
    box = brain[bounding_box(brain)]
    depth, height, width = box.shape
    assert height > width
    lower, upper = box[: depth // 6], box[-depth // 3 :]
    assert lower.mean() < upper.mean()
    centre = [np.average(np.arange(height), weights=part.sum(axis=(0, 2))) for part in (lower, box)]
    assert centre[0] > 0.5 * height
    assert centre[0] > centre[1] - 0.02 * height
    mirrored = box[:, :, ::-1]
    assert 2 * (box & mirrored).sum() / (2 * box.sum()) > 0.9


def test_real_brains_are_the_right_way_up_with_either_preset(tmp_path, shared_data):
    """Two patients in BraTS space, three of BRATS 2015; background is 0, tumours keep their volume."""
    deepmedic = {"path": "BRATS2015-deepmedic", "sequences": ["flair", "t1ce"]}
    tcga = {"path": "TCGA-LGG-brats-space", **TCGA}
    for name, source in (("deepmedic", deepmedic), ("tcga", tcga)):
        whole = real(shared_data, tmp_path / name, "recommended", **source)
        for at in range(len(whole)):
            image, (label, brain) = whole.image(at), whole.masks(at)
            check_range(image, brain)
            if whole.items["item_id"][at] != "brats_2013_pat0006_1":  # cut off at its field of view
                check_upright(brain)
            # Oedema is brighter in FLAIR than the rest of the brain: image and label lie on one another.
            assert image[0][label == 2].mean() > 1.2 * image[0][(brain == 1) & (label == 0)].mean()
    squeezed = real(shared_data, tmp_path / "thesis", "thesis", **tcga)
    assert squeezed.info.image_shape == (4, 64, 240, 240)
    for at in range(len(squeezed)):
        check_range(squeezed.image(at), squeezed.mask(at, "brain"))
        ours, theirs = (data.item(at).attributes["volume_ED_mm3"] for data in (whole, squeezed))
        assert theirs == pytest.approx(ours, rel=0.15)  # a few voxels lie in the slices cut off


def check_range(image: np.ndarray, brain: np.ndarray) -> None:
    """Background is 0, and every sequence reaches the highest value."""
    assert (image.max(axis=0) * (brain == 0)).max() == 0
    assert image.max(axis=(1, 2, 3)).tolist() == [65535] * len(image)
