"""Arms of a segmentation evaluation: what they train on, what they refuse, and what they write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from mirage import evaluate
from mirage.config.base import Runtime
from mirage.config.evaluations import SegmentationEvaluation
from mirage.data import Dataset
from mirage.data.manifest import write_manifest
from mirage.data.pool import Pool
from mirage.data.shards import ShardReader
from mirage.errors import ConfigError, DataError, LeakError
from mirage.evaluate import segmentation
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.table import COLUMNS
from mirage.metrics.segmentation import confusion


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def evaluation(**keys: Any) -> SegmentationEvaluation:
    """A tiny evaluation of ``toy``."""
    small = {
        "evaluator": "segmentation",
        "test": "toy",
        "arms": {"real": {"train": ["toy"]}},
        "steps": 6,
        "batch_size": 2,
        "judge": {"features": 4},
    }
    return SegmentationEvaluation.model_validate({**small, **keys})


def as_synthetic(data: Dataset, **columns: Any) -> Dataset:
    """The same folder with its rows rewritten as synthetic training items."""
    table = pq.read_table(data.folder / "manifest.parquet").to_pandas()
    table["origin"], table["mask_origin"], table["split"] = "synthetic", "synthetic", "train"
    import pyarrow as pa

    schema = pq.read_schema(data.folder / "manifest.parquet").remove_metadata()
    write_manifest(
        data.folder / "manifest.parquet", pa.Table.from_pandas(table.assign(**columns), schema=schema)
    )
    return Dataset(data.folder)


def run(
    config: SegmentationEvaluation, datasets: dict[str, Dataset], out: Path, arm: str = "real", seed: int = 0
) -> pd.DataFrame:
    """Run one arm and read its metrics."""
    runtime = Runtime(accelerator="cpu")
    evaluate.run_arm(config, "judging", arm, seed, datasets, out, out / "state", runtime)
    return pd.read_parquet(out / "metrics.parquet")


def test_arm_writes_tidy_metrics_predictions_and_facts(toy_dataset: Any, tmp_path: Path) -> None:
    """Every test item has every metric; the stored predictions and threshold reproduce the F1."""
    data = toy_dataset()
    found = run(evaluation(), {"toy": data}, tmp_path / "out")
    test = data.select("test")
    assert list(found.columns) == list(COLUMNS)
    assert set(found["metric"]) == {
        "f1",
        "macro_f1",
        "sensitivity",
        "specificity",
        "accuracy",
        "cldice",
        "f1_half",
        "roc_auc",
        "pr_auc",
    }
    assert (found.groupby("item_id").size() == 9).all()
    assert set(found["item_id"]) == set(test.items["item_id"])
    assert set(found["label"]) == {"disc"}
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert facts["train"][0]["images"] == facts["train"][0]["subjects"] == 8
    assert facts["test"]["images"] == 3
    assert facts["provenance"]["config"]["judge"]["lr"] == evaluation().judge.lr
    assert facts["provenance"]["config"]["arm"]["augment"] is False
    reader = ShardReader(tmp_path / "out" / "details" / "predictions.arrow")
    scores = found[found["metric"] == "f1"].set_index("item_id")["value"]
    for index, item in enumerate(test.items["item_id"]):
        probability = reader.tensor(index, "image")
        assert probability.shape == (1, 32, 32)
        predicted = probability[0] >= round(facts["threshold"] * 255)
        assert confusion(test.mask(index), predicted, test.mask(index, "fov")).f1 == pytest.approx(
            scores[item]
        )


def test_a_judge_learns_the_task(toy_dataset: Any, tmp_path: Path) -> None:
    """After a short training the discs are found far better than chance."""
    config = evaluation(steps=60, judge={"features": 8, "lr": 3e-3})
    found = run(config, {"toy": toy_dataset()}, tmp_path / "out")
    means = found.groupby("metric")["value"].mean()
    assert means["f1"] > 0.5
    assert means["roc_auc"] > 0.9


def test_equal_seeds_give_equal_rows_and_a_finished_training_is_taken_up(
    toy_dataset: Any, tmp_path: Path
) -> None:
    """Repeating an arm elsewhere, or from its state, changes nothing; another seed does."""
    data, config = toy_dataset(), evaluation()
    first = run(config, {"toy": data}, tmp_path / "a")
    pd.testing.assert_frame_equal(first, run(config, {"toy": data}, tmp_path / "b"))
    pd.testing.assert_frame_equal(first, run(config, {"toy": data}, tmp_path / "a"))
    assert not first["value"].equals(run(config, {"toy": data}, tmp_path / "c", seed=1)["value"])


def test_pretraining_takes_half_of_the_same_budget(toy_dataset: Any, tmp_path: Path) -> None:
    """Both stages are trained, and together they make as many steps as any other arm."""
    synthetic = as_synthetic(toy_dataset("fake", seed=5, fov=False))
    config = evaluation(steps=7, arms={"real": {"train": ["toy"], "pretrain": ["fake"]}})
    run(config, {"toy": toy_dataset(), "fake": synthetic}, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert facts["steps"] == {"pretrain": 3, "train": 4}
    assert facts["pretrain"][0]["origins"] == {"synthetic": 14}
    assert {path.name for path in (tmp_path / "out" / "state").iterdir()} == {"pretrain", "train"}


def test_pools_and_few_shot_subsets(toy_dataset: Any, tmp_path: Path) -> None:
    """An arm of several sets reads them all, cut to the images asked for."""
    synthetic = as_synthetic(toy_dataset("fake", seed=5))
    arms = {"real": {"train": [{"data": "toy", "images": 2}, "fake"], "augment": True}}
    run(evaluation(arms=arms), {"toy": toy_dataset(), "fake": synthetic}, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert [part["images"] for part in facts["train"]] == [2, 14]
    with pytest.raises(DataError, match="9 training images are asked for, its training split has 8"):
        run(
            evaluation(arms={"real": {"train": [{"data": "toy", "images": 9}]}}),
            {"toy": toy_dataset("toy")},
            tmp_path / "more",
        )


def test_leaks_are_refused_before_training(toy_dataset: Any, tmp_path: Path) -> None:
    """A generator that has learnt from a test subject, a donor from the test set, or a synthetic test set."""
    data = toy_dataset()
    arms = {"real": {"train": ["fake"]}}
    lineage = as_synthetic(toy_dataset("fake", seed=5, lineage=("toy:0/test_s1",)))
    with pytest.raises(LeakError, match="toy:0/test_s1"):
        run(evaluation(arms=arms), {"toy": data, "fake": lineage}, tmp_path / "a")
    donors = as_synthetic(toy_dataset("fake2", seed=6), donor_subject_ids=[["toy:0/test_s2"]] * 14)
    with pytest.raises(LeakError, match="toy:0/test_s2"):
        run(evaluation(arms={"real": {"train": ["fake2"]}}), {"toy": data, "fake2": donors}, tmp_path / "b")
    made = toy_dataset("fake3", seed=7)
    table = pq.read_table(made.folder / "manifest.parquet").to_pandas().assign(mask_origin="predicted")
    import pyarrow as pa

    write_manifest(made.folder / "manifest.parquet", pa.Table.from_pandas(table))
    with pytest.raises(LeakError, match="predicted"):
        run(
            evaluation(test="fake3", arms={"real": {"train": ["toy"]}}),
            {"toy": data, "fake3": Dataset(made.folder)},
            tmp_path / "c",
        )
    assert not (tmp_path / "a").exists()


def test_one_label_of_several_is_scored(toy_dataset: Any, tmp_path: Path) -> None:
    """``label`` names what is foreground; an unknown name is an error that lists the labels."""
    data = toy_dataset(labels=2)
    found = run(evaluation(label="disc2"), {"toy": data}, tmp_path / "out")
    assert set(found["label"]) == {"disc2"}
    with pytest.raises(ConfigError, match="disc1"):
        run(evaluation(label="lens"), {"toy": data}, tmp_path / "unknown")


def test_label_among_the_options_of_a_judge_is_ignored(toy_dataset: Any, tmp_path: Path) -> None:
    """The evaluation's own label says what is scored; the judge sees one foreground."""
    data = toy_dataset(labels=2)
    config = evaluation(label="disc2", judge={"features": 4, "label": "disc1"})
    assert set(run(config, {"toy": data}, tmp_path / "out")["label"]) == {"disc2"}


