"""Hits and figures of merit of free-response detection, against hand-computed cases and plain loops."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monai.metrics import compute_froc_curve_data, compute_froc_score

from mirage.errors import DataError
from mirage.evaluate.statistics.resampling import bootstrap_weights
from mirage.metrics import detection as scores
from mirage.metrics.average_precision import coco_scores
from mirage.metrics.detection import FreeResponse
from mirage.metrics.hits import NODE21, HitRule, match, overlaps

RJAFROC = {
    1: [0.76027, 0.840619, 0.817152, 0.815309, 0.827832],
    2: [0.642585, 0.704998, 0.751843, 0.772443, 0.683696],
}
"""wAFROC of RJafroc's dataset01 by modality, readers 1 to 5 (RJafroc 2.1.3)."""
RJAFROC_FILE = Path(os.environ.get("MIRAGE_RJAFROC", "../shared/data/rjafroc-dataset01.csv"))
INFINITE = -np.inf


def response(
    images: int,
    lesions: list[tuple[int, float]],
    false: list[tuple[int, float]],
) -> FreeResponse:
    """Free responses from (image, score) of lesions and of false positives."""
    return FreeResponse(
        images,
        np.array([image for image, _ in lesions], int),
        np.array([score for _, score in lesions], float),
        np.array([image for image, _ in false], int),
        np.array([score for _, score in false], float),
    )


def random_response(seed: int, levels: int = 6) -> FreeResponse:
    """Tied scores, unmarked lesions, clean normals, several marks an image."""
    rng = np.random.default_rng(seed)
    lesions = [
        (image, rng.choice([INFINITE, *range(levels)]))
        for image in range(8)
        for _ in range(rng.integers(1, 4))
    ]
    false = [(int(image), float(rng.integers(0, levels))) for image in rng.integers(0, 20, 25)]
    return response(20, lesions, false)


def psi(rival: float, lesion: float) -> float:
    """Chakraborty's comparison."""
    return 1.0 if rival < lesion else 0.5 if rival == lesion else 0.0


def test_overlap_of_boxes() -> None:
    """Half-open boxes: area is width times height, touching boxes share nothing."""
    a = np.array([[0.0, 0, 10, 10]])
    b = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]])
    assert overlaps(a, b)[0].tolist() == pytest.approx([1, 50 / 150, 0, 0.04])


@pytest.mark.parametrize(
    ("rule", "hits"),
    [
        (HitRule("iou", 0.2), [True, False, False]),
        (HitRule("iou", 0.1), [True, True, False]),
        (HitRule("centre_in_box"), [True, True, False]),
        (HitRule("centre_distance", 4.5), [True, True, False]),
        (HitRule("centre_distance", 2.0), [True, False, False]),
    ],
)
def test_hit_rules(rule: HitRule, hits: list[bool]) -> None:
    """Each rule on a close mark, a small mark off the centre, and a mark beside the lesion."""
    lesion = np.array([[10.0, 10, 20, 20]])
    marks = np.array([[11.0, 11, 21, 21], [16, 13, 20, 17], [21, 10, 31, 20]])
    found = [match(rule, mark[None], np.ones(1), lesion).outcome[0] == "hit" for mark in marks]
    assert found == hits


def test_an_overlap_of_just_the_limit_is_a_hit_except_for_node21() -> None:
    """NODE21 asks for more than 0.2, the plain rule for at least as much."""
    lesion, mark = np.array([[0.0, 0, 10, 1]]), np.array([[0.0, 0, 2, 1]])
    assert match(HitRule("iou", 0.2), mark, np.ones(1), lesion).outcome[0] == "hit"
    assert match(NODE21, mark, np.ones(1), lesion).outcome[0] == "false"


def test_greedy_matching_takes_each_lesion_once_and_extra_hits_as_told() -> None:
    """The higher mark takes the lesion; the lower one is ignored or false; another lesion is still free."""
    lesions = np.array([[0.0, 0, 10, 10], [8, 0, 18, 10]])
    marks = np.array([[1.0, 0, 11, 10], [0, 0, 10, 10], [40, 40, 50, 50], [7, 0, 17, 10]])
    values = np.array([0.9, 0.8, 0.7, 0.6])
    ignored = match(HitRule("iou", 0.2), marks, values, lesions)
    assert ignored.outcome.tolist() == ["hit", "ignored", "false", "hit"]
    assert ignored.lesion.tolist() == [0, 0, -1, 1]
    counted = match(HitRule("iou", 0.2, "false_positive"), marks, values, lesions)
    assert counted.outcome.tolist() == ["hit", "false", "false", "hit"]
    assert counted.lesion.tolist() == [0, -1, -1, 1]


