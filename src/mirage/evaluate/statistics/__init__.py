"""Intervals and tests that all evaluators use. The unit is the subject: patient, child or animal.

- :mod:`hierarchical`: means of scores of single subjects over training seeds, and comparisons of arms.
- :mod:`resampling`: distances between sets, which have no scores of single subjects: draws of whole
  subjects, and intervals by m out of n.
- :mod:`rates`: shares (exact binomial), what exceeds a threshold more often than expected (exact), and
  areas under the ROC and their differences (DeLong).
- :mod:`hypotheses`: paired permutation, Nadeau-Bengio, Holm.
- :mod:`guessing`: right answers against guessing, equivalence to it, and how many cases either takes.
- :mod:`detectability`, :mod:`agreement`: d' and criterion of a reader; kappas and McNemar's test of several.
- :mod:`readers`: the mean of several readers of the same cases (Obuchowski and Rockette).

How often the intervals hold the truth is measured by a test, and told in docs/statistics.md.
"""

from mirage.evaluate.statistics.agreement import (
    Discordance,
    Kappa,
    cohen_kappa,
    fleiss_kappa,
    mcnemar,
)
from mirage.evaluate.statistics.detectability import Detectability, detectability, forced_choice
from mirage.evaluate.statistics.guessing import (
    chance_p,
    equivalence_p,
    plan_detection,
    plan_equivalence,
)
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
from mirage.evaluate.statistics.rates import (
    Interval,
    clopper_pearson,
    delong,
    delong_covariance,
    delong_difference,
    exceedance,
    hanley_mcneil,
    positives_needed,
)
from mirage.evaluate.statistics.readers import ReaderMean, mean_area, mean_share
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
    "Detectability",
    "Difference",
    "Discordance",
    "Estimate",
    "Interval",
    "Kappa",
    "ReaderMean",
    "Resampled",
    "Verdict",
    "bootstrap_interval",
    "bootstrap_weights",
    "centred",
    "chance_p",
    "clopper_pearson",
    "cohen_kappa",
    "compare_arms",
    "delong",
    "delong_covariance",
    "delong_difference",
    "detectability",
    "equivalence_p",
    "exceedance",
    "fleiss_kappa",
    "forced_choice",
    "halves",
    "hanley_mcneil",
    "holm",
    "limits",
    "m_out_of_n",
    "mcnemar",
    "mean_area",
    "mean_interval",
    "mean_share",
    "nadeau_bengio",
    "paired_difference",
    "paired_matrices",
    "paired_permutation_p",
    "paired_ratio",
    "pick_weights",
    "plan_detection",
    "plan_equivalence",
    "positives_needed",
    "sign_flip_p",
    "subject_matrix",
    "subsample",
    "verdict",
    "weighted_median",
]