def test_unknown_evaluators_are_named(tmp_path: Path) -> None:
    """An evaluator without code is an error that lists those that have some."""
    config = evaluation().model_copy(update={"evaluator": "guess"})
    known = ", ".join(sorted(evaluate.EVALUATORS))
    with pytest.raises(ConfigError, match=f"'guess' is no evaluator; known are: {known}"):
        evaluate.run_set(config, "x", {}, FeatureBank(), tmp_path)


def test_unlabelled_items_are_refused(toy_dataset: Any, tmp_path: Path) -> None:
    """An image without a label would teach that there is nothing in it."""
    data = as_synthetic(toy_dataset("fake", seed=5), mask_origin=None)
    with pytest.raises(DataError, match="require_mask"):
        run(
            evaluation(arms={"real": {"train": ["fake"]}}),
            {"toy": toy_dataset(), "fake": data},
            tmp_path / "o",
        )


def test_pool_reads_its_parts_and_refuses_others(toy_dataset: Any) -> None:
    """Items follow one another with the mask channels that all parts have; other shapes are refused."""
    a, b = toy_dataset("a", observer2=True).select("train"), toy_dataset("b", seed=1, fov=False)
    pool = Pool([a, b])
    assert len(pool) == len(a) + len(b)
    assert pool.info.mask_channels == ["label"]
    assert np.array_equal(pool.image(9), b.image(1))
    assert np.array_equal(pool.mask(7), a.mask(7))
    assert pool.subjects() == a.subjects() | b.subjects()
    assert pool.items["dataset"].tolist() == ["a"] * 8 + ["b"] * 14
    with pytest.raises(DataError, match="image_shape"):
        Pool([a, toy_dataset("c", size=48)])
    with pytest.raises(DataError, match="no mask channel `label`"):
        Pool([a, toy_dataset("d", labels=0)], foreground=[1])


def test_second_observer_is_scored_against_the_first(toy_dataset: Any, tmp_path: Path) -> None:
    """The observer's rows are those of masks: no threshold, no areas under curves, no seed."""
    test = toy_dataset(observer2=True).select("test")
    segmentation.observer_metrics(test, "judging", None, tmp_path)
    found = pd.read_parquet(tmp_path / "metrics.parquet")
    assert list(found.columns) == list(COLUMNS)
    assert set(found["arm"]) == {"observer2"}
    assert found["seed"].isna().all()
    f1 = found[found["metric"] == "f1"]["value"]
    assert len(f1) == 3
    expected = [confusion(test.mask(i), test.mask(i, "observer2"), test.mask(i, "fov")).f1 for i in range(3)]
    assert f1.tolist() == pytest.approx(expected)
    assert "roc_auc" not in set(found["metric"])
    with pytest.raises(DataError, match="observer2"):
        segmentation.observer_metrics(toy_dataset("single").select("test"), "judging", None, tmp_path)