@pytest.mark.parametrize("distinct", [1, 2, 3, 10])
def test_a_perfect_detector_scores_one_however_many_scores_it_gives(distinct: int) -> None:
    """Every figure but the false positives is 1 for one, few and many distinct scores."""
    lesions = [(image, 1.0 + image % distinct) for image in range(10)]
    data = response(20, lesions, [])
    for name in scores.FIGURES.keys() - {"false_positives"}:
        assert scores.FIGURES[name](data, None) == pytest.approx([1.0]), name
    assert scores.false_positives(data) == [0.0]
    false_too = response(20, lesions, [(15, 0.5)])
    assert scores.cpm(false_too) == scores.froc_mean(false_too) == scores.wafroc(false_too) == [1.0]


def test_the_helper_of_monai_loses_the_lowest_threshold() -> None:
    """A fault of theirs: a perfect detector of one distinct score gets 0, of two 0.5; ours gets 1."""
    for distinct, theirs in ((1, 0.0), (2, 0.5)):
        values = 1.0 + np.arange(10) % distinct
        curve = compute_froc_curve_data(np.array([]), values, num_targets=10, num_images=10)
        assert compute_froc_score(*curve) == pytest.approx(theirs)
        assert scores.froc_mean(response(10, [*enumerate(values)], [])) == [1.0]


def test_no_marks_score_as_a_reader_who_sees_nothing() -> None:
    """FROC 0; all ratings tied at minus infinity, so the areas are 0.5."""
    data = response(6, [(0, INFINITE), (1, INFINITE), (1, INFINITE)], [])
    for name in ("cpm", "froc_mean", "sensitivity", "false_positives"):
        assert scores.FIGURES[name](data, None) == [0.0], name
    for name in ("afroc", "afroc1", "wafroc", "wafroc1", "roc_auc"):
        assert scores.FIGURES[name](data, None) == [0.5], name
    assert scores.node21(data) == [0.375]


def test_froc_by_hand() -> None:
    """Four images, three lesions; two marks share a score and enter the curve together."""
    data = response(4, [(0, 0.9), (0, 0.5), (1, INFINITE)], [(2, 0.7), (3, 0.5), (0, 0.2)])
    curve = scores.froc(data)
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.7, 0.5, 0.2]
    assert curve.false_positives.tolist() == [0, 0, 0.25, 0.5, 0.75]
    assert curve.sensitivity.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert scores.sensitivity_at(data, [0.375])[0, 0] == pytest.approx(0.5)
    assert scores.sensitivity_at(data, [0.375], reached=True)[0, 0] == pytest.approx(1 / 3)
    assert scores.sensitivity_at(data, [0.5, 9.0])[0].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert scores.cpm(data) == pytest.approx([(1 / 3 + 1 / 3 + 5 * 2 / 3) / 7])
    assert scores.sensitivity(data) == pytest.approx([2 / 3])


def test_wafroc_by_hand() -> None:
    """Two normals rated 0.7 and nothing; one image of two lesions, one of a single unmarked one."""
    data = response(4, [(0, 0.9), (0, 0.5), (1, INFINITE)], [(2, 0.7), (0, 0.95)])
    # Lesion 0.9 beats both normals, 0.5 beats the clean one, the unmarked ties with the clean one.
    wins = [1.0, 0.5, 0.25]
    assert scores.afroc(data) == pytest.approx([sum(wins) / 3])
    assert scores.wafroc(data) == pytest.approx([((wins[0] + wins[1]) / 2 + wins[2]) / 2])
    # Against all four images, whose highest false marks are 0.95, none, 0.7, none.
    every = [3 / 4, 2 / 4, 1 / 4]
    assert scores.afroc1(data) == pytest.approx([sum(every) / 3])
    assert scores.wafroc1(data) == pytest.approx([((every[0] + every[1]) / 2 + every[2]) / 2])
    # Image scores 0.95 and none of the diseased, 0.7 and none of the normal ones.
    assert scores.roc_auc(data) == pytest.approx([(1 + 1 + 0 + 0.5) / 4])


