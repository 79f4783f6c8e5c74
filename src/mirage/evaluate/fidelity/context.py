"""Real images of other kinds, drawn on the maps beside those that are compared; they enter no measure.

Only the few that are drawn are encoded, by the encoders that were fitted on the training split of the real
dataset: a set of normal tissue may hold a thousand times as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset, Items
from mirage.data.criteria import matching
from mirage.data.leaks import same_pixels
from mirage.errors import DataError, LeakError
from mirage.evaluate.features.bank import FeatureBank, Floats
from mirage.evaluate.features.jobs import encode_items
from mirage.evaluate.fidelity.draws import spread
from mirage.evaluate.sides import Sides


def context_groups(
    config: FidelityEvaluation, datasets: Mapping[str, Dataset], sides: Sides
) -> dict[str, Items]:
    """The items of every further group that are drawn, at most ``maps.items`` of each.

    Raises:
        DataError: no item is meant, or images that are compared are among those drawn.
        LeakError: some are synthetic.
    """
    real = [side for side in (sides.training, sides.heldout) if side is not None]
    found: dict[str, Items] = {}
    for name, group in config.maps.context.items():
        where, data = f"maps.context.{name}", datasets[group.data]
        if not len(data):
            raise DataError(f"{where}: {data.info.name} has no items")
        if group.only is not None:
            data = matching(data, group.only)
        made = data.items["item_id"][data.items["origin"] == "synthetic"]
        if len(made):
            raise LeakError(
                f"{where}: {len(made)} items of {data.info.name} are synthetic, such as {made.iloc[0]}; "
                "name real ones"
            )
        subjects = pd.factorize(data.items["subject_id"])[0].astype(np.int64)
        picked = spread(seeds.rng(config.seed, f"fidelity/context/{name}"), subjects, config.maps.items)
        drawn = data.of_items(set(data.items["item_id"].iloc[picked]))
        _refuse_the_same_pixels(where, drawn, real)
        found[name] = drawn
    return found


def encode_group(
    bank: FeatureBank, encoder: str, name: str, items: Items, config: FidelityEvaluation
) -> Floats:
    """Features (N, D) of a group by an encoder that was fitted on the real dataset.

    Raises:
        DataError: the evaluation was not given the encoder, the images are of another kind than those it was
            fitted on, or features that are no finite numbers.
    """
    if encoder not in bank.encoders:
        held = ", ".join(sorted(bank.encoders)) or "none"
        raise DataError(f"maps.context.{name}: no fitted encoder {encoder} to draw it by; there are: {held}")
    values = encode_items(bank.encoders[encoder], items, config.runtime)[0]
    odd = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(odd):
        raise DataError(
            f"maps.context.{name}: the features of {len(odd)} items by {encoder} are not finite, such as "
            f"{items.items['item_id'].iloc[odd[0]]}; look at these images, and leave out or mend them"
        )
    return values


def _refuse_the_same_pixels(where: str, drawn: Items, compared: Sequence[Items]) -> None:
    """A group that holds compared images shows them as something else; blank images are alike anyway."""
    same = [pair for side in compared for pair in same_pixels(side, drawn)]
    if same:
        raise DataError(
            f"{where}: {len(same)} of {len(drawn)} images drawn have the same pixels as real images that are "
            f"compared, such as {same[0][0]} (as {same[0][1]}); say by `only` which items of "
            f"{drawn.info.name} are meant"
        )
