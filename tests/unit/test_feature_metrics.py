"""Metrics of feature tables: known answers, brute force, and behaviour on odd input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist

from mirage.metrics import (
    distances,
    kernels,
    manifold,
    membership,
    mixture,
    novelty,
    pairwise,
    separability,
    ssim,
)
from mirage.metrics.points import PrincipalAxes, check_points, moments, regular_dimension
from mirage.metrics.vendi import vendi


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(n: int, d: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    """Independent normal features, float32."""
    return (rng(seed).standard_normal((n, d)) + shift).astype(np.float32)


def exactly(points: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The points moved and mixed so that their sample mean and covariance are those given."""
    centred = points - points.mean(axis=0)
    whitened = linalg.solve_triangular(
        linalg.cholesky(np.cov(centred.T), lower=True), centred.T, lower=True
    ).T
    return whitened @ linalg.cholesky(covariance) + mean


# Points


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ((np.zeros((3, 2)), np.zeros((3, 4))), "of one D"),
        ((np.zeros(3),), "of one D"),
        ((np.zeros((0, 2)),), "1 points or more"),
        ((np.array([[1.0, np.nan]]),), "not finite"),
        ((np.array([[1.0, np.inf]]),), "not finite"),
    ],
)
def test_points_that_cannot_be_compared_are_refused(sets: tuple[np.ndarray, ...], message: str) -> None:
    """Shapes, sizes and values that are not finite are named."""
    with pytest.raises(ValueError, match=message):
        check_points(*sets)


def test_moments_by_blocks_are_those_of_numpy() -> None:
    """Blocks do not change the sums, and a large mean costs no digits."""
    points = normal(3000, 7) + np.float32(1000)
    mean, covariance = moments(points)
    exact = points.astype(np.float64)
    assert np.allclose(mean, exact.mean(axis=0), rtol=1e-12)
    assert np.allclose(covariance, np.cov(exact.T), rtol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(40, 9), (8, 30)])
def test_principal_axes_are_those_of_the_reference(n: int, d: int) -> None:
    """Variances fall and are those of the reference's coordinates, with few points and with many."""
    points = normal(n, d) * np.linspace(3, 1, d, dtype=np.float32)
    axes = PrincipalAxes(points, 5)
    shown = axes(points)
    assert np.allclose(shown.var(axis=0, ddof=1), axes.variances)
    assert np.allclose(axes.variances, linalg.eigvalsh(np.cov(points.T))[::-1][:5], rtol=1e-5)
    with pytest.raises(ValueError, match="principal components"):
        PrincipalAxes(points, min(n - 1, d) + 1)


# Fréchet distances


def test_frechet_distance_of_known_gaussians() -> None:
    """Two samples of given mean and covariance: |gap|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)), to 1e-8."""
    d = 12
    first, second = (normal(400, d, seed).astype(np.float64) for seed in (1, 2))
    turn = stats.ortho_group.rvs(d, random_state=3)
    a, b = np.linspace(0.1, 4, d), np.linspace(3, 0.5, d)
    gap = np.linspace(-1, 1, d)
    common = distances.frechet_distance(
        exactly(first, gap, turn @ np.diag(a) @ turn.T), exactly(second, 0 * gap, turn @ np.diag(b) @ turn.T)
    )
    assert common == pytest.approx(gap @ gap + np.square(np.sqrt(a) - np.sqrt(b)).sum(), rel=1e-8)
    one, other = (np.cov(normal(50, d, seed).T) for seed in (4, 5))
    general = distances.frechet_distance(exactly(first, gap, one), exactly(second, 0 * gap, other))
    root = np.trace(linalg.sqrtm(one @ other)).real
    assert general == pytest.approx(gap @ gap + np.trace(one) + np.trace(other) - 2 * root, rel=1e-8)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (20, 200), (200, 150)])
def test_frechet_distance_does_not_depend_on_the_route(n: int, m: int) -> None:
    """Fewer points than features, on one side or both, give what covariances give."""
    d = 60
    first, second = normal(n, d, 1), normal(m, d, 2, 0.3)
    one, other = (points.astype(np.float64) for points in (first, second))
    gap = one.mean(axis=0) - other.mean(axis=0)
    a, b = np.cov(one.T), np.cov(other.T)
    values = linalg.eigvals(a @ b)
    expected = gap @ gap + np.trace(a) + np.trace(b) - 2 * np.sqrt(values.astype(complex)).real.sum()
    assert distances.frechet_distance(first, second) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("n", "m"), [(200, 150), (20, 200)])
