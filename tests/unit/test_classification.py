"""Imbalanced classification: classes, folds and nested subsets, rivals, leaks, figures, one whole run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from sklearn import metrics as sklearn_metrics

from conftest import write_dataset
from mirage import evaluate
from mirage.config.base import Runtime
from mirage.config.classifiers import ClassifierOptions, OversamplingOptions
from mirage.config.criteria import Criterion
from mirage.config.evaluations import ClassificationEvaluation, StudyConfig
from mirage.config.folds import Fold, Folds
from mirage.config.generators import Augment, DCGANConfig
from mirage.config.model import Config
from mirage.config.slices import train_slice
from mirage.data import Dataset
from mirage.data.criteria import known, matching, meets
from mirage.data.folds import in_fold, split_groups
from mirage.data.manifest import write_manifest
from mirage.errors import DataError, LeakError, TimeBudgetReached
from mirage.evaluate.cases import Cases, order, sides_of, training_set
from mirage.evaluate.classification import figures, training_cases
from mirage.evaluate.classifier import Classifier, build
from mirage.evaluate.oversampling import oversample
from mirage.evaluate.statistics import bootstrap_interval, delong_difference, hanley_mcneil, positives_needed
from mirage.generators.base import ImageSpec
from mirage.generators.fit import chosen
from mirage.graph import Graph
from mirage.metrics import classification as scores
from mirage.report import Finished, ReportInputs, build_report
from mirage.report.evaluators import classification as report
from mirage.report.evaluators.classification_scores import (
    Scored,
    area_difference,
    by_fold,
    curves,
    read_arm,
    resample,
)
from mirage.report.summary import pick, summarise

POSITIVE = {"attribute": "label", "values": ["positive"]}
SUBJECTS = 30
EACH = 4


def patches(
    folder: Path,
    *,
    origin: str = "simulated",
    lineage: tuple[str, ...] = (),
    subjects: int = SUBJECTS,
    seed: int = 0,
    size: int = 16,
    positive: float = 0.3,
) -> Dataset:
    """Patches of noise, four a patient; a share holds a bright disc and is labelled positive."""
    labels: list[str] = []

    def item(rng: np.random.Generator) -> tuple[np.ndarray, None]:
        grey = rng.normal(90, 12, (size, size))
        labels.append("positive" if rng.random() < positive else "negative")
        if labels[-1] == "positive":
            y, x = np.mgrid[:size, :size]
            cx, cy = rng.uniform(5, size - 5, 2)
            grey[(x - cx) ** 2 + (y - cy) ** 2 <= 9] += 70
        return np.clip(grey, 0, 255).astype(np.uint8)[None], None

    data = write_dataset(
        folder,
        item,
        splits={"train": subjects * EACH},
        shards=1,
        seed=seed,
        origin=origin,
        mask_origin=None,
        modality="toy patches",
        image_shape=(1, size, size),
        image_dtype="uint8",
        channel_names=["grey"],
        mask_channels=[],
        labels={},
        lineage=list(lineage),
    )
    table = pq.read_table(folder / "manifest.parquet")
    names = [f"p{row // EACH:02d}" for row in range(table.num_rows)]
    splits = [
        ("test", "val", "train", "train", "train", "train")[row // EACH % 6] for row in range(len(names))
    ]
    for name, values in (("subject_id", names), ("split", splits if origin != "synthetic" else None)):
        if values is not None:
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
    write_manifest(folder / "manifest.parquet", table.append_column("label", pa.array(labels)))
    return Dataset(data.folder)


def synthetic(folder: Path, learnt: set[str] | tuple[str, ...] = (), count: int = 12) -> Dataset:
    """Synthetic positives of generators that have learnt from some subjects."""
    return patches(
        folder, origin="synthetic", lineage=tuple(sorted(learnt)), subjects=count, seed=7, positive=1.0
    )


def evaluation(**keys: Any) -> ClassificationEvaluation:
    """A tiny evaluation of ``real``."""
    given = {
        "evaluator": "classification",
        "test": "real",
        "arms": {"org": {"train": ["real"]}},
        "baseline": "org",
        "positive": POSITIVE,
        "positives": [3, 6],
        "ratio": 2,
        "steps": 3,
        "batch_size": 8,
        "seeds": [0],
        "judge": {"width": 2, "stages": 2},
    }
    return ClassificationEvaluation.model_validate({**given, **keys})


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_items_are_told_by_attribute_or_by_box(tmp_path: Path) -> None:
    """One of several values meets, numbers as text, nothing known is in no class, odd names are refused."""
    data = patches(tmp_path / "real", subjects=2)
    kinds = ["mass|calcification", "Mass", None, "other", "other", "other", "other", "other"]
    boxes: list[Any] = [[{"label": "Nodule"}]] + [[]] * 7
    data.items = data.items.assign(kind=kinds, grade=[1.0, 2.0, np.nan, 1.0, 1.0, 1.0, 1.0, 1.0], boxes=boxes)
    mass = Criterion(attribute="kind", values=["mass"])
    assert meets(data, mass).tolist() == [True, True] + [False] * 6
    assert known(data, mass).tolist() == [True, True, False] + [True] * 5
    assert meets(data, Criterion.model_validate({"attribute": "grade", "values": [2]})).sum() == 1
    assert meets(data, Criterion(boxes=["Nodule"])).tolist() == [True] + [False] * 7
    assert len(matching(data, mass)) == 2
    with pytest.raises(DataError, match="none of the 8 items has kind asymmetry; there are values"):
        meets(data, Criterion(attribute="kind", values=["asymmetry"]))
    with pytest.raises(DataError, match="no attribute 'sort' in its manifest"):
        meets(data, Criterion(attribute="sort", values=["a"]))
    with pytest.raises(ValidationError, match="name items in one way"):
        Criterion(attribute="kind")


def test_every_subject_is_tested_in_one_fold_and_on_one_side_of_each(tmp_path: Path) -> None:
    """Three folds test on each patient once and keep 60, 6.7 and 33.3 % apart, by patient."""
    data = patches(tmp_path / "real")
    folds = Folds(count=3)
    tested: list[str] = []
    for index in range(3):
        view = in_fold(data, folds.at(index))
        sides = {split: view.select(split).subjects() for split in ("train", "val", "test")}
        assert {split: len(found) for split, found in sides.items()} == {"train": 18, "val": 2, "test": 10}
        assert (
            not sides["train"] & sides["test"] | sides["train"] & sides["val"] | sides["val"] & sides["test"]
        )
        assert len(view) == len(data)
        tested += sorted(sides["test"])
    assert sorted(tested) == sorted(data.subjects())
    assert set(data.select("test").subjects()) != sides["test"]
    names = [f"s{number}" for number in range(10)]
    assert split_groups(names, folds, 0) == split_groups(names, Folds(count=3), 0)
    assert split_groups(names, folds, 0) != split_groups(names, Folds(count=3, seed=1), 0)
    with pytest.raises(ValueError, match="cannot be cut into 3 folds"):
        split_groups(names[:2], folds, 2)


def test_patients_with_the_same_image_stay_in_one_fold(tmp_path: Path) -> None:
    """Two patients that share an exact duplicate are never on two sides."""
    data = patches(tmp_path / "real")
    hashes = data.items["content_hash"].to_numpy(copy=True)
    hashes[4 * EACH] = hashes[20 * EACH]
    data.items = data.items.assign(content_hash=hashes)
    for index in range(3):
        view = in_fold(data, Fold(count=3, index=index))
        sides = view.items.groupby("subject_id")["split"].unique()
        assert sides["p04"].tolist() == sides["p20"].tolist()


def test_subsets_are_nested_by_patient(tmp_path: Path) -> None:
    """A smaller k lies inside a larger one in both classes, and takes whole patients before new ones."""
    config = evaluation(positives=[2, 5, 9, 14])
    sides = sides_of(config, "org", {"real": patches(tmp_path / "real")}, None)
    sets = {k: training_set(config, sides, k) for k in config.positives}
    for smaller, larger in pairwise(config.positives):
        for wanted in (True, False):
            few, many = (
                set(real.items["item_id"][positive == wanted])
                for real, positive, _ in (sets[smaller], sets[larger])
            )
            assert len(few) == (smaller if wanted else 2 * smaller)
            assert few < many
    ordered = sides.train.items["subject_id"].to_numpy()[order(sides.train, 0)]
    assert len(set(ordered)) == 1 + sum(a != b for a, b in pairwise(ordered))
    assert order(sides.train, 0).tolist() != order(sides.train, 1).tolist()


@pytest.mark.parametrize(("reading", "added"), [("fake_per_real", 9), ("total_per_real", 3)])
def test_augmentation_ratio_in_both_readings(reading: str, added: int, tmp_path: Path) -> None:
    """1.5 adds 1.5 k positives, or so many that there are 1.5 k; oversampling adds as many as synthesis."""
    arms = {
        "org": {"train": ["real"]},
        "gan": {"train": ["real", "fakes"]},
        "smote": {"train": ["real"], "balance": "smote"},
        "copies": {"train": ["real"], "balance": "jitter"},
    }
    config = evaluation(arms=arms, ar_definition=reading)
    datasets = {"real": patches(tmp_path / "real"), "fakes": synthetic(tmp_path / "fakes")}
    counted = {}
    for arm in arms:
        sides = sides_of(config, arm, datasets, None)
        cases = training_cases(config, arm, sides, 6, seed=0)
        counted[arm] = int(cases.positive.sum())
        assert int((~cases.positive).sum()) == 12
        assert len(cases) == len(cases.positive) == counted[arm] + 12
        assert cases.item(len(cases) - 1).image.shape == (1, 16, 16)
    assert counted == {"org": 6, "gan": 6 + added, "smote": 6 + added, "copies": 6 + added}


def test_smote_lies_between_training_positives(tmp_path: Path) -> None:
    """Every image is a point between two training positives, and none of a held-out one."""
    sides = sides_of(evaluation(), "org", {"real": patches(tmp_path / "real")}, None)
    real, positive, _ = training_set(evaluation(), sides, 6)
    options = OversamplingOptions(space="pixels", neighbours=3)
    made = oversample("smote", real, positive, 10, options, seed=1).reshape(10, -1).astype(float)
    ends = np.stack([real.image(int(row)).reshape(-1) for row in np.flatnonzero(positive)]).astype(float)
    for image in made:
        reach = []
        for a in range(len(ends)):
            for b in range(a):
                along = ends[b] - ends[a]
                share = np.clip((image - ends[a]) @ along / (along @ along), 0, 1)
                reach.append(np.abs(image - ends[a] - share * along).max())
        assert min(reach) <= 0.6  # rounded to the stored type
    again = oversample("smote", real, positive, 10, options, seed=1)
    assert np.array_equal(again.reshape(10, -1), made)
    other = oversample("smote", real, positive, 10, options, seed=2)
    assert not np.array_equal(other, again)


@pytest.mark.parametrize("kind", ["smote", "borderline_smote", "adasyn"])
def test_interpolation_between_components(kind: Any, tmp_path: Path) -> None:
    """In principal components images are in the stored type and range; where no positive is at the border,
    the methods that start from there say so."""
    data = patches(tmp_path / "real", subjects=12, positive=0.5)
    mixed = np.arange(len(data)) % 3 == 0
    made = oversample(kind, data, mixed, 5, OversamplingOptions(components=4), seed=0)
    assert made.shape == (5, 1, 16, 16)
    assert made.dtype == np.uint8
    assert 60 < made.mean() < 150


@pytest.mark.parametrize("kind", ["borderline_smote", "adasyn"])
def test_positives_far_from_negatives_have_no_border(kind: Any, tmp_path: Path) -> None:
    data = patches(tmp_path / "real", subjects=6)
    apart = np.arange(len(data)) < 12
    pixels = {
        row: np.full((1, 16, 16), 240 if apart[row] else 10, np.uint8) + data.image(row) // 16
        for row in range(24)
    }
    shown = Cases(data.of_items(set()), np.zeros(0, np.bool_), np.stack(list(pixels.values())))
    with pytest.raises(DataError, match=r"balance: smote|makes nothing of"):
        oversample(kind, shown, apart, 5, OversamplingOptions(components=4, neighbours=3), seed=0)


def test_jitter_copies_every_positive_before_one_twice(tmp_path: Path) -> None:
    """Without any change the copies are the positives themselves."""
    data = patches(tmp_path / "real")
    positive = meets(data, Criterion.model_validate(POSITIVE))
    still = OversamplingOptions(jitter=Augment())
    count = int(positive.sum())
    made = oversample("jitter", data, positive, count, still, seed=0)
    own = {data.image(int(row)).tobytes() for row in np.flatnonzero(positive)}
    assert {image.tobytes() for image in made} == own
    moved = oversample("jitter", data, positive, 3, OversamplingOptions(), seed=0)
    assert not {image.tobytes() for image in moved} & own


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_leak_is_refused(split: Any, tmp_path: Path) -> None:
    """Synthetic positives of a generator that knows a fold's test or validation patients are refused."""
    real = patches(tmp_path / "real")
    config = evaluation(arms={"org": {"train": ["real"]}, "gan": {"train": ["real", "fakes"]}}, folds=3)
    view = in_fold(real, Fold(count=3, index=1))
    leaking = synthetic(tmp_path / "leaking", view.select(split).subjects())
    with pytest.raises(LeakError, match="test subjects"):
        sides_of(config, "gan", {"real": real, "fakes": leaking}, 1)
    clean = synthetic(tmp_path / "clean", view.select("train").subjects())
    assert sides_of(config, "gan", {"real": real, "fakes": clean}, 1).added
    with pytest.raises(LeakError, match="has learnt from test subjects"):
        sides_of(config, "gan", {"real": real, "fakes": clean}, 0)
    other = patches(tmp_path / "other", seed=9)
    with pytest.raises(LeakError, match="not synthetic"):
        sides_of(config, "gan", {"real": real, "fakes": other}, 0)


