"""Arms of a volume segmentation: what they train on, what they refuse, and what they write."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from mirage import evaluate
from mirage.config import slices
from mirage.config.base import Runtime
from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.config.model import Config
from mirage.data import Dataset
from mirage.data.manifest import write_manifest
from mirage.data.shards import ShardReader
from mirage.errors import ConfigError, DataError, LeakError
from mirage.evaluate import judging, volume_segmentation
from mirage.evaluate.table import COLUMNS
from mirage.graph import Graph
from mirage.metrics.volumes import dice

REGIONS = {"NCR": [1], "ED": [2], "ET": [3], "WT": [1, 2, 3], "TC": [1, 3]}
FULL = {"dice", "hd95_mm", "sensitivity", "specificity"}
BY_LESION = {"lesion_dice", "lesion_hd95_mm"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def evaluation(**keys: Any) -> VolumeSegmentationEvaluation:
    """A tiny evaluation of ``toy``."""
    small = {
        "evaluator": "volume_segmentation",
        "test": "toy",
        "arms": {"real": {"train": ["toy"]}},
        "steps": 2,
        "batch_size": 1,
        "judge": {"arch": "deepmedic", "width": 0.01, "segment": 19},
    }
    return VolumeSegmentationEvaluation.model_validate({**small, **keys})


def as_synthetic(data: Dataset, **columns: Any) -> Dataset:
    """The same folder with its rows rewritten as synthetic training items."""
    path = data.folder / "manifest.parquet"
    table, schema = pq.read_table(path).to_pandas(), pq.read_schema(path).remove_metadata()
    table["origin"], table["mask_origin"], table["split"] = "synthetic", "synthetic", "train"
    write_manifest(path, pa.Table.from_pandas(table.assign(**columns), schema=schema))
    return Dataset(data.folder)


def run(
    config: VolumeSegmentationEvaluation, datasets: dict[str, Dataset], out: Path, arm: str = "real"
) -> pd.DataFrame:
    """Run one arm and read its metrics."""
    evaluate.run_arm(config, "brains", arm, 0, datasets, out, out / "state", Runtime(accelerator="cpu"))
    return pd.read_parquet(out / "metrics.parquet")


def facts(out: Path) -> dict[str, Any]:
    """The arm's facts."""
    found: dict[str, Any] = json.loads((out / "details" / "arm.json").read_text())
    return found


def test_arm_writes_tidy_metrics_predictions_and_facts(toy_volumes: Any, tmp_path: Path) -> None:
    """Every subject, label and region has its metrics; the stored labels reproduce the Dice."""
    data, out = toy_volumes(), tmp_path / "out"
    found = run(evaluation(), {"toy": data}, out)
    test = data.select("test")
    assert list(found.columns) == list(COLUMNS)
    assert set(found["item_id"]) == set(test.items["item_id"])
    assert set(found["label"]) == set(REGIONS)
    for label, rows in found.groupby("label"):
        wanted = FULL | BY_LESION if label in ("WT", "TC", "ET") else FULL
        assert set(rows["metric"]) == wanted, label
        assert len(rows) == len(wanted) * 2
    reader = ShardReader(out / "details" / "predictions.arrow")
    scores = found[found["metric"] == "dice"].set_index(["item_id", "label"])["value"]
    for index, item in enumerate(test.items["item_id"]):
        labels = reader.tensor(index, "image")
        assert labels.shape == (1, 24, 28, 26)
        assert labels.dtype == np.uint8
        for name, values in REGIONS.items():
            expected = dice(np.isin(test.mask(index), values), np.isin(labels[0], values))
            assert scores[item, name] == pytest.approx(expected)
    known = facts(out)
    assert known["regions"]["TC"] == ["NCR", "ET"]
    assert known["mean_dice"]["WT"] == pytest.approx(scores[:, "WT"].mean())
    assert known["spacing_unknown"] == 0
    assert known["train"][0]["images"] == 3
    assert known["provenance"]["config"]["judge"]["lr"] == 1e-3
    assert known["label_fidelity"] == []


