"""Encoders and the feature bank: what is fitted on what, what is stored, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.data import Dataset
from mirage.data.dataset import write_info
from mirage.errors import CheckpointError, DataError, LeakError
from mirage.evaluate.features.bank import FeatureBank, FeatureTable, read_features, write_features
from mirage.evaluate.features.jobs import extract_features, fit_encoder
from mirage.evaluate.features.pixels import fitting_size, resized
from mirage.evaluate.features.pixpca import principal_components

SPLITS = {"train": 12, "val": 3, "test": 3}
CPU = Runtime(accelerator="cpu")
OFFLINE = ["pixpca", "randconv", "radiomics"]


def fit(data: Dataset, tmp_path: Path, encoder: str, name: str = "", **keys: Any) -> FeatureTable:
    """Fit an encoder on a dataset and read that dataset's features."""
    entry: Any = TypeAdapter(EncoderConfig).validate_python({"encoder": encoder, **keys})
    folder = tmp_path / "encoders" / (name or encoder)
    table = tmp_path / "features" / folder.name / f"{data.info.name}.parquet"
    fit_encoder(entry, data.folder, folder, table, runtime=CPU)
    return read_features(table)


def extract(data: Dataset, tmp_path: Path, encoder: str) -> FeatureTable:
    """Features of another dataset by an encoder that is fitted already."""
    table = tmp_path / "features" / encoder / f"{data.info.name}.parquet"
    extract_features(tmp_path / "encoders" / encoder, data.folder, table, runtime=CPU)
    return read_features(table)


@pytest.fixture(params=["images", "volumes"])
def toy(request: pytest.FixtureRequest, toy_dataset: Any, toy_volumes: Any) -> Callable[..., Dataset]:
    """Factory of datasets of images, or of volumes."""
    return toy_dataset if request.param == "images" else toy_volumes


@pytest.mark.parametrize("encoder", OFFLINE)
def test_extraction_repeats_what_fitting_extracted(toy: Any, tmp_path: Path, encoder: str) -> None:
    """The same dataset has the same features by the stored encoder, bit for bit, in 2D and in 3D."""
    data = toy(splits=SPLITS)
    fitted = fit(data, tmp_path, encoder)
    again = extract(data, tmp_path, encoder)
    assert fitted.values.shape == (len(data), len(fitted.names))
    assert fitted.values.dtype == np.float32
    assert len(set(fitted.names)) == len(fitted.names)
    np.testing.assert_array_equal(fitted.values, again.values)
    assert list(again.items["item_id"]) == list(data.items["item_id"])


@pytest.mark.parametrize("encoder", OFFLINE)
def test_only_the_training_split_decides_an_encoder(toy: Any, tmp_path: Path, encoder: str) -> None:
    """Other validation and test images leave every weight and the training images' features as they were."""
    data = toy(splits=SPLITS)
    before = fit(data, tmp_path, encoder)
    table = pq.read_table(data.folder / "manifest.parquet").to_pandas()
    kept = table["split"] == "train"
    table.loc[~kept, "row"] = table.loc[~kept, "row"].to_numpy()[::-1]  # other images behind the names
    table.to_parquet(data.folder / "manifest.parquet")
    after = fit(Dataset(data.folder), tmp_path, encoder)
    assert after.info["weights_sha256"] == before.info["weights_sha256"]
    np.testing.assert_array_equal(after.values[kept], before.values[kept])
    assert not np.array_equal(after.values[~kept], before.values[~kept])


def test_textures_tell_darkened_images_from_fresh_ones(toy: Any, tmp_path: Path) -> None:
    """A fresh draw lies among the training images, one of a wrong value range outside."""
    data, fresh = toy(splits={"train": 40}), toy("fresh", splits={"train": 20}, seed=5)
    dark = toy("dark", splits={"train": 20}, seed=5)
    write_info(dark.folder, dark.info.model_copy(update={"value_range": (0, 2 * dark.info.value_range[1])}))
    fit(data, tmp_path, "randconv")
    near, far = (extract(other, tmp_path, "randconv").values for other in (fresh, dark))
    assert np.linalg.norm(far.mean(axis=0)) > 3 * np.linalg.norm(near.mean(axis=0))


def test_components_find_the_same_image_at_another_size(toy_dataset: Any, tmp_path: Path) -> None:
    """The nearest scores are those of the image with the same discs and other noise, four times as large."""
    data, larger = toy_dataset(splits={"train": 40}), toy_dataset("larger", splits={"train": 40}, size=128)
    known, found = fit(data, tmp_path, "pixpca").values, extract(larger, tmp_path, "pixpca").values
    distances = np.linalg.norm(known[:, None] - found[None], axis=2)
    assert (distances.argmin(axis=0) == np.arange(40)).mean() > 0.9


def test_tables_say_all_that_decided_them(toy_dataset: Any, tmp_path: Path) -> None:
    """Encoder, options, weights, range, channels, size, resize kernel, region, and what it was fitted on."""
    data = toy_dataset(splits=SPLITS, size=96)
    info = fit(data, tmp_path, "pixpca").info
    encoder = json.loads((tmp_path / "encoders/pixpca/encoder.json").read_text())
    assert info["weights_sha256"] == encoder["weights_sha256"]
    assert info["options"] == {"encoder": "pixpca", "side": None, "components": 64, "seed": 0}
    assert info["fitted_on"] == {
        "dataset": "toy", "fingerprint": data.info.fingerprint, "split": "train", "items": 12,
    }  # fmt: skip
    assert info["dataset"]["fingerprint"] == data.info.fingerprint
    assert info["dataset"]["value_range"] == [0, 255]
    assert info["protocol"]["size"] == [64, 64]
    assert info["protocol"]["channels"] == ["red", "green", "blue"]
    assert {"range", "resize", "region", "scaling"} <= set(info["protocol"])
    assert list(read_features(tmp_path / "features/pixpca/toy.parquet").items.columns) == [
        "item_id", "subject_id", "split", "origin",
    ]  # fmt: skip


