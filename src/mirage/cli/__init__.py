"""The `mirage` command: what Snakemake's jobs call, and what a person asks beside Snakemake."""

from mirage.cli import benchmark, evaluation, external, jobs, ledger, operations, reference, reports
from mirage.cli.app import app

__all__ = [
    "app",
    "benchmark",
    "evaluation",
    "external",
    "jobs",
    "ledger",
    "operations",
    "reference",
    "reports",
]
