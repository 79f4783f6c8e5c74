"""Scores of volumes on cases small enough to be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mirage.errors import DataError
from mirage.metrics.volumes import (
    PENALTY_MM,
    LesionRules,
    dice,
    dilated,
    hausdorff95,
    implausible_order,
    lesion_scores,
    region_scores,
    surface_points,
    volume_scores,
)

UNIT = (1.0, 1.0, 1.0)
NO_LIMIT = LesionRules(dilation=0, min_volume_mm3=0)


def boxes(shape: tuple[int, int, int], *corners: tuple[int, int, int, int]) -> np.ndarray:
    """Mask with a cube (z, y, x, side) for each of ``corners``."""
    mask = np.zeros(shape, bool)
    for z, y, x, side in corners:
        mask[z : z + side, y : y + side, x : x + side] = True
    return mask


def test_dice_counts_voxels() -> None:
    """Two cubes of 8 voxels that share 4."""
    a, b = boxes((6, 6, 6), (1, 1, 1, 2)), boxes((6, 6, 6), (1, 1, 2, 2))
    assert dice(a, b) == 0.5
    found = region_scores(a, b, 1000, UNIT)
    assert found["dice"] == 0.5
    assert found["sensitivity"] == 0.5
    assert found["specificity"] == pytest.approx((1000 - 12) / 992)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"), [(0, 0, (1.0, 0.0)), (1, 0, (0.0, 374.0)), (0, 1, (0.0, 374.0))]
)
def test_empty_regions_follow_the_rule_of_brats(
    truth: int, prediction: int, expected: tuple[float, float]
) -> None:
    """Both empty: 1 and 0 mm. One empty: 0 and 374 mm. The same lesion by lesion."""
    masks = [boxes((12, 12, 12), (4, 4, 4, 4)) if filled else np.zeros((12,) * 3, bool) for filled in (0, 1)]
    t, p = masks[truth], masks[prediction]
    found = region_scores(t, p, t.size, UNIT)
    assert (found["dice"], found["hd95_mm"]) == expected
    assert lesion_scores(t, p, UNIT, LesionRules()) == expected
    assert np.isnan(found["sensitivity"]) == (not truth)
    assert PENALTY_MM == 374.0


def test_distance_of_shifted_cubes_is_the_shift_in_mm() -> None:
    """A cube moved by three voxels: every surface voxel of its far side is three voxels away."""
    a, b = boxes((20, 20, 20), (5, 5, 5, 6)), boxes((20, 20, 20), (8, 5, 5, 6))
    assert hausdorff95(a, b, UNIT) == 3
    assert hausdorff95(a, b, (2.5, 1, 1)) == pytest.approx(7.5)
    assert hausdorff95(a, a, UNIT) == 0


def test_distance_is_the_95th_percentile_of_the_worse_direction() -> None:
    """Against distance transforms over the whole array, on random blobs and voxels that are no cubes."""
    rng = np.random.default_rng(0)
    spacing = (3.0, 1.0, 0.5)
    for _ in range(5):
        noise = [ndimage.gaussian_filter(rng.normal(size=(14, 30, 34)), 3) for _ in range(2)]
        a, b = (one > np.quantile(one, 0.8) for one in noise)
        edges = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
        assert all(
            np.array_equal(surface_points(mask, UNIT), np.argwhere(edge))
            for mask, edge in zip((a, b), edges, strict=True)
        )
        maps = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
        expected = max(np.percentile(maps[1][edges[0]], 95), np.percentile(maps[0][edges[1]], 95))
        assert hausdorff95(a, b, spacing) == pytest.approx(expected)


def test_one_stray_voxel_does_not_move_the_95th_percentile() -> None:
    """Unlike the plain Hausdorff distance."""
    a = boxes((40, 40, 40), (10, 10, 10, 12))
    b = a.copy()
    b[39, 39, 39] = True
    assert hausdorff95(a, b, UNIT) == 0


def test_dilation_goes_through_faces_and_edges() -> None:
    """The same as the structuring element of connectivity 2."""
    rng = np.random.default_rng(1)
    mask = rng.random((12, 13, 14)) < 0.02
    element = ndimage.generate_binary_structure(3, 2)
    for steps in (0, 1, 3):
        expected = ndimage.binary_dilation(mask, element, iterations=steps) if steps else mask
        assert np.array_equal(dilated(mask, steps), expected)


def test_lesions_are_averaged_with_false_positives() -> None:
    """One lesion found whole, one missed, one invention: (1 + 0 + 0) / 3 and (0 + 374 + 374) / 3 mm."""
    truth = boxes((40, 40, 40), (2, 2, 2, 5), (20, 20, 20, 5))
    prediction = boxes((40, 40, 40), (2, 2, 2, 5), (32, 2, 2, 3))
    overlap, distance = lesion_scores(truth, prediction, UNIT, LesionRules())
    assert overlap == pytest.approx(1 / 3)
    assert distance == pytest.approx(2 * 374 / 3)


def test_a_single_stray_voxel_costs_as_much_as_a_blob() -> None:
    """False positives have no least size."""
    truth = boxes((40, 40, 40), (2, 2, 2, 5))
    for side in (1, 6):
        prediction = truth | boxes((40, 40, 40), (30, 30, 30, side))
        assert lesion_scores(truth, prediction, UNIT, LesionRules())[0] == pytest.approx(0.5)


def test_pieces_nearer_than_the_dilation_are_one_lesion() -> None:
    """Two cubes four voxels apart: one lesion when dilated by three voxels, two when dilated by one."""
    truth = boxes((30, 30, 30), (5, 5, 5, 4), (13, 5, 5, 4))
    prediction = boxes((30, 30, 30), (5, 5, 5, 4))
    one = lesion_scores(truth, prediction, UNIT, LesionRules(dilation=3, min_volume_mm3=0))
    two = lesion_scores(truth, prediction, UNIT, LesionRules(dilation=1, min_volume_mm3=0))
    assert one[0] == pytest.approx(2 * 64 / (64 + 128))
    assert two[0] == pytest.approx(0.5)
    assert two[1] == pytest.approx(374 / 2)


def test_the_dilation_adds_no_voxels_to_the_truth() -> None:
    """A perfect prediction is perfect."""
    truth = boxes((30, 30, 30), (5, 5, 5, 6), (20, 20, 20, 5))
    assert lesion_scores(truth, truth, UNIT, LesionRules()) == (1.0, 0.0)


def test_a_prediction_near_a_lesion_belongs_to_it() -> None:
    """Two voxels away it touches the dilated lesion: its voxels count for the lesion."""
    truth = boxes((30, 30, 30), (5, 5, 5, 4))
    near = boxes((30, 30, 30), (5, 5, 5, 4), (11, 5, 5, 4))
    assert lesion_scores(truth, near, UNIT, LesionRules())[0] == pytest.approx(2 * 64 / (64 + 128))
    far = boxes((30, 30, 30), (5, 5, 5, 4), (13, 5, 5, 4))
    assert lesion_scores(truth, far, UNIT, LesionRules())[0] == pytest.approx(0.5)


def test_one_component_may_serve_two_lesions() -> None:
    """A bar over two lesions is the prediction of both."""
    truth = boxes((20, 20, 40), (5, 5, 2, 5), (5, 5, 32, 5))
    bar = np.zeros_like(truth)
    bar[5:10, 5:10, 2:37] = True
    overlap, _ = lesion_scores(truth, bar, UNIT, LesionRules())
    assert overlap == pytest.approx(2 * 125 / (125 + 25 * 35))


def test_small_lesions_are_left_out_but_what_touches_them_is_no_invention() -> None:
    """50 mm3 or less: neither missed nor found, and its prediction is no false positive."""
    truth = boxes((40, 40, 40), (2, 2, 2, 5), (30, 30, 30, 3))
    found = boxes((40, 40, 40), (2, 2, 2, 5), (30, 30, 30, 4))
    assert lesion_scores(truth, found, UNIT, LesionRules()) == (1.0, 0.0)
    assert lesion_scores(truth, found, (2, 1, 1), LesionRules())[0] == pytest.approx((1 + 54 / 91) / 2)
    exact = np.zeros((20, 20, 20), bool)
    exact[5:10, 5:10, 5:7] = True
    assert lesion_scores(exact, np.zeros_like(exact), UNIT, LesionRules()) == (1.0, 0.0)
    exact[5, 5, 7] = True
    assert lesion_scores(exact, np.zeros_like(exact), UNIT, LesionRules()) == (0.0, 374.0)


def test_lesions_at_the_border_of_the_volume_are_whole() -> None:
    """Nothing wraps around or falls out."""
    truth = boxes((10, 10, 10), (0, 0, 0, 4), (7, 7, 7, 3))
    assert lesion_scores(truth, truth, UNIT, NO_LIMIT) == (1.0, 0.0)


def test_a_volume_is_scored_by_label_and_by_region() -> None:
    """Regions are sets of labels; the box around the labels changes nothing."""
    truth, found = np.zeros((30, 30, 30), np.uint8), np.zeros((30, 30, 30), np.uint8)
    truth[10:20, 10:20, 10:20] = 2
    truth[12:18, 12:18, 12:18] = 3
    truth[14:16, 14:16, 14:16] = 1
    found[10:20, 10:20, 10:20] = 2
    found[12:18, 12:18, 12:18] = 3
    regions = {"NCR": [1], "ED": [2], "ET": [3], "WT": [1, 2, 3], "TC": [1, 3]}
    rows = volume_scores(truth, found, regions, ["WT", "TC", "ET"], UNIT, LesionRules())
    values = {(name, metric): value for name, metric, value in rows}
    assert len(values) == len(rows) == 5 * 4 + 3 * 2
    assert values["WT", "dice"] == values["TC", "dice"] == values["ED", "dice"] == 1
    assert (values["NCR", "dice"], values["NCR", "hd95_mm"]) == (0, 374)
    assert values["ET", "dice"] == pytest.approx(2 * 208 / (208 + 216))
    assert values["ET", "specificity"] == pytest.approx((27_000 - 216) / (27_000 - 208))
    assert values["WT", "lesion_dice"] == 1
    assert ("ED", "lesion_dice") not in values
    nothing = np.zeros_like(truth)
    rows = volume_scores(nothing, nothing, regions, ["WT"], UNIT, LesionRules(), penalty_mm=10)
    assert {value for _, metric, value in rows if metric.endswith("dice")} == {1.0}
    rows = volume_scores(truth, nothing, regions, ["WT"], UNIT, LesionRules(), penalty_mm=10)
    assert {value for _, metric, value in rows if metric.endswith("mm")} == {10.0}
    with pytest.raises(DataError, match="must be one volume"):
        volume_scores(truth, found[1:], regions, [], UNIT, LesionRules())


def test_an_order_of_regions_that_brats_never_has_is_named() -> None:
    """The published 0.611, 0.716, 0.756 of the thesis that the brain study follows are such a case."""
    warning = implausible_order({"WT": 0.611, "TC": 0.716, "ET": 0.756})
    assert warning is not None
    assert "TC 0.716, ET 0.756" in warning
    assert implausible_order({"WT": 0.9, "TC": 0.86, "ET": 0.87}) is None
    assert implausible_order({"disc": 0.5}) is None