@pytest.mark.parametrize("seed", range(5))
def test_areas_equal_plain_loops(seed: int) -> None:
    """The vectorised areas are the double sums of their definitions, ties and empty images included."""
    data = random_response(seed)
    normal = np.flatnonzero(~data.diseased)
    lesions = [*zip(data.lesion_image, data.lesion_score, strict=True)]
    diseased = sorted({image for image, _ in lesions})
    for among, plain, weighted in (
        (normal, scores.afroc, scores.wafroc),
        (np.arange(data.images), scores.afroc1, scores.wafroc1),
    ):
        wins = [psi(data.highest_false[i], z) for i, (_, z) in product(among, lesions)]
        assert plain(data)[0] == pytest.approx(np.mean(wins))
        by_image = [
            np.mean([psi(data.highest_false[i], z) for k, z in lesions if k == image])
            for i, image in product(among, diseased)
        ]
        assert weighted(data)[0] == pytest.approx(np.mean(by_image))
    images = [psi(data.image_score[i], data.image_score[k]) for i, k in product(normal, diseased)]
    assert scores.roc_auc(data)[0] == pytest.approx(np.mean(images))


@pytest.mark.parametrize("seed", range(3))
def test_froc_equals_counting_at_every_threshold(seed: int) -> None:
    """Each point of the curve is what counting marks from its score on gives."""
    data, curve = random_response(seed), scores.froc(random_response(seed))
    for threshold, x, y in zip(
        curve.threshold[1:], curve.false_positives[1:], curve.sensitivity[1:], strict=True
    ):
        assert x == pytest.approx((data.false_score >= threshold).sum() / data.images)
        assert y == pytest.approx((data.lesion_score >= threshold).mean())
    assert set(curve.threshold[1:]) == set(data.false_score) | set(
        data.lesion_score[data.lesion_score > INFINITE]
    )


@pytest.mark.parametrize("name", sorted(scores.FIGURES))
def test_monotone_changes_of_scores_change_nothing(name: str) -> None:
    """Only the order of scores counts."""
    data = random_response(7)
    changed = response(
        data.images,
        [
            (i, np.exp(z) if z > INFINITE else z)
            for i, z in zip(data.lesion_image, data.lesion_score, strict=True)
        ],
        [(i, np.exp(z)) for i, z in zip(data.false_image, data.false_score, strict=True)],
    )
    assert scores.FIGURES[name](data, None) == pytest.approx(scores.FIGURES[name](changed, None))


@pytest.mark.parametrize("name", sorted(scores.FIGURES))
def test_weights_are_repeated_images(name: str) -> None:
    """An image of weight 2 counts as two copies of it, one of weight 0 as absent."""
    data = random_response(3)
    times = np.random.default_rng(1).integers(0, 3, data.images)
    copies = [int(image) for image in np.repeat(np.arange(data.images), times)]
    lesions = [
        (new, z)
        for new, old in enumerate(copies)
        for k, z in zip(data.lesion_image, data.lesion_score, strict=True)
        if k == old
    ]
    false = [
        (new, z)
        for new, old in enumerate(copies)
        for k, z in zip(data.false_image, data.false_score, strict=True)
        if k == old
    ]
    repeated = response(len(copies), lesions, false)
    weighted = scores.FIGURES[name](data, times[None].astype(float))
    assert weighted == pytest.approx(scores.FIGURES[name](repeated, None))


