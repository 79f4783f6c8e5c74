"""Encoders of networks: what learns by contrast, and published ones with weights from a file."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.data import Dataset
from mirage.errors import CheckpointError, DataError, TimeBudgetReached
from mirage.evaluate.features import pretrained
from mirage.evaluate.features.bank import FeatureTable, read_features
from mirage.evaluate.features.jobs import extract_features, fit_encoder
from mirage.evaluate.features.slices import positions, slices_of
from mirage.evaluate.features.ssl import contrast
from mirage.files import file_digest
from mirage.networks.inception import InceptionFID, resize_like_tensorflow_1
from mirage.networks.vit import DinoV2
from mirage.training import weights

CPU = Runtime(accelerator="cpu")
SMALL = {
    "encoder": "ssl",
    "side": 32,
    "width": 4,
    "slices": 2,
    "training": {"steps": 3, "batch_size": 8, "validate_every": 3, "preview_every": 3},
}


def fit(data: Dataset, folder: Path, minutes: float | None = None, **keys: Any) -> FeatureTable:
    entry: Any = TypeAdapter(EncoderConfig).validate_python(keys)
    table = folder.parent / f"{folder.name}.parquet"
    fit_encoder(entry, data.folder, folder, table, runtime=CPU, minutes=minutes)
    return read_features(table)


def test_contrast_of_orthogonal_pairs_is_known() -> None:
    """N pairs of equal views, orthogonal to one another: log(1 + (2 N - 2) exp(-1 / t))."""
    views = torch.eye(6).repeat(2, 1) * 3
    assert contrast(views, 0.5).item() == pytest.approx(math.log(1 + 10 * math.exp(-2)), rel=1e-5)


def test_training_by_contrast_resumes_and_leaves_no_state(
    toy_dataset: Any, tmp_path: Path, one_thread: None
) -> None:
    """Stopped after every step by its time budget, it ends with the same bits; fewer items than a batch."""
    data = toy_dataset(splits={"train": 6, "val": 3, "test": 2})
    whole = fit(data, tmp_path / "whole", **SMALL)
    for _ in range(2):
        with pytest.raises(TimeBudgetReached):
            fit(data, tmp_path / "short", minutes=1e-6, **SMALL)
    short = fit(data, tmp_path / "short", minutes=1e-6, **SMALL)
    np.testing.assert_array_equal(short.values, whole.values)
    assert whole.values.shape == (11, 32)
    assert not (tmp_path / "whole/state").exists()
    assert list((tmp_path / "whole/previews").iterdir())
    with pytest.raises(DataError, match="cannot be contrasted"):
        fit(toy_dataset("one", splits={"train": 1}), tmp_path / "one", **SMALL)


def test_volumes_are_learnt_from_slices(toy_volumes: Any, tmp_path: Path) -> None:
    """A network of 2D images encodes slices on three planes; extraction repeats it."""
    data = toy_volumes(splits={"train": 4, "test": 2}, channels=2)
    fitted = fit(data, tmp_path / "ssl", **SMALL)
    extract_features(tmp_path / "ssl", data.folder, tmp_path / "again.parquet", runtime=CPU)
    np.testing.assert_array_equal(read_features(tmp_path / "again.parquet").values, fitted.values)
    assert fitted.info["protocol"]["slices"] == 2


def test_slices_lie_in_the_middle_of_every_axis() -> None:
    """Evenly spread, without doubles in short axes; a slice across axis 1 is what is stored there."""
    assert positions(11, 3) == [2, 5, 8]
    assert positions(2, 12) == [0, 1]
    volume = np.arange(4 * 6 * 4, dtype=np.float32).reshape(1, 4, 6, 4)
    np.testing.assert_array_equal(slices_of(volume, 1, 1, 4)[0], volume[:, :, 1])


def saved(path: Path, state: Any) -> dict[str, Any]:
    """Options of a file of weights."""
    torch.save(state, path)
    return {"encoder": "pretrained", "weights": str(path), "sha256": file_digest(path)}


def test_inception_takes_its_published_file(toy_dataset: Any, tmp_path: Path) -> None:
    """With the layer of classes and without counts of batches; grey is repeated; the file is not copied."""
    torch.manual_seed(0)
    state = {key: value for key, value in InceptionFID().state_dict().items() if "num_batches" not in key}
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    options = saved(tmp_path / "inception.pth", state)
    data = toy_dataset(splits={"train": 2}, channels=1)
    table = fit(data, tmp_path / "fid", network="inception_fid", **options)
    assert table.values.shape == (2, 2048)
    assert (tmp_path / "fid/weights.safetensors").stat().st_size < 100_000
    network = InceptionFID()
    network.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc")}, False)
    grey = torch.from_numpy(np.stack([data.image(0), data.image(1)]).astype(np.float32)).repeat(1, 3, 1, 1)
    with torch.inference_mode():
        np.testing.assert_allclose(table.values, network.eval()(grey).numpy(), rtol=1e-3, atol=1e-4)


def test_medicalnet_takes_volumes_channel_by_channel(toy_volumes: Any, tmp_path: Path) -> None:
    """A file saved from several GPUs inside a dictionary, with the head of the segmentation."""
    network = pretrained.NETWORKS["medicalnet_resnet10"].build()
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    state["module.conv_seg.0.weight"] = torch.zeros(1)
    options = saved(tmp_path / "m.pth", {"state_dict": OrderedDict(state)})
    data = toy_volumes(splits={"train": 2}, channels=2, extent=(16, 16, 16))
    table = fit(data, tmp_path / "m", network="medicalnet_resnet10", **options)
    assert table.values.shape == (2, 1024)
    assert network.layer4[0].conv1.dilation == (4, 4, 4)


def test_wrong_files_are_told_from_right_ones(toy_dataset: Any, tmp_path: Path) -> None:
    """Another file, code in it, and weights of another network; each says what to do."""
    data = toy_dataset(splits={"train": 2})
    state = pretrained.NETWORKS["radimagenet_resnet50"].build().state_dict()
    parts = {name: number for number, name in enumerate(weights.SEQUENCE)}
    numbered = {
        f"backbone.{parts[key.split('.')[0]]}.{key.partition('.')[2]}": value for key, value in state.items()
    }
    options = saved(tmp_path / "r.pt", numbered)
    assert weights.read_weights(tmp_path / "r.pt", options["sha256"]).keys() == state.keys()
    with pytest.raises(CheckpointError, match=r"do not fit .*Name the file of this very network"):
        fit(data, tmp_path / "x", network="dinov2_vits14", **options)
    with pytest.raises(CheckpointError, match=r"SHA-256 is .*, expected 00"):
        fit(data, tmp_path / "x", network="dinov2_vits14", **{**options, "sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="no such file"):
        fit(data, tmp_path / "x", network="dinov2_vits14", **{**options, "weights": "nowhere.pth"})
    options = saved(tmp_path / "code.pth", {"a": Path("x")})
    with pytest.raises(CheckpointError, match="no file of tensors alone"):
        fit(data, tmp_path / "x", network="dinov2_vits14", **options)


def test_tensorflow_1_puts_pixels_at_multiples_of_the_step() -> None:
    """No shift by half a pixel, unlike every later resize; the last pixels are repeated."""
    x = torch.tensor([[[[0.0, 1.0, 2.0]]]]).expand(1, 1, 3, 3)
    row = resize_like_tensorflow_1(x, 6)[0, 0, 0]
    torch.testing.assert_close(row, torch.tensor([0, 0.5, 1, 1.5, 2, 2]))


def test_positions_of_dinov2_are_interpolated_and_sizes_checked() -> None:
    """At the size of its training they are as stored; smaller images see them shrunk."""
    network = DinoV2(12, 1, 2)
    torch.nn.init.normal_(network.pos_embed)
    assert network._positions(37) is network.pos_embed
    assert network._positions(16).shape == (1, 257, 12)
    assert network(torch.zeros(2, 3, 28, 28)).shape == (2, 12)
    with pytest.raises(ValueError, match="multiple of 14"):
        network(torch.zeros(1, 3, 30, 30))
