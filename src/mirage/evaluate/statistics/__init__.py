"""Intervals and tests that all evaluators use. The unit is the subject: patient, child or animal.

- :mod:`hierarchical`: means of scores of single subjects over training seeds, and comparisons of arms.
- :mod:`resampling`: distances between sets, which have no scores of single subjects: draws of whole
  subjects, and intervals by m out of n.
- :mod:`rates`: shares (exact binomial), what exceeds a threshold more often than expected (exact), and
  areas under the ROC and their differences (DeLong).
- :mod:`hypotheses`: paired permutation, Nadeau-Bengio, Holm.

How often the intervals hold the truth is measured by a test, and told in docs/statistics.md.
"""

from mirage.evaluate.statistics.hierarchical import (
    Estimate,
    Verdict,
    compare_arms,
    mean_interval,
    paired_difference,
    paired_matrices,
    paired_ratio,
    sign_flip_p,
    subject_matrix,
    verdict,
)
from mirage.evaluate.statistics.hypotheses import (
    LEVEL,
    Difference,
    holm,
    nadeau_bengio,
    paired_permutation_p,
)
from mirage.evaluate.statistics.rates import Interval, clopper_pearson, delong, delong_difference, exceedance
from mirage.evaluate.statistics.resampling import (
    Resampled,
    bootstrap_interval,
    bootstrap_weights,
    centred,
    halves,
    limits,
    m_out_of_n,
    pick_weights,
    subsample,
    weighted_median,
)

__all__ = [
    "LEVEL",
    "Difference",
    "Estimate",
    "Interval",
    "Resampled",
    "Verdict",
    "bootstrap_interval",
    "bootstrap_weights",
    "centred",
    "clopper_pearson",
    "compare_arms",
    "delong",
    "delong_difference",
    "exceedance",
    "halves",
    "holm",
    "limits",
    "m_out_of_n",
    "mean_interval",
    "nadeau_bengio",
    "paired_difference",
    "paired_matrices",
    "paired_permutation_p",
    "paired_ratio",
    "pick_weights",
    "sign_flip_p",
    "subject_matrix",
    "subsample",
    "verdict",
    "weighted_median",
]
