"""Several datasets, or views of them, read as one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from mirage.data.items import Items
from mirage.data.manifest import ABSENT
from mirage.errors import DataError


class Pool(Items):
    """Items of several datasets in a row, copying none of them.

    ``info`` is that of the first part, with the name of all and the mask channels that all share, in the
    first one's order. ``items`` is the parts' manifests below one another with a column ``dataset``.

    Args:
        parts: at least one, with images of one shape, type and value range, and one label table.
        foreground: values of mask channel ``label`` that become 1, all others 0; None leaves labels alone.
        foreground_name: name of that one label.
        mask_channels: mask channels to offer, those of them that all parts share; None: all that they share.

    Raises:
        DataError: the parts differ in shape, type, range, channels or labels, or lack labels to binarise.
    """

    def __init__(
        self,
        parts: Sequence[Items],
        foreground: Collection[int] | None = None,
        foreground_name: str = "foreground",
        mask_channels: Collection[str] | None = None,
    ) -> None:
        if not parts:
            raise DataError("a pool of no dataset; name at least one")
        first = parts[0].info
        for part in parts[1:]:
            _check_alike(parts[0], part, labels=mask_channels is None or "label" in mask_channels)
        channels = [
            name
            for name in first.mask_channels
            if (mask_channels is None or name in mask_channels)
            and all(name in part.info.mask_channels for part in parts)
        ]
        if foreground is not None and "label" not in channels:
            lacking = sorted({p.info.name for p in parts if "label" not in p.info.mask_channels})
            raise DataError(f"{', '.join(lacking)}: no mask channel `label` to learn from or to score")
        self.parts = tuple(parts)
        self.failures = pd.concat([part.failures for part in parts], ignore_index=True)
        self.items = pd.concat(
            [part.items.assign(dataset=part.info.name) for part in parts if len(part)] or [parts[0].items],
            ignore_index=True,
        )
        self.info = first.model_copy(
            update={
                "name": "+".join(dict.fromkeys(part.info.name for part in parts)),
                "mask_channels": channels,
                "labels": first.labels if foreground is None else {1: foreground_name},
                "lineage": sorted({subject for part in parts for subject in part.info.lineage}),
            }
        )
        self._binary = None if foreground is None else _binary(foreground)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def _locate(self, index: int) -> tuple[Items, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[number], index - int(self._starts[number])

    def image(self, index: int) -> np.ndarray:
        part, local = self._locate(index)
        return part.image(local)

    def masks(self, index: int) -> np.ndarray:
        if not self.info.mask_channels:
            raise DataError(f"{self.info.name}: no mask channel that all parts share")
        part, local = self._locate(index)
        stored = part.masks(local)
        channels = part.info.mask_channels
        if self._binary is None and channels == self.info.mask_channels:
            return stored
        masks = stored[[channels.index(name) for name in self.info.mask_channels]]
        if self._binary is not None:
            label = self.info.mask_channels.index("label")
            masks[label] = self._binary[masks[label]]
        return masks

    def subjects(self) -> set[str]:
        return set().union(*(part.subjects() for part in self.parts))

    def learnt_from(self) -> set[str]:
        return set().union(*(part.learnt_from() for part in self.parts))


def _binary(foreground: Collection[int]) -> np.ndarray:
    """Table (256,) of uint8: 1 for the foreground; an absent mask stays absent."""
    table = np.isin(np.arange(256), list(foreground)).astype(np.uint8)
    table[ABSENT] = ABSENT
    return table


def _check_alike(first: Items, other: Items, *, labels: bool) -> None:
    for key in ("image_shape", "image_dtype", "value_range", "channel_names"):
        expected, found = getattr(first.info, key), getattr(other.info, key)
        if expected != found:
            raise DataError(
                f"{other.info.name} has {key} {found}, {first.info.name} {expected}; only datasets prepared "
                "alike can be pooled or compared: give them the same `prepare`"
            )
    tables = first.info.labels, other.info.labels
    labelled = all("label" in data.info.mask_channels for data in (first, other))
    if labels and labelled and tables[0] != tables[1]:
        raise DataError(
            f"{other.info.name} has labels {tables[1]}, {first.info.name} {tables[0]}; they cannot be pooled"
        )
