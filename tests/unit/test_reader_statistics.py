"""Statistics of readers: by hand, against scipy, scikit-learn and statsmodels, and how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats import proportion

from mirage.evaluate import statistics
from mirage.evaluate.statistics import guessing
from mirage.evaluate.statistics.readers import over_readers


@pytest.mark.parametrize(("right", "p", "low", "high"), [(72, 0.68, 0.398, 0.563), (91, 0.011, 0.524, 0.685)])
def test_the_published_observers(right: int, p: float, low: float, high: float) -> None:
    """Reader V of the mammography study guessed as far as 150 cases tell; reader J did not."""
    assert statistics.chance_p(right, 150) == pytest.approx(p, abs=0.005 if p > 0.1 else 0.0005)
    found = statistics.clopper_pearson(right, 150)
    assert found == pytest.approx((right / 150, low, high), abs=0.0005)


def test_d_prime_of_an_unbiased_reader_with_91_of_150() -> None:
    """Without bias it is 2 z(share right), 0.54; the correction draws it a little to 0."""
    found = statistics.detectability(46, 75, 30, 75)
    assert found.d_prime.estimate == pytest.approx(2 * stats.norm.ppf(91 / 150), abs=0.02)
    assert found.d_prime.estimate == pytest.approx(0.54, abs=0.01)
    assert found.criterion == pytest.approx(0, abs=0.02)
    assert found.d_prime.low < 0.3 < 0.8 < found.d_prime.high


def test_detectability_by_hand() -> None:
    """The log-linear correction is finite at the ends; c is negative where yes is said readily."""
    hit, alarm = 10.5 / 11, 5.5 / 11
    found = statistics.detectability(10, 10, 5, 10)
    assert found.d_prime.estimate == pytest.approx(stats.norm.ppf(hit) - stats.norm.ppf(alarm))
    assert found.criterion == pytest.approx(-(stats.norm.ppf(hit) + stats.norm.ppf(alarm)) / 2)
    assert found.criterion < 0
    assert math.isfinite(statistics.detectability(10, 10, 0, 10).d_prime.estimate)
    assert statistics.forced_choice(10, 20) == 0
    assert statistics.forced_choice(15, 20) == pytest.approx(math.sqrt(2) * stats.norm.ppf(15.5 / 21))
    with pytest.raises(ValueError, match="at least one case"):
        statistics.detectability(0, 0, 1, 2)
    with pytest.raises(ValueError, match="no more hits"):
        statistics.forced_choice(3, 2)


@pytest.mark.parametrize(("right", "trials", "margin"), [(72, 150, 0.1), (110, 215, 0.1), (430, 857, 0.05)])
def test_equivalence_is_that_of_statsmodels(right: int, trials: int, margin: float) -> None:
    """Two one-sided exact binomial tests."""
    expected = proportion.binom_tost(right, trials, 0.5 - margin, 0.5 + margin)[0]
    assert statistics.equivalence_p(right, trials, margin) == pytest.approx(expected)


def test_what_is_not_significant_is_not_equivalent() -> None:
    """72 of 150 differs from guessing no more than chance; that it is guessing depends on the margin."""
    assert statistics.chance_p(72, 150) > 0.05
    assert statistics.equivalence_p(72, 150, 0.1) == pytest.approx(0.028, abs=0.001)
    assert statistics.equivalence_p(72, 150, 0.05) > 0.2
    assert statistics.equivalence_p(91, 150, 0.1) > 0.5


@pytest.mark.parametrize(("share", "normal"), [(0.6, 194), (0.55, 783)])
def test_cases_to_detect_a_share(share: float, normal: int) -> None:
    """The planning table of the specification; exact tests take some more."""
    plan = statistics.plan_detection(share)
    assert plan.normal == normal
    assert (
        guessing.detection_power(plan.exact, share) >= 0.8 > guessing.detection_power(plan.exact - 1, share)
    )
    assert 1 <= plan.exact / normal < 1.15
    drawn = np.random.default_rng(0).binomial(plan.exact, share, 1000)
    found = np.mean([statistics.chance_p(int(right), plan.exact) < 0.05 for right in drawn])
    assert found == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(("margin", "normal"), [(0.1, 215), (0.05, 857)])
def test_cases_to_show_equivalence(margin: float, normal: int) -> None:
    """The planning table of the specification; exact tests take some more."""
    plan = statistics.plan_equivalence(margin)
    assert plan.normal == normal
    power = guessing.equivalence_power
    assert power(plan.exact, margin) >= 0.8 > power(plan.exact - 1, margin)
    assert 1 <= plan.exact / normal < 1.15


def test_kappa_is_that_of_scikit_learn() -> None:
    """And its greatest value and PABAK as by hand."""
    rng = np.random.default_rng(1)
    one = rng.random(80) < 0.6
    other = np.where(rng.random(80) < 0.7, one, rng.random(80) < 0.3)
    found = statistics.cohen_kappa(one, other)
    assert found.estimate == pytest.approx(cohen_kappa_score(one, other))
    assert found.low < found.estimate < found.high
    shares = np.array([[np.mean(x), 1 - np.mean(x)] for x in (one, other)])
    expected = (shares[0] * shares[1]).sum()
    assert found.largest == pytest.approx((shares.min(axis=0).sum() - expected) / (1 - expected))
    assert found.pabak == pytest.approx(2 * np.mean(one == other) - 1)
    assert statistics.cohen_kappa(one, one).estimate == 1
    alike = statistics.cohen_kappa([True] * 5, [True] * 5)
    assert math.isnan(alike.estimate)
    assert alike.pabak == 1
    assert statistics.cohen_kappa([True] * 4, [False] * 4).estimate == 0
    with pytest.raises(ValueError, match="same cases"):
        statistics.cohen_kappa([True], [True, False])


def test_fleiss_kappa_by_hand() -> None:
    """Three readers of four cases: agreement 2/3, expected 1/2."""
    answers = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 1]], bool)
    estimate, low, high = statistics.fleiss_kappa(answers)
    assert estimate == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    assert low <= estimate <= high <= 1
    assert statistics.fleiss_kappa(np.repeat(answers[:1], 3, axis=0))[0] == 1
    assert math.isnan(statistics.fleiss_kappa(np.ones((3, 4)))[0])
    with pytest.raises(ValueError, match="two readers"):
        statistics.fleiss_kappa(answers[:1])


def test_mcnemar_is_a_binomial_test_of_the_discordant_cases() -> None:
    """Cases that both have right or wrong say nothing."""
    first = np.array([True] * 9 + [False] * 2 + [True] * 20)
    second = np.array([False] * 9 + [True] * 2 + [True] * 20)
    found = statistics.mcnemar(first, second)
    assert (found.first, found.second) == (9, 2)
    assert found.p == pytest.approx(stats.binomtest(9, 11).pvalue)
    assert statistics.mcnemar(first, first).p == 1


def simulated(rng: np.random.Generator, readers: int = 4, cases: int = 40, shift: float = 0.0) -> np.ndarray:
    """Ratings (R, 2 * cases), negatives first: cases differ for all readers, readers in skill."""
    truth = np.repeat([0, 1], cases)
    skill = shift + rng.normal(0, 0.3, (readers, 1))
    return skill * truth + rng.normal(0, 1, 2 * cases) + rng.normal(0, 1, (readers, 2 * cases))


def test_covariance_of_readers_is_delong_s() -> None:
    """Areas as scikit-learn has them; the variance of one reader and of a difference as for two methods."""
    scores = simulated(np.random.default_rng(2), shift=1.0)
    truth = np.repeat([False, True], 40)
    areas, covariance = statistics.delong_covariance(scores[:, truth], scores[:, ~truth])
    assert areas == pytest.approx([roc_auc_score(truth, own) for own in scores])
    pair = [scores[0, truth], scores[0, ~truth], scores[1, truth], scores[1, ~truth]]
    found = statistics.delong_difference(*pair)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-5)


def test_obuchowski_and_rockette_by_hand() -> None:
    """One modality: t of the mean over sqrt((MS(R) + J Cov) / J), with Hillis' degrees of freedom."""
    areas = np.array([0.6, 0.7, 0.8])
    covariance = np.full((3, 3), 0.002) + np.eye(3) * 0.003
    found = over_readers(areas, covariance, 0.5)
    square = 0.01
    error = math.sqrt((square + 3 * 0.002) / 3)
    freedom = 2 * ((square + 3 * 0.002) / square) ** 2
    assert found.freedom == pytest.approx(freedom)
    assert found.p == pytest.approx(2 * stats.t.sf(0.2 / error, freedom))
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert found.equivalence_p(0.1) > 0.5
    assert found.equivalence_p(0.4) == pytest.approx(stats.t.sf(0.2 / error, freedom))
    same = over_readers([0.5, 0.5, 0.5], np.zeros((3, 3)), 0.5)
    assert (same.low, same.high, same.p, same.equivalence_p(0.1)) == (0.5, 0.5, 1.0, 0.0)
    only_cases = over_readers([0.6, 0.6, 0.6], covariance, 0.5)
    assert math.isinf(only_cases.freedom)
    assert only_cases.low < 0.6 < only_cases.high


