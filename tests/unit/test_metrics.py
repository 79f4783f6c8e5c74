"""Pure metrics: hand-made cases, identities, and agreement with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mirage.errors import DataError
from mirage.metrics import histograms, neighbours, segmentation

RNG = np.random.default_rng(0)


# Segmentation


def test_confusion_by_hand() -> None:
    """Counts and scores of a case small enough to count."""
    truth = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    prediction = np.array([[1, 0, 1, 0], [1, 0, 0, 0]])
    found = segmentation.confusion(truth, prediction)
    assert (found.tp, found.fp, found.fn, found.tn) == (2, 1, 1, 4)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found.sensitivity == pytest.approx(2 / 3)
    assert found.specificity == pytest.approx(4 / 5)
    assert found.accuracy == pytest.approx(6 / 8)


def test_only_the_field_of_view_counts() -> None:
    """False positives outside the field of view change nothing."""
    truth, fov = np.zeros((8, 8)), np.zeros((8, 8))
    truth[3, 2:6], fov[2:6, 2:6] = 1, 1
    prediction = truth.copy()
    prediction[0, :] = 1
    scores = segmentation.mask_scores(truth, prediction, fov)
    assert scores["f1"] == scores["specificity"] == scores["cldice"] == 1
    assert segmentation.mask_scores(truth, prediction)["f1"] < 1


@pytest.mark.parametrize(
    ("truth", "prediction", "f1", "cldice", "sensitivity", "specificity"),
    [
        (0, 0, 1, 1, np.nan, 1),
        (0, 1, 0, 0, np.nan, 0),
        (1, 0, 0, 0, 0, np.nan),
        (1, 1, 1, 1, 1, np.nan),
    ],
)
def test_empty_and_full_masks(
    truth: int, prediction: int, f1: float, cldice: float, sensitivity: float, specificity: float
) -> None:
    """The stated rules: both empty scores 1, one empty 0, undefined rates are NaN."""
    found = segmentation.mask_scores(np.full((6, 6), truth), np.full((6, 6), prediction))
    expected = {"f1": f1, "cldice": cldice, "sensitivity": sensitivity, "specificity": specificity}
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_one_class_has_no_curves() -> None:
    """Areas under curves of a single class are undefined rather than 0 or 1."""
    for value in (0, 1):
        counts = segmentation.class_counts(np.full(9, value), RNG.integers(0, 256, 9).astype(np.uint8))
        assert np.isnan(segmentation.roc_auc(*counts))
        assert np.isnan(segmentation.average_precision(*counts))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_curves_agree_with_scikit_learn(dtype: type) -> None:
    """ROC AUC and average precision, ties included, equal scikit-learn's."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = RNG.random((40, 40)) < 0.1
    score = np.clip(RNG.normal(90 + 60 * truth, 40), 0, 255).astype(np.uint8).astype(dtype)
    counts = segmentation.class_counts(truth, score)
    assert segmentation.roc_auc(*counts) == pytest.approx(
        roc_auc_score(truth.ravel(), score.ravel()), abs=1e-12
    )
    expected = average_precision_score(truth.ravel(), score.ravel())
    assert segmentation.average_precision(*counts) == pytest.approx(expected, abs=1e-12)


def test_damaged_scores_are_refused() -> None:
    """A NaN probability is an error, not a class."""
    with pytest.raises(DataError, match="NaN"):
        segmentation.class_counts(np.array([0, 1]), np.array([0.5, np.nan]))
    with pytest.raises(DataError, match="shape"):
        segmentation.confusion(np.zeros((2, 2)), np.zeros((2, 3)))


def test_best_threshold_is_the_best_of_all() -> None:
    """The threshold from counts equals a search over all thresholds by F1 itself."""
    images = []
    for shift in (0, 30):
        truth = RNG.random((30, 30)) < 0.2
        images.append((truth, np.clip(RNG.normal(80 + shift + 70 * truth, 30), 0, 255).astype(np.uint8)))
    threshold, f1 = segmentation.best_threshold([segmentation.class_counts(t, s) for t, s in images])
    brute = [np.mean([segmentation.confusion(t, s >= v).f1 for t, s in images]) for v in range(1, 256)]
    assert f1 == pytest.approx(max(brute))
    assert brute[threshold - 1] == pytest.approx(max(brute))


