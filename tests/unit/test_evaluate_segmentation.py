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
from mirage.config.base import Part, Runtime
from mirage.config.datasets import DatasetConfig, SimulateOptions, SplitOptions
from mirage.config.evaluations import OBSERVER_ARM, SegmentationEvaluation, StudyConfig
from mirage.data import Dataset
from mirage.data.dataset import write_info
from mirage.data.gather import gather
from mirage.data.leaks import check_training
from mirage.data.manifest import write_manifest
from mirage.data.pool import Pool
from mirage.data.shards import ShardReader
from mirage.errors import ConfigError, DataError, LeakError, TimeBudgetReached
from mirage.evaluate import judging, segmentation
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.table import COLUMNS
from mirage.metrics.segmentation import confusion
from mirage.prepare import prepare_shard
from mirage.report import Finished, ReportInputs, build_report
from mirage.simulate import simulate
from mirage.sources import open_source


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
    config: SegmentationEvaluation,
    datasets: dict[str, Dataset],
    out: Path,
    arm: str = "real",
    seed: int = 0,
    minutes: float | None = None,
) -> pd.DataFrame:
    """Run one arm and read its metrics."""
    runtime = Runtime(accelerator="cpu")
    evaluate.run_arm(config, "judging", arm, seed, datasets, out, out / "state", runtime, minutes)
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


def test_equal_seeds_give_equal_rows_and_leave_no_state(toy_dataset: Any, tmp_path: Path) -> None:
    """Repeating an arm, elsewhere or there, changes nothing; another seed does. A stopped one can go on."""
    data, config = toy_dataset(), evaluation()
    first = run(config, {"toy": data}, tmp_path / "a")
    pd.testing.assert_frame_equal(first, run(config, {"toy": data}, tmp_path / "b"))
    pd.testing.assert_frame_equal(first, run(config, {"toy": data}, tmp_path / "a"))
    assert not first["value"].equals(run(config, {"toy": data}, tmp_path / "c", seed=1)["value"])
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"details", "metrics.parquet"}
    with pytest.raises(TimeBudgetReached):
        run(config, {"toy": data}, tmp_path / "d", minutes=0.0)
    assert (tmp_path / "d" / "state" / "train" / "last.pt").exists()
    pd.testing.assert_frame_equal(first, run(config, {"toy": data}, tmp_path / "d"))
    assert not (tmp_path / "d" / "state").exists()


def test_pretraining_takes_half_of_the_same_budget(toy_dataset: Any, tmp_path: Path) -> None:
    """Both stages are trained, and together they make as many steps as any other arm."""
    synthetic = as_synthetic(toy_dataset("fake", seed=5, fov=False))
    config = evaluation(steps=7, arms={"real": {"train": ["toy"], "pretrain": ["fake"]}})
    run(config, {"toy": toy_dataset(), "fake": synthetic}, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert facts["steps"] == {"pretrain": 3, "train": 4}
    assert facts["pretrain"][0]["origins"] == {"synthetic": 14}


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


def test_a_judges_seed_chooses_its_few_images(toy_dataset: Any) -> None:
    """Unless they are those that a generator of as few has learnt from."""
    data = toy_dataset()
    arms = {"seed": {"train": [{"data": "toy", "images": 3}]}}
    arms["fixed"] = {"train": [{"data": "toy", "images": 3, "draw": "fixed"}]}
    config = evaluation(arms=arms, baseline="seed")

    def chosen(arm: str, seed: int) -> frozenset[str]:
        (view,) = judging.training_views(config.arms[arm], {"toy": data}, seed)["train"]
        return frozenset(view.items["item_id"])

    assert len({chosen("seed", seed) for seed in range(5)}) > 2
    common = frozenset(data.training_part(Part(images=3)).items["item_id"])
    assert {chosen("fixed", seed) for seed in range(5)} == {common}


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


def test_test_images_under_another_name_are_refused(toy_dataset: Any, tmp_path: Path) -> None:
    """Two folders that share photographs are two namespaces; patches are known by their whole image."""
    data, copies = toy_dataset(), toy_dataset("copies", splits={"train": 12})
    write_info(copies.folder, copies.info.model_copy(update={"namespace": "elsewhere"}))
    copies = Dataset(copies.folder)
    config = evaluation(arms={"real": {"train": ["copies"]}})
    message = r"toy: 1 of 3 held-out .* of copies: test_0 \(as train_11\); .* leave these out of one"
    with pytest.raises(LeakError, match=message):
        run(config, {"toy": data, "copies": copies}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    others = copies.of_items({f"train_{index}" for index in range(11)})
    check_training([others], data.select("test"))
    patches, test = others.of_items({"train_0"}), data.select("test")
    patches.items = patches.items.assign(image_hash="whole")
    test.items = test.items.assign(image_hash=["whole", "other", None])
    with pytest.raises(LeakError, match=r"1 of 3 .* test_0 \(as train_0\)"):
        check_training([patches], test)


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


def test_a_copy_without_a_second_observer_is_judged_and_reported(tmp_path: Path, caplog: Any) -> None:
    """CHASE_DB1 without `_2ndHO.png`: the observer's table is empty, and the report says so."""
    raw, folder = tmp_path / "raw", tmp_path / "eyes"
    simulate(SimulateOptions(subjects=3, size=64), "chasedb1", raw)
    for file in raw.glob("*_2ndHO.png"):
        file.unlink()
    entry = DatasetConfig.model_validate({"source": {"reader": "chasedb1"}, "prepare": {"size": 32}})
    prepare_shard(entry, open_source(entry.source, raw), 0, folder)
    split = SplitOptions(val=0, test=0.34)
    gather(folder, name="eyes", shards=1, split=split, max_failed_fraction=0)
    data = Dataset(folder)
    out = tmp_path / "judging"
    config = evaluation(test="eyes", arms={"real": {"train": ["eyes"]}}, seeds=[0])
    run(config, {"eyes": data}, out / "real" / "seed-0")
    segmentation.observer_metrics(data.select("test"), "judging", None, out / OBSERVER_ARM)
    assert "2 of 2 test items have no second observer" in caplog.text
    table = pq.read_table(out / OBSERVER_ARM / "metrics.parquet")
    assert (table.num_rows, dict(zip(table.schema.names, table.schema.types, strict=True))) == (0, COLUMNS)
    done = Finished(config, [out / "real" / "seed-0", out / OBSERVER_ARM])
    study = StudyConfig(title="Eyes", question="Vessels?", evaluations=["judging"])
    build_report(study, "eyes", ReportInputs({"judging": done}, {"eyes": folder}), tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "no second human observer is available for the test images" in page
