"""Detectors and the arms of a detection evaluation: what they learn, what they refuse, what they write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from boxed import boxed_dataset

from mirage import evaluate
from mirage.config.base import Runtime
from mirage.config.detectors import DETECTOR_JUDGES, DetectorJudge, RetinaNetJudge, RetinaNetOptions
from mirage.config.evaluations import DetectionEvaluation
from mirage.config.generators import Augment
from mirage.config.load import load_config
from mirage.config.model import Config
from mirage.data import Dataset, Item
from mirage.data.pool import Pool
from mirage.detectors import DETECTORS, build
from mirage.detectors.base import Detector
from mirage.detectors.retinanet import RetinaNetDetector, fit_anchors, focal_loss
from mirage.errors import ConfigError, DataError, LeakError, TimeBudgetReached
from mirage.evaluate.holdout import hold_out
from mirage.evaluate.marks import CORNERS, corners, read_tables
from mirage.evaluate.table import COLUMNS
from mirage.generators.base import ImageSpec
from mirage.metrics import detection as scores
from mirage.metrics.hits import HitRule, Marks
from mirage.networks.retinanet import RetinaNet, anchor_boxes
from mirage.report import Finished
from mirage.report.evaluators.detection import _protocol
from mirage.training.augment import augment, change_boxes, draw_change

TINY = {"backbone": "resnet10", "width": 16, "fpn_channels": 8, "stem_stride": 2, "levels": 2}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def evaluation(**keys: Any) -> DetectionEvaluation:
    """A tiny evaluation of ``toy``."""
    small = {
        "evaluator": "detection",
        "test": "toy",
        "arms": {"real": {"train": ["toy"]}},
        "steps": 4,
        "batch_size": 2,
        "own_share": 0.25,
        "judge": TINY,
    }
    return DetectionEvaluation.model_validate({**small, **keys})


def run(
    config: DetectionEvaluation,
    datasets: dict[str, Dataset],
    out: Path,
    arm: str = "real",
    seed: int = 0,
    minutes: float | None = None,
) -> pd.DataFrame:
    """Run one arm and read its metrics."""
    runtime = Runtime(accelerator="cpu")
    evaluate.run_arm(config, "detecting", arm, seed, datasets, out, out / "state", runtime, minutes)
    return pd.read_parquet(out / "metrics.parquet")


def detector(size: int = 32, **options: Any) -> RetinaNetDetector:
    """An untrained detector of grey images."""
    spec = ImageSpec((1, size, size), "uint8", (0.0, 255.0), ["grey"], [], {}, "toy", None)
    given = RetinaNetOptions.model_validate({**TINY, "anchors": [[6], [9]], **options})
    built = build("retinanet", given, spec, None, most_boxes=3)
    assert isinstance(built, RetinaNetDetector)
    return built


@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_the_augmentation_of_the_image(seed: int) -> None:
    """An ellipse that fills its box fills the changed box of the changed image."""
    options = Augment(hflip=True, vflip=True, rotate_deg=40, scale=0.3)
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    image = (((x - 80) / 10) ** 2 + ((y - 26) / 6) ** 2 <= 1).float()[None]
    changed, _ = augment(image, None, options, np.random.default_rng(seed))
    change = draw_change(options, np.random.default_rng(seed))
    (box,) = change_boxes(np.array([[70.0, 20, 90, 32]]), change, (96, 128))
    rows, columns = torch.where(changed[0] > 0.5)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(box - [float(edge) for edge in found]).max() < 1.5


def test_boxes_whose_centre_leaves_the_image_are_dropped_and_others_clipped() -> None:
    """Zooming in pushes a box at the border out of the picture."""
    options = Augment(scale=0.5)
    change = draw_change(options, np.random.default_rng(0))
    enlarged = type(change)(False, False, 0.0, 2.0, 1.0, 1.0)
    boxes = np.array([[0.0, 0, 8, 8], [20, 20, 28, 28], [28, 30, 60, 34]])
    found = change_boxes(boxes, enlarged, (64, 64))
    assert found.tolist() == [[8, 8, 24, 24], [24, 28, 64, 36]]


def test_anchors_lie_on_the_pixels_that_they_look_at() -> None:
    """Centres of the first level are 1, 3, 5 ... at stride 2; areas are the sides squared at any ratio."""
    fine, coarse = anchor_boxes((8, 8), 2, [[4], [8]], [0.5, 1.0, 2.0])
    assert fine.shape == (4 * 4 * 3, 4)
    assert coarse.shape == (2 * 2 * 3, 4)
    assert fine[1].tolist() == pytest.approx([-1, -1, 3, 3])
    assert fine[1 + 3].tolist() == pytest.approx([1, -1, 5, 3])
    sides = fine[:, 2:] - fine[:, :2]
    assert sides.prod(dim=1).tolist() == pytest.approx([16.0] * 48)
    assert (sides[:3, 1] / sides[:3, 0]).tolist() == pytest.approx([0.5, 1, 2])


@pytest.mark.parametrize(("stem", "levels"), [(1, 1), (2, 3), (4, 4)])
def test_network_answers_for_every_anchor(stem: int, levels: int) -> None:
    """Logits and codes are in the anchors' number and order, whatever stem and levels."""
    net = RetinaNet(1, "resnet10", 8, 8, stem, levels, anchors=3)
    logits, codes = net(torch.zeros(2, 1, 64, 64))
    anchors = torch.cat(anchor_boxes((64, 64), stem, [[8]] * levels, [0.5, 1, 2]))
    assert logits.shape == (2, len(anchors))
    assert codes.shape == (2, len(anchors), 4)
    assert float(torch.sigmoid(logits.detach()).mean()) == pytest.approx(0.01, rel=0.5)


