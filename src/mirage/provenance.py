"""Who made a result: code, settings, machine and time, as plain data."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mirage
from mirage.files import digest

PACKAGES = ("torch", "monai", "numpy", "scipy", "pandas", "pyarrow", "scikit-image", "snakemake")


@cache
def code_version() -> dict[str, Any]:
    """Commit and whether the checkout had uncommitted changes.

    Outside a git checkout the commit is what ``MIRAGE_COMMIT`` says, which images are built with, else null.
    """
    root = Path(mirage.__file__).resolve().parents[2]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    changes = git("status", "--porcelain", "--untracked-files=no")
    return {
        "mirage": mirage.__version__,
        "commit": git("rev-parse", "HEAD") or os.environ.get("MIRAGE_COMMIT") or None,
        "uncommitted_changes": None if changes is None else bool(changes),
    }


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe(stage: str, config: Any, *, seed: int | None = None, **inputs: Any) -> dict[str, Any]:
    """Provenance of one artefact.

    Args:
        stage: name of the stage, as in :mod:`mirage.versions`.
        config: the frozen options of the stage (JSON-able).
        seed: the seed it ran with.
        inputs: fingerprints of what it read, by name.
    """
    return {
        "stage": stage,
        "code": code_version(),
        "config": config,
        "config_hash": digest(config),
        "seed": seed,
        "inputs": inputs,
        "packages": package_versions(),
        "host": platform.node(),
        "platform": platform.platform(),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "command": sys.argv,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