def test_a_bootstrap_is_one_call_and_agrees_with_single_ones() -> None:
    """A thousand resamples of patients at once; rows are the figures of each resample alone."""
    data = random_response(5)
    weights = bootstrap_weights(np.random.default_rng(0), np.arange(data.images) // 2, 1000)
    for name, figure in scores.FIGURES.items():
        drawn = figure(data, weights)
        assert drawn.shape == (1000,), name
        assert drawn[17] == pytest.approx(figure(data, weights[17:18])[0], nan_ok=True)
    assert np.nanstd(scores.wafroc(data, weights)) > 0.01


def test_resamples_without_lesions_have_no_figure() -> None:
    """Weights that leave no lesion, or no normal image, give NaN and no number."""
    data = response(3, [(0, 0.5)], [(1, 0.7)])
    weights = np.array([[0.0, 1, 2], [1, 0, 0]])
    assert np.isnan(scores.cpm(data, weights)).tolist() == [True, False]
    assert np.isnan(scores.wafroc(data, weights)).tolist() == [True, True]


@pytest.mark.parametrize("name", sorted(scores.NEED_NORMALS))
def test_figures_that_need_normal_images_are_refused_without_any(name: str) -> None:
    """The message says what is missing and what else there is; wAFROC1 is given."""
    data = response(2, [(0, 0.9), (1, 0.1)], [(0, 0.5)])
    with pytest.raises(DataError, match="all 2 images of the test set have one; add normal images"):
        scores.FIGURES[name](data, None)
    assert scores.wafroc1(data) == pytest.approx([(1 + 0.5) / 2])


def test_nothing_to_find_is_an_error() -> None:
    """Without a lesion there is no sensitivity."""
    with pytest.raises(DataError, match="nothing to be found"):
        scores.froc(response(3, [], [(0, 0.5)]))
    with pytest.raises(DataError, match="image 5"):
        response(3, [(5, 0.5)], [])
    with pytest.raises(DataError, match="not a number"):
        response(3, [(1, np.nan)], [])


def test_coco_by_hand() -> None:
    """One lesion found exactly, one at IoU 0.6, a false mark between them, and a lesion that is missed."""
    lesions = [np.array([[0.0, 0, 10, 10]]), np.array([[20.0, 20, 30, 30], [50, 50, 60, 60]])]
    marks = [np.array([[0.0, 0, 10, 10], [80, 80, 90, 90]]), np.array([[20.0, 20, 30, 26]])]
    values = [np.array([0.9, 0.8]), np.array([0.7])]
    found = coco_scores(marks, values, lesions)
    # Precision 1 up to recall 1/3 (34 of 101 points), 2/3 up to recall 2/3 (33 more).
    half = (34 + 33 * 2 / 3) / 101
    assert found["ap50"] == pytest.approx(half)
    assert found["ap20"] == pytest.approx(half)
    # IoU 0.6 passes at 0.50, 0.55 and 0.60, not from 0.65 on.
    assert found["map"] == pytest.approx((3 * half + 7 * 34 / 101) / 10)
    assert found["ar100"] == pytest.approx((3 * 2 / 3 + 7 / 3) / 10)


def test_coco_of_no_marks_and_of_none_to_find() -> None:
    """No marks score 0; without lesions there is no average precision."""
    nothing = [np.empty((0, 4))]
    assert coco_scores(nothing, [np.empty(0)], [np.ones((1, 4))])["map"] == 0.0
    with pytest.raises(DataError, match="no lesions"):
        coco_scores(nothing, [np.empty(0)], nothing)


@pytest.mark.parametrize(("modality", "reader"), [*product(RJAFROC, range(5))])
def test_wafroc_equals_rjafroc(modality: int, reader: int) -> None:
    """Ten numbers of RJafroc on its own dataset01 (GPL, so it is not part of this repository).

    To have it run, write the dataset from R: ``MIRAGE_RJAFROC`` names a CSV with the columns modality,
    reader (both from 1), image (from 1), truth (lesions of the image), kind (LL or FP) and rating, a row a
    mark, and a row of kind NONE for an image without marks.
    """
    if not RJAFROC_FILE.is_file():
        pytest.skip(f"RJafroc's dataset01 is not at {RJAFROC_FILE}; MIRAGE_RJAFROC names it")
    table = pd.read_csv(RJAFROC_FILE)
    truth = table.groupby("image")["truth"].first()
    place = {image: number for number, image in enumerate(truth.index)}
    own = table[(table["modality"] == modality) & (table["reader"] == reader + 1)]
    lesions: list[tuple[int, float]] = []
    for image, count in truth[truth > 0].items():
        rated = own.loc[(own["image"] == image) & (own["kind"] == "LL"), "rating"].tolist()
        lesions += [(place[image], rating) for rating in [*rated, *[INFINITE] * (count - len(rated))]]
    false = own[own["kind"] == "FP"]
    marks = [(place[image], rating) for image, rating in zip(false["image"], false["rating"], strict=True)]
    found = scores.wafroc(response(len(truth), lesions, marks))[0]
    assert found == pytest.approx(RJAFROC[modality][reader], abs=5e-6)