def test_too_few_images_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    """A k beyond the training positives, few synthetic positives, a class that is missing."""
    real = patches(tmp_path / "real")
    with pytest.raises(DataError, match="k = 500 needs 500 training positives in arm 'org', there are"):
        sides_of(evaluation(positives=[3, 500]), "org", {"real": real}, None)
    arms = {"org": {"train": ["real"]}, "gan": {"train": ["real", "fakes"]}}
    few = synthetic(tmp_path / "few", count=1)
    with pytest.raises(DataError, match="needs 9 training synthetic positives in arm 'gan', there are 4"):
        sides_of(evaluation(arms=arms), "gan", {"real": real, "fakes": few}, None)
    with pytest.raises(DataError, match="and negative at once"):
        sides_of(
            evaluation(negative={"attribute": "origin", "values": ["simulated"]}), "org", {"real": real}, None
        )
    test = real.items["split"] == "test"
    real.items = real.items[~(test & (real.items["label"] == "positive"))].reset_index(drop=True)
    with pytest.raises(DataError, match=r"the test split has 0 positives and .* give it more subjects"):
        sides_of(evaluation(), "org", {"real": real}, None)
    kept = set(real.items["subject_id"][real.items["label"] == "positive"].unique()[:1])
    few_sick = real.items["label"].eq("negative") | real.items["subject_id"].isin(kept)
    real.items = real.items[few_sick].reset_index(drop=True)
    with pytest.raises(DataError, match=r", fold \d: the (val|test) split has 0 .* larger `folds.val`"):
        [sides_of(evaluation(folds=3, positives=[2]), "org", {"real": real}, fold) for fold in range(3)]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"arms": {"org": {"train": ["fakes"]}}}, "must name 'real', which is tested"),
        ({"arms": {"org": {"train": [{"data": "real", "images": 5}]}}}, "leave out `images`"),
        ({"arms": {"org": {"train": ["real", "fakes"], "balance": "smote"}}}, "an arm of its own"),
        ({"positives": [5, 3]}, "must rise"),
        ({"folds": 1}, "greater than or equal to 2"),
        (
            {
                "arms": {"org": {"train": ["real", "fakes"]}},
                "augmentation_ratio": 1,
                "ar_definition": "total_per_real",
            },
            "adds no positive",
        ),
    ],
)
def test_odd_evaluations_are_refused(keys: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        evaluation(**keys)


def configured(**generator: Any) -> dict[str, Any]:
    """A configuration of one generator by fold, its recipe and a classification."""
    dataset = {
        "source": {"reader": "folder", "path": "raw", "images": "**/*.png", "table": "table.csv"},
        "prepare": {"size": 32},
    }
    gan = {"arch": "dcgan", "data": "real", "only": POSITIVE, "folds": 3, **generator}
    judged = evaluation(
        arms={"org": {"train": ["real"]}, "gan": {"train": ["real", "fakes"]}}, folds=3
    ).model_dump(mode="json", exclude_unset=True)
    return {
        "run": ["one"],
        "datasets": {"real": dataset},
        "generators": {"gan": {key: value for key, value in gan.items() if value is not None}},
        "recipes": {"fakes": {"recipe": "unconditional", "generator": "gan", "count": 60}},
        "evaluations": {"judged": judged},
        "studies": {"one": {"title": "T", "question": "Q", "evaluations": ["judged"]}},
    }


def test_a_fold_is_part_of_the_graph() -> None:
    """Three generators, three recipes, an arm that reads all of them, each in its own fold."""
    config = Config.model_validate(configured())
    assert sorted(config.generators) == [f"gan-fold-{index}" for index in range(3)]
    assert sorted(config.recipes) == [f"fakes-fold-{index}" for index in range(3)]
    arm = config.evaluations["judged"].arms["gan"]
    assert [(part.data, part.fold) for part in arm.train] == [
        ("real", None),
        *((f"fakes-fold-{index}", index) for index in range(3)),
    ]
    graph = Graph(config)
    manifests = graph.arm_manifests("judged", "gan")
    assert [f"results/synthetic/fakes-fold-{index}/manifest.parquet" for index in range(3)] == manifests[1:]
    assert len(graph.report_plan("one")["models"]) == 3
    slices = [train_slice(config, name) for name in config.generators]
    assert slices[0] != slices[1]


@pytest.mark.parametrize(
    ("generator", "told"),
    [
        ({"folds": None}, "knows subjects that are tested on; write `folds: 3`"),
        ({"folds": {"count": 3, "seed": 1}}, "has not learnt from the training subjects of one fold alone"),
        ({"folds": {"count": 3, "val": 0.2}}, "has not learnt from the training subjects of one fold alone"),
        ({"folds": 4}, "has not learnt from the training subjects of one fold alone"),
        ({"only": None}, "write the positives' criterion as its `only`"),
    ],
)
def test_a_generator_that_knows_test_subjects_is_refused_at_parse_time(
    generator: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        Config.model_validate(configured(**generator))


def test_what_is_fitted_on_other_folds_test_subjects_is_refused() -> None:
    """An encoder that chooses a fold's weights, and a normaliser of grey values."""
    raw = configured(training={"frechet": {"encoder": "pixpca"}})
    raw["encoders"] = {name: {"encoder": name} for name in ("pixpca", "randconv")}
    with pytest.raises(ValidationError, match="'pixpca' is fitted on the training split"):
        Config.model_validate(raw)
    raw["generators"]["gan"]["training"] = {"frechet": {"encoder": "randconv"}}
    assert Config.model_validate(raw).generators["gan-fold-1"].choosing_encoder == "randconv"
    raw["datasets"]["real"]["prepare"]["normalise"] = {"method": "nyul"}
    with pytest.raises(ValidationError, match=r"evaluations.judged.folds: the grey values of 'real'"):
        Config.model_validate(raw)
    raw["datasets"]["real"]["prepare"]["normalise"] = {"method": "percentile"}
    assert Config.model_validate(raw)


def test_images_by_fold_are_not_for_an_evaluation_without_folds() -> None:
    raw = configured()
    del raw["evaluations"]["judged"]["folds"]
    with pytest.raises(ValidationError, match="the evaluation has no `folds`"):
        Config.model_validate(raw)
    raw = configured()
    raw["recipes"]["fakes-fold-1"] = raw["recipes"]["fakes"]
    with pytest.raises(ValidationError, match="has this name too"):
        Config.model_validate(raw)


def test_a_generator_sees_positives_of_its_folds_training_patients_alone(tmp_path: Path) -> None:
    data = patches(tmp_path / "real")
    entry = DCGANConfig.model_validate(
        {"arch": "dcgan", "data": "real", "only": POSITIVE, "fold": {"count": 3, "index": 2}}
    )
    training = chosen(data, entry).training_part(entry)
    held = in_fold(data, Fold(count=3, index=2))
    assert set(training.items["label"]) == {"positive"}
    assert training.subjects() <= held.select("train").subjects()
    assert not training.learnt_from() & (held.select("test").subjects() | held.select("val").subjects())


def scored(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes and scores with ties."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    return truth, np.round(np.clip(0.3 * truth + 0.5 * rng.random(n), 0, 1), 2)


def test_figures_agree_with_scikit_learn() -> None:
    """Ties included; weights count images as often as repeating them does."""
    truth, score = scored()
    found = figures(truth, score, 0.4)
    assert found["image_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, score >= 0.4))
    assert found["image_f1_half"] == pytest.approx(sklearn_metrics.f1_score(truth, score >= 0.5))
    assert found["image_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, score))
    expected = sklearn_metrics.average_precision_score(truth, score)
    assert found["average_precision"] == pytest.approx(expected)
    assert found["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(truth, score))
    weights = np.random.default_rng(1).integers(0, 3, (5, len(truth))).astype(float)
    for row, times in enumerate(weights.astype(int)):
        repeated = np.repeat(truth, times), np.repeat(score, times)
        for figure in (scores.roc_auc, scores.average_precision, scores.brier, scores.calibration_error):
            assert figure(truth, score, weights)[row] == pytest.approx(figure(*repeated)[0])


def test_threshold_is_the_best_of_all() -> None:
    truth, score = scored()
    limit = scores.best_threshold(truth, score)
    tried = [sklearn_metrics.f1_score(truth, score >= level) for level in np.linspace(0, 1, 101)]
    assert sklearn_metrics.f1_score(truth, score >= limit) == pytest.approx(max(tried))
    assert scores.best_threshold(np.array([True, False]), np.array([0.9, 0.3])) == pytest.approx(0.6)
    for low in (
        0.5,
        np.nextafter(0.5, 1),
        1 - 2**-53,
    ):  # nothing lies between
        sure = np.array([np.nextafter(low, 2), low])
        limit = scores.best_threshold(np.array([True, False]), sure)
        assert (sure >= limit).tolist() == [True, False]
    with pytest.raises(ValueError, match="no positive"):
        scores.best_threshold(np.zeros(2, bool), np.array([0.1, 0.2]))


def test_calibration_error_by_hand() -> None:
    """Half of the images are told 0.9 and right in half of the cases: 0.4; the others are sure and right."""
    truth = np.array([True, False, False, False])
    assert scores.calibration_error(truth, np.array([0.9, 0.9, 0.0, 0.0]))[0] == pytest.approx(0.2)


def test_published_areas_cannot_be_told_apart() -> None:
    """Standard error of the published table and the positives it would take (Hanley and McNeil)."""
    assert hanley_mcneil(0.999, 433, 4333) == pytest.approx(0.0011, abs=5e-5)
    assert positives_needed(0.999, 5e-4, 10) == pytest.approx(15_000, rel=0.06)
    assert positives_needed(0.999, 5e-4, 10, correlation=0) == pytest.approx(31_355, rel=0.01)


def test_losses_against_imbalance() -> None:
    """Class weights make a missed positive dear; focal loss makes sure images cheap."""
    spec = ImageSpec((1, 16, 16), "uint8", (0.0, 255.0), ["grey"], [], {}, "toy", None)
    options = ClassifierOptions(width=2, stages=2, dropout=0.0)
    batch = {"input": torch.zeros(2, 1, 16, 16), "target": torch.tensor([1.0, 0.0])}
    plain = build(options, spec, "none", 9.0, seed=0)
    values = {}
    for balance in ("none", "class_weights", "focal"):
        one = build(options, spec, balance, 9.0, seed=0)
        one.load_state_dict(plain.state_dict())
        one.eval()
        values[balance] = sum(loss.item() for loss in one.training_step(batch, "net").values())
    logit = plain.eval().net(batch["input"])[0].item()
    positive, negative = np.log1p(np.exp(-logit)), np.log1p(np.exp(logit))
    assert values["none"] == pytest.approx((positive + negative) / 2, rel=1e-5)
    assert values["class_weights"] == pytest.approx((9 * positive + negative) / 2, rel=1e-5)
    focal = 0.75 * (1 - np.exp(-positive)) ** 2 * positive + 0.25 * (1 - np.exp(-negative)) ** 2 * negative
    assert values["focal"] == pytest.approx(focal / 2, rel=1e-5)


@pytest.mark.parametrize("arch", ["cnn", "resnet18"])
def test_a_score_does_not_depend_on_its_batch(
    arch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = patches(tmp_path / "real", subjects=2)
    cases = Cases(data, meets(data, Criterion.model_validate(POSITIVE)))
    classifier = build(ClassifierOptions(arch=arch, width=2, stages=2), ImageSpec.of(data.info), "none", 1, 0)
    whole = classifier.scores(cases)
    monkeypatch.setattr(classifier, "chunk", 3)
    assert np.allclose(classifier.scores(cases), whole, atol=1e-6)
    assert ((whole > 0) & (whole < 1)).all()
    assert 0 <= classifier.validation_metric(cases, cases)[Classifier.metric_name] <= 1
    assert classifier.preview([cases.item(0)]).shape == (1, 1, 16, 16, 3)
    with pytest.raises(ValueError, match="at most 4"):
        ClassifierOptions(stages=5).check_size(16)


def run_all(config: ClassificationEvaluation, datasets: dict[str, Dataset], out: Path) -> list[Path]:
    """Run every arm with every seed."""
    folders = []
    for arm in config.arms:
        for seed in config.seeds:
            folder = out / arm / f"seed-{seed}"
            runtime = Runtime(accelerator="cpu")
            evaluate.run_arm(config, "judged", arm, seed, datasets, folder, folder / "state", runtime)
            folders.append(folder)
    return folders


def test_a_study_by_fold_from_training_to_report(tmp_path: Path) -> None:
    """Four modes and a rival over three folds; figures trace to scores; the page says what is not apart."""
    real = patches(tmp_path / "real")
    datasets = {"real": real}
    added = []
    for index in range(3):
        learnt = in_fold(real, Fold(count=3, index=index)).select("train").subjects()
        datasets[f"fakes-fold-{index}"] = synthetic(tmp_path / f"fakes-fold-{index}", learnt)
        added.append({"data": f"fakes-fold-{index}", "fold": index})
    arms = {
        "org": {"train": ["real"]},
        "aug_org": {"train": ["real"], "augment": True},
        "gan": {"train": ["real", *added]},
        "aug_gan": {"train": ["real", *added], "augment": True},
        "smote": {"train": ["real"], "balance": "smote"},
    }
    config = evaluation(arms=arms, folds=3, positives=[3, 6])
    folders = run_all(config, datasets, tmp_path / "judged")
    table = pd.read_parquet(folders[2] / "details/scores.parquet")
    assert set(table["fold"]) == {0, 1, 2}
    tested = table[(table["split"] == "test") & (table["k"] == 3)]
    assert not tested["item_id"].duplicated().any()
    rows = pd.read_parquet(folders[2] / "metrics.parquet")
    own = rows[(rows["fold"] == 1) & (rows["label"] == "k=6")].set_index("metric")["value"]
    part = table[(table["fold"] == 1) & (table["k"] == 6) & (table["split"] == "test")]
    expected = sklearn_metrics.roc_auc_score(part["positive"], part["score"])
    assert own["image_auc"] == pytest.approx(expected)
    inputs = ReportInputs(
        {"judged": Finished(config, folders)}, {name: data.folder for name, data in datasets.items()}
    )
    summary = summarise(inputs)
    pooled = pick(summary, "judged", metric="image_f1/k=3", arm="gan")
    assert 0 <= pooled["low"].iat[0] <= pooled["estimate"].iat[0] <= pooled["high"].iat[0] <= 1
    assert int(pooled["n_subjects"].iat[0]) == real.items["subject_id"].nunique()
    (verdict,) = report.verdicts(inputs.evaluations, set(datasets) - {"real"}, summary)
    assert verdict.word in ("pass", "fail", "inconclusive")
    study = StudyConfig(title="T", question="Q", evaluations=["judged"])
    build_report(study, "t", inputs, tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    shown = {"curves", "results", "forest", "added", "areas", "metrics"}
    assert {f"{id}/judged" for id in shown} <= set(re.findall(r"[a-z_]+/judged", text))
    assert report.SAME in text
    assert "Cross-validation by patient in 3 folds; the generator of a fold, too" in text
    assert "corrected t" in text


def test_a_stopped_job_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Without time left the job says so, and a second one ends it with the same scores as one in a go."""
    datasets = {"real": patches(tmp_path / "real")}
    config = evaluation(steps=4)
    runtime = Runtime(accelerator="cpu")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    evaluate.run_arm(config, "judged", "org", 0, datasets, whole, whole / "state", runtime)
    with pytest.raises(TimeBudgetReached):
        evaluate.run_arm(config, "judged", "org", 0, datasets, parts, parts / "state", runtime, minutes=0.0)
    assert not (parts / "metrics.parquet").exists()
    evaluate.run_arm(config, "judged", "org", 0, datasets, parts, parts / "state", runtime)
    tables = [pd.read_parquet(folder / "details/scores.parquet") for folder in (whole, parts)]
    pd.testing.assert_frame_equal(*tables)


def test_areas_of_one_image_a_patient_have_delongs_interval(tmp_path: Path) -> None:
    """With one seed and no folds it is DeLong's difference; resampled patients agree on the figures."""
    config = evaluation(
        arms={"org": {"train": ["real"]}, "weighted": {"train": ["real"], "balance": "class_weights"}}
    )
    folders = run_all(config, {"real": patches(tmp_path / "real")}, tmp_path / "judged")
    first, second = (read_arm({0: folder}) for folder in folders)
    found = area_difference(second, first, 6)
    sides = [(own[0][-1, 6].score, own[0][-1, 6].positive) for own in (second, first)]
    expected = delong_difference(*(side for score, truth in sides for side in (score[truth], score[~truth])))
    assert found == pytest.approx(expected)
    estimate = resample(second, draws=20).estimate
    assert estimate["image_auc/k=6"] == pytest.approx(sklearn_metrics.roc_auc_score(sides[0][1], sides[0][0]))
    assert estimate["image_auc"] == pytest.approx((estimate["image_auc/k=3"] + estimate["image_auc/k=6"]) / 2)


def of_seeds(seeds: int, shift: float, luck: float) -> dict[int, dict[tuple[int, int], Scored]]:
    """An arm of three folds of 40 images, one a patient, whose seeds differ by ``luck`` in what they find."""
    arm: dict[int, dict[tuple[int, int], Scored]] = {}
    for seed in range(seeds):
        arm[seed] = {}
        for fold in range(3):
            rng = np.random.default_rng(fold)
            positive = np.arange(40) < 20
            found = rng.normal(0, 1, 40) + (shift + luck * (seed - 1)) * positive
            names = np.array([f"f{fold}-{number:02d}" for number in range(40)])
            arm[seed][fold, 8] = Scored(names, names, positive, 1 / (1 + np.exp(-found)), 0.5)
    return arm


def test_more_seeds_are_no_more_folds() -> None:
    """The corrected t test has a difference a fold: seeds share its training and test images."""
    one = by_fold(of_seeds(1, 1.0, 0.0), of_seeds(1, 0.5, 0.0), "image_f1", 8)
    nine = by_fold(of_seeds(9, 1.0, 0.0), of_seeds(9, 0.5, 0.0), "image_f1", 8)
    assert len(one) == 3
    assert nine == pytest.approx(one)
    lucky = by_fold(of_seeds(3, 1.0, 0.5), of_seeds(3, 0.5, 0.0), "image_f1", 8)
    base = of_seeds(1, 0.5, 0.0)
    each = [by_fold({0: own}, base, "image_f1", 8) for own in of_seeds(3, 1.0, 0.5).values()]
    assert lucky == pytest.approx(np.mean(each, axis=0))


def test_seeds_that_disagree_widen_the_intervals() -> None:
    """Of three seeds a bootstrap sees two thirds of the variance; curves have the intervals of tables."""
    base, apart = resample(of_seeds(3, 0.5, 0.0)), resample(of_seeds(3, 0.8, 0.8))
    key = "image_auc/k=8"
    value, low, high = apart.difference(base, key)
    assert value == pytest.approx((apart.by_seed[key] - base.by_seed[key]).mean())
    plain = bootstrap_interval(value, apart.draws[key] - base.draws[key], apart.patients)
    assert high - low > 1.5 * (plain[1] - plain[0])
    table = curves({"apart": apart}, "image_f1", [8])
    ends = np.clip(apart.interval("image_f1/k=8"), 0, 1)
    assert (table["low"].item(), table["high"].item()) == pytest.approx(tuple(ends))
