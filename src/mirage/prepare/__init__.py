"""Prepare one shard of a dataset: read, cut, scale and store images or volumes."""

from mirage.prepare.images import prepare_image
from mirage.prepare.normaliser import fit_normaliser
from mirage.prepare.shards import prepare_shard, shard_of
from mirage.prepare.stored import Prepared
from mirage.prepare.volumes import prepare_volume

__all__ = ["Prepared", "fit_normaliser", "prepare_image", "prepare_shard", "prepare_volume", "shard_of"]
