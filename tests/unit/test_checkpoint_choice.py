"""Weights chosen by the Fréchet distance in an encoder's features: fixed images, fixed noise, never test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from mirage.cli import app
from mirage.config import load_config
from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.config.folds import Fold
from mirage.config.generators import DCGANConfig, DCGANOptions, FrechetChoice
from mirage.data.folds import in_fold
from mirage.errors import ConfigError, DataError
from mirage.evaluate.features import choice
from mirage.evaluate.features.choice import FrechetCriterion
from mirage.evaluate.features.jobs import encode_items, fit_encoder, open_encoder
from mirage.files import read_json
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.generators.fit import fit
from mirage.graph import Graph
from mirage.metrics.distances import frechet_distance

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = Runtime(accelerator="cpu")
CONFIG = Path(__file__).resolve().parents[2] / "config"
SMALL = {"latent": 4, "features": 4, "max_features": 8}
FEW = FrechetChoice(encoder="randconv", images=6, samples=20)


@pytest.fixture
def fitted(toy_dataset, tmp_path):
    """A dataset, and the folder of an encoder fitted on its training split."""
    data = toy_dataset(splits={"train": 8, "val": 9, "test": 4})
    folder = tmp_path / "encoders" / "toy" / "randconv"
    entry: Any = TypeAdapter(EncoderConfig).validate_python({"encoder": "randconv"})
    fit_encoder(entry, data.folder, folder, tmp_path / "features.parquet", runtime=CPU)
    return data, folder


def model_of(data, seed=1):
    return build("dcgan", DCGANOptions(**SMALL), ImageSpec.of(data.info), seed=seed)


def test_the_distance_is_that_of_the_feature_bank(fitted):
    """Samples as they would be stored, evenly spread validation images, and the encoder's scaled features."""
    data, folder = fitted
    validation, model = data.select("val"), model_of(data)
    measure = FrechetCriterion(folder, FEW, CPU, validation)
    found = measure(model, validation, data.select("train"))
    chosen = validation.items["item_id"].iloc[[0, 2, 3, 5, 6, 8]]
    real = encode_items(folder, data.of_items(set(chosen)), CPU)[0]
    images = model.decode(model.sample(None, range(20)))
    assert images.dtype == np.uint8

    class Stored(type(validation)):
        def __init__(self):
            self.info, self.items = validation.info, pd.DataFrame({"item_id": range(20)})

        def image(self, index):
            return images[index]

    fake = encode_items(folder, Stored(), CPU)[0]
    assert found == {"val_frechet_randconv": pytest.approx(frechet_distance(real, fake))}
    assert measure.words == (
        "Fréchet distance of 20 samples of fixed noise to 6 validation images, in the 256 features of the "
        "encoder randconv"
    )


def test_it_depends_on_the_weights_alone(fitted):
    """The same twice, whatever random numbers were drawn between; real images themselves are nearest."""
    data, folder = fitted
    validation = data.select("val")
    measure = FrechetCriterion(folder, FEW, CPU, validation)
    first = measure(model_of(data), validation, data)
    torch.randn(7)
    assert measure(model_of(data), validation, data) == first
    model = model_of(data, seed=2)
    assert measure(model, validation, data) != first
    real = torch.stack([model.example(validation.item(index))["real"] for index in range(len(validation))])
    model.sample = lambda _conditions, seeds: real[torch.tensor(list(seeds)) % len(real)]
    assert measure(model, validation, data)["val_frechet_randconv"] < 0.2 * first["val_frechet_randconv"]


def test_images_that_a_fold_tests_on_decide_no_scale(toy_dataset, tmp_path, monkeypatch):
    """The encoder's scales are of the dataset's training split, some of which a fold holds out."""
    data = toy_dataset(splits={"train": 12, "val": 4, "test": 4})
    fold = {"count": 2, "index": 0, "val": 0.3}
    held = set(in_fold(data, Fold(**fold)).select("test").items["item_id"])
    distances = []
    for name, others in (("as_is", 1.0), ("contrasted", 9.0)):
        folder = tmp_path / name / "encoders" / "toy" / "randconv"
        entry: Any = TypeAdapter(EncoderConfig).validate_python({"encoder": "randconv"})
        fit_encoder(entry, data.folder, folder, tmp_path / f"{name}.parquet", runtime=CPU)
        encoder = open_encoder(folder)
        encoder.weights["scale.spread"] = encoder.weights["scale.spread"] * np.float32(others)
        encoder.weights["scale.centre"][::2] += np.float32(others)
        monkeypatch.setattr(choice, "open_encoder", lambda _folder, found=encoder: found)
        training = {"steps": 2, "batch_size": 4, "validate_every": 2, "frechet": FEW}
        model = DCGANConfig(
            arch="dcgan", data="toy", options=DCGANOptions(**SMALL), training=training, fold=Fold(**fold)
        )
        criteria = []

        def criterion(validation, scaled_on, folder=folder, criteria=criteria):
            assert held.isdisjoint(scaled_on.items["item_id"])
            criteria.append(FrechetCriterion(folder, FEW, CPU, validation, scaled_on))
            return criteria[0]

        fit(model, data.folder, tmp_path / name / "seed-0", seed=0, runtime=CPU, criterion=criterion)
        distances.append(read_json(tmp_path / name / "seed-0" / "model.json")["metric"]["value"])
    assert distances[0] == pytest.approx(distances[1], rel=1e-6)


