"""Which single features differ: two-sample tests of every radiomic feature, with false-discovery control."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirage.evaluate.fidelity.draws import Draw, Ints
from mirage.metrics.points import Array
from mirage.metrics.separability import feature_tests

LEVEL = 0.05
"""Expected share of false discoveries among the features that are called different."""


def single_features(values: Array, patients: Ints, names: tuple[str, ...], draw: Draw) -> pd.DataFrame:
    """Kolmogorov-Smirnov test and Wasserstein-1 distance of every feature, beside the same of real images.

    One item a patient is tested, for items of one patient are not independent. Probabilities are adjusted
    over all features by Benjamini and Hochberg's procedure.

    Args:
        values: (N, D) features of all items.
        patients: (N,) of all items.
        names: of the features.
        draw: which items are compared.

    Returns:
        A row a feature, the most different first: feature; ``shift`` of the median and ``wasserstein1`` in
        standard deviations of the real feature, ``ks``, ``p`` and ``q`` of synthetic against training images,
        and with the prefix ``real_`` of other real ones; ``n_training``, ``n``, ``real_n`` items tested.
    """
    base, judged, reference = (_one_each(side, patients) for side in (draw.base, draw.judged, draw.reference))
    table = pd.DataFrame({"feature": names})
    spread = values[base].std(axis=0, dtype=np.float64)
    for prefix, other in (("", judged), ("real_", reference)):
        found = feature_tests(values[base], values[other])
        shift = np.median(values[other], axis=0) - np.median(values[base], axis=0)
        table[f"{prefix}shift"] = shift / np.where(spread > 0, spread, 1.0)
        table[f"{prefix}wasserstein1"] = found.wasserstein
        table[f"{prefix}ks"], table[f"{prefix}p"], table[f"{prefix}q"] = found.statistic, found.p, found.q
        table[f"{prefix}n"] = len(other)
    table["n_training"] = len(base)
    return table.sort_values(["q", "ks"], ascending=[True, False], kind="stable", ignore_index=True)


def _one_each(items: Ints, patients: Ints) -> Ints:
    return items[np.unique(patients[items], return_index=True)[1]]
