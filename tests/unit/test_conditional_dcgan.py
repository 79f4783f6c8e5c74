"""Conditional DCGAN: attributes are learnt, coded, drawn, written, and decide what is seen in the image."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from conftest import write_dataset
from mirage.config.base import Runtime
from mirage.config.generators import (
    ConditionalDCGANConfig,
    ConditionalDCGANOptions,
    ConditionOptions,
    NoiseTraining,
    TrainingOptions,
)
from mirage.config.recipes import UnconditionalRecipe
from mirage.data import Dataset, Item
from mirage.errors import DataError
from mirage.generators import build, generator_class
from mirage.generators.attributes import Attribute, AttributeTable, with_known
from mirage.generators.base import ImageSpec
from mirage.generators.checkpoint import load_generator
from mirage.generators.fit import fit
from mirage.recipes import synthesise_shard
from mirage.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = Runtime(accelerator="cpu")
KINDS = ("mass", "calcification")
SMALL = {"latent": 4, "features": 4, "max_features": 8, "embedding": 4}


def lesions(folder, count=24, size=32):
    """Masses are bright discs, calcifications dark ones, on a noisy ground; every sixth kind is unknown."""
    drawn = []

    def make(rng):
        y, x = np.mgrid[:size, :size]
        cy, cx = rng.uniform(0.4, 0.6, 2) * size
        inside = (x - cx) ** 2 + (y - cy) ** 2 < (0.25 * size) ** 2
        sign = 1 if len(drawn) % 2 == 0 else -1
        drawn.append(sign)
        image = 0.5 + 0.35 * sign * inside + rng.normal(0, 0.02, (size, size))
        return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)[None], None

    facts = {
        "modality": "mammography",
        "image_shape": (1, size, size),
        "image_dtype": "uint8",
        "channel_names": ["intensity"],
        "mask_channels": [],
        "labels": {},
    }
    splits = {"train": count, "val": 8}
    write_dataset(
        folder, make, splits=splits, shards=1, seed=3, origin="simulated", mask_origin=None, **facts
    )
    rows = pd.read_parquet(folder / "manifest.parquet")
    rows["lesion_type"] = [KINDS[place % 2] if place % 6 < 5 else None for place in range(len(rows))]
    rows["density"] = [1 + place % 2 + 2 * (place % 4 == 3) for place in range(len(rows))]
    rows["size_mm"] = [5.0 + place for place in range(len(rows))]
    rows["views"] = [["CC"] for _ in range(len(rows))]
    rows.to_parquet(folder / "manifest.parquet")
    return Dataset(folder)


def options(**changes):
    given = {"conditions": ["lesion_type", "density"], **SMALL, **changes}
    return ConditionalDCGANOptions.model_validate(given)


def model_of(data, **changes):
    kind, chosen = generator_class("conditional_dcgan"), options(**changes)
    return build("conditional_dcgan", chosen, kind.spec_of(chosen, data.select("train")), seed=1)


def test_levels_and_joint_distribution_come_from_the_training_split(tmp_path):
    """Levels keep their type; unknown ones get an input of their own; counts add up to the items."""
    training = lesions(tmp_path / "toy").select("train")
    table = AttributeTable.learn(
        options(conditions={"lesion_type": {}, "density": {}, "size_mm": {"kind": "numeric"}}).conditions,
        training,
    )
    kind, density, size = table.attributes
    assert (kind.levels, kind.unknown) == (("calcification", "mass"), True)
    assert (density.levels, density.unknown) == ((1, 2, 4), False)
    assert all(type(level) is int for level in density.levels)
    assert (size.centre, size.levels) == (pytest.approx(16.5), None)
    assert sum(count for _, count in table.combinations) == len(training)
    assert table.width == 3 + 3 + 1
    told = table.encode({"lesion_type": "mass", "density": 4, "size_mm": 16.5, "age": 3})
    assert told.tolist() == [0, 1, 0, 0, 0, 1, 0]
    assert table.encode({"density": 1.0})[:4].tolist() == [0, 0, 1, 1]
    assert table.encode({"lesion_type": "distortion"})[:3].tolist() == [0, 0, 1]
    assert AttributeTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    sizes = {values[2] for values, _ in table.combinations}
    assert len(sizes) == 10  # no training item's own number but where it is the median of its group
    assert "size_mm: numbers, mean 16.5" in table.words


def test_named_levels_make_others_unknown_or_drop_them(tmp_path):
    """`levels` leaves density 4 out; `drop` leaves out items without a kind, too."""
    training = lesions(tmp_path / "toy").select("train")
    chosen = {"lesion_type": ConditionOptions(), "density": ConditionOptions(levels=[2, 1])}
    table = AttributeTable.learn(chosen, training)
    assert (table.attributes[1].levels, table.attributes[1].unknown) == ((2, 1), True)
    kept = with_known(chosen, training)
    assert set(kept.items["density"]) == {1, 2}
    assert kept.items["lesion_type"].notna().all()
    assert 0 < len(kept) < len(training)
    assert not any(one.unknown for one in AttributeTable.learn(chosen, kept).attributes)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"lesion_typ": {}}, "no attribute 'lesion_typ'; did you mean 'lesion_type'"),
        ({"views": {}}, r"views: holds lists such as \['CC'\]"),
        ({"lesion_type": {"kind": "numeric"}}, "holds words such as 'mass'; say `kind: categorical`"),
        ({"density": {"levels": [1, 7]}}, "no training item has 7; found are 1, 2, 4"),
        ({"origin": {}}, r"all training items have \('simulated',\)"),
    ],
)
def test_conditions_that_cannot_be_learnt_are_refused(conditions, message, tmp_path):
    """With the key, and what was found."""
    training = lesions(tmp_path / "toy").select("train")
    with pytest.raises(DataError, match=message):
        AttributeTable.learn(options(conditions=conditions).conditions, training)


def test_given_values_stay_and_others_are_drawn_with_them(tmp_path):
    """Density 4 occurs with calcifications or unknown kinds only; shares are those of the training split."""
    table = AttributeTable.learn(options().conditions, lesions(tmp_path / "toy").select("train"))
    drawn = [table.draw(seed, {"density": 4}) for seed in range(40)]
    assert {values["lesion_type"] for values in drawn} == {"calcification", None}
    assert all(values["density"] == 4 for values in drawn)
    assert table.draw(3, {}) == table.draw(3, {})
    free = [table.draw(seed, {})["lesion_type"] for seed in range(400)]
    assert free.count("mass") / 400 == pytest.approx(0.5, abs=0.08)  # 12 of 24 items
    never = {"lesion_type": "mass", "density": 4}
    assert table.draw(0, never) == never
    with pytest.raises(DataError, match="'distortion' was not learnt; the levels are calcification, mass"):
        table.check({"lesion_type": "distortion"})
    with pytest.raises(DataError, match="every training item had one"):
        table.check({"density": None})
    sizes = AttributeTable((Attribute("size_mm", None, 9.0, 3.0, unknown=False),), ())
    for odd in (float("inf"), float("nan"), "large"):
        with pytest.raises(DataError, match="expected a finite number"):
            sizes.check({"size_mm": odd})
    with pytest.raises(DataError, match=r"conditions\.vendor: not learnt"):
        table.check({"vendor": "hologic"})


def test_both_networks_are_told_the_condition(tmp_path):
    """Another condition makes another image of the same noise, and another verdict on the same image."""
    data = lesions(tmp_path / "toy")
    model = model_of(data).eval()
    pair = torch.stack([model.table.encode({"lesion_type": kind, "density": 1}) for kind in KINDS])
    made = model.sample(pair, [7, 7])
    assert not torch.equal(made[0], made[1])
    real = torch.stack([model.example(data.item(0))["real"]] * 2)
    verdicts = model.judge({"real": real, "condition": pair})
    assert verdicts[0] != verdicts[1]
    batch = {"real": torch.cat([real, real]), "condition": torch.cat([pair, pair])}
    model.train()
    for phase in model.phases:
        sum(model.training_step(batch, phase).values()).backward()
        weight = model.get_submodule(phase).embedding.weight
        assert weight.grad.abs().sum() > 0
    assert torch.equal(model.condition(data.item(5)), model.example(data.item(5))["condition"])
    assert model.condition(Item(data.image(0)))[:3].tolist() == [0, 0, 1]
    assert not model.shows_labels
    with pytest.raises(DataError, match="nothing is known of the attributes"):
        build("conditional_dcgan", options(), ImageSpec.of(data.info))


def test_changing_the_condition_changes_the_class_that_a_classifier_sees(tmp_path):
    """A classifier of real lesions finds in the synthetic ones the kind that was asked for."""
    data = lesions(tmp_path / "toy", count=48)
    chosen = {"conditions": {"lesion_type": {}}, "unknown": "drop", "latent": 8, "features": 8}
    kind = generator_class("conditional_dcgan")
    entry = options(**chosen, max_features=32, lr_generator=2e-3, lr_discriminator=2e-3)
    training = kind.usable(entry, data.select("train"))
    model = build("conditional_dcgan", entry, kind.spec_of(entry, training), seed=2)
    steps = TrainingOptions(steps=120, batch_size=16, select="last")
    where = {"state_dir": tmp_path / "state", "fingerprint": "f", "progress": False}
    train(model, training, None, steps, CPU, seed=1, **where)

    pixels = np.stack([training.image(index).ravel() / 255 for index in range(len(training))])
    classifier = LogisticRegression(max_iter=500).fit(pixels, training.items["lesion_type"])
    asked = [KINDS[place % 2] for place in range(64)]
    conditions = model.condition_of_attributes([{"lesion_type": wanted} for wanted in asked])
    made = model.decode(model.sample(conditions, [place // 2 for place in range(64)]))
    seen = classifier.predict(made.reshape(64, -1) / 255)
    assert np.mean(seen == np.array(asked)) > 0.9


def test_a_recipe_writes_the_conditions_as_attributes(tmp_path, caplog):
    """From entry to manifest: given ones on every item, others drawn, and what was dropped is said."""
    data = lesions(tmp_path / "toy")
    entry = ConditionalDCGANConfig(
        arch="conditional_dcgan",
        data="toy",
        options=options(unknown="drop"),
        training=NoiseTraining(steps=2, batch_size=4),
    )
    folder = tmp_path / "models" / "patches" / "seed-0"
    with caplog.at_level(logging.WARNING):
        fit(entry, data.folder, folder, seed=0, runtime=CPU)
    assert "4 training items without a value of every condition are left out" in caplog.text
    model = json.loads((folder / "model.json").read_text())
    assert model["spec"]["attributes"]["attributes"][0]["levels"] == ["calcification", "mass"]
    assert model["training"]["items"] == 20
    assert model["notes"]["conditions"] == "lesion_type: calcification, mass; density: 1, 2, 4"
    assert load_generator(folder).table.width == 5

    def made(name, **keys):
        recipe = UnconditionalRecipe(recipe="unconditional", generator="patches", count=12, **keys)
        shard = tmp_path / name / "shard-0000-of-0001.arrow"
        shard.parent.mkdir()
        synthesise_shard(recipe, [folder / "weights.safetensors"], shard, runtime=CPU)
        return pd.read_parquet(shard.with_suffix(".parquet"))

    masses = made("masses", conditions={"lesion_type": "mass"}, attributes={"label": "positive"})
    assert set(masses["lesion_type"]) == {"mass"}
    assert set(masses["label"]) == {"positive"}
    assert set(masses["density"]) <= {1, 2}
    assert len(set(made("all")["lesion_type"])) == 2
    with pytest.raises(DataError, match="'cyst' was not learnt"):
        made("cysts", conditions={"lesion_type": "cyst"})
    for number, name in enumerate(("split", "density")):
        with pytest.raises(DataError, match=f"attributes.{name} is a column that the recipe writes itself"):
            made(f"taken{number}", attributes={name: "train"})
    with pytest.raises(ValidationError, match=r"attributes\.density: is among `conditions`"):
        made("twice", conditions={"density": 1}, attributes={"density": 2})


def test_options_that_contradict_each_other_are_refused():
    """At parse time."""
    with pytest.raises(ValidationError, match="numbers have no levels"):
        ConditionOptions(kind="numeric", levels=[1, 2])
    with pytest.raises(ValidationError, match="names one twice"):
        ConditionOptions(levels=[1, 2, 1])
    entry = ConditionalDCGANConfig(
        arch="conditional_dcgan",
        data="toy",
        options=options(conditions={"lesion_type": {"levels": [*KINDS]}, "size_mm": {"kind": "numeric"}}),
    )
    entry.check_conditions({"lesion_type": "mass", "size_mm": 3})
    for given, message in (
        ({"vendor": "x"}, "none of its conditions, which are lesion_type, size_mm"),
        ({"lesion_type": "cyst"}, "'cyst' is none of its levels"),
        ({"size_mm": "large"}, "expected a finite number"),
        ({"size_mm": float("nan")}, "expected a finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            entry.check_conditions(given)
