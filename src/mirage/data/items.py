"""What all that holds stored items offers: a dataset, a view of one, several read as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mirage.data.manifest import CORE
from mirage.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from mirage.data.dataset import DatasetInfo


@dataclass(frozen=True)
class Item:
    """One stored item.

    Attributes:
        image: (C, H, W) or (C, D, H, W), stored type.
        masks: mask channels (M, H, W) or (M, D, H, W), uint8, in the order of ``DatasetInfo.mask_channels``;
            None without masks.
        boxes: dicts of x0, y0, x1, y1 (pixels of the stored image, half-open) and label.
        attributes: age, sex, view ... of the manifest; None when unknown.
        content_hash: digest of the stored image; None when unknown.
    """

    image: np.ndarray
    masks: np.ndarray | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    content_hash: str | None = None


class Items(ABC):
    """Read access to stored items by number.

    Attributes:
        info: what the items have in common.
        items: the manifest's rows of the items, in order.
        failures: the manifest's rows of items that failed.
    """

    info: DatasetInfo
    items: pd.DataFrame
    failures: pd.DataFrame

    def __len__(self) -> int:
        return len(self.items)

    def item(self, index: int) -> Item:
        """Everything stored of an item; arrays are read-only views where they can be."""
        masks = self.masks(index) if self.info.mask_channels else None
        boxes = [dict(box) for box in self._columns["boxes"][index]]
        attributes = {
            name: _plain(values[index]) for name, values in self._columns.items() if name not in CORE.names
        }
        return Item(self.image(index), masks, boxes, attributes, _plain(self._columns["content_hash"][index]))

    def spacing_mm(self, index: int) -> tuple[float, ...] | None:
        """Spacing of an item's stored pixels, (D,) H, W: its own, else what all share; None when unknown."""
        axes = "dhw"[-(len(self.info.image_shape) - 1) :]
        names = [f"spacing_{axis}_mm" for axis in axes]
        if all(name in self._columns for name in names):
            own = tuple(float(self._columns[name][index]) for name in names)
            if np.isfinite(own).all():
                return own
        return self.info.spacing_mm

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """Columns of ``items``: a table's own look-up of one value takes longer than reading an image."""
        return {name: self.items[name].to_numpy() for name in self.items.columns}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_columns"}

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Stored image (C, H, W) or (C, D, H, W) of an item, a read-only view."""

    @abstractmethod
    def masks(self, index: int) -> np.ndarray:
        """All mask channels (M, H, W) or (M, D, H, W) of an item, uint8.

        Raises:
            DataError: there are none.
        """

    def mask(self, index: int, channel: str = "label") -> np.ndarray:
        """One mask channel (H, W) or (D, H, W), uint8.

        Raises:
            DataError: there is no such channel.
        """
        if channel not in self.info.mask_channels:
            raise DataError(
                f"dataset {self.info.name} has no mask channel {channel!r}; "
                f"it has {self.info.mask_channels or 'no masks'}"
            )
        return self.masks(index)[self.info.mask_channels.index(channel)]

    @abstractmethod
    def subjects(self) -> set[str]:
        """Namespaced subjects of the items (``namespace/subject``)."""

    @abstractmethod
    def learnt_from(self) -> set[str]:
        """Every namespaced subject that training on these items would leak: own, donors', and lineage.

        Subjects and donors are among them by all their names.
        """

    def other_names(self) -> set[str]:
        """Names that other archives give the items' subjects, or the donors of synthetic items."""
        return {name for names in self.items["also_known_as"] for name in names}


def _plain(value: Any) -> Any:
    """A table's value as str, int, float, bool or list; None when null."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value