def test_mean_over_readers_rejects_as_often_as_it_says() -> None:
    """Readers and cases drawn anew: 5 % of true nulls are rejected, by area and by accuracy."""
    truth = np.repeat([False, True], 40)
    rng = np.random.default_rng(3)
    areas, shares = [], []
    for _ in range(300):
        scores = simulated(rng)
        areas.append(statistics.mean_area(scores, truth).p < 0.05)
        shares.append(statistics.mean_share((scores > 0) == truth, truth).p < 0.05)
    assert 0.02 <= np.mean(areas) <= 0.085
    assert 0.02 <= np.mean(shares) <= 0.085
    scores = simulated(rng, shift=1.5)
    assert statistics.mean_area(scores, truth).p < 0.01


def test_mean_over_readers_needs_three() -> None:
    """Two readers have no variance to speak of; pairs are of one kind."""
    truth = np.repeat([False, True], 4)
    with pytest.raises(ValueError, match="3 or more readers"):
        statistics.mean_area(np.zeros((2, 8)), truth)
    with pytest.raises(ValueError, match="two cases or more of each kind"):
        statistics.mean_area(np.zeros((3, 8)), np.arange(8) == 0)
    found = statistics.mean_share(np.array([[1, 0, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1]]))
    assert found.estimate == pytest.approx(0.75)