def test_bottleneck_backbones_fit_the_pyramid() -> None:
    """ResNet-50 has four times the channels a stage."""
    logits, _ = RetinaNet(1, "resnet50", 8, 8, 4, 3, anchors=1)(torch.zeros(1, 1, 32, 32))
    assert logits.shape == (1, 64 + 16 + 4)


def test_anchors_are_fitted_to_the_boxes() -> None:
    """Sides span the boxes', small ones on the fine level; boxes of one size get a little spread."""
    sides = np.geomspace(4, 40, 200)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    (a, b), (c, d) = fit_anchors(boxes, 2, 2)
    assert 4 < a < b < c < d < 40
    assert b / a == pytest.approx(d / c, rel=0.05)
    one = np.tile([[0.0, 0, 10, 10]], (5, 1))
    assert fit_anchors(one, 2, 1) == [[8.2], [12.2]]


def test_every_box_is_assigned_an_anchor_of_its_size() -> None:
    """Also a box that is smaller than a stride; anchors of the fine level take the small one."""
    model = detector()
    boxes = torch.tensor([[3.0, 3, 4, 4], [10, 12, 19, 21]])
    matches = model.assign(boxes)
    assert {0, 1} <= set(matches.tolist())
    assert matches.shape == (len(model.anchors),)
    assert (matches == -1).float().mean() > 0.9
    assert (model.assign(boxes[:0]) == -1).all()


def test_focal_loss_by_hand() -> None:
    """-alpha (1 - p)^gamma log p on a box, and the mirror image of it elsewhere."""
    loss = focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), alpha=0.25, gamma=2.0)
    assert loss.tolist() == pytest.approx([0.25 * 0.25 * np.log(2), 0.75 * 0.25 * np.log(2)])


