"""The `mirage` command: what Snakemake's jobs call, and what a person asks beside Snakemake."""

from mirage.cli import (
    benchmark,
    evaluation,
    exclusions,
    external,
    jobs,
    ledger,
    observer,
    operations,
    reference,
    reports,
)
from mirage.cli.app import app

__all__ = [
    "app",
    "benchmark",
    "evaluation",
    "exclusions",
    "external",
    "jobs",
    "ledger",
    "observer",
    "operations",
    "reference",
    "reports",
]
