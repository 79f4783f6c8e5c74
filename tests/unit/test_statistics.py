"""Intervals and tests: what they cover, what they refuse to claim, and that they are reproducible."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from mirage.errors import DataError
from mirage.evaluate import statistics
from mirage.evaluate.statistics import hierarchical
from mirage.evaluate.statistics.resampling import rescaled


def rows(values: np.ndarray, arm: str = "real", items: int = 1, trained: bool = True) -> pd.DataFrame:
    """Tidy rows of one metric from a (seeds, subjects) array."""
    return pd.DataFrame(
        [
            {
                "arm": arm,
                "seed": seed if trained else None,
                "subject_id": f"s{subject:02d}",
                "item_id": f"s{subject:02d}-{item}",
                "metric": "f1",
                "value": values[seed, subject],
            }
            for seed, subject, item in itertools.product(
                range(values.shape[0]), range(values.shape[1]), range(items)
            )
        ]
    )


def simulate(rng: np.random.Generator, seeds: int, subjects: int, by_seed: float = 0.3) -> np.ndarray:
    """Scores with true mean 0: subjects vary by 1, seeds by ``by_seed``, residuals by 0.2."""
    return (
        rng.normal(0, 1, (1, subjects))
        + rng.normal(0, by_seed, (seeds, 1))
        + rng.normal(0, 0.2, (seeds, subjects))
    )


@pytest.mark.parametrize(
    ("seeds", "subjects", "by_seed"), [(1, 3, 0.0), (3, 3, 0.1), (3, 6, 0.3), (5, 20, 0.5)]
)
def test_interval_covers_the_truth_as_often_as_it_says(
    seeds: int, subjects: int, by_seed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """95 % intervals of 300 simulated experiments hold the true mean in 92 to 99 % of them."""
    monkeypatch.setattr(hierarchical, "RESAMPLES", 300)
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        found = statistics.mean_interval(rows(simulate(rng, seeds, subjects, by_seed)))
        held += found.low <= 0 <= found.high
    assert 0.92 <= held / 300 <= 0.99


def test_two_eyes_of_a_child_do_not_narrow_the_interval() -> None:
    """Copies of an item add no information: the interval is by subject."""
    values = simulate(np.random.default_rng(1), 3, 3)
    assert statistics.mean_interval(rows(values)) == statistics.mean_interval(rows(values, items=2))


def test_estimate_weighs_subjects_equally() -> None:
    """A subject with many items counts as much as a subject with one."""
    table = pd.DataFrame(
        {"arm": "a", "seed": 0, "metric": "f1", "subject_id": ["x"] * 9 + ["y"], "value": [1.0] * 9 + [0.0]}
    )
    assert statistics.mean_interval(table).estimate == 0.5


def test_many_subjects_give_the_plain_percentile_interval() -> None:
    """The widening for few subjects vanishes: the half width is 1.96 standard errors."""
    values = np.random.default_rng(2).normal(0, 1, (1, 400))
    found = statistics.mean_interval(rows(values))
    error = values.std(ddof=1) / 20
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_one_subject_gives_no_interval_and_no_verdict() -> None:
    """Nothing is claimed from a single patient."""
    better, worse = rows(np.array([[0.9]])), rows(np.array([[0.1]]))
    found = statistics.paired_difference(better, worse)
    assert found.estimate == pytest.approx(0.8)
    assert np.isnan(found.low)
    assert statistics.verdict(found) == "inconclusive"


def test_intervals_are_deterministic() -> None:
    """The same rows give the same interval, in whatever order they come."""
    table = rows(simulate(np.random.default_rng(3), 3, 6))
    assert statistics.mean_interval(table) == statistics.mean_interval(table.sample(frac=1, random_state=0))


def test_pairing_removes_what_subjects_have_in_common() -> None:
    """A constant gain is found among subjects that differ far more than the gain."""
    rng = np.random.default_rng(4)
    base = simulate(rng, 3, 8)
    gain = base + 0.1 + rng.normal(0, 0.01, base.shape)
    found = statistics.paired_difference(rows(gain), rows(base))
    assert found.low > 0
    assert statistics.verdict(found) == "better"
    assert statistics.verdict(found, higher_is_better=False) == "worse"


def test_no_difference_is_inconclusive() -> None:
    """Two arms of equal truth are not told apart."""
    rng = np.random.default_rng(5)
    found = statistics.paired_difference(rows(simulate(rng, 3, 6)), rows(simulate(rng, 3, 6)))
    assert statistics.verdict(found) == "inconclusive"


def test_ratio_of_scaled_scores() -> None:
    """An arm that reaches 97 % of the baseline on every subject has the ratio 0.97 without spread."""
    base = np.random.default_rng(6).uniform(0.6, 0.9, (3, 6))
    found = statistics.paired_ratio(rows(base * 0.97), rows(base))
    assert (found.estimate, found.low, found.high) == pytest.approx((0.97, 0.97, 0.97))


def test_arms_with_other_seeds_are_refused_but_an_observer_is_repeated() -> None:
    """Only an arm without any seed pairs with every seed."""
    base = np.random.default_rng(8).uniform(0.6, 0.9, (3, 6))
    with pytest.raises(DataError, match="cannot be paired"):
        statistics.paired_difference(rows(base[:2]), rows(base))
    observer = rows(base[:1], trained=False)
    found = statistics.paired_difference(observer, rows(base))
    assert found.estimate == pytest.approx((base[0] - base.mean(axis=0)).mean())
    assert found.seeds == 3


def test_undefined_scores_are_left_out() -> None:
    """A NaN of one seed leaves the subject's other values."""
    values = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]])
    assert statistics.mean_interval(rows(values)).estimate == pytest.approx(2.0)


