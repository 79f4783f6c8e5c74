"""All that is measured in the feature space of one encoder."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Items
from mirage.evaluate.features.bank import FeatureBank, FeatureTable
from mirage.evaluate.fidelity.context import encode_group
from mirage.evaluate.fidelity.draws import Patients, plan, spread
from mirage.evaluate.fidelity.embeddings import embed
from mirage.evaluate.fidelity.measures import (
    Frechet,
    FrechetInfinity,
    Kernel,
    Marginals,
    Neighbourhoods,
    SlicedWasserstein,
    Vendi,
)
from mirage.evaluate.fidelity.rows import Rows, derived, measured
from mirage.evaluate.fidelity.separability import separability
from mirage.evaluate.fidelity.single_features import LEVEL, single_features
from mirage.evaluate.sides import Sides
from mirage.metrics.points import Array

HALF_SAMPLES = 200
"""Half samples behind an interval; each costs a few matrix decompositions."""
CHEAP_DIMENSIONS = 256
"""Dimensions of a Fréchet distance up to which all half samples are drawn; of D more (256 / D)^2 of them."""
FEWEST_SAMPLES = 20
INFINITY_SAMPLES = 40
PAIRWISE_ITEMS = 1000
"""Items of one side whose distances to all others are held in memory; larger sets are sampled by patients."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Space:
    """What was found in one feature space.

    Attributes:
        rows: of metrics.
        facts: encoder, protocol, numbers, and which metrics are absent and why.
        tests: of single features, see :func:`single_features`; None for encoders whose features mean nothing
            one by one.
        values: (N, D) features of all items of all sides.
    """

    rows: Rows
    facts: dict[str, Any]
    tests: pd.DataFrame | None
    values: Array


def features(
    config: FidelityEvaluation, encoder: str, sides: Sides, bank: FeatureBank
) -> tuple[FeatureTable, Array]:
    """The table of the real dataset, and features (N, D) of training, held-out and synthetic items."""
    real = bank(encoder, config.real)
    parts = [real.rows(sides.training)]
    if sides.heldout is not None:
        parts.append((bank(encoder, config.heldout) if config.heldout else real).rows(sides.heldout))
    parts.append(bank(encoder, config.synthetic).rows(sides.synthetic))
    return real, np.concatenate(parts)


def compare_space(
    config: FidelityEvaluation, encoder: str, sides: Sides, patients: Patients, bank: FeatureBank
) -> Space:
    """Measure synthetic against real items by the features of one encoder.

    Args:
        config: the evaluation.
        encoder: its name under ``encoders``.
        sides: what is compared.
        patients: of all items of the sides.
        bank: holds the features.
    """
    logger.info("features of %s", encoder)
    table, values = features(config, encoder, sides, bank)
    absent: dict[str, str] = {}
    facts: dict[str, Any] = {
        **{
            key: table.info.get(key)
            for key in ("encoder", "options", "protocol", "weights_sha256", "fitted_on")
        },
        "features": values.shape[1],
        "absent": absent,
    }
    few, picked = patients.capped(PAIRWISE_ITEMS, config.seed)
    draws = min(HALF_SAMPLES, config.bootstrap)
    everything, sampled = (plan(some, draws, config.seed) for some in (patients, few))
    if everything is None or sampled is None:
        absent["all"] = "one real patient and nothing held out leave nothing to compare with"
        return Space([], facts, None, values)

    rows: Rows = []
    training = np.arange(len(patients.training))
    fewest = min(everything.count, len(everything.equal[0].base))
    frechet = Frechet(values, training, fewest)
    facts |= {"n": everything.count, "protocol_of_sets": everything.protocol, "n_pairwise": sampled.count}
    facts["frechet_dimensions"] = frechet.dimensions
    affordable = everything.fewer(_affordable(draws, frechet.dimensions))
    rows += measured(frechet, affordable, encoder, absent)
    infinity = affordable.fewer(INFINITY_SAMPLES)
    rows += measured(FrechetInfinity(values, config.seed), infinity, encoder, absent)
    part, part_training = values[patients.joined(picked)], np.arange(len(few.training))
    for measure in (
        Kernel(part),
        SlicedWasserstein(part, config.seed),
        Neighbourhoods(part, config.neighbours),
        Vendi(part, part_training),
    ):
        rows += measured(measure, sampled, encoder, absent)
    rows += separability(part, few.numbers, sampled, encoder, draws, config.seed, absent)
    form = frechet.name.removeprefix("frechet")  # one of principal components is no FID and no FRD
    rows += derived(rows, frechet.name, "ratio", f"medigan_fid_ratio{form}", lambda ratio: 1 / ratio, absent)
    tests = None
    if table.info["encoder"] == "radiomics":
        rows += derived(rows, frechet.name, "absolute", f"frd{form}", math.log, absent)
        rows += measured(Marginals(part, "feature_wasserstein1"), sampled, encoder, absent)
        tests = single_features(part, few.numbers, table.names, sampled.equal[0])
        facts["features_differing"] = {
            "synthetic": int((tests["q"] < LEVEL).sum()),
            "reference": int((tests["real_q"] < LEVEL).sum()),
        }
    return Space(rows, facts, tests, values)


def _affordable(draws: int, dimensions: int) -> int:
    """How many of the half samples distances in so many dimensions can afford."""
    share = min(1.0, (CHEAP_DIMENSIONS / dimensions) ** 2)
    return max(FEWEST_SAMPLES, round(draws * share))


def map_space(
    config: FidelityEvaluation,
    encoder: str,
    values: Array,
    sides: Sides,
    patients: Patients,
    context: Mapping[str, Items],
    bank: FeatureBank,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Maps of at most ``maps.items`` items of each side and of each further group; see :func:`embed`.

    Args:
        config: the evaluation.
        encoder: its name.
        values: (N, D) features of all items of the sides.
        sides: what is compared.
        patients: of all items of the sides.
        context: further groups, by name.
        bank: holds the encoder that these are encoded by.
    """
    rng = seeds.rng(config.seed, "fidelity/maps")
    parts = {"training": sides.training, "heldout": sides.heldout, "synthetic": sides.synthetic}
    shown, groups, item_ids = [], [], []
    for start, (side, items) in zip(patients.starts, parts.items(), strict=True):
        if items is None:
            continue
        picked = spread(rng, getattr(patients, side), config.maps.items)
        shown.append(values[start + picked])
        groups += [side] * len(picked)
        item_ids += items.items["item_id"].iloc[picked].tolist()
    for name, items in context.items():
        shown.append(encode_group(bank, encoder, name, items, config))
        groups += [name] * len(items)
        item_ids += items.items["item_id"].tolist()
    return embed(np.concatenate(shown), groups, item_ids, encoder, config.maps, config.seed)
