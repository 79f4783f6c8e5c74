"""Reports of other commits, as they were published."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from mirage.errors import LedgerError
from mirage.publish.commit import file_at
from mirage.publish.dvc import Dvc
from mirage.publish.ledger import LOCK, Stored
from mirage.publish.objects import Objects

FILES = ("report.json", "summary.csv")
"""What of a report says what it found."""


def published_report(commit: str, study: str, folder: Path) -> Path:
    """Bring a report's data as published at a commit into a folder, from DVC's cache of this clone.

    Args:
        commit: any name that git knows.
        study: folder of the study below the root of the repository, such as ``results/studies/retina``.
        folder: gets ``report.json`` and ``summary.csv``.

    Returns:
        The folder.

    Raises:
        LedgerError: the commit has not published the study, or its data are not in this clone.
    """
    locked = yaml.safe_load(file_at(commit, LOCK)) or {}
    outs = [(name, out) for name, stage in locked.get("stages", {}).items() for out in stage["outs"]]
    found = [Stored(out["path"], out["md5"], name) for name, out in outs if out["path"] == study]
    if not found:
        raise LedgerError(f"{study}: not published at {commit}; `git log -- {LOCK}` shows where it may be")
    objects = Objects(Dvc().cache_folder())
    files = objects.files(found[0])
    for name in FILES:
        stored = files.get(f"{study}/{name}")
        if stored is None or not objects.has(stored):
            raise LedgerError(
                f"{study}/{name} of {commit}: not in this clone; `git checkout {commit} && dvc fetch "
                f"{found[0].target}` brings it, then come back"
            )
        shutil.copyfile(objects.path(stored), folder / name)
    return folder
