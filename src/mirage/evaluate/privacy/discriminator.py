"""Membership by the discriminator (LOGAN; Hayes 2019): one that has seen an image finds it more real.

This attacker holds the training's own networks, not the synthetic set alone, and so bounds from above what a
release of the model folder would tell. The discriminator is the one of the training's last step. Metrics of
protocol ``discriminator``, arm ``weights``, ``label`` the generator: those of
:mod:`mirage.evaluate.privacy.attacks`, by the same subjects. They have no say in the gate, which judges a
release of items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import default_collate

from mirage import seeds
from mirage.config.base import Runtime
from mirage.data import Items
from mirage.evaluate.privacy.attacks import Scores, curve, success
from mirage.files import read_json
from mirage.generators.base import Generator
from mirage.generators.checkpoint import load_discriminator
from mirage.metrics.membership import by_subject
from mirage.training.device import choose_device

ALIKE = ("image_shape", "image_dtype", "value_range", "channel_names", "mask_channels", "labels")
SIDES = ("training", "heldout")
LEAST = 2
"""Members, and non-members, below which nothing is attacked."""


@dataclass
class Judged:
    """What the discriminators told.

    Attributes:
        rows: of the metrics.
        curves: ROCs (space, attack, fpr, tpr); ``space`` is the generator.
        reasons: generator -> why it was not attacked, or None.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    reasons: dict[str, str | None] = field(default_factory=dict)


def attack_discriminators(
    models: Sequence[Path],
    sides: Mapping[str, Items],
    picked: Mapping[str, Sequence[int]],
    seed: int,
    runtime: Runtime,
) -> Judged:
    """Attack the training of every generator behind a synthetic set.

    Args:
        models: model folders, ``<generator>/seed-<n>``.
        sides: ``training``, and ``heldout`` where there is such.
        picked: side -> items that are judged.
        seed: of the crops that some discriminators look at.
        runtime: device.

    Raises:
        CheckpointError: a model folder is damaged.
    """
    found = Judged()
    for folder in models:
        name = f"{folder.parent.name} ({folder.name.replace('-', ' ')})"
        generator = load_discriminator(folder, choose_device(runtime))
        learnt = set(read_json(folder / "model.json")["training"]["lineage"])
        chosen = {side: _judgeable(generator, sides[side], picked[side]) for side in SIDES if side in sides}
        chosen["training"] = _of(sides["training"], chosen["training"], learnt)
        reason = found.reasons[name] = _obstacle(generator, sides, chosen)
        if reason is None:
            scores = [_scores(generator, sides[side], chosen[side], seed) for side in SIDES]
            told = Scores.alone(scores[0], scores[1], sum(len(chosen[side]) for side in SIDES))
            found.rows += success("weights", name, "discriminator", told)
            found.curves = pd.concat([found.curves, curve(name, "discriminator", told)])
    return found


def _judgeable(generator: Generator, data: Items, indices: Sequence[int]) -> list[int]:
    """Items that have all that the discriminator is shown."""
    if not generator.shows_labels:
        return list(indices)
    labelled = data.items["mask_origin"].notna().to_numpy()
    return [index for index in indices if labelled[index]]


def _of(data: Items, indices: Sequence[int], subjects: set[str]) -> list[int]:
    """Items of some subjects, whose names hold their namespace."""
    own = (data.info.namespace + "/" + data.items["subject_id"]).isin(subjects).to_numpy()
    return [index for index in indices if own[index]]


def _obstacle(
    generator: Generator, sides: Mapping[str, Items], chosen: Mapping[str, Sequence[int]]
) -> str | None:
    """Why a generator cannot be attacked; None where it can."""
    if not generator.discriminators:
        return "its training has no discriminator"
    if "heldout" not in chosen:
        return "nothing is held out"
    for side in SIDES:
        odd = [key for key in ALIKE if getattr(sides[side].info, key) != getattr(generator.spec, key)]
        if odd:
            return f"{sides[side].info.name} has another {odd[0]} than what it has learnt from"
        people = sides[side].items["subject_id"].iloc[list(chosen[side])].nunique()
        if people < LEAST:
            return f"{people} {'members' if side == 'training' else 'held-out subjects'} can be shown to it"
    return None


def _scores(generator: Generator, data: Items, indices: Sequence[int], seed: int) -> np.ndarray:
    """How real each subject's most real item is found, float64."""
    judged = []
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        for start in range(0, len(indices), generator.gpu_batch):
            own = indices[start : start + generator.gpu_batch]
            torch.manual_seed(seeds.integer(seed, "privacy/discriminator", own[0]))
            batch = default_collate([generator.example(data.item(index)) for index in own])
            shown = {key: value.to(generator.device) for key, value in batch.items()}
            judged.append(generator.judge(shown).double().cpu().numpy())
    subjects = pd.factorize(data.items["subject_id"].iloc[list(indices)])[0].astype(np.int64)
    return by_subject(np.concatenate(judged), subjects)