def test_rows_follow_a_view(toy_dataset: Any, tmp_path: Path) -> None:
    """Features of a split, in the order of its items, whatever the order of the table."""
    data = toy_dataset(splits=SPLITS)
    table = fit(data, tmp_path, "pixpca")
    bank = FeatureBank([tmp_path / "features/pixpca/toy.parquet"])
    shuffled = FeatureTable(table.items[::-1], table.values[::-1], table.names, table.info)
    expected = table.values[(data.items["split"] == "test").to_numpy()]
    np.testing.assert_array_equal(bank("pixpca", "toy").rows(data.select("test")), expected)
    np.testing.assert_array_equal(shuffled.rows(data.select("test")), expected)


def test_features_of_another_version_are_refused(toy_dataset: Any, tmp_path: Path) -> None:
    """A table is tied to a dataset's fingerprint and to its items, and a bank says what it holds."""
    data = toy_dataset(splits=SPLITS)
    table = fit(data, tmp_path, "pixpca")
    write_info(data.folder, data.info.model_copy(update={"fingerprint": "another"}))
    with pytest.raises(DataError, match="another version"):
        table.rows(Dataset(data.folder))
    fewer = FeatureTable(table.items[:2], table.values[:2], table.names, table.info)
    with pytest.raises(DataError, match=r"no features of 16 items of toy, such as train_2"):
        fewer.rows(data)
    with pytest.raises(DataError, match=r"no features of made by pixpca; there are: toy by pixpca"):
        FeatureBank([tmp_path / "features/pixpca/toy.parquet"])("pixpca", "made")


def test_what_an_encoder_must_not_see_is_refused(toy_dataset: Any, tmp_path: Path) -> None:
    """Nothing is fitted on synthetic images, nor without training images."""
    data = toy_dataset(splits={"test": 4})
    with pytest.raises(DataError, match="no training items"):
        fit(data, tmp_path, "pixpca")
    with pytest.raises(LeakError, match=r"4 of 4 training items are synthetic, such as train_0"):
        fit(toy_dataset("made", splits={"train": 4}, origin="synthetic"), tmp_path, "pixpca")


def test_other_images_and_damaged_files_are_refused(toy_dataset: Any, tmp_path: Path) -> None:
    """Other channels, exchanged weights, and a file that is no table."""
    fit(toy_dataset(splits=SPLITS), tmp_path, "pixpca")
    grey = toy_dataset("grey", splits=SPLITS, channels=1)
    with pytest.raises(DataError, match=r"channels \('grey',\).*fitted on \('red', 'green', 'blue'\)"):
        extract(grey, tmp_path, "pixpca")
    fit(grey, tmp_path, "pixpca", name="other")
    weights = tmp_path / "encoders/pixpca/weights.safetensors"
    weights.write_bytes((tmp_path / "encoders/other/weights.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="not those that encoder"):
        extract(grey, tmp_path, "pixpca")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no table of features"):
        read_features(tmp_path / "x.parquet")


def test_infinite_features_are_refused(toy_dataset: Any, tmp_path: Path) -> None:
    """A metric must not meet one; the items are named."""
    data = toy_dataset(splits={"train": 3})
    values = np.zeros((3, 2), np.float32)
    values[1, 0] = np.inf
    with pytest.raises(DataError, match="1 items are not finite, such as train_1"):
        write_features(tmp_path / "t.parquet", data, values, ["a", "b"], {})
    assert not (tmp_path / "t.parquet").exists()


@pytest.mark.parametrize("shape", [(10, 40), (60, 12)])
def test_principal_components_are_those_of_the_singular_values(shape: tuple[int, int]) -> None:
    """Whether there are fewer rows or fewer columns; and no more than the rows span."""
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows[:, 0] *= 5
    rows -= rows.mean(axis=0)
    expected = np.linalg.svd(rows.astype(np.float64), full_matrices=False)[2][:3]
    found = principal_components(rows, 3)
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=1)), 1, atol=1e-5)
    assert len(principal_components(rows[:3] - rows[:3].mean(axis=0), 5)) == 2
    assert not principal_components(np.zeros(shape, np.float32), 5).any()


def test_sizes_keep_proportions_and_resizing_keeps_means() -> None:
    """Area averages: halving is the mean of pairs in every axis; a mean stays what it was at any size."""
    assert fitting_size((128, 64), 32) == (32, 16)
    assert fitting_size((20, 30), 64) == (20, 30)
    volume = np.random.default_rng(0).random((2, 6, 10, 8)).astype(np.float32)
    halved = volume.reshape(2, 3, 2, 5, 2, 4, 2).mean(axis=(2, 4, 6))
    np.testing.assert_allclose(resized(volume, (3, 5, 4)), halved, rtol=1e-6)
    np.testing.assert_allclose(
        resized(volume, (4, 7, 3)).mean(axis=(1, 2, 3)), volume.mean(axis=(1, 2, 3)), 1e-5
    )
