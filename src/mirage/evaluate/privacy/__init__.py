"""Novelty and privacy: whether a synthetic set repeats its training items, and what it tells of patients.

Nothing here shows privacy. Searches and attacks can find leaks; a set in which these find none may still leak
to others. Every run tests itself: copies of training images are injected, which the detector has to find, and
held-out real images, which no generator has seen, are asked whatever synthetic ones are asked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.config.evaluations import PrivacyEvaluation
from mirage.data import Dataset, Items
from mirage.errors import DataError
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.features.jobs import encode_items
from mirage.evaluate.privacy.attacks import Records, attack
from mirage.evaluate.privacy.canaries import Audit, audit, canaries_of, without_canaries
from mirage.evaluate.privacy.condition import condition_rows, reidentified
from mirage.evaluate.privacy.control import InjectedCopies
from mirage.evaluate.privacy.detector import Detection, detect
from mirage.evaluate.privacy.discriminator import attack_discriminators
from mirage.evaluate.privacy.exact import identical, identical_rows
from mirage.evaluate.privacy.gate import gate, verdict
from mirage.evaluate.privacy.novelty import novelty_rows
from mirage.evaluate.privacy.search import Found, duplicates, near_duplicates_row, nearest_rows, search
from mirage.evaluate.privacy.spaces import ARMS, COPIES, MASKS, Features, Masks, Patterns, Shown, Space
from mirage.evaluate.sides import sides
from mirage.evaluate.table import COLUMNS, COUNT, FLAG, NUMBER, TEXT, write_table
from mirage.files import write_json
from mirage.provenance import describe

MAX_ITEMS = 2000
"""Items of one side that are searched by distance or attacked; larger sets are sampled. Exact copies are
sought among all."""
METRICS = {
    **COLUMNS,
    "kind": TEXT,
    "protocol": TEXT,
    "low": NUMBER,
    "high": NUMBER,
    "n_items": COUNT,
    "n_subjects": COUNT,
}
NEIGHBOURS = {
    "kind": TEXT,
    "side": TEXT,
    "rank": COUNT,
    "item_id": TEXT,
    "subject_id": TEXT,
    "neighbour_item_id": TEXT,
    "neighbour_subject_id": TEXT,
    "orientation": COUNT,
    "distance": NUMBER,
    "second_distance": NUMBER,
    "nndr": NUMBER,
    "exact": FLAG,
    "flagged": FLAG,
}
DUPLICATES = {"kind": TEXT, "type": TEXT, "item_id": TEXT, "duplicate_of": TEXT, "distance": NUMBER}
ROC = {"space": TEXT, "attack": TEXT, "fpr": NUMBER, "tpr": NUMBER}
GATE = {
    "limit": TEXT,
    "space": TEXT,
    "value": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "bound": NUMBER,
    "p": NUMBER,
    "word": TEXT,
    "reason": TEXT,
}
FILTERED = {"item_id": TEXT, "reason": TEXT, "space": TEXT, "neighbour": TEXT, "score": NUMBER}

logger = logging.getLogger(__name__)


@dataclass
class Result:
    """What was found in one space, and the tables it adds."""

    rows: list[dict[str, Any]]
    neighbours: pd.DataFrame
    duplicates: pd.DataFrame
    roc: pd.DataFrame
    filtered: pd.DataFrame
    facts: dict[str, Any]


def run(
    config: PrivacyEvaluation,
    name: str,
    datasets: Mapping[str, Dataset],
    bank: FeatureBank,
    out: Path,
    models: Sequence[Path] = (),
) -> None:
    """Search a synthetic dataset for its training items, and attack it.

    Args:
        config: the evaluation.
        name: its name.
        datasets: whole datasets by name, all that it names. Of the training split of ``config.real`` those
            subjects count that the synthetic set has learnt from.
        bank: features of their images.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        models: folders of the generators behind the synthetic set, whose discriminators are attacked.

    Writes:
        ``metrics.parquet``: the tidy columns and ``kind`` (absolute or ratio), ``protocol``, ``low``,
        ``high``, ``n_items``, ``n_subjects``; ``label`` is the space
        (:mod:`mirage.evaluate.privacy.spaces`). The metrics are described in the modules of this package.
        ``details/neighbours.parquet``: kind (the space), side (synthetic or heldout), rank (1: the nearest of
        all), item and subject, nearest training item and its subject, its orientation
        (:func:`mirage.metrics.neighbours.views`), distance, second_distance (of another subject), nndr,
        exact, flagged by the copy detector.
        ``details/duplicates.parquet``: kind, type (exact or near), item_id, duplicate_of, distance.
        ``details/roc.parquet``: space (of a discriminator the generator), attack or control, fpr, tpr.
        ``details/gate.parquet``: limit, space, value, low, high, bound, p (adjusted), word, reason.
        ``details/filtered.parquet``: item_id, reason, space, neighbour, score (distance, ratio of distances
        or Dice) of every synthetic item that should be looked at or left out before a release.
        ``details/privacy.json``: the gate's word, what was compared, how many items of each side were
        searched, bounds, generators whose discriminator was attacked (null, or why not), number of canaries
        audited, provenance.

    Raises:
        DataError: nothing to compare, or a synthetic set that has learnt from other subjects.
        LeakError: the synthetic set has learnt from held-out subjects.
    """
    found = sides(config, datasets)
    learnt = datasets[config.real].select("train").of_subjects(found.synthetic.learnt_from())
    training = without_canaries(learnt)
    chosen: dict[str, Items] = {"training": training, "synthetic": found.synthetic}
    if found.heldout is not None:
        chosen["heldout"] = found.heldout
    picked = {side: _sample(data, config.seed, side) for side, data in chosen.items()}
    injected = [max(1, round(share * len(picked["synthetic"]))) for share in config.control.shares]
    shown = Shown(chosen)
    visible = shown("training") or range(len(training))
    chosen[COPIES] = InjectedCopies(training, max(injected), config.control, config.seed, visible)
    picked[COPIES] = list(range(max(injected)))

    results, spaces = [], _spaces(config, chosen, shown, bank)
    for space in spaces:
        logger.info("searching %s", space.name)
        results.append(_judge(config, space, picked, injected))
    judged = attack_discriminators(models, chosen, picked, config.seed, config.runtime)
    audited = Audit()
    canaries = canaries_of(datasets[config.real])
    if canaries is not None and any(isinstance(space, Patterns) for space in spaces):
        audited = audit(canaries, found.synthetic, picked["synthetic"])
    rows = [*(row for result in results for row in result.rows), *judged.rows, *audited.rows]
    limits = gate(rows, config.gate)

    details = out / "details"
    for file, columns, tables in (
        ("neighbours", NEIGHBOURS, [result.neighbours for result in results]),
        ("duplicates", DUPLICATES, [result.duplicates for result in results]),
        ("roc", ROC, [*(result.roc for result in results), judged.curves, audited.curve]),
        ("filtered", FILTERED, [result.filtered for result in results]),
        ("gate", GATE, [limits]),
    ):
        filled = [table for table in tables if len(table)]
        joined = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
        write_table(details / f"{file}.parquet", joined, columns)
    options = config.model_dump(mode="json", exclude={"runtime", "demo"})
    prints = {dataset: data.info.fingerprint for dataset, data in datasets.items()}
    facts = {
        "evaluation": name,
        "gate": verdict(limits),
        "items": {side: {"searched": len(picked[side]), "of": len(data)} for side, data in chosen.items()},
        "injected": injected,
        "discriminators": judged.reasons,
        "canaries": audited.canaries,
        "spaces": {result.facts.pop("space"): result.facts for result in results},
        "provenance": describe("evaluate_privacy", options, seed=config.seed, **prints),
    }
    write_json(details / "privacy.json", facts)
    write_table(out / "metrics.parquet", pd.DataFrame(rows).assign(evaluation=name), METRICS)


def _sample(data: Items, seed: int, side: str) -> list[int]:
    """All items, or 2,000 drawn at random, in order."""
    if len(data) <= MAX_ITEMS:
        return list(range(len(data)))
    logger.info("%s: %d of %d items are sampled", data.info.name, MAX_ITEMS, len(data))
    return np.sort(seeds.rng(seed, f"privacy/sample/{side}").permutation(len(data))[:MAX_ITEMS]).tolist()


def _spaces(
    config: PrivacyEvaluation, chosen: Mapping[str, Items], shown: Shown, bank: FeatureBank
) -> list[Space]:
    """Where items are compared: what the option asks for and both sides have.

    Raises:
        DataError: a counterpart is missing, or all masks on one side are blank.
    """
    real, made = chosen["training"].info, chosen["synthetic"].info
    alike = real.channel_names == made.channel_names and real.value_range == made.value_range
    found: list[Space] = []
    if config.compares_images and alike and len(real.image_shape) == len(made.image_shape):
        found.append(Patterns(chosen, shown))
        names = {
            "training": config.real,
            "heldout": config.heldout or config.real,
            "synthetic": config.synthetic,
        }
        for encoder in config.encoders:
            values = {
                side: bank(encoder, names[side]).rows(data) for side, data in chosen.items() if side in names
            }
            if encoder in bank.encoders:
                folder = bank.encoders[encoder]
                values[COPIES] = encode_items(folder, chosen[COPIES], config.runtime)[0]
            found.append(Features(encoder, chosen, values, shown))
    if config.compare != "image":
        for space, channel in MASKS.items():
            both = channel in real.mask_channels and channel in made.mask_channels
            if both and (space == "brain" or real.labels == made.labels):
                masks = Masks(space, chosen)
                if masks.known("training") and masks.known("synthetic"):
                    found.append(masks)
                else:
                    logger.warning("%s: all are blank on one side, so none are compared", space)
    if not found:
        raise DataError(
            f"compare: {config.compare}: {real.name} and {made.name} have no such counterpart. Images need "
            f"the same channels and range ({real.channel_names} in {real.value_range}, {made.channel_names} "
            f"in {made.value_range}); masks the same labels ({real.mask_channels} {real.labels}, "
            f"{made.mask_channels} {made.labels}) and more than blank ones on both sides"
        )
    return found


def _judge(
    config: PrivacyEvaluation, space: Space, picked: Mapping[str, list[int]], injected: list[int]
) -> Result:
    """Everything about one space."""
    queries = {side: picked[side] for side in ("synthetic", "heldout", COPIES) if side in picked}
    if isinstance(space, Masks):
        del queries[COPIES]
    same = identical(space)
    if not (space.known("training") and space.known("synthetic")):
        logger.warning("%s: all are blank on one side, so none are searched", space.name)
        return _unsearched(space, same)
    found = search(space, queries, config.near, config.seed)
    repeated = duplicates(found, same)
    rows = [
        *identical_rows(space.name, same),
        *nearest_rows(found, config.bootstrap, config.seed),
        near_duplicates_row(found, repeated),
    ]
    detection = None
    if isinstance(space, Masks):
        rows += condition_rows(found, config.same_mask, config.bootstrap, config.seed)
    else:
        detection = detect(
            found, injected, config.control.shares, config.false_positives, config.bootstrap, config.seed
        )
        rows += detection.rows if detection else []
    held = sorted(set(picked["heldout"]) & set(space.known("heldout"))) if "heldout" in queries else []
    rows += novelty_rows(found, held, config.seed)
    curves = pd.DataFrame()
    if held:
        attacked, curves = attack(space, _records(space, picked, held), config.seed)
        rows += attacked
    flags = detection.flagged if detection else np.zeros(len(found.tables["synthetic"]), dtype=bool)
    tables = [
        found.tables[side].assign(
            kind=space.name,
            side=side,
            exact=_exact(same, side, found.tables[side]),
            flagged=flags if side == "synthetic" else None,
        )
        for side in ARMS
        if side in found.tables
    ]
    facts = {
        "space": space.name,
        "near_bound": None if np.isnan(found.near_bound) else found.near_bound,
        "threshold": detection.threshold if detection else None,
        "searched": {
            side: {"searched": len(table), "of": len(space.known(side))}
            for side, table in found.tables.items()
        },
    }
    filtered = _filtered(config, found, same, repeated, detection)
    return Result(rows, pd.concat(tables, ignore_index=True), repeated, curves, filtered, facts)


def _unsearched(space: Space, same: pd.DataFrame) -> Result:
    """What is left to say where one side is blank."""
    nothing = pd.DataFrame()
    searched = {side: {"searched": 0, "of": len(space.known(side))} for side in ARMS if side in space.sides}
    facts = {"space": space.name, "near_bound": None, "threshold": None, "searched": searched}
    return Result(identical_rows(space.name, same), nothing, nothing, nothing, nothing, facts)


def _exact(same: pd.DataFrame, side: str, table: pd.DataFrame) -> np.ndarray | None:
    """Which of the items searched are exact copies; None in features."""
    if same.empty:
        return None
    copied = same.loc[(same["side"] == side) & same["copy_of"].notna(), "item_id"]
    return np.asarray(table["item_id"].isin(copied))


def _records(space: Space, picked: Mapping[str, list[int]], held: list[int]) -> Records:
    known = set(space.known("training"))
    members = [index for index in picked["training"] if index in known]
    made = set(space.known("synthetic"))
    return Records(
        members,
        held,
        _subjects(space.sides["training"], members),
        _subjects(space.sides["heldout"], held),
        [index for index in picked["synthetic"] if index in made],
    )


def _subjects(data: Items, indices: list[int]) -> np.ndarray:
    return pd.factorize(data.items["subject_id"].iloc[indices])[0].astype(np.int64)


def _filtered(
    config: PrivacyEvaluation,
    found: Found,
    same: pd.DataFrame,
    repeated: pd.DataFrame,
    detection: Detection | None,
) -> pd.DataFrame:
    """Synthetic items that should be looked at or left out, each with its reason.

    Exact copies and exact duplicates are of all items, the rest of those searched.
    """
    table = found.tables["synthetic"].assign(neighbour=lambda t: t["neighbour_item_id"])
    copied = same[(same["side"] == "synthetic") & same["copy_of"].notna()]
    parts = [copied.assign(neighbour=copied["copy_of"], reason="exact_copy", score=0.0)]
    if isinstance(found.space, Masks):
        known = reidentified(found, config.same_mask)
        parts.append(table[known].assign(reason="reidentified_mask", score=1 - table["distance"]))
    else:
        near = table["distance"] < found.near_bound
        parts.append(table[near].assign(reason="near_copy", score=table["distance"]))
    if detection:
        parts.append(table[detection.flagged].assign(reason="flagged_copy", score=table["nndr"]))
    reason = repeated["type"] + "_duplicate"
    parts.append(
        repeated.assign(neighbour=repeated["duplicate_of"], reason=reason, score=repeated["distance"])
    )
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame()
    return pd.concat(filled, ignore_index=True).assign(space=found.space.name)[list(FILTERED)]