def test_scores_alone_are_made_again_without_training(
    toy_volumes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regions, lesions and penalties are no part of what decides a judge."""
    data, out = toy_volumes(), tmp_path / "out"
    first = run(evaluation(), {"toy": data}, out)
    monkeypatch.setattr(
        "mirage.training.learner.Learner.step", lambda *_: pytest.fail("the judge is trained again")
    )
    found = run(evaluation(regions={"all": ["NCR", "ED", "ET"]}, penalty_mm=9), {"toy": data}, out)
    assert set(found["label"]) == {"NCR", "ED", "ET", "all"}
    by_region = [
        rows[rows["metric"] == "dice"].set_index(["item_id", "label"])["value"] for rows in (first, found)
    ]
    assert by_region[0][:, "WT"].tolist() == by_region[1][:, "all"].tolist()
    assert found.loc[found["metric"] == "hd95_mm", "value"].max() <= first["value"].max()


def test_the_judges_augmentation_is_the_arms_choice(
    toy_volumes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`augment: true` trains with the judge's own, other arms without; pretraining takes half the steps."""
    seen: list[Any] = []

    def build(arch: str, options: Any, *rest: Any, **keys: Any) -> Any:
        seen.append(options.augment)
        raise InterruptedError

    monkeypatch.setattr(volume_segmentation, "build", build)
    data = toy_volumes()
    arms = {"real": {"train": ["toy"]}, "changed": {"train": ["toy"], "augment": True}}
    for arm in arms:
        with pytest.raises(InterruptedError):
            run(evaluation(arms=arms), {"toy": data}, tmp_path / arm, arm)
    assert seen[0] is None
    assert seen[1].flip
    assert judging.step_budget(7, True) == {"pretrain": 3, "train": 4}


def test_label_fidelity_is_the_dice_of_the_conditions(toy_volumes: Any, tmp_path: Path) -> None:
    """The baseline's judge segments the synthetic volumes; other arms' judges do not."""
    fake = as_synthetic(toy_volumes("fake", seed=5), donor_subject_ids=[["toy:0/train_s1"]] * 6)
    arms = {"real": {"train": ["toy"]}, "more": {"train": ["toy", "fake"]}}
    config = evaluation(arms=arms, label_fidelity=[{"data": "fake", "images": 2}])
    datasets = {"toy": toy_volumes(), "fake": fake}
    found = run(config, datasets, tmp_path / "real")
    rows = found[found["metric"] == "condition_dice"]
    assert set(rows["arm"]) == {"condition:fake"}
    assert set(found.loc[found["metric"] != "condition_dice", "arm"]) == {"real"}
    assert len(rows) == 2 * len(REGIONS)
    assert rows["value"].between(0, 1).all()
    known = facts(tmp_path / "real")["label_fidelity"]
    assert known[0]["images"] == 2
    assert known[0]["also_learnt_by_the_judge"] == 1
    others = run(config, datasets, tmp_path / "more", "more")
    assert "condition_dice" not in set(others["metric"])


def test_leaks_are_refused_before_training(toy_volumes: Any, tmp_path: Path) -> None:
    """Donors from the test set, in an arm or among the volumes whose labels are looked for."""
    data = toy_volumes()
    fake = as_synthetic(toy_volumes("fake", seed=5), donor_subject_ids=[["toy:0/test_s1"]] * 6)
    datasets = {"toy": data, "fake": fake}
    with pytest.raises(LeakError, match="toy:0/test_s1"):
        run(evaluation(arms={"real": {"train": ["fake"]}}), datasets, tmp_path / "a")
    with pytest.raises(LeakError, match="toy:0/test_s1"):
        run(evaluation(label_fidelity=["fake"]), datasets, tmp_path / "b")
    made = toy_volumes("made", seed=7, origin="synthetic")
    with pytest.raises(LeakError, match="synthetic"):
        run(evaluation(test="made"), {"made": made, "toy": data}, tmp_path / "c")
    assert not any((tmp_path / name).exists() for name in "abc")


def test_an_implausible_order_of_regions_is_loud(
    toy_volumes: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swapped labels under the names of regions: a warning in the log and in the arm's facts."""
    mixed = {"WT": ["NCR"], "TC": ["NCR", "ED", "ET"]}

    def no_necrosis(judge: Any, item: Any) -> np.ndarray:
        label: np.ndarray = np.where(item.masks[0] == 1, 3, item.masks[0]).astype(np.uint8)
        return label

    monkeypatch.setattr("mirage.generators.volume_segmenter.VolumeSegmenter.predict", no_necrosis)
    with caplog.at_level(logging.WARNING):
        run(evaluation(regions=mixed), {"toy": toy_volumes()}, tmp_path / "out")
    assert any("IMPLAUSIBLE" in record.message for record in caplog.records)
    known = facts(tmp_path / "out")
    assert known["mean_dice"]["TC"] == 1
    assert known["mean_dice"]["WT"] == 0
    assert "WT 0.000 lies below TC 1.000" in known["implausible_order"]


def test_data_that_do_not_fit_are_refused(toy_dataset: Any, toy_volumes: Any, tmp_path: Path) -> None:
    """Images, other shapes, no label, unknown labels of a region, a region that hides a label."""
    images = toy_dataset("toy")
    with pytest.raises(DataError, match="kind: volume"):
        run(evaluation(), {"toy": images}, tmp_path / "a")
    data, other = toy_volumes("brains"), toy_volumes("other", extent=(20, 28, 26))
    arms = {"real": {"train": ["other"]}}
    with pytest.raises(DataError, match="image_shape"):
        run(evaluation(test="brains", arms=arms), {"brains": data, "other": other}, tmp_path / "b")
    arms = {"real": {"train": ["brains"]}}
    for regions, message in (({"WT": ["oedema"]}, "no label oedema"), ({"ET": ["ED"]}, "something else")):
        with pytest.raises(ConfigError, match=message):
            run(evaluation(test="brains", arms=arms, regions=regions), {"brains": data}, tmp_path / "c")
    bare = as_synthetic(toy_volumes("bare", seed=3), mask_origin=None)
    arms = {"real": {"train": ["bare"]}}
    with pytest.raises(DataError, match="require_mask"):
        run(evaluation(test="brains", arms=arms), {"brains": data, "bare": bare}, tmp_path / "d")


def test_default_regions_are_those_of_brats(toy_volumes: Any) -> None:
    """Every label, then WT and TC; ET is a label and a region at once."""
    data = toy_volumes()
    assert volume_segmentation.regions_of(evaluation(), data.info.labels) == REGIONS
    with pytest.raises(ConfigError, match=r"regions\.WT"):
        volume_segmentation.regions_of(evaluation(), {1: "tumour"})


def configuration(**keys: Any) -> Config:
    """A study of one volume segmentation with two arms and a recipe whose labels are looked for."""
    entry = {
        "evaluator": "volume_segmentation",
        "test": "brains",
        "arms": {"real": {"train": ["brains"]}, "mixed": {"train": ["brains", "carved"]}},
        "label_fidelity": ["carved"],
        **keys,
    }
    volumes = {"kind": "volume", "preset": "thesis", "size": [32, 48, 48]}
    return Config.model_validate(
        {
            "run": ["study"],
            "datasets": {"brains": {"source": {"reader": "brats"}, "prepare": volumes}},
            "recipes": {"carved": {"recipe": "carve_mix", "data": "brains", "count": 4}},
            "evaluations": {"judged": entry},
            "studies": {"study": {"title": "t", "question": "q", "evaluations": ["judged"]}},
        }
    )


def test_label_fidelity_concerns_the_baseline_alone() -> None:
    """Only its job reads the recipes, only its slice changes with them; the study needs them."""
    config, without = configuration(arms={"real": {"train": ["brains"]}}), configuration(label_fidelity=[])
    assert config.study_data("study") == {"brains", "carved"}
    manifests = Graph(configuration()).arm_manifests("judged", "real")
    assert [Path(path).parent.name for path in manifests] == ["brains", "carved"]
    full = configuration()
    for arm in ("real", "mixed"):
        same = slices.arm_slice(full, "judged", arm) == slices.arm_slice(without, "judged", arm)
        assert same == (arm == "mixed")


def test_windows_that_do_not_fit_are_named_when_the_configuration_is_read() -> None:
    """A judge's segments and patches are held against the prepared size."""
    judge = {"arch": "segmenter3d", "patch": [64, 32, 32]}
    with pytest.raises(ValidationError, match=r"evaluations\.judged\.judge: patch \[64, 32, 32\]"):
        configuration(judge=judge)
    configuration(judge={**judge, "patch": [32, 32, 32]})


def test_every_volume_is_scored_with_its_own_spacing(toy_volumes, tmp_path):
    """Where depths differ and are stretched to one size, the manifest's spacing counts, not 1 mm."""
    data = toy_volumes("uneven", origin="real", extent=(16, 16, 16), splits={"test": 2}, spacing_mm=None)
    test = data.select("test")
    test.items = test.items.assign(spacing_d_mm=[3.0, 1.0], spacing_h_mm=1.0, spacing_w_mm=1.0)
    assert [test.spacing_mm(index) for index in range(2)] == [(3.0, 1.0, 1.0), (1.0, 1.0, 1.0)]
    shifted = (np.roll(test.mask(index), 2, axis=0) for index in range(2))
    regions, path = {"WT": {1, 2, 3}}, tmp_path / "predictions.arrow"
    rows = volume_segmentation.score_and_store(test, shifted, regions, evaluation(), path)
    found = [row["value"] for row in rows if row["metric"] == "hd95_mm"]
    assert found[0] > 1.5 * found[1]