def test_too_few_validation_images_are_refused_before_training(fitted, tmp_path, caplog):
    """So is a training whose encoder nobody gave; of few images the log warns."""
    data, folder = fitted
    FrechetCriterion(folder, FEW, CPU, data.select("val"))
    assert "6 validation images are few to choose weights by" in caplog.text
    one = data.of_items({data.select("val").items["item_id"].iloc[0]})
    with pytest.raises(DataError, match="has 1 validation image"):
        FrechetCriterion(folder, FEW, CPU, one)
    entry = DCGANConfig(arch="dcgan", data="toy", options=DCGANOptions(**SMALL), training={"frechet": FEW})
    with pytest.raises(ConfigError, match="the encoder 'randconv' is needed"):
        fit(entry, data.folder, tmp_path / "model", seed=0, runtime=CPU)


def test_training_job_chooses_by_the_moving_average(fitted, tmp_path):
    """Both series are in the history, the lower average is kept, and the model says by what."""
    data, folder = fitted
    training = {
        "steps": 8,
        "batch_size": 4,
        "validate_every": 2,
        "select_window": 2,
        "frechet": {"images": 6, "samples": 20},
    }
    config = tmp_path / "config.yaml"
    options = {"arch": "dcgan", "data": "toy", "options": SMALL, "training": training}
    config.write_text(yaml.safe_dump({"options": options}))
    out = tmp_path / "patches" / "seed-0"
    said = ["train", "--config", config, "--data", data.folder, "--out", out, "--accelerator", "cpu"]
    wrong = tmp_path / "encoders" / "toy" / "pixpca" / "encoder.json"
    result = CliRunner().invoke(app, [str(part) for part in [*said, wrong]])
    assert result.exit_code != 0
    result = CliRunner().invoke(app, [str(part) for part in [*said, folder / "encoder.json"]])
    assert result.exit_code == 0, result.output
    history = pd.read_parquet(out / "history.parquet").pivot(index="step", columns="metric", values="value")
    raw = history["val_frechet_randconv"].dropna()
    mean = history["val_frechet_randconv_average"].dropna()
    assert list(raw.index) == [2, 4, 6, 8]
    assert list(mean) == pytest.approx(list(raw.rolling(2).mean().dropna()))
    assert "val_frechet" not in history
    model = read_json(out / "model.json")
    assert model["step"] == mean.idxmin()
    assert model["metric"]["name"] == "val_frechet_randconv_average"
    assert model["metric"]["window"] == 2
    assert "20 samples of fixed noise to 6 validation images" in model["metric"]["words"]


def test_the_encoder_is_an_input_of_the_training():
    """Its fitted folder, and with a published network the user's file; nothing where none is named."""
    net = {"encoder": "pretrained", "network": "inception_fid", "weights": "fid.pth", "sha256": "0" * 64}
    chosen = {
        "generators": {
            "quick_images": {
                "arch": "dcgan",
                "data": "quick_fundus",
                "training": {"frechet": {"encoder": "net"}},
            }
        },
        "encoders": {"net": net},
        "recipes": {"quick_single_gan": {"generator": "quick_images"}},
    }
    config = load_config({"run": ["quickstart"], **chosen}, CONFIG)
    graph = Graph(config)
    folder = graph.encoder_folder("quick_fundus", "net")
    assert graph.choosing_encoder("quick_images") == [f"{folder}/encoder.json"]
    assert graph.choosing_weights("quick_images") == [f"{folder}/weights.safetensors", "fid.pth"]
    assert graph.choosing_encoder("quick_masks") == graph.choosing_weights("quick_masks") == []
    assert ("quick_fundus", "net") in config.study_encoders("quickstart")
    assert "fit_encoder/net/quick_fundus" in graph.study_jobs("quickstart")


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (
            {"training": {"frechet": {"encoder": "rnadconv"}}},
            "'rnadconv' is no encoder; did you mean 'randconv'",
        ),
        ({"data": "quick_dual_gan", "training": {"frechet": {}}}, "an encoder is fitted on real images"),
        ({"options": {"of": "mask"}, "training": {"frechet": {}}}, "encoders look at images"),
    ],
)
def test_choices_that_cannot_be_made_are_refused(generator, message):
    """At parse time, with the key."""
    entry = {"arch": "dcgan", "data": "quick_fundus", **generator}
    with pytest.raises((ConfigError, ValidationError), match=message):
        load_config({"run": ["quickstart"], "generators": {"new": entry}}, CONFIG)