def test_best_threshold_separates_in_the_middle() -> None:
    """Between two separate classes any threshold is as good; the middle one is taken."""
    truth = np.array([0, 0, 1, 1])
    counts = segmentation.class_counts(truth, np.array([10, 20, 200, 210], np.uint8))
    assert segmentation.best_threshold([counts]) == (111, 1.0)


def test_cldice_cares_for_connection_rather_than_width() -> None:
    """A thicker vessel keeps clDice at 1 while Dice falls; a missing vessel costs clDice."""
    truth = np.zeros((40, 60), bool)
    truth[9:12, 5:55] = truth[29:32, 5:55] = True
    thick, half = truth.copy(), truth.copy()
    thick[7:14, 5:55] = thick[27:34, 5:55] = True
    half[20:] = False
    assert segmentation.cldice(truth, truth) == 1
    assert segmentation.cldice(truth, thick) > 0.97
    assert segmentation.confusion(truth, thick).f1 < 0.65
    assert segmentation.cldice(truth, half) == pytest.approx(2 / 3, abs=0.02)


def test_second_observer_of_chase_is_plausible(shared_data: Path) -> None:
    """On CHASE_DB1 the second observer's vessel F1 is that of humans, and macro-F1 is far above it."""
    scores = []
    for path in sorted((shared_data / "CHASEDB1").glob("*_1stHO.png")):
        first, second = (
            np.asarray(Image.open(path.with_name(path.name.replace("1stHO", name)))) > 0
            for name in ("1stHO", "2ndHO")
        )
        photograph = Image.open(path.with_name(path.name.replace("_1stHO.png", ".jpg"))).convert("L")
        found = segmentation.confusion(first, second, np.asarray(photograph) > 10)
        scores.append((found.f1, found.macro_f1))
    f1, macro = np.mean(scores, axis=0)
    assert 0.70 < f1 < 0.85
    assert 0.84 < macro < 0.92


# Histograms


def counts_of(values: np.ndarray) -> np.ndarray:
    """Counts of uint8 values."""
    return np.bincount(values.ravel(), minlength=256)


def test_equal_distributions_have_no_distance() -> None:
    """Every distance of a histogram to itself, and to its multiple, is 0."""
    counts = RNG.integers(0, 50, 64)
    p = histograms.normalise(counts)
    assert histograms.kl_divergence(p, p) == 0
    assert histograms.js_divergence(p, p) == 0
    assert histograms.wasserstein1(p, p, np.arange(64.0)) == 0
    assert histograms.kl_published(np.tile(counts, 4), np.tile(3 * counts, 4)) == pytest.approx(0, abs=1e-12)


def test_divergences_by_hand() -> None:
    """Two-bin distributions whose divergences can be written down."""
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    assert histograms.kl_divergence(p, q) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert histograms.kl_divergence(p, np.array([1.0, 0.0])) == np.inf
    assert histograms.kl_divergence(np.array([1.0, 0.0]), p) == pytest.approx(np.log(2))