def test_normal_images_teach_where_nothing_is() -> None:
    """A batch without any box has a loss and gradients, of the scores alone."""
    model = detector()
    batch = {"image": torch.zeros(2, 1, 32, 32), "boxes": torch.zeros(2, 3, 4), "count": torch.zeros(2).int()}
    losses = model.training_step(batch, "net")
    assert losses["boxes"] == 0
    assert losses["focal"] > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_examples_hold_the_wanted_boxes_padded() -> None:
    """Boxes of other labels are left out; more than the detector was built for are an error."""
    model = detector()
    model.labels = frozenset({"Nodule"})
    box = dict(zip(CORNERS, (3.0, 4.0, 9.0, 11.0), strict=True))
    item = Item(np.zeros((1, 32, 32), np.uint8), boxes=[{**box, "label": "Nodule"}, {**box, "label": "Mass"}])
    found = model.example(item)
    assert found["boxes"].tolist() == [[3, 4, 9, 11], [0] * 4, [0] * 4]
    assert found["count"] == 1
    assert found["image"].min() == found["image"].max() == -1
    with pytest.raises(DataError, match="4 boxes"):
        model.example(Item(item.image, boxes=[{**box, "label": "Nodule"}] * 4))


def test_images_that_the_pyramid_does_not_fit_are_refused() -> None:
    """The message says which sides fit."""
    with pytest.raises(ConfigError, match="multiples of 4 and at least 8"):
        detector(size=30)
    with pytest.raises(ConfigError, match="anchors"):
        detector(anchors=None)
    with pytest.raises(ValueError, match="sides of 1 levels"):
        RetinaNetJudge(anchors=[[8]])


def test_arm_writes_marks_lesions_images_metrics_and_facts(tmp_path: Path) -> None:
    """The stored marks reproduce the stored figures of both columns."""
    data = boxed_dataset(tmp_path / "toy")
    found = run(evaluation(), {"toy": data}, tmp_path / "out")
    assert list(found.columns) == list(COLUMNS)
    assert set(found["label"]) == {"benchmark", "own"}
    tables = read_tables(tmp_path / "out" / "details")
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert facts["hit_rule"] == (
        "hit: overlap (IoU) at least 0.2; further marks on a found lesion are ignored"
    )
    assert facts["own"] == {"donor_groups": 12, "held_out": 3, "why_none": None}
    assert facts["train"][0]["images"] == 9
    assert facts["columns"]["benchmark"]["images"] == facts["test"]["images"] == 6
    assert facts["columns"]["own"]["images"] == 3
    for test in ("benchmark", "own"):
        own = tables.of_test(test)
        whole = found[(found["label"] == test) & found["item_id"].isna()].set_index("metric")["value"]
        assert whole["cpm"] == pytest.approx(scores.cpm(own.free_response())[0])
        images = found[(found["label"] == test) & found["item_id"].notna()]
        assert set(images["metric"]) == {"image_score", "image_lesions", "image_found", "image_false"}
        lesions = images.loc[images["metric"] == "image_lesions", "value"].sum()
        assert lesions == len(own.truths) == facts["columns"][test]["lesions"]
    benchmark = tables.of_test("benchmark")
    test = data.select("test")
    assert benchmark.items["item_id"].tolist() == test.items["item_id"].tolist()
    true = [[box[key] for key in CORNERS] for boxes in test.items["boxes"] for box in boxes]
    assert corners(benchmark.truths) == pytest.approx(np.array(true))
    assert tables.of_test("own").items["item_id"].str.startswith("toy/train_").all()
    assert set(tables.marks["outcome"]) <= {"hit", "false", "ignored"}


def test_a_detector_learns_the_task(tmp_path: Path) -> None:
    """After a short training discs are found among noise, with few false marks; normal images are told."""
    data = boxed_dataset(tmp_path / "toy", splits={"train": 24, "test": 12})
    config = evaluation(steps=80, batch_size=4, judge={**TINY, "lr": 3e-3}, own_share=0)
    found = run(config, {"toy": data}, tmp_path / "out")
    whole = found[found["item_id"].isna()].set_index("metric")["value"]
    assert whole["froc_mean"] > 0.7
    assert whole["wafroc"] > 0.8
    assert whole["roc_auc"] > 0.8
    assert "own" not in set(found["label"])


