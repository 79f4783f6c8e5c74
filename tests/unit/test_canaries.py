"""Canaries: planted by a coin, marked each for itself, and found in a set that has learnt them by heart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mirage.config.evaluations import PrivacyEvaluation
from mirage.config.recipes import PlantCanariesRecipe
from mirage.data import Dataset
from mirage.data.dataset import write_info
from mirage.data.gather import gather
from mirage.errors import DataError
from mirage.evaluate import run_set
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.privacy.canaries import audit, canaries_of
from mirage.evaluate.privacy.rows import exact_interval
from mirage.metrics import membership
from mirage.recipes.base import write_shard
from mirage.recipes.plant_canaries import LEFT_OUT, PLANTED, PlantCanaries

COUNT = 60


def planted(data: Dataset, folder: Path, **keys: int) -> Dataset:
    """The dataset with canaries, as its jobs make it."""
    options = PlantCanariesRecipe.model_validate(
        {"recipe": "plant_canaries", "data": data.info.name, "canaries": COUNT, "shards": 2, **keys}
    )
    recipe = PlantCanaries(options, folder.name, {}, {}, {data.info.name: data}, set(), {})
    recipe.check()
    for shard in range(2):
        write_shard(recipe, shard, folder)
    gather(folder, name=folder.name, shards=2, split=None, max_failed_fraction=0.0)
    return Dataset(folder)


def test_data_without_a_training_split_are_refused(toy_dataset, tmp_path):
    """There is nothing to mark and nowhere to plant."""
    with pytest.raises(DataError, match="no training items to mark"):
        planted(toy_dataset(splits={"test": 4}), tmp_path / "planted")


@pytest.mark.parametrize("labels", [0, 1])
def test_real_items_stay_and_canaries_lie_behind_a_coin(labels, toy_dataset, tmp_path):
    """Planted ones are trained on, the others are in no split; each has its own mark on a training image."""
    data = toy_dataset(splits={"train": 9, "val": 2, "test": 3}, labels=labels)
    found = planted(data, tmp_path / "planted")
    kept = found.items[found.items["canary"].isna()].set_index("item_id")
    old = data.items.set_index("item_id")
    for column in ("split", "content_hash", "subject_id", "origin", "age"):
        assert kept[column].to_dict() == old[column].to_dict()
    canaries = canaries_of(found)
    assert len(canaries) == COUNT
    by_coin = canaries.items.groupby("canary")["item_id"].count()
    assert 15 < by_coin[PLANTED] < 45
    assert set(canaries.items.loc[canaries.items["canary"] == PLANTED, "split"]) == {"train"}
    assert canaries.items.loc[canaries.items["canary"] == LEFT_OUT, "split"].isna().all()
    assert canaries.items["content_hash"].nunique() == COUNT
    assert {name for own in canaries.items["donor_subject_ids"] for name in own} <= (
        data.select("train").subjects()
    )
    changed = canaries.image(0) != data.image(_base(data, canaries))
    assert 0.01 < changed.mean() <= 0.25**2
    assert canaries_of(data) is None
    again = canaries_of(planted(data, tmp_path / "again", seed=1))
    assert again.items["canary"].tolist() != canaries.items["canary"].tolist()


def test_each_patient_is_marked_before_one_is_again(toy_dataset, tmp_path):
    """Also where some have many images: a canary tells of one patient as far as there are enough."""
    data = toy_dataset(splits={"train": 80}, size=8)
    data.items["subject_id"] = ["many"] * 20 + [f"one_{number}" for number in range(60)]
    canaries = canaries_of(planted(data, tmp_path / "planted"))
    bases = [donors[0] for donors in canaries.items["donor_subject_ids"]]
    assert len(set(bases)) == COUNT


def _base(data: Dataset, canaries: Dataset) -> int:
    """Number of the image that the first canary is a marked copy of."""
    subject = canaries.items["donor_subject_ids"].iloc[0][0].split("/")[1]
    return data.items["subject_id"].tolist().index(subject)


def test_a_set_that_knows_the_planted_ones_proves_an_epsilon(toy_dataset, tmp_path):
    """Noisy copies of all planted ones leave no doubt; images that know none prove nothing."""
    data = planted(toy_dataset(splits={"train": 12, "test": 4}), tmp_path / "planted")
    canaries = canaries_of(data)
    fresh = toy_dataset("fresh", splits={"train": 20}, seed=5)
    known = canaries.of_items(canaries.items["item_id"][canaries.items["canary"] == PLANTED])
    leak = audit(canaries, known, range(len(known)))
    clean = audit(canaries, fresh, range(len(fresh)))
    leaked, honest = ({row["metric"]: row for row in found.rows} for found in (leak, clean))
    assert leaked["auc"]["value"] == 1
    assert leaked["guessed"]["value"] == 1
    assert leaked["guessed"]["n_items"] == 30
    low = 0.025 ** (1 / 30)  # Clopper and Pearson's where all guesses are right
    assert leaked["epsilon_lower"]["value"] == pytest.approx(np.log(low / (1 - low)))
    assert leaked["exposure"]["value"] == pytest.approx(np.log2(1 + COUNT - len(known)))
    assert honest["epsilon_lower"]["value"] == 0
    assert honest["auc"]["low"] < 0.5 < honest["auc"]["high"]
    assert honest["exposure"]["value"] == pytest.approx(1, abs=0.8)
    assert {row["arm"] for row in leak.rows} == {"canaries"}
    assert leak.canaries == COUNT


def test_the_evaluation_audits_where_canaries_were_planted(toy_dataset, tmp_path):
    """By the name of the planted dataset as `real`; the gate does not look at it."""
    data = planted(toy_dataset(splits={"train": 12, "test": 4}), tmp_path / "planted")
    made = toy_dataset("made", splits={"train": 20}, seed=5, origin="synthetic")
    write_info(made.folder, made.info.model_copy(update={"lineage": sorted(data.select("train").subjects())}))
    config = PrivacyEvaluation(
        evaluator="privacy", real="planted", synthetic="made", encoders=[], compare="image", bootstrap=50
    )
    found = {"planted": data, "made": Dataset(made.folder)}
    run_set(config, "audit", found, FeatureBank(), tmp_path / "out")
    metrics = pd.read_parquet(tmp_path / "out" / "metrics.parquet")
    audited = metrics[metrics["arm"] == "canaries"]
    assert {"auc", "exposure", "guessed", "epsilon_lower"} <= set(audited["metric"])
    facts = json.loads((tmp_path / "out/details/privacy.json").read_text())
    assert facts["canaries"] == COUNT
    assert facts["items"]["training"] == {"searched": 12, "of": 12}  # canaries are no patients
    gate = pd.read_parquet(tmp_path / "out/details/gate.parquet")
    assert not gate["limit"].str.contains("canary").any()


def test_the_bound_holds_for_a_training_that_keeps_its_word():
    """Randomised response of known epsilon: the bound lies above it in at most 2.5 % of the runs."""
    rng, epsilon, rights = np.random.default_rng(0), 1.0, []
    for _ in range(400):
        truth = rng.random(200) < 0.5
        told = np.where(rng.random(200) < 1 / (1 + np.exp(-epsilon)), truth, ~truth)
        rights.append(membership.guesses(told.astype(float), truth, 0.25)[0])
    least = {right: exact_interval(right, 100)[0] for right in set(rights)}
    assert np.mean([membership.epsilon_of_guessing(least[right]) > epsilon for right in rights]) <= 0.05


def test_exposure_and_guesses_by_hand():
    """Ranks share ties; the order of canaries, and nothing else, breaks them in guesses."""
    found = membership.exposure(np.array([9.0, 0.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert found == pytest.approx([2, 0, 2 - np.log2(2.5)])
    scores, truth = np.array([4.0, 3, 2, 1, 0, -1, -2, -3]), np.array([1, 1, 1, 0, 1, 0, 0, 1], bool)
    assert membership.guesses(scores, truth, 0.25) == (3, 4)
    assert membership.guesses(np.zeros(8), truth, 0.5) == (3, 8)
    assert membership.epsilon_of_guessing(0.4) == 0
