"""Fidelity and diversity: how far synthetic images lie from real ones, and whether they vary as much.

Every distance and score stands beside the same of other real images, at equal numbers of images, and as the
ratio of the two, with an interval over patients; :mod:`mirage.evaluate.fidelity.draws` says which images are
compared and how the intervals come about. What is measured:

=============================================================== ==========================================
in the feature space of every encoder (label: the encoder)      :mod:`mirage.evaluate.fidelity.spaces`
``frechet``, or ``frechet_pca`` with fewer images than features Fréchet distance
``frechet_infinity``                                            the same at infinitely many images
``medigan_fid_ratio``                                           real-real over real-synthetic ``frechet``;
                                                                with ``_pca`` of ``frechet_pca``, as ``frd``
``frd``                                                         its logarithm, of radiomic features
``kid``, ``sliced_wasserstein``                                 kernel distance; by random projections
``precision``, ``density``                                      share of synthetic images among real ones
``recall``, ``coverage``                                        share of real images among synthetic ones
``vendi``                                                       effective number of different images
``c2st``                                                        area under the curve of a classifier
``feature_wasserstein1``                                        mean over single radiomic features
of the pixels (label: the channel)                              :mod:`mirage.evaluate.fidelity.intensity`
of pairs of images: ``ms_ssim``                                 :mod:`mirage.evaluate.fidelity.likeness`
of masks: ``mask_foreground``, ``mask_contrast``                :mod:`mirage.evaluate.fidelity.masks`
=============================================================== ==========================================

A metric that the numbers of images do not allow has no row; ``details/fidelity.json`` says why.

Intervals are stored here, beside their values, whereas those of other evaluations are computed from rows in
the report. This is deliberate: a distance between two sets has no rows of single items that an interval could
be computed from, and resampling needs features and pixels, which the report does not read again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset, Items
from mirage.errors import DataError
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.fidelity import intensity, masks
from mirage.evaluate.fidelity.context import context_groups
from mirage.evaluate.fidelity.draws import Patients, plan
from mirage.evaluate.fidelity.likeness import likeness
from mirage.evaluate.fidelity.measures import Marginals
from mirage.evaluate.fidelity.rows import Rows, measured
from mirage.evaluate.fidelity.spaces import HALF_SAMPLES, Space, compare_space, map_space
from mirage.evaluate.sides import Sides, sides
from mirage.evaluate.table import COLUMNS, COUNT, NUMBER, TEXT, write_table
from mirage.files import write_json
from mirage.metrics.histograms import Levels
from mirage.provenance import describe

What = Literal["image", "mask"]
MAX_ITEMS = 2000
"""Items of one side whose histograms are kept in memory; larger sets are sampled by patients."""

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
EMBEDDING = {"encoder": TEXT, "method": TEXT, "side": TEXT, "item_id": TEXT, "x": NUMBER, "y": NUMBER}
_TEST = {"shift": NUMBER, "wasserstein1": NUMBER, "ks": NUMBER, "p": NUMBER, "q": NUMBER, "n": COUNT}
SINGLE_FEATURES = {
    "encoder": TEXT,
    "feature": TEXT,
    **_TEST,
    **{f"real_{name}": kind for name, kind in _TEST.items()},
    "n_training": COUNT,
}

logger = logging.getLogger(__name__)


def run(
    config: FidelityEvaluation,
    name: str,
    datasets: Mapping[str, Dataset],
    bank: FeatureBank,
    out: Path,
) -> None:
    """Compare a synthetic dataset with the real one that its generators have learnt from.

    Args:
        config: the evaluation.
        name: its name.
        datasets: whole datasets by name: ``config.real``, whose training split the generators have learnt
            from; ``config.heldout``, or the val and test splits of the real one, which none has seen;
            ``config.synthetic``, which is judged; and those of ``config.maps.context``, which are drawn
            alone. Images or volumes.
        bank: features of those that are compared, and for others the encoders.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.

    Writes:
        ``metrics.parquet``: the tidy columns and ``kind`` (absolute, ratio, or difference of ``c2st``),
        ``protocol``, ``low``, ``high``, ``n_items``, ``n_subjects``; ``label`` is the encoder, the channel or
        null; arms ``synthetic`` and ``reference``.
        ``details/histogram.parquet``: profile, side (real: training split; synthetic), channel, bin_lo,
        bin_hi, count, density per grey value.
        ``details/embeddings.parquet``: encoder, method (pca, tsne or umap), side (or the name of a further
        group), item_id, x, y.
        ``details/single_features.parquet``: see :func:`mirage.evaluate.fidelity.single_features`.
        ``details/fidelity.json``: what was compared, protocol of every encoder, what is absent and why,
        provenance.

    Raises:
        DataError: nothing to compare, no real training item, values that are not finite, a synthetic set
            that has learnt from other subjects, or a further group that is empty or holds compared images.
        LeakError: the synthetic set has learnt from held-out subjects, or a further group is synthetic.
    """
    compared = sides(config, datasets)
    context = context_groups(config, datasets, compared)
    found = measure(config, compared, bank)
    places = []
    for key, space in found.spaces.items():
        logger.info("maps of %s", key)
        table, space.facts["maps"] = map_space(
            config, key, space.values, compared, found.patients, context, bank
        )
        places.append(table)
    tests = [
        space.tests.assign(encoder=key) for key, space in found.spaces.items() if space.tests is not None
    ]

    details = out / "details"
    write_table(details / "histogram.parquet", pd.DataFrame(found.bars), HISTOGRAM)
    write_table(details / "embeddings.parquet", _stacked(places), EMBEDDING)
    write_table(details / "single_features.parquet", _stacked(tests), SINGLE_FEATURES)
    options = config.model_dump(mode="json", exclude={"runtime", "demo"})
    prints = {data.info.name: data.info.fingerprint for data in datasets.values()}
    provenance = describe("evaluate_fidelity", options, seed=config.seed, **prints)
    write_json(details / "fidelity.json", {"evaluation": name, **found.facts, "provenance": provenance})
    write_table(out / "metrics.parquet", pd.DataFrame(found.rows).assign(evaluation=name), METRICS)


@dataclass(frozen=True)
class Measured:
    """Everything that was measured.

    Attributes:
        rows: of metrics.
        bars: of histograms.
        spaces: encoder -> what was found in its feature space.
        facts: what was compared and what is absent.
        patients: of all items.
    """

    rows: Rows
    bars: list[dict[str, Any]]
    spaces: Mapping[str, Space]
    facts: dict[str, Any]
    patients: Patients


def measure(config: FidelityEvaluation, compared: Sides, bank: FeatureBank) -> Measured:
    """Measure the synthetic side of an evaluation, see :func:`run`, and write nothing."""
    what = what_to_compare(config, compared)
    three = (compared.training, compared.heldout, compared.synthetic)
    patients = Patients.of(*(_subjects(side) for side in three))
    absent: dict[str, str] = {}
    facts: dict[str, Any] = {"compared": what, "absent": absent, "neighbours": config.neighbours}
    rows: Rows = []
    bars: list[dict[str, Any]] = []
    spaces: dict[str, Space] = {}
    if "image" in what:
        spaces = {key: compare_space(config, key, compared, patients, bank) for key in config.encoders}
        rows += [row for space in spaces.values() for row in space.rows]
        logger.info("distributions of grey values")
        found, bars = _intensities(config, compared, patients, facts)
        rows += found
        logger.info("structural similarity of pairs")
        real = compared.training if compared.heldout is None else compared.heldout
        found, facts["ms_ssim"] = likeness(real, compared.synthetic, config.bootstrap, config.seed, absent)
        rows += found
    if "mask" in what:
        logger.info("masks")
        rows += _masks(config, compared, "image" in what, absent)
    facts["encoders"] = {key: space.facts for key, space in spaces.items()}
    return Measured(rows, bars, spaces, facts, patients)


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _subjects(data: Items | None) -> np.ndarray:
    return np.empty(0, object) if data is None else data.items["subject_id"].to_numpy()


def what_to_compare(config: FidelityEvaluation, compared: Sides) -> list[What]:
    """Images, masks, or both: what the option asks for and all sides have.

    Raises:
        DataError: images on one side and volumes on the other, or a counterpart is missing.
    """
    r, s = compared.training.info, compared.synthetic.info
    others = [s] if compared.heldout is None else [s, compared.heldout.info]
    for info in others:
        if len(info.image_shape) != len(r.image_shape):
            raise DataError(
                f"{info.name} has images of shape {info.image_shape}, {r.name} of {r.image_shape}; images "
                "and volumes cannot be compared"
            )
    found: list[What] = []
    if all(i.channel_names == r.channel_names and i.value_range == r.value_range for i in others):
        found.append("image")
    if all("label" in i.mask_channels and i.labels == r.labels for i in (r, *others)):
        found.append("mask")
    wanted = [what for what in found if config.compare in ("both", what)]
    if not wanted:
        told = "; ".join(
            f"{i.name}: channels {i.channel_names} in {i.value_range}, masks {i.mask_channels} {i.labels}"
            for i in (r, *others)
        )
        raise DataError(
            f"compare: {config.compare}: {r.name} and {s.name} have no such counterpart. Images need the "
            "same channels and range (as 8 and 16 bit have not; give them the same `prepare`), masks the "
            f"same labels. Found {told}"
        )
    return wanted


def _intensities(
    config: FidelityEvaluation, compared: Sides, patients: Patients, facts: dict[str, Any]
) -> tuple[Rows, list[dict[str, Any]]]:
    info = compared.training.info
    levels = Levels(info.value_range, info.image_dtype)
    field = intensity.stored_field(info.mask_channels)
    few, picked = patients.capped(MAX_ITEMS, config.seed)
    parts = {"training": compared.training, "heldout": compared.heldout, "synthetic": compared.synthetic}
    counts, facts["items"] = {}, {}
    for (side, data), own in zip(parts.items(), picked, strict=True):
        if data is not None:
            counts[side] = intensity.count_items(data, own.tolist(), levels, field is not None)
            facts["items"][side] = {"counted": len(own), "of": len(data)}
    facts["field_of_view"] = field
    facts["field_of_view_derived"] = field is not None and field not in compared.synthetic.info.mask_channels
    return intensity.compare(
        counts["training"],
        counts.get("heldout"),
        counts["synthetic"],
        levels,
        info.channel_names,
        plan(few, min(HALF_SAMPLES, config.bootstrap), config.seed),
        facts["absent"],
        draws=config.bootstrap,
        seed=config.seed,
    )


def _masks(config: FidelityEvaluation, compared: Sides, with_images: bool, absent: dict[str, str]) -> Rows:
    """Rows of the label masks, of at most 2,000 labelled items a side."""
    sides_of = (compared.training, compared.heldout, compared.synthetic)
    known = [np.flatnonzero(_labelled(side)) for side in sides_of]
    names = [_subjects(side)[own] for side, own in zip(sides_of, known, strict=True)]
    if not (len(known[0]) and len(known[2])):
        absent["mask_foreground"] = "no item of one side has a label"
        return []
    few, picked = Patients.of(*names).capped(MAX_ITEMS, config.seed)
    chosen = [
        (side, own[kept].tolist())
        for side, own, kept in zip(sides_of, known, picked, strict=True)
        if side is not None
    ]
    shares = np.concatenate([masks.foreground_shares(*one) for one in chosen])
    is_synthetic = np.arange(len(shares)) >= few.starts[2]
    parts = {"synthetic": is_synthetic, "reference": ~is_synthetic}
    by_arm = {arm: (shares[own], few.numbers[own]) for arm, own in parts.items()}
    rows = masks.foreground(by_arm, config.bootstrap, config.seed)
    drawn = plan(few, min(HALF_SAMPLES, config.bootstrap), config.seed)
    if with_images and drawn is not None:
        measure = Marginals(np.concatenate([masks.contrasts(*one) for one in chosen]), "mask_contrast")
        rows += [{**row, "label": None} for row in measured(measure, drawn, "", absent)]
    return rows


def _labelled(data: Items | None) -> np.ndarray:
    return np.zeros(0, bool) if data is None else data.items["mask_origin"].notna().to_numpy()