def test_equal_seeds_give_equal_marks_and_a_stopped_training_goes_on(tmp_path: Path) -> None:
    """Repeating an arm, or finishing a stopped one, changes no mark; other rules of hits keep the weights."""
    data, config = boxed_dataset(tmp_path / "toy"), evaluation(steps=6)
    first = run(config, {"toy": data}, tmp_path / "a")
    with pytest.raises(TimeBudgetReached):
        run(config, {"toy": data}, tmp_path / "b", minutes=0.0)
    assert not (tmp_path / "b" / "metrics.parquet").exists()
    pd.testing.assert_frame_equal(first, run(config, {"toy": data}, tmp_path / "b"))
    before = read_tables(tmp_path / "a" / "details").marks
    other = evaluation(steps=6, hit={"rule": "centre_in_box", "extra": "false_positive"})
    run(other, {"toy": data}, tmp_path / "a")
    after = read_tables(tmp_path / "a" / "details").marks
    pd.testing.assert_frame_equal(before[["score", *CORNERS]], after[["score", *CORNERS]])
    state = tmp_path / "a" / "state" / "train"
    assert len([path for path in state.parent.iterdir() if path.name.startswith("train")]) == 1


def test_other_hit_rules_can_be_read_off_the_stored_marks(tmp_path: Path) -> None:
    """Rematching to the rule they were stored under changes nothing, to a stricter one loses hits."""
    run(evaluation(steps=20), {"toy": boxed_dataset(tmp_path / "toy")}, tmp_path / "out")
    tables = read_tables(tmp_path / "out" / "details").of_test("benchmark")
    same = tables.rematched(HitRule("iou", 0.2)).marks
    assert same["outcome"].tolist() == tables.marks["outcome"].tolist()
    strict = tables.rematched(HitRule("iou", 0.99)).free_response()
    assert np.isneginf(strict.lesion_score).all()


