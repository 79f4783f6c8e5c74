"""Radiomic features: the definitions against pyradiomics, and what the encoder makes of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from test_fidelity import made_from

from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.evaluate.features.bank import FeatureTable, read_features
from mirage.evaluate.features.jobs import extract_features, fit_encoder
from mirage.evaluate.features.radiomics import haar
from mirage.evaluate.features.textures import (
    cooccurrence,
    discretise,
    first_order,
    neighbour_differences,
    run_length,
    size_zone,
    texture,
)

REFERENCE = json.loads(Path(__file__).with_name("radiomics_reference.json").read_text())
"""What pyradiomics 3.0.1 says of :func:`grey_levels`, with bin width 1."""


def grey_levels(shape: tuple[int, ...]) -> np.ndarray:
    """Levels 1 ... 6 in a smooth pattern, 0 outside a region with a hole."""
    values = np.random.default_rng(3).random(shape)
    for axis in range(values.ndim):
        values = (values + np.roll(values, 1, axis)) / 2
    levels = 1 + np.floor(6 * (values - values.min()) / (np.ptp(values) + 1e-9)).astype(int)
    inside = np.ones(shape, bool)
    inside[:2], inside[..., -1], inside[4, 3:5] = False, False, False
    return levels * inside


@pytest.mark.parametrize(("where", "shape"), [("plane", (12, 10)), ("space", (8, 9, 7))])
def test_features_are_those_of_pyradiomics(where: str, shape: tuple[int, ...]) -> None:
    """78 features in 2D and in 3D, to 9 digits."""
    levels = grey_levels(shape)
    bins, inside = int(levels.max()), levels > 0
    found = {
        "first_order": first_order(levels[inside].astype(float), levels[inside]),
        "glcm": cooccurrence(levels, bins),
        "glrlm": run_length(levels, bins),
        "glszm": size_zone(levels, bins),
        "ngtdm": neighbour_differences(levels, bins),
    }
    assert sum(map(len, found.values())) == 78
    for family, expected in REFERENCE[where].items():
        assert found[family] == pytest.approx(expected, rel=1e-9, abs=1e-11), family


def test_flat_regions_and_single_places_have_finite_features() -> None:
    """A constant image is no error of the definitions' divisions."""
    for levels in (np.full((6, 6), 3), np.full((4, 4, 4), 1), np.pad([[2]], 2)):
        inside = levels > 0
        found = texture(levels, 4) | first_order(np.ones(int(inside.sum())), levels[inside])
        assert np.isfinite(list(found.values())).all()


def test_grey_levels_come_from_one_range() -> None:
    """Values beyond it fall into the first or last bin; what is outside the region is 0."""
    values, region = np.array([-1.0, 0.1, 0.5, 0.9, 7.0, 0.5]), np.array([True] * 5 + [False])
    np.testing.assert_array_equal(discretise(values, region, np.linspace(0, 1, 5)), [1, 1, 3, 4, 4, 0])


def test_wavelet_bands_add_up_to_the_image() -> None:
    """Low and high of every axis: four bands of an image, eight of a volume."""
    volume = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    bands = dict(haar(volume))
    assert set(bands) == {a + b + c for a in "lh" for b in "lh" for c in "lh"}
    np.testing.assert_allclose(sum(bands.values()), volume, atol=1e-6)


def fit(data: Dataset, tmp_path: Path, threads: int = 1, **keys: Any) -> FeatureTable:
    entry: Any = TypeAdapter(EncoderConfig).validate_python({"encoder": "radiomics", "bins": 8, **keys})
    table = tmp_path / f"{threads}.parquet"
    fit_encoder(entry, data.folder, tmp_path / "radiomics", table, runtime=Runtime(threads=threads))
    return read_features(table)


def test_several_processes_find_the_same(toy_dataset: Any, tmp_path: Path) -> None:
    """With the field of view as region, filters, and a name for every feature of every plane."""
    data = toy_dataset(splits={"train": 40}, channels=1, size=24)
    keys = {"log_sigmas": [1.0, 2.5], "wavelet": True}
    one, two = fit(data, tmp_path, 1, **keys), fit(data, tmp_path, 2, **keys)
    np.testing.assert_array_equal(one.values, two.values)
    assert one.values.shape == (40, 78 * (1 + 2 + 4))
    assert {"grey_first_order_mean", "grey_log_2.5_glcm_contrast", "grey_wavelet_hl_ngtdm_busyness"} <= set(
        one.names
    )
    assert one.info["protocol"]["region"].startswith("field of view")
    np.testing.assert_allclose(one.values.mean(axis=0), 0, atol=1e-4)


def test_foregrounds_are_found_alike_in_all_images(toy_dataset: Any, tmp_path: Path) -> None:
    """Synthetic photographs have no field of view in their file and must not differ by that."""
    data = toy_dataset(splits={"train": 12}, size=64)
    bare = toy_dataset("bare", splits={"train": 12}, size=64, fov=False)
    known = fit(data, tmp_path)
    extract_features(tmp_path / "radiomics", bare.folder, tmp_path / "bare.parquet", runtime=Runtime())
    np.testing.assert_array_equal(read_features(tmp_path / "bare.parquet").values, known.values)
    whole = fit(data, tmp_path, region="image", bins=8)
    assert whole.info["protocol"]["region"] == "whole image"
    assert not np.allclose(whole.values, known.values)


def test_volumes_are_described_inside_the_brain_or_label(toy_volumes: Any, tmp_path: Path) -> None:
    """The background's share no longer decides; an item without label is named."""
    data = toy_volumes(splits={"train": 6}, channels=1, extent=(12, 14, 13))
    assert fit(data, tmp_path).info["protocol"]["region"].startswith("brain")
    assert fit(data, tmp_path, region="label").values.shape == (6, 78)


def test_a_blank_volume_is_described_as_a_whole(toy_volumes: Any, tmp_path: Path) -> None:
    """Without a brain to be found it has the features of one grey value, and ends no evaluation."""
    data = toy_volumes(splits={"train": 6}, channels=1, extent=(12, 14, 13))
    fit(data, tmp_path)
    blank = made_from(data, tmp_path / "blank", [0, 1], np.zeros_like)
    extract_features(tmp_path / "radiomics", blank.folder, tmp_path / "blank.parquet", runtime=Runtime())
    values = read_features(tmp_path / "blank.parquet").values
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values[0], values[1])


def test_an_empty_region_names_its_item(toy_dataset: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Nothing is described as if it were something."""
    with pytest.raises(DataError, match="needs label masks"):
        fit(toy_dataset("none", splits={"train": 2}, labels=0), tmp_path, region="label")
    data = toy_dataset(splits={"train": 2}, size=16)
    monkeypatch.setattr(Dataset, "mask", lambda self, index, channel: np.zeros((16, 16), np.uint8))
    with pytest.raises(DataError, match="toy: train_0 has an empty 'label' mask"):
        fit(data, tmp_path, region="label")
