"""Our formulae against those of published packages, on the same features.

The packages are no dependency: where one is not installed its test is skipped, and its answers, which are
stored here, still hold ours. To run them all, in an environment of their own:

    pip install torch-fidelity prdc frd-score
    pytest tests/oracles
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from mirage.metrics.distances import frechet_distance
from mirage.metrics.kernels import kernel_distance, kernel_subsets
from mirage.metrics.manifold import prdc
from mirage.metrics.pairwise import nearest_points

AGREEMENT = 1e-3
STORED = 1e-5


def features(n: int, d: int, seed: int) -> np.ndarray:
    """Values (n, d) that look random, the same on every machine; features differ in mean and spread."""
    i, j = np.arange(1, n + 1)[:, None], np.arange(1, d + 1)
    waves = np.sin(12.9898 * i + 78.233 * j + 37.719 * seed) * 43758.5453
    return ((waves - np.floor(waves)) * (1 + 0.1 * j) + 0.02 * seed * j).astype(np.float32)


REAL, SYNTHETIC = features(90, 12, 1), features(90, 12, 5)
FEW = features(60, 12, 5)


# Answers of torch-fidelity 0.4.0, prdc 0.2 and frd-score 1.0.1, given the features as float64.
FID = 3.8749466970913478
KID = 14.049046344202182
PRDC = {3: [13 / 60, 33 / 90, 17 / 180, 12 / 90], 5: [20 / 60, 44 / 90, 44 / 300, 20 / 90]}
"""k: precision, recall, density, coverage of REAL and FEW."""
FRD = 2.6581894835516553


def package(name: str) -> ModuleType:
    """The package, or a skip that says why."""
    return pytest.importorskip(name, reason=f"{name} is not installed here", exc_type=ImportError)


def test_frechet_distance_is_that_of_torch_fidelity() -> None:
    """FID from features."""
    ours = frechet_distance(REAL, SYNTHETIC)
    assert ours == pytest.approx(FID, rel=STORED)
    oracle, torch = package("torch_fidelity.metric_fid"), package("torch")
    stats = [oracle.fid_features_to_statistics(torch.from_numpy(x)) for x in (REAL, SYNTHETIC)]
    theirs = oracle.fid_statistics_to_metric(*stats, verbose=False)[oracle.KEY_METRIC_FID]
    assert ours == pytest.approx(theirs, rel=AGREEMENT)


def test_kernel_distance_is_that_of_torch_fidelity() -> None:
    """KID from features: of one subset that is everything, and the mean of 100 subsets."""
    ours = kernel_distance(REAL, SYNTHETIC)
    assert ours == pytest.approx(KID, rel=STORED)
    oracle, torch = package("torch_fidelity.metric_kid"), package("torch")
    tensors = [torch.from_numpy(x) for x in (REAL, SYNTHETIC)]
    key = oracle.KEY_METRIC_KID_MEAN
    whole = oracle.kid_features_to_metric(*tensors, kid_subsets=1, kid_subset_size=90, verbose=False)[key]
    assert ours == pytest.approx(whole, rel=AGREEMENT)
    many = oracle.kid_features_to_metric(*tensors, kid_subsets=100, kid_subset_size=50, verbose=False)
    drawn = kernel_subsets(REAL, SYNTHETIC, np.random.default_rng(0), draws=100, size=50)
    error = np.hypot(many[oracle.KEY_METRIC_KID_STD], drawn.std()) / 10
    assert abs(drawn.mean() - many[key]) < 4 * error


@pytest.mark.parametrize("k", [3, 5])
def test_manifolds_are_those_of_prdc(k: int) -> None:
    """All four, at unequal numbers, exactly."""
    found = prdc(REAL, FEW, k)
    ours = [found.precision, found.recall, found.density, found.coverage]
    assert ours == pytest.approx(PRDC[k], abs=1e-12)
    theirs = package("prdc").compute_prdc(REAL.astype(float), FEW.astype(float), k)
    assert ours == pytest.approx([theirs[key] for key in ("precision", "recall", "density", "coverage")])


def test_log_of_frechet_is_that_of_frd_score() -> None:
    """The log of its Fréchet distance of features z-scored on the reference, as FRD v1 takes it."""
    centre, spread = REAL.mean(axis=0, dtype=float), REAL.std(axis=0, dtype=float)
    ours = np.log(frechet_distance((REAL - centre) / spread, (SYNTHETIC - centre) / spread))
    assert ours == pytest.approx(FRD, rel=STORED)
    oracle = package("frd_score.frd")
    moments = []
    for points in (REAL, SYNTHETIC):
        scaled = (points - centre) / spread
        moments += [scaled.mean(axis=0), np.cov(scaled, rowvar=False)]
    assert ours == pytest.approx(np.log(oracle.calculate_frechet_distance(*moments)), rel=AGREEMENT)


def test_neighbours_are_those_of_scikit_learn() -> None:
    """Distances and indices of the four nearest."""
    neighbors = package("sklearn.neighbors").NearestNeighbors(n_neighbors=4).fit(REAL.astype(float))
    distance, index = neighbors.kneighbors(FEW.astype(float))
    found = nearest_points(FEW, REAL, 4)
    assert np.allclose(found.distance, distance, rtol=1e-9)
    assert np.array_equal(found.index, index)