def test_frechet_distance_by_eigenvalues_is_that_by_singular_values(
    n: int, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The route for many features gives the same."""
    first, second = normal(n, 60, 1), normal(m, 60, 2, 0.3)
    expected = distances.frechet_distance(first, second)
    monkeypatch.setattr(distances, "SVD_SIDE", 0)
    assert distances.frechet_distance(first, second) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("n", [5, 50, 500])
def test_frechet_distance_of_a_set_from_itself_is_zero(n: int) -> None:
    """Also with singular covariances, where roots of products lose half of the digits."""
    points = normal(n, 40)
    points[:, 7] = 3.0
    assert distances.frechet_distance(points, points) < 1e-10


def test_a_regular_space_rests_on_five_points_a_dimension() -> None:
    """And sees a shift along the first principal component of the reference."""
    reference = normal(100, 200) * np.linspace(5, 0.1, 200, dtype=np.float32)
    shifted = reference + 2 * PrincipalAxes(reference, 1).axes[:, 0]
    dimension = regular_dimension(100, 70, features=200)
    assert dimension == 14
    axes = PrincipalAxes(reference, dimension)
    assert distances.frechet_distance(axes(reference), axes(shifted)) == pytest.approx(4.0, rel=1e-6)


def test_infinitely_many_points_have_no_bias() -> None:
    """Of one distribution the plain distance is well above 0, the extrapolated one is not."""
    first, second = normal(1200, 40, 1), normal(1200, 40, 2)
    plain = distances.frechet_distance(first, second)
    found = [distances.frechet_infinity(first, second, rng(seed)) for seed in range(5)]
    assert plain > 0.3
    assert abs(np.mean(found)) < plain / 5
    with pytest.raises(ValueError, match="30 points of 40 dimensions"):
        distances.frechet_infinity(first[:30], second, rng())


def sliced(first: np.ndarray, second: np.ndarray, count: int) -> float:
    """Along random directions."""
    axes = distances.random_directions(first.shape[1], rng(), count)
    return distances.sliced_wasserstein(*(distances.quantiles(points @ axes) for points in (first, second)))


def test_sliced_wasserstein_of_a_shift_and_of_unequal_sizes() -> None:
    """A shift s in D dimensions gives |s| / sqrt(D), whatever the numbers; order does not matter."""
    points = normal(300, 8).astype(np.float64)
    assert sliced(points, points + 2, 4000) == pytest.approx(2, rel=0.02)
    assert sliced(points, points[::-1].copy(), 50) == 0
    few, many = np.linspace(0, 1, 70)[:, None], np.linspace(0, 1, 700)[:, None]
    assert sliced(few, many + 3, 5) == pytest.approx(3, rel=0.01)


# Kernel distance


def brute_kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / n / (n - 1) + (yy.sum() - np.trace(yy)) / m / (m - 1)
    return within - 2 * xy.mean()


@pytest.mark.parametrize(("n", "m"), [(2, 3), (70, 50), (1100, 1030)])
def test_kernel_distance_equals_brute_force(n: int, m: int) -> None:
    """Blocks, symmetry and single precision change nothing that shows."""
    x, y = normal(n, 16, 1), normal(m, 16, 2, 0.2)
    expected = brute_kernel_distance(x.astype(np.float64), y.astype(np.float64))
    assert kernels.kernel_distance(x, y) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_kernel_distance_of_one_distribution_is_zero_on_average() -> None:
    """The mean of many independent estimates lies within two standard errors of 0."""
    found = [kernels.kernel_distance(normal(40, 8, 2 * i), normal(60, 8, 2 * i + 1)) for i in range(200)]
    assert abs(np.mean(found)) < 2 * np.std(found) / math.sqrt(200)


def test_weighted_draws_are_the_distances_of_the_drawn() -> None:
    """Weights 0 and 1 are subsets; a point drawn twice makes no pair with itself."""
    x, y = normal(30, 5, 1), normal(20, 5, 2, 0.5)
    one, other = rng(3).random((4, 30)) < 0.5, rng(4).random((4, 20)) < 0.5
    expected = [kernels.kernel_distance(x[a], y[b]) for a, b in zip(one, other, strict=True)]
    assert kernels.kernel_draws(x, y, one, other) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    twice = np.ones((1, 30))
    twice[0, :2] = 2
    doubled = kernels.kernel_draws(x, y, twice, np.ones((1, 20)))
    pairs = (x @ x.T / 5 + 1.0).astype(np.float64) ** 3
    np.fill_diagonal(pairs, 0)
    expected_within = twice[0] @ pairs @ twice[0] / (twice.sum() ** 2 - np.square(twice).sum())
    plain_within = pairs.sum() / (30 * 29)
    plain = kernels.kernel_draws(x, y, np.ones((1, 30)), np.ones((1, 20)))
    cross = (x @ y.T / 5 + 1.0).astype(np.float64) ** 3
    moved = expected_within - plain_within - 2 * (twice[0] @ cross / twice.sum() - cross.mean(axis=0)).mean()
    assert doubled - plain == pytest.approx([moved], abs=1e-5)


def test_subsets_are_drawn_alike_on_either_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few small subsets are measured one by one, many from one kernel: the same values."""
    x, y = normal(300, 6, 1), normal(200, 6, 2)
    called = []
    draw = kernels.kernel_draws
    monkeypatch.setattr(kernels, "kernel_draws", lambda *a: called.append(len(a[2])) or draw(*a))
    single = kernels.kernel_subsets(x, y, rng(5), draws=3, size=20)
    many = kernels.kernel_subsets(x, y, rng(5), draws=200, size=20)
    assert called == [1, 1, 1, 200]
    assert single == pytest.approx(
        [kernels.kernel_distance(*pair) for pair in _subsets(x, y, 3, 20)], rel=1e-4, abs=1e-6
    )
    assert many.mean() == pytest.approx(
        np.mean([kernels.kernel_distance(*pair) for pair in _subsets(x, y, 200, 20)]), rel=1e-4
    )


def _subsets(x: np.ndarray, y: np.ndarray, draws: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    chance = rng(5)
    picked = [[p[chance.choice(len(p), size, replace=False)] for _ in range(draws)] for p in (x, y)]
    return list(zip(*picked, strict=True))


# Neighbours and manifolds


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("k", [1, 4])
def test_neighbours_equal_brute_force(k: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across blocks, with duplicates, and where all points lie far from the origin."""
    monkeypatch.setattr(pairwise, "QUERIES", 17)
    monkeypatch.setattr(pairwise, "REFERENCES", 23)
    queries, references = normal(50, 6, 1, offset), normal(90, 6, 2, offset)
    references[40:60] = references[3]
    queries[:5] = references[50]
    found = pairwise.nearest_points(queries, references, k)
    every = cdist(queries.astype(np.float64), references.astype(np.float64))
    assert np.allclose(found.distance, np.sort(every, axis=1)[:, :k], rtol=1e-12, atol=0)
    assert np.allclose(np.take_along_axis(every, found.index, axis=1), found.distance, rtol=1e-12, atol=0)


def test_neighbours_of_ones_own_group_do_not_count() -> None:
    """A patient's other view is no neighbour; where nobody is left there is none."""
    points = np.array([[0.0], [0.1], [5.0], [9.0]])
    groups = np.array([0, 0, 1, 2])
    found = pairwise.nearest_points(points, points, 3, groups=(groups, groups))
    assert found.index[0].tolist() == [2, 3, -1]
    assert found.distance[0].tolist() == [5.0, 9.0, np.inf]
    with pytest.raises(ValueError, match="expected 1 to 4 neighbours"):
        pairwise.nearest_points(points, points, 5)


def test_many_near_ties_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances that differ in the eighth digit, which float32 does not see, are put in the right order."""
    directions = rng(1).standard_normal((200, 20))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = 1 + 1e-9 * rng(2).permutation(200)
    found = pairwise.nearest_points(np.zeros((1, 20)), directions * lengths[:, None], 5)
    assert found.index[0].tolist() == np.argsort(lengths)[:5].tolist()


def brute_prdc(real: np.ndarray, synthetic: np.ndarray, k: int) -> tuple[float, float, float, float]:
    rr, ss, rs = cdist(real, real), cdist(synthetic, synthetic), cdist(real, synthetic)
    r, s = np.sort(rr)[:, k], np.sort(ss)[:, k]
    inside = rs < r[:, None]
    return (
        inside.any(axis=0).mean(),
        (rs < s).any(axis=1).mean(),
        inside.sum(axis=0).mean() / k,
        inside.any(axis=1).mean(),
    )


@pytest.mark.parametrize("k", [3, 5])
def test_prdc_equals_brute_force(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across blocks and with unequal numbers."""
    monkeypatch.setattr(pairwise, "QUERIES", 37)
    monkeypatch.setattr(pairwise, "REFERENCES", 41)
    real, synthetic = normal(150, 10, 1), normal(90, 10, 2, 0.4)
    found = manifold.prdc(real, synthetic, k)
    expected = brute_prdc(real.astype(np.float64), synthetic.astype(np.float64), k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected, abs=0)


def test_prdc_of_a_set_against_itself() -> None:
    """A continuous set scores 1 four times, as the nearest k - 1 and itself are strictly inside; a constant
    set scores 0, for balls of radius 0 hold nothing."""
    points = normal(400, 32)
    found = manifold.prdc(points, points)
    assert (found.precision, found.recall, found.density, found.coverage) == (1, 1, 1, 1)
    same = np.ones((20, 3), np.float32)
    nothing = manifold.prdc(same, same)
    assert (nothing.precision, nothing.recall, nothing.density, nothing.coverage) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="5 synthetic points are too few"):
        manifold.prdc(points, points[:5])


def test_prdc_tells_dropped_modes_from_poor_images() -> None:
    """Missing modes lower recall and coverage only, outliers precision and density only."""
    real = np.concatenate([normal(200, 6, 1, -6), normal(200, 6, 2, 6)])
    dropped = manifold.prdc(real, normal(400, 6, 3, 6))
    assert dropped.precision > 0.7
    assert dropped.coverage < 0.55
    far = np.concatenate([normal(200, 6, 4, -6), normal(200, 6, 5, 6)])
    far[::2] += 40
    poor = manifold.prdc(real, far)
    assert poor.precision < 0.55
    assert poor.coverage > 0.7


# Diversity


@pytest.mark.parametrize(("n", "d"), [(5, 12), (40, 12)])
def test_vendi_counts_different_directions(n: int, d: int) -> None:
    """Orthogonal points count one each however often they are repeated, on either route."""
    axes = np.eye(d)[:4]
    assert vendi(np.repeat(axes, n // 4, axis=0)) == pytest.approx(4)
    assert vendi(np.ones((n, d))) == pytest.approx(1)
    assert vendi(np.vstack([np.zeros((2, d)), axes[:1], axes[:1]])) == pytest.approx(2)
    points = normal(n, d)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    values = linalg.eigvalsh(unit @ unit.T / n)
    values = values[values > 1e-12]
    assert vendi(points) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-4)


def ms_ssim(first: np.ndarray, second: np.ndarray, value_range: tuple[float, float]) -> float:
    """Of two images."""
    return ssim.compare(ssim.pyramid(first, value_range), ssim.pyramid(second, value_range))


@pytest.mark.parametrize("shape", [(1, 176, 190), (3, 180, 176)])
def test_ms_ssim_equals_monai(shape: tuple[int, ...]) -> None:
    """Five scales of images; the other computes in float32."""
    torch = pytest.importorskip("torch")
    from monai.metrics.regression import compute_ms_ssim

    chance = rng(1)
    first = np.cumsum(chance.standard_normal(shape), axis=-1) % 1
    second = 0.7 * first + 0.3 * chance.random(shape)
    a, b = (torch.tensor(x[None], dtype=torch.float32) for x in (first, second))
    expected = compute_ms_ssim(a, b, spatial_dims=2, data_range=1.0)
    assert ms_ssim(first, second, (0, 1)) == pytest.approx(float(expected.mean()), abs=1e-4)


def test_ms_ssim_of_a_volume_equals_monai() -> None:
    """Two scales of a volume, with weights that sum to 1."""
    torch = pytest.importorskip("torch")
    from monai.metrics.regression import compute_ms_ssim

    first = rng(1).random((1, 24, 26, 30))
    second = 0.8 * first + 0.2 * rng(2).random(first.shape)
    a, b = (torch.tensor(x[None], dtype=torch.float32) for x in (first, second))
    weights = np.array(ssim.WEIGHTS[:2]) / sum(ssim.WEIGHTS[:2])
    expected = compute_ms_ssim(a, b, spatial_dims=3, data_range=1.0, weights=weights.tolist())
    assert ms_ssim(first, second, (0, 1)) == pytest.approx(float(expected.mean()), abs=1e-4)


def test_ms_ssim_of_odd_images() -> None:
    """Identical and constant images are 1; a small image is refused; integers are no trap."""
    image = rng().integers(0, 256, (1, 40, 40), np.uint8)
    assert ms_ssim(image, image, (0, 255)) == pytest.approx(1)
    assert ms_ssim(image * 0, image * 0, (0, 255)) == 1
    assert ms_ssim(image, 255 - image, (0, 255)) < 0.1
    assert ssim.scales_of((40, 40)) == 2
    with pytest.raises(ValueError, match="sides of 11"):
        ms_ssim(image[:, :8], image[:, :8], (0, 255))


@pytest.mark.parametrize("count", [5, 10_000])
def test_random_pairs_are_different_and_of_different_subjects(count: int) -> None:
    """No pair twice, none within a patient, and all of them where more are asked for."""
    subjects = np.repeat(np.arange(20), 3)
    pairs = ssim.random_pairs(subjects, count, rng())
    assert len(pairs) == min(count, 60 * 57 // 2)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert (subjects[pairs[:, 0]] != subjects[pairs[:, 1]]).all()
    assert not len(ssim.random_pairs(np.zeros(4, int), 3, rng()))


# Separability


def test_classifier_two_sample_finds_a_shift_and_nothing_else() -> None:
    """About 0.5 for one distribution, near 1 for a shift."""
    groups = np.arange(200)
    same = separability.classifier_two_sample(normal(100, 10, 1), normal(100, 10, 2), groups, seed=0)
    apart = separability.classifier_two_sample(normal(100, 10, 1), normal(100, 10, 2, 1.5), groups, seed=0)
    assert same.auc == pytest.approx(0.5, abs=0.12)
    assert apart.auc > 0.95
    assert apart.synthetic.mean() > apart.real.mean()


def test_classifier_two_sample_does_not_recognise_patients() -> None:
    """Features that only tell patients apart give nothing away once patients stay in one fold."""
    chance = rng(3)
    patients = np.repeat(chance.standard_normal((40, 30)), 10, axis=0)
    points = patients + 0.01 * chance.standard_normal(patients.shape)
    groups = np.repeat(np.arange(40), 10)
    honest = separability.classifier_two_sample(points[:200], points[200:], groups, seed=0)
    leaky = separability.classifier_two_sample(points[:200], points[200:], np.arange(400), seed=0)
    assert leaky.auc > 0.95
    assert honest.auc < 0.75
    with pytest.raises(ValueError, match="two subjects or more in each set"):
        separability.classifier_two_sample(points[:9], points[9:20], np.repeat([0, 1], [9, 11]), seed=0)


def test_tests_of_single_features_control_false_discoveries() -> None:
    """The shifted features are found, q is never below p, and distances are in real standard deviations."""
    real, synthetic = normal(150, 40, 1) * 3, normal(150, 40, 2) * 3
    synthetic[:, :4] += 6
    found = separability.feature_tests(real, synthetic)
    assert np.flatnonzero(found.q < 0.05).tolist() == [0, 1, 2, 3]
    assert (found.q >= found.p).all()
    assert found.wasserstein[:4] == pytest.approx(2, abs=0.4)
    constant = separability.feature_tests(np.ones((5, 2)), np.ones((5, 2)))
    assert constant.p.tolist() == [1, 1]
    assert constant.wasserstein.tolist() == [0, 0]


# Novelty


def copies_and_fresh(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training, held-out, a noisy copy of the training set, and a fresh sample."""
    training, heldout, fresh = (normal(300, 6, seed + i) for i in range(3))
    return training, heldout, training + 0.05 * normal(300, 6, seed + 3), fresh


def test_novelty_metrics_tell_copies_from_a_fresh_sample() -> None:
    """Each moves the right way: authenticity, C_T, the gap of FLD, distance ratios and the DCR share."""
    training, heldout, copied, fresh = copies_and_fresh()
    apart = cdist(training, training) + np.diag(np.full(300, np.inf))
    for made, share, ratio, near in ((copied, 0.0, (0, 0.3), 1.0), (fresh, 0.5, (0.7, 1), 0.5)):
        known, new = cdist(made, training), cdist(made, heldout)
        first, second = np.sort(known, axis=1)[:, :2].T
        bound = apart.min(axis=1)[known.argmin(axis=1)]
        assert novelty.authentic(first, bound).mean() == pytest.approx(share, abs=0.1)
        assert ratio[0] <= np.median(novelty.distance_ratios(first, second)) <= ratio[1]
        found = novelty.nearer_to_training(known, new)
        assert found.hits / found.total == pytest.approx(near, abs=0.1)
        assert found.error < 0.1
    assert novelty.data_copying(training, heldout, copied, seed=0).z < -5
    assert abs(novelty.data_copying(training, heldout, fresh, seed=0).z) < 2
    subjects = np.arange(300)
    bad = novelty.feature_likelihood(training, heldout, copied, subjects, rng())
    good = novelty.feature_likelihood(training, heldout, fresh, subjects, rng())
    assert bad.gap < -100
    assert abs(good.gap - good.reference_gap) < 10
    assert abs(good.divergence) < 10


def test_feature_likelihood_does_not_reward_a_larger_set() -> None:
    """A poor set of four times as many points is as poor, and copies are found in it as before."""
    training, heldout, copied, _ = copies_and_fresh()
    poor, many = (normal(count, 6, 8, 0.7) for count in (300, 1200))
    subjects = np.arange(300)
    few, more = (
        novelty.feature_likelihood(training, heldout, one, subjects, rng()).divergence for one in (poor, many)
    )
    assert few > 10
    assert more == pytest.approx(few, rel=0.3)
    repeated = np.tile(copied, (4, 1))
    assert novelty.feature_likelihood(training, heldout, repeated, subjects, rng()).gap < -100


def test_distances_of_copies_by_hand() -> None:
    """A copy is never authentic, nothing stands out between two at distance 0, and ties are not counted."""
    assert novelty.authentic(np.array([0.0, 0.4, 2.0]), np.array([1.0, 1.0, 1.0])).tolist() == [
        False,
        False,
        True,
    ]
    ratios = novelty.distance_ratios(np.array([0.0, 0.0, 1.0, 1.0]), np.array([2.0, 0.0, 4.0, np.nan]))
    assert ratios == pytest.approx([0, 1, 0.25, np.nan], nan_ok=True)
    found = novelty.nearer_to_training(
        np.array([[1.0, 3], [2, 2], [4, 1]]), np.array([[2.0, 2], [2, 3], [3, 9]])
    )
    assert (found.hits, found.total) == (2, 2)
    # Both training items are nearest once: of six exchanges one leaves a share of 1, one of 0, four of 1/2.
    assert found.error == pytest.approx(np.sqrt(1 / 12))


def test_data_copying_is_local_and_says_where_it_cannot_tell() -> None:
    """One region of three that is copied is seen in its cell; cells with few points are left out."""
    centres = np.array([-20, 0, 20])
    training, heldout, fresh = (
        np.concatenate([normal(60, 4, 9 * i + j, c) for j, c in enumerate(centres)]) for i in range(3)
    )
    fresh[:60] = training[:60] + 0.01
    found = novelty.data_copying(training, heldout, fresh, seed=0)
    assert np.sort(found.cells)[0] < -5
    assert np.sort(found.cells)[1] > -3
    assert found.z == pytest.approx(found.cells.mean())
    assert math.isnan(novelty.data_copying(training, heldout[:9], fresh, seed=0).z)


def test_mann_whitney_z_is_that_of_scipy() -> None:
    """The normal approximation with continuity correction."""
    a, b = rng(1).random(40), rng(2).random(30) + 0.1
    p = stats.mannwhitneyu(a, b, alternative="less", method="asymptotic").pvalue
    assert stats.norm.cdf(novelty.mann_whitney_z(a, b)) == pytest.approx(p, rel=0.05)
    alone = np.arange(40), np.arange(30)
    assert novelty.mann_whitney_z(a, b, alone) == pytest.approx(novelty.mann_whitney_z(a, b))


def test_mann_whitney_z_keeps_its_spread_with_several_items_a_subject() -> None:
    """Ten like items a held-out subject: the z of independent items would vary by three."""
    found = []
    for seed in range(200):
        draw = rng(seed)
        held = np.repeat(draw.standard_normal(20), 10) + 0.1 * draw.standard_normal(200)
        made = draw.standard_normal(200)
        found.append(novelty.mann_whitney_z(made, held, (np.arange(200), np.repeat(np.arange(20), 10))))
    assert 0.8 < np.std(found) < 1.2


def test_variances_of_a_mixture_recover_the_truth() -> None:
    """Centres far apart with points of different spread around each."""
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    spread = np.repeat([0.5, 1.0, 2.0], 4000)[:, None]
    points = np.repeat(centres, 4000, axis=0) + spread * rng().standard_normal((12000, 2))
    assert np.sqrt(mixture.fit_variances(points, centres)) == pytest.approx([0.5, 1.0, 2.0], rel=0.08)


def test_density_of_a_mixture_equals_scipy() -> None:
    """Equal weights, different spreads."""
    points, centres, variances = normal(20, 3, 1), normal(4, 3, 2), np.array([0.2, 1, 2, 0.7])
    parts = [
        stats.multivariate_normal(c, v * np.eye(3)).pdf(points)
        for c, v in zip(centres, variances, strict=True)
    ]
    assert mixture.log_mixture(points, centres, variances) == pytest.approx(np.log(np.mean(parts, axis=0)))


# Membership


def test_attacks_find_members_of_a_copied_set_only() -> None:
    """All three scores are near chance for a fresh sample and near certain for noisy copies."""
    members, others, copied, fresh = copies_and_fresh(20)
    reference = normal(300, 6, 99)

    def auc(score: np.ndarray, other: np.ndarray) -> float:
        return float(np.mean(score[:, None] > other))

    def far(records: np.ndarray, points: np.ndarray) -> np.ndarray:
        return pairwise.nearest_points(records, points).distance[:, 0]

    attacks = {
        "nearness": lambda x, s: membership.nearness_score(far(x, s)),
        "calibrated": lambda x, s: membership.calibrated_score(far(x, s), far(x, reference)),
        "domias": lambda x, s: membership.density_ratio_score(x, s, reference),
    }
    for name, attack in attacks.items():
        assert auc(attack(members, copied), attack(others, copied)) > 0.75, name
        assert auc(attack(members, fresh), attack(others, fresh)) == pytest.approx(0.5, abs=0.08), name


def test_density_ratio_is_that_of_the_two_densities() -> None:
    """Scott's bandwidth on whitened points: scipy's kernel estimate, where the reference is already white."""
    reference = exactly(normal(400, 2, 1).astype(np.float64), np.zeros(2), np.diag([2.0, 1.0]))
    synthetic = exactly(normal(500, 2, 2).astype(np.float64), np.ones(2), np.diag([2.0, 1.0]))
    records = normal(30, 2, 3)
    expected = stats.gaussian_kde(synthetic.T).logpdf(records.T) - stats.gaussian_kde(reference.T).logpdf(
        records.T
    )
    found = membership.density_ratio_score(records, synthetic, reference, 2)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_tpr_at_a_false_positive_rate_by_hand() -> None:
    """At most the allowed share of others is accused, also with ties; too few others are refused."""
    others = np.arange(100.0)
    found = membership.tpr_at_fpr(np.array([98.5, 99.5, 50.0, 98.0]), others, 0.01)
    assert (found.found, found.false, found.members, found.others) == (2, 1, 4, 100)
    tied = membership.tpr_at_fpr(np.array([99.0]), np.full(100, 99.0), 0.05)
    assert (tied.found, tied.false) == (0, 0)
    with pytest.raises(ValueError, match="needs 1000 non-members, found 100"):
        membership.tpr_at_fpr(others, others, 0.001)


def test_roc_and_scores_by_subject() -> None:
    """A patient is found by the best of the images."""
    scores = membership.by_subject(np.array([1.0, 5.0, 2.0, -1.0]), np.array([7, 3, 7, 3]))
    assert scores.tolist() == [5, 2]
    curve = membership.roc(np.array([3.0, 2.0]), np.array([1.0, 2.5]))
    assert curve.tpr.tolist()[-1] == curve.fpr.tolist()[-1] == 1
    assert np.trapezoid(curve.tpr, curve.fpr) == 0.75
