"""The ledger of published results: Snakemake decides what runs, DVC stores and shares what it has made."""

from mirage.publish.restoring import Pulled, pull
from mirage.publish.saving import Published, publish

__all__ = ["Published", "Pulled", "publish", "pull"]
