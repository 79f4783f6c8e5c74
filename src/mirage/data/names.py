"""Names of a dataset's files. Imports nothing, so that planning the workflow stays fast."""

NORMALISER = "normaliser.json"
"""What a dataset's training images have taught of its grey values, where anything is learnt of them."""


def shard_name(index: int, total: int) -> str:
    """File stem of a shard: ``shard-0003-of-0008``."""
    return f"shard-{index:04d}-of-{total:04d}"
