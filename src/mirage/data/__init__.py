"""The dataset contract: manifest, shards, splits and leak checks."""

from mirage.data.dataset import Dataset, DatasetInfo
from mirage.data.manifest import ItemRow
from mirage.data.shards import ShardWriter, shard_name

__all__ = ["Dataset", "DatasetInfo", "ItemRow", "ShardWriter", "shard_name"]
