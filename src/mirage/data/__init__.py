"""The dataset contract: manifest, shards, splits and leak checks.

The names below are imported on first use: the Snakefile imports :mod:`mirage.data.names`, and must not
load pandas and pyarrow with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirage.data.dataset import Dataset, DatasetInfo
    from mirage.data.items import Item, Items
    from mirage.data.manifest import ItemRow
    from mirage.data.names import shard_name
    from mirage.data.shards import ShardWriter

__all__ = ["Dataset", "DatasetInfo", "Item", "ItemRow", "Items", "ShardWriter", "shard_name"]

_HOMES = {
    "Dataset": "dataset",
    "DatasetInfo": "dataset",
    "Item": "items",
    "Items": "items",
    "ItemRow": "manifest",
    "ShardWriter": "shards",
    "shard_name": "names",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