def test_sign_flip_p_of_few_subjects_is_exact() -> None:
    """All of three subjects better: 2 of 8 patterns are as extreme."""
    base = np.zeros((1, 3))
    assert statistics.sign_flip_p(rows(np.array([[1.0, 2.0, 3.0]])), rows(base)) == 0.25
    assert statistics.sign_flip_p(rows(base), rows(base)) == 1.0


def test_sign_flip_p_of_many_subjects_agrees_with_a_t_test() -> None:
    """Monte Carlo sign flips come close to the t test where that is right."""
    from scipy import stats

    values = np.random.default_rng(9).normal(0.4, 1, (1, 40))
    expected = stats.ttest_1samp(values[0], 0).pvalue
    assert statistics.sign_flip_p(rows(values), rows(values * 0)) == pytest.approx(expected, rel=0.25)


def test_holm_by_hand() -> None:
    """The textbook example, with an undefined p left alone."""
    adjusted = statistics.holm([0.01, float("nan"), 0.04, 0.03, 0.005])
    assert adjusted[0] == pytest.approx(0.03)
    assert np.isnan(adjusted[1])
    assert adjusted[2:] == pytest.approx([0.06, 0.06, 0.02])


def test_compare_arms_puts_the_baseline_first_and_adjusts_over_the_others() -> None:
    """One row an arm; the baseline is compared with nothing; an undefined arm has no verdict."""
    rng = np.random.default_rng(10)
    base = rng.uniform(0.6, 0.7, (2, 8))
    table = pd.concat(
        [
            rows(base + 0.2 + rng.normal(0, 0.01, base.shape), "both"),
            rows(base, "real"),
            rows(base - 0.2 + rng.normal(0, 0.01, base.shape), "synthetic"),
            rows(base * np.nan, "broken"),
        ]
    )
    found = statistics.compare_arms(table, "f1", "real").set_index("arm")
    assert list(found.index) == ["real", "both", "synthetic", "broken"]
    assert found["verdict"].tolist() == [None, "better", "worse", None]
    assert found.loc["both", "p_holm"] == pytest.approx(2 * found.loc["both", "p"])
    assert np.isnan(found.loc["broken", "estimate"])
    with pytest.raises(DataError, match="baseline"):
        statistics.compare_arms(table, "f1", "nothing")