def test_without_normal_images_wafroc1_is_given_and_wafroc_refused(tmp_path: Path) -> None:
    """The reason is among the facts."""
    data = boxed_dataset(tmp_path / "toy", normal=0.0)
    found = run(evaluation(own_share=0), {"toy": data}, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert set(facts["refused"]["benchmark"]) == {"afroc", "wafroc", "roc_auc", "node21"}
    assert "add normal images" in facts["refused"]["benchmark"]["wafroc"]
    assert {"wafroc1", "afroc1", "cpm", "map", "hit_fraction"} <= set(found["metric"])
    assert "wafroc" not in set(found["metric"])


def test_synthetic_arms_are_held_out_by_donor_and_leaks_are_refused(tmp_path: Path) -> None:
    """Images of one lesion's patient stay together; a donor of the test set is refused before training."""
    data = boxed_dataset(tmp_path / "toy")
    made = boxed_dataset(
        tmp_path / "made",
        seed=1,
        origin="synthetic",
        columns={"split": "train", "donor_subject_ids": [[f"toy:0/train_s{n % 4}"] for n in range(20)]},
    )
    arms = {"mixed": {"train": ["toy", "made"]}}
    run(evaluation(arms=arms, baseline="mixed"), {"toy": data, "made": made}, tmp_path / "out", "mixed")
    own = read_tables(tmp_path / "out" / "details").of_test("own").items
    kept = hold_out({"train": [data.select("train"), made.select("train")], "pretrain": []}, 0.25).kept[
        "train"
    ]
    assert set(own["subject_id"]).isdisjoint(kept[0].subjects())
    donors = {donor for names in kept[1].items["donor_subject_ids"] for donor in names}
    assert donors.isdisjoint(own["subject_id"])
    leaky = boxed_dataset(
        tmp_path / "leaky",
        seed=2,
        origin="synthetic",
        columns={"split": "train", "donor_subject_ids": [["toy:0/test_s1"]] * 20},
    )
    arms = {"leaky": {"train": ["leaky"]}}
    with pytest.raises(LeakError, match="toy:0/test_s1"):
        run(
            evaluation(arms=arms, baseline="leaky"),
            {"toy": data, "leaky": leaky},
            tmp_path / "leak",
            "leaky",
        )
    assert not (tmp_path / "leak").exists()


def test_images_that_all_share_donors_are_not_split(tmp_path: Path) -> None:
    """Hosts that serve every lesion join all images to one group, unless the recipe names the groups."""
    donors = [[f"toy:0/lesion{n % 5}", f"toy:0/host{n % 3}"] for n in range(20)]
    columns = {"split": "train", "donor_subject_ids": donors}
    one = boxed_dataset(tmp_path / "one", origin="synthetic", columns=columns)
    held = hold_out({"train": [one], "pretrain": []}, 0.2)
    assert held.own is None
    assert "share donors" in str(held.why_none)
    assert len(held.kept["train"][0]) == 20
    columns["donor_group"] = [names[0] for names in donors]
    told = boxed_dataset(tmp_path / "told", origin="synthetic", columns=columns)
    held = hold_out({"train": [told], "pretrain": []}, 0.2)
    assert held.own is not None
    assert (len(held.own), held.groups) == (4, (5, 1))
    columns["donor_group"] = [
        [names[0], "toy:0/lesion5"] if n % 5 > 2 else names[:1] for n, names in enumerate(donors)
    ]
    several = boxed_dataset(tmp_path / "several", origin="synthetic", columns=columns)
    assert hold_out({"train": [several], "pretrain": []}, 0.2).groups == (4, 1)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_group_of_most_images_stays_in_training(tmp_path: Path, share: float) -> None:
    """Held out, it would leave a few images to train on."""
    groups = ["toy:0/many" if n < 16 else f"toy:0/single{n}" for n in range(20)]
    columns = {"split": "train", "donor_group": groups}
    data = boxed_dataset(tmp_path / "toy", origin="synthetic", columns=columns)
    held = hold_out({"train": [data], "pretrain": []}, share)
    assert held.own is not None
    assert held.own.subjects().isdisjoint(held.kept["train"][0].items["donor_group"])
    assert len(held.kept["train"][0]) == 20 - held.groups[1] >= 16


def test_data_without_boxes_are_refused(tmp_path: Path) -> None:
    """The message tells which boxes there are."""
    data = boxed_dataset(tmp_path / "toy")
    with pytest.raises(DataError, match=r"boxes are named Nodule\. Name these under `labels`"):
        run(evaluation(labels=["Mass"]), {"toy": data}, tmp_path / "a")
    empty = boxed_dataset(tmp_path / "empty", normal=1.0, seed=3)
    arms = {"real": {"train": ["empty"]}}
    with pytest.raises(DataError, match="none of the 9 images has boxes"):
        run(evaluation(arms=arms), {"toy": data, "empty": empty}, tmp_path / "b")


def test_masks_of_other_labels_do_not_keep_boxes_apart(toy_dataset: Any) -> None:
    """A detector reads no masks, so their label tables need not agree."""
    one, two = toy_dataset("one"), toy_dataset("two", labels=2)
    with pytest.raises(DataError, match="has labels"):
        Pool([one, two])
    assert Pool([one, two], mask_channels=()).item(0).masks is None


def test_pretraining_takes_half_of_the_budget(tmp_path: Path) -> None:
    """Both stages train; the anchors are those of the second."""
    data, other = boxed_dataset(tmp_path / "toy"), boxed_dataset(tmp_path / "other", seed=5)
    arms = {"real": {"train": ["toy"], "pretrain": ["other"], "augment": True}}
    run(evaluation(arms=arms), {"toy": data, "other": other}, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert facts["steps"] == {"pretrain": 2, "train": 2}
    assert len(facts["judge_options"]["anchors"]) == 2


class BrightestJudge(DetectorJudge):
    """Options of a toy detector."""

    arch: Literal["brightest"]
    side: float = 8.0


class Brightest(Detector):
    """Marks a square around the brightest place of a filtered image."""

    arch = "brightest"
    phases = ("net",)
    sampling_modules = ("net",)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.net = torch.nn.Conv2d(self.image_shape[0], 1, 5, padding=2)

    def training_step(self, batch: dict[str, torch.Tensor], phase: str) -> dict[str, torch.Tensor]:
        highest = self.net(batch["image"]).amax(dim=(1, 2, 3))
        wanted = (batch["count"] > 0).float()
        return {"found": torch.nn.functional.binary_cross_entropy_with_logits(highest, wanted)}

    def configure_optimizer(self, phase: str, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, 0.01)

    def detect(self, images: torch.Tensor) -> list[Marks]:
        found = []
        for answer in torch.sigmoid(self.net(images))[:, 0]:
            y, x = divmod(int(answer.argmax()), answer.shape[1])
            half = self.options.side / 2
            box = np.array([[x - half, y - half, x + half, y + half]]).clip(0, self.size)
            found.append(Marks(box, np.array([float(answer.max())])))
        return found


@pytest.fixture
def brightest(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy detector, registered as the documentation says."""
    with monkeypatch.context() as patch:
        patch.setitem(DETECTORS, "brightest", f"{__name__}:Brightest")
        patch.setitem(DETECTOR_JUDGES, "brightest", BrightestJudge)
        for model in (DetectionEvaluation, Config):
            model.model_rebuild(force=True)
        yield
    for model in (DetectionEvaluation, Config):
        model.model_rebuild(force=True)


def test_registries_of_detectors_and_of_their_options_agree() -> None:
    """A name in one of them alone could be asked for and not be had."""
    assert DETECTORS.keys() == DETECTOR_JUDGES.keys()


@pytest.mark.usefixtures("brightest")
def test_another_detector_is_two_classes_and_two_lines(tmp_path: Path) -> None:
    """It is validated, trained and described as the first one, which stays the default."""
    data = boxed_dataset(tmp_path / "toy")
    config = evaluation(judge={"arch": "brightest", "side": 7}, own_share=0)
    found = run(config, {"toy": data}, tmp_path / "out")
    assert "cpm" in set(found["metric"])
    facts = json.loads((tmp_path / "out" / "details" / "arm.json").read_text())
    assert (facts["judge"], facts["judge_options"]) == ("brightest", {"arch": "brightest", "side": 7.0})
    sides = read_tables(tmp_path / "out" / "details").marks[["x0", "x1"]].diff(axis=1)["x1"]
    assert sides.max() == 7
    done = Finished(config, [tmp_path / "out"])
    summary = pd.DataFrame(columns=["evaluation", "metric", "arm", "kind", "n_seeds", "label"])
    text = _protocol("nodules", done, summary)
    assert "One detector, brightest, was trained" in text
    assert "RetinaNet" not in text
    assert evaluation().judge == RetinaNetJudge.model_validate(TINY)


@pytest.mark.usefixtures("brightest")
@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"arch": "brightest", "sied": 7}, r"evaluations\.nodules\.judge\.sied: .*did you mean 'side'"),
        ({"widht": 8}, r"evaluations\.nodules\.judge\.widht: .*did you mean 'width'"),
        ({"arch": "yolo"}, r"evaluations\.nodules\.judge: .*'retinanet', 'brightest'"),
    ],
)
def test_a_mistake_in_a_detectors_options_is_named(judge: dict[str, Any], message: str) -> None:
    """The key in the file, without the architecture's name in between, and the nearest of its own keys."""
    folder = Path(__file__).parents[2] / "config"
    mine = {"evaluator": "detection", "test": "chest_boxed", "arms": {"real": {"train": ["chest_boxed"]}}}
    with pytest.raises(ConfigError, match=message):
        load_config({"run": ["chest"], "evaluations": {"nodules": {**mine, "judge": judge}}}, folder)