def test_jensen_shannon_is_symmetric_and_at_most_ln_2() -> None:
    """The bound is reached by disjoint distributions and never passed."""
    p, q = histograms.normalise(RNG.random((2, 50, 64)))
    assert np.allclose(histograms.js_divergence(p, q), histograms.js_divergence(q, p))
    assert (histograms.js_divergence(p, q) < np.log(2)).all()
    assert histograms.js_divergence(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(np.log(2))


def test_wasserstein_agrees_with_scipy_and_measures_a_shift() -> None:
    """Moving every pixel by 7 grey values is a distance of 7."""
    from scipy.stats import wasserstein_distance

    values = RNG.integers(0, 200, 500)
    grid = np.arange(256.0)
    p, q = (histograms.normalise(counts_of(v)) for v in (values, values + 7))
    assert histograms.wasserstein1(p, q, grid) == pytest.approx(7)
    other = RNG.integers(0, 256, 300)
    r = histograms.normalise(counts_of(other))
    assert histograms.wasserstein1(p, r, grid) == pytest.approx(wasserstein_distance(values, other))


def test_published_profile_is_direct_computation() -> None:
    """Epsilon is added to probabilities, all are renormalised, the logarithm is natural."""
    from scipy.stats import entropy

    a, b = counts_of(RNG.integers(0, 100, 1000)), counts_of(RNG.integers(50, 256, 1000))
    expected = entropy(a / 1000 + 1e-8, b / 1000 + 1e-8)
    assert histograms.kl_published(a, b) == pytest.approx(expected)
    assert histograms.kl_published(a, b) > 5 > histograms.kl_robust(a, b)


def test_robust_bins_span_the_percentiles_and_keep_every_pixel() -> None:
    """64 equal bins between the 0.1 and 99.9 percentiles; values beyond count in the outermost ones."""
    levels = histograms.Levels((0, 255), "uint8")
    values = np.concatenate([np.arange(100, 151).repeat(1000), [0, 255]])
    edges = histograms.robust_edges(counts_of(values), levels)
    assert (edges[0], edges[-1], len(edges)) == (100, 150, 65)
    binned = histograms.rebin(counts_of(values), levels.values, edges)
    assert binned.sum() == len(values)
    assert binned[0] == 1001
    assert binned[-1] == 1001


def test_constant_images_have_a_robust_profile() -> None:
    """One grey value everywhere does not divide by zero."""
    levels = histograms.Levels((0, 255), "uint8")
    counts = counts_of(np.full(100, 17))
    binned = histograms.rebin(counts, levels.values, histograms.robust_edges(counts, levels))
    assert histograms.js_robust(binned, binned) == 0


def test_sixteen_bits_are_counted_on_4096_levels() -> None:
    """Every value lands in the level whose borders hold it; none is lost at the ends."""
    levels = histograms.Levels((0, 65535), "uint16")
    values = np.array([0, 1, 32768, 65535], np.uint16)
    counts = levels.count(values)
    assert counts.sum() == 4
    assert counts[0] == 2
    assert counts[-1] == 1
    with pytest.raises(DataError, match="outside"):
        levels.count(np.array([-1.0]))


def test_luma_is_pillows() -> None:
    """The published profile uses the grey of Pillow's conversion, value for value."""
    rgb = RNG.integers(0, 256, (50, 60, 3)).astype(np.uint8)
    assert np.array_equal(
        histograms.luma(rgb.transpose(2, 0, 1)), np.asarray(Image.fromarray(rgb).convert("L"))
    )
    wide = rgb.transpose(2, 0, 1).astype(np.uint16) * 257
    assert (
        np.abs(histograms.luma(wide).astype(int) // 257 - histograms.luma(rgb.transpose(2, 0, 1))).max() <= 1
    )


# Neighbours


def blobs(count: int, channels: int = 1, side: int = 16, seed: int = 1) -> np.ndarray:
    """Random float32 items (N, C, s, s) in [0, 1]."""
    return np.random.default_rng(seed).random((count, channels, side, side), dtype=np.float32)


def test_orientations_are_the_eight_symmetries() -> None:
    """All eight differ, and the first changes nothing."""
    square = np.arange(9).reshape(3, 3)
    assert len({neighbours.orient(square, o).tobytes() for o in range(8)}) == 8
    assert np.array_equal(neighbours.orient(square, 0), square)


@pytest.mark.parametrize(("size", "side"), [(64, 64), (96, 64), (100, 64), (512, 128)])
def test_shrinking_keeps_the_mean_and_commutes_with_orientation(size: int, side: int) -> None:
    """Area averaging neither brightens nor prefers a corner."""
    image = RNG.integers(0, 256, (1, size, size)).astype(np.uint8)
    small = neighbours.shrink(image, side)
    assert small.mean() == pytest.approx(image.mean(), rel=1e-5)
    turned = neighbours.shrink(neighbours.orient(image, 6), side)
    assert np.allclose(turned, neighbours.orient(small, 6), atol=1e-3)


@pytest.mark.parametrize("kind", ["rms", "dice"])
@pytest.mark.parametrize("count", [5, 70])
def test_nearest_equals_brute_force(kind: neighbours.Kind, count: int) -> None:
    """Blocks and products find what comparing everything with everything finds."""
    queries, references = blobs(7, seed=2), blobs(count, seed=3)
    if kind == "dice":
        queries, references = ((x > 0.7).astype(np.float32) for x in (queries, references))
    table = np.empty((7, count))
    for i, query in enumerate(queries.astype(np.float64)):
        for j, reference in enumerate(references.astype(np.float64)):
            turned = [neighbours.orient(reference, o) for o in range(8)]
            if kind == "rms":
                table[i, j] = min(np.sqrt(((query - t) ** 2).mean()) for t in turned)
            else:
                table[i, j] = min(1 - 2 * (query * t).sum() / (query.sum() + t.sum()) for t in turned)
    found = neighbours.nearest(queries, iter(references), kind)
    ordered = np.sort(table, axis=1)
    assert np.allclose(found.distance, ordered[:, 0])
    assert np.allclose(found.second_distance, ordered[:, 1])
    assert np.array_equal(found.index, table.argmin(axis=1))


@pytest.mark.parametrize("orientation", range(8))
def test_a_turned_copy_is_found_at_distance_zero(orientation: int) -> None:
    """Copies are found in whatever orientation, with the orientation that undoes them."""
    references = blobs(40, channels=3)
    query = np.ascontiguousarray(neighbours.orient(references[33], orientation))
    found = neighbours.nearest(query[None], iter(references), "rms")
    assert (found.distance[0], found.index[0]) == (0, 33)
    assert np.array_equal(neighbours.orient(references[33], int(found.orientation[0])), query)
    assert found.second_distance[0] > 0.1


def test_empty_masks_match_only_each_other() -> None:
    """Dice distance: 0 between two empty masks, 1 between an empty and another one."""
    empty, full = np.zeros((1, 1, 8, 8), np.float32), np.ones((1, 1, 8, 8), np.float32)
    assert neighbours.nearest(empty, iter(empty), "dice").distance[0] == 0
    assert neighbours.nearest(empty, iter(full), "dice").distance[0] == 1


def test_excluded_references_are_passed_over() -> None:
    """Leave-one-out: an item does not match itself, and a lone reference has no second."""
    items = blobs(3)
    found = neighbours.nearest(items, iter(items), "rms", exclude=np.eye(3, dtype=bool))
    assert (found.distance > 0.1).all()
    assert (found.index != np.arange(3)).all()
    assert np.isnan(neighbours.nearest(items, iter(items[:1]), "rms").second_distance).all()
    with pytest.raises(DataError, match="no reference"):
        neighbours.nearest(items, iter([]), "rms")


def test_exact_duplicates_share_a_group_in_every_orientation() -> None:
    """A flipped twin has the digest of its original; another item has not."""
    items = [*blobs(3), neighbours.orient(blobs(3)[1], 7)]
    groups = neighbours.exact_groups(neighbours.canonical_hash(item) for item in items)
    assert groups.tolist() == [0, 1, 2, 1]


def test_oblong_images_have_digests_and_no_distances() -> None:
    """Quarter turns exchange the sides; what is compared value by value has to be square."""
    item = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    turned = {neighbours.canonical_hash(neighbours.orient(item, orientation)) for orientation in range(8)}
    assert len(turned) == 1
    with pytest.raises(DataError, match="square"):
        neighbours.nearest(item[None].astype(np.float32), iter(item[None].astype(np.float32)), "rms")


def test_near_duplicates_are_found_among_earlier_items() -> None:
    """A noisy turned copy across blocks points back to its original, and not the other way round."""
    items = blobs(50)
    noise = np.random.default_rng(5).normal(0, 0.01, items[0].shape).astype(np.float32)
    items[45] = neighbours.orient(items[2], 3) + noise
    found = neighbours.nearest_earlier(items, "rms")
    assert found.index[0] == -1
    assert np.isnan(found.distance[0])
    assert np.flatnonzero(found.distance < 0.05).tolist() == [45]
    assert found.index[45] == 2
    assert found.distance[45] == pytest.approx(0.01, rel=0.3)
    assert (found.index < np.arange(50)).all()


def test_masks_of_several_labels_compare_label_by_label() -> None:
    """The same foreground with exchanged labels is no copy."""
    mask = np.zeros((16, 16), np.uint8)
    mask[:8], mask[8:] = 1, 2
    swapped = np.where(mask == 1, 2, 1)
    swapped[0] = 1
    a, b = (neighbours.mask_vector(m, (1, 2), 16) for m in (mask, swapped))
    assert neighbours.nearest(a[None], iter(a[None]), "dice").distance[0] == 0
    assert neighbours.nearest(a[None], iter(b[None]), "dice").distance[0] > 0