def brute_areas(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUC by counting pairs, with the structural components of DeLong (1988)."""
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    return wins.mean(), wins.mean(axis=1), wins.mean(axis=0)


def test_delong_equals_counting_of_pairs() -> None:
    """The area, its variance and the covariance of two, with ties."""
    rng = np.random.default_rng(1)
    truth = np.repeat([1.0, 0.0], [30, 40])
    one, other = (np.round(truth + rng.normal(0, 1, 70), 1) for _ in range(2))
    (area, over, under), (area2, over2, under2) = (brute_areas(s[:30], s[30:]) for s in (one, other))
    found = statistics.delong(one[:30], one[30:])
    variance = over.var(ddof=1) / 30 + under.var(ddof=1) / 40
    logit = np.log(area / (1 - area))
    reach = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    assert found.estimate == pytest.approx(area)
    assert found.low == pytest.approx(1 / (1 + np.exp(reach - logit)), rel=1e-6)
    assert found.high == pytest.approx(1 / (1 + np.exp(-reach - logit)), rel=1e-6)
    compared = statistics.delong_difference(one[:30], one[30:], other[:30], other[30:])
    error = np.sqrt((over - over2).var(ddof=1) / 30 + (under - under2).var(ddof=1) / 40)
    assert compared.estimate == pytest.approx(area - area2)
    assert compared.high - compared.low == pytest.approx(2 * 1.959964 * error, rel=1e-6)


def test_delong_over_folds_is_the_mean_of_their_areas() -> None:
    """Each fold scores its own negatives and all positives; one fold is the plain area."""
    rng = np.random.default_rng(8)
    highs, lows = rng.normal(1, 1, (2, 25)), rng.normal(0, 1, 20)
    highs[1] += 5  # scores of folds need not be on one scale
    folds = np.arange(20) % 2
    lows[folds == 1] += 5
    found = statistics.delong(highs, lows, folds)
    single = [statistics.delong(highs[fold], lows[folds == fold]) for fold in (0, 1)]
    assert found.estimate == pytest.approx(np.mean([one.estimate for one in single]))
    assert found.high - found.low < min(one.high - one.low for one in single)
    assert statistics.delong(highs[:1], lows, np.zeros(20)) == statistics.delong(highs[0], lows)
    gap = statistics.delong_difference(highs, lows, highs, lows, folds, folds)
    assert (gap.estimate, gap.p) == (0, 1)


def test_exceedance_holds_the_errors_of_threshold_and_trials() -> None:
    """Of 400 experiments about 95 % hold the excess, with and without copies below any threshold."""
    rng = np.random.default_rng(4)
    for copies in (0.0, 0.06):
        held = 0
        for _ in range(400):
            threshold = np.sort(rng.random(100))[4]  # uniform: its own probability
            hits = int((np.where(rng.random(150) < copies, 0, rng.random(150)) < threshold).sum())
            found = statistics.exceedance(hits, 150, 5, 100)
            held += found.low <= copies * (1 - threshold) <= found.high
        assert 0.93 <= held / 400 <= 0.99, copies
    none, every = statistics.exceedance(0, 50, 5, 100), statistics.exceedance(50, 50, 5, 100)
    assert none.low <= none.estimate == -5 / 101 <= none.high < 0.05
    assert every.low > 0.8
    assert every.high == 1


def test_delong_agrees_with_a_bootstrap() -> None:
    """The standard error is that of 2,000 resamples of subjects."""
    rng = np.random.default_rng(2)
    positives, negatives = rng.normal(1, 1, 80), rng.normal(0, 1, 120)
    draws = [brute_areas(rng.choice(positives, 80), rng.choice(negatives, 120))[0] for _ in range(2000)]
    found = statistics.delong(positives, negatives)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.015)


def test_delong_without_overlap_or_scores_claims_little() -> None:
    """A perfect area is as uncertain as its few cases; one case has no interval."""
    perfect = statistics.delong([2.0, 3.0, 4.0], [0.0, 1.0])
    assert (perfect.estimate, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.158, abs=1e-3)
    assert np.isnan(statistics.delong([2.0], [0.0, 1.0]).low)
    tied = statistics.delong([1.0, 1.0, 1.0], [1.0, 1.0])
    assert tied.estimate == 0.5
    assert np.isnan(tied.low)
    same = statistics.delong_difference([2.0, 3.0], [0.0, 2.5], [2.0, 3.0], [0.0, 2.5])
    assert same == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="same subjects"):
        statistics.delong_difference([2.0, 3.0], [0.0], [2.0], [0.0])


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(72, 150, 0.398, 0.563), (91, 150, 0.524, 0.685), (0, 20, 0.0, 0.168), (20, 20, 0.832, 1.0)],
)
def test_clopper_pearson_of_known_tables(successes: int, trials: int, low: float, high: float) -> None:
    """Published intervals of two readers, and none and all of twenty."""
    found = statistics.clopper_pearson(successes, trials)
    assert found == pytest.approx((successes / trials, low, high), abs=6e-4)


def test_holm_leaves_out_what_is_not_known() -> None:
    """A NaN stays one and does not count as a hypothesis."""
    assert statistics.holm([0.01, float("nan"), 0.04])[::2] == pytest.approx([0.02, 0.04])
    assert np.isnan(statistics.holm([float("nan")])).all()


def test_paired_permutation_of_an_array() -> None:
    """Five differences of one sign: 2 of 32 patterns are as extreme."""
    assert statistics.paired_permutation_p([1.0, 2.0, 0.5, 3.0, 1.0]) == 2 / 32


def test_nadeau_bengio_by_hand() -> None:
    """Variance 1 over 10 folds of 10: (1/10 + 1/9) in place of 1/10."""
    values = np.array([0.0, 2.0] * 5) * 3 / np.sqrt(10)
    found = statistics.nadeau_bengio(values, 1 / 9)
    error = np.sqrt(1 / 10 + 1 / 9)
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.estimate == pytest.approx(2.262157 * error, rel=1e-5)
    assert 0 < found.p < 1
    assert np.isnan(statistics.nadeau_bengio([0.3], 0.25).low)
    assert statistics.nadeau_bengio([0.1, 0.1], 0.25).p == 0


def test_halves_of_subjects_stay_whole() -> None:
    """Half of the patients of each draw, with all of their items."""
    subjects = np.array([0, 0, 1, 2, 2, 2, 3, 4])
    drawn = statistics.subsample(np.random.default_rng(0), subjects, 40)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (np.unique(subjects[np.flatnonzero(drawn[7])]).size) == 2
    assert {np.unique(subjects[row]).size for row in drawn} == {2}


def test_m_out_of_n_of_a_mean_is_a_t_interval() -> None:
    """Half width t times the standard error, by subjects: items of a subject add nothing."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 40), rng.normal(0.5, 1, 40)
    a, b, subjects = np.repeat(a, 3), np.repeat(b, 3), np.repeat(np.arange(40), 3)
    found = statistics.m_out_of_n(lambda i, j: b[j].mean() - a[i].mean(), subjects, subjects, rng, 2000)
    error = np.sqrt(a[::3].var(ddof=1) / 40 + b[::3].var(ddof=1) / 40)
    assert found.estimate == pytest.approx(b.mean() - a.mean())
    assert (found.high - found.low) / 2 == pytest.approx(2.02 * error, rel=0.08)
    few = statistics.m_out_of_n(lambda i, j: 1.0, np.arange(3), np.arange(40), rng, 10)
    assert (few.estimate, np.isnan(few.low)) == (1.0, True)


def test_an_interval_of_twenty_draws_still_holds_the_truth() -> None:
    """Of 1,000 normal estimates with draws of the right spread; percentiles would hold 90 %."""
    rng, held = np.random.default_rng(4), []
    for estimate in rng.normal(0, 1, 1000):
        found = rescaled(estimate, rng.normal(estimate, 1, 20), (60,))
        held.append(found.low <= 0 <= found.high)
    assert 0.93 <= np.mean(held) <= 0.97
