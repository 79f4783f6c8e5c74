"""Fidelity: how far synthetic images lie from real ones.

Every distance stands beside the same distance between real images, at equal numbers of images, and their
ratio. The definitions are in :mod:`mirage.evaluate.intensity` (distributions of grey values)
and :mod:`mirage.metrics`.

Intervals are stored here, beside their values, whereas those of other evaluations are computed from rows in
the report. This is deliberate: a distance between two sets has no rows of single items that an interval could
be computed from, and resampling needs the pixels, which the report does not read again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset, Items
from mirage.data.pool import Pool
from mirage.errors import DataError
from mirage.evaluate import intensity
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.resampling import bootstrap_weights, limits
from mirage.evaluate.sides import sides
from mirage.evaluate.table import COLUMNS, COUNT, NUMBER, TEXT, write_table
from mirage.files import write_json
from mirage.metrics.histograms import Levels
from mirage.provenance import describe

What = Literal["image", "mask"]
MAX_ITEMS = 2000
"""Items of one side whose histograms are kept in memory; larger sets are sampled."""

METRICS = {
    **COLUMNS,
    "kind": TEXT,
    "protocol": TEXT,
    "low": NUMBER,
    "high": NUMBER,
    "n_items": COUNT,
    "n_subjects": COUNT,
}
HISTOGRAM = {
    "profile": TEXT,
    "side": TEXT,
    "channel": TEXT,
    "bin_lo": NUMBER,
    "bin_hi": NUMBER,
    "count": COUNT,
    "density": NUMBER,
}
logger = logging.getLogger(__name__)


def run(
    config: FidelityEvaluation, name: str, datasets: Mapping[str, Dataset], bank: FeatureBank, out: Path
) -> None:
    """Compare a synthetic dataset with the real one that its generators have learnt from.

    Args:
        config: the evaluation.
        name: its name.
        datasets: whole datasets by name: ``config.real``, whose training split the generators have learnt
            from, ``config.heldout`` where there is one, and ``config.synthetic``, which is judged.
        bank: features of their images.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.

    Writes:
        ``metrics.parquet``: the tidy columns and ``kind`` (absolute or ratio), ``protocol``, ``low``,
        ``high``, ``n_items``, ``n_subjects``; ``label`` is the channel or null; arms ``synthetic`` and
        ``reference``.
        ``details/histogram.parquet``: profile, side (real: training split; synthetic), channel, bin_lo,
        bin_hi, count, density per grey value.
        ``details/fidelity.json``: what was compared, numbers of items, bounds, provenance.

    Raises:
        DataError: nothing to compare, volumes, no real training item, or a synthetic set that has learnt
            from other subjects.
        LeakError: the synthetic set has learnt from held-out subjects.
    """
    found_sides = sides(config, datasets)
    training, heldout, synthetic = found_sides.training, found_sides.heldout, found_sides.synthetic
    compared = what_to_compare(config, training, synthetic)
    sampled = _sample(synthetic, config.seed, "synthetic")
    facts: dict[str, Any] = {"compared": compared, "items": {}}
    rows: list[dict[str, Any]] = []
    bars: list[dict[str, Any]] = []
    if "image" in compared:
        found, bars = _intensities(config, training, heldout, synthetic, sampled, facts)
        rows += found
    if "mask" in compared:
        rows += _foreground(config, training, heldout, synthetic)

    details = out / "details"
    write_table(details / "histogram.parquet", pd.DataFrame(bars), HISTOGRAM)
    options = config.model_dump(mode="json", exclude={"runtime", "demo"})
    prints = {dataset: data.info.fingerprint for dataset, data in datasets.items()}
    provenance = describe("evaluate_fidelity", options, seed=config.seed, **prints)
    write_json(details / "fidelity.json", {"evaluation": name, **facts, "provenance": provenance})
    write_table(out / "metrics.parquet", pd.DataFrame(rows).assign(evaluation=name), METRICS)


def what_to_compare(config: FidelityEvaluation, real: Items, synthetic: Items) -> list[What]:
    """Images, masks, or both: what the option asks for and both sides have.

    Raises:
        DataError: volumes, or a counterpart is missing.
    """
    r, s = real.info, synthetic.info
    for info in (r, s):
        if len(info.image_shape) != 3:
            raise DataError(f"{info.name}: fidelity compares 2D images, these are {info.image_shape}")
    found: list[What] = []
    if r.channel_names == s.channel_names and r.value_range == s.value_range:
        found.append("image")
    if "label" in r.mask_channels and "label" in s.mask_channels and r.labels == s.labels:
        found.append("mask")
    wanted = [what for what in found if config.compare in ("both", what)]
    if not wanted:
        raise DataError(
            f"compare: {config.compare}: {r.name} and {s.name} have no such counterpart. Images need the "
            f"same channels and range ({r.channel_names} in {r.value_range}, {s.channel_names} in "
            f"{s.value_range}); masks the same labels ({r.mask_channels} {r.labels}, {s.mask_channels} "
            f"{s.labels})"
        )
    return wanted


def _sample(data: Items, seed: int, side: str) -> list[int]:
    """All items, or 2,000 drawn at random, in order."""
    if len(data) <= MAX_ITEMS:
        return list(range(len(data)))
    logger.info("%s: %d of %d items are sampled", data.info.name, MAX_ITEMS, len(data))
    drawn = seeds.rng(seed, f"fidelity/sample/{side}").permutation(len(data))[:MAX_ITEMS]
    return np.sort(drawn).tolist()


def _intensities(
    config: FidelityEvaluation,
    training: Items,
    heldout: Items | None,
    synthetic: Items,
    sampled: list[int],
    facts: dict[str, Any],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    logger.info("distributions of grey values")
    levels = Levels(training.info.value_range, training.info.image_dtype)
    with_fov = "fov" in training.info.mask_channels
    sides = {"training": (training, _sample(training, config.seed, "training"))}
    if heldout is not None:
        sides["heldout"] = (heldout, _sample(heldout, config.seed, "heldout"))
    sides["synthetic"] = (synthetic, sampled)
    counts = {key: intensity.count_items(*side, levels, with_fov) for key, side in sides.items()}
    facts["items"] = {key: {"counted": len(side[1]), "of": len(side[0])} for key, side in sides.items()}
    facts["field_of_view"] = with_fov
    facts["field_of_view_derived"] = with_fov and "fov" not in synthetic.info.mask_channels
    return intensity.compare(
        counts["training"],
        counts.get("heldout"),
        counts["synthetic"],
        levels,
        training.info.channel_names,
        draws=config.bootstrap,
        seed=config.seed,
    )


def _foreground(
    config: FidelityEvaluation, training: Items, heldout: Items | None, synthetic: Items
) -> list[dict[str, Any]]:
    """Mean share of foreground pixels, ``mask_foreground``: of synthetic and of all real masks."""
    real = training if heldout is None else Pool([training, heldout])
    rows, kept = [], {}
    for arm, data in (("synthetic", synthetic), ("reference", real)):
        indices = [i for i in _sample(data, config.seed, arm) if pd.notna(data.items["mask_origin"].iat[i])]
        shares = np.array([np.count_nonzero(data.mask(i)) / data.mask(i).size for i in indices])
        subjects = pd.factorize(data.items["subject_id"].iloc[indices])[0].astype(np.int64)
        weights = bootstrap_weights(
            seeds.rng(config.seed, f"fidelity/foreground/{arm}"), subjects, config.bootstrap
        )
        kept[arm] = float(shares.mean()), (weights @ shares) / weights.sum(axis=1)
        counted = {"n_items": len(indices), "n_subjects": int(subjects.max()) + 1}
        rows.append({"arm": arm, "kind": "absolute", "value": kept[arm][0], "draws": kept[arm][1], **counted})
    (own, own_draws), (other, other_draws) = kept["synthetic"], kept["reference"]
    if other > 0:
        rows.append({**rows[0], "kind": "ratio", "value": own / other, "draws": own_draws / other_draws})
    for row in rows:
        row["low"], row["high"] = limits(row.pop("draws"))
        row |= {"metric": "mask_foreground", "protocol": "all"}
    return rows
