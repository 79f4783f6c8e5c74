"""The git commit that a ledger belongs to."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mirage.errors import LedgerError
from mirage.publish.ledger import LOCK, YAML

DECIDE = ("config", "workflow", "src", "resources")
"""Folders in which an untracked file decides results too."""


def refuse_uncommitted() -> None:
    """Check that the present commit describes what the results were made with; the ledger itself may differ.

    Raises:
        LedgerError: files differ from the commit, or this is no git repository.
    """
    changed = _git("diff", "--name-only", "--relative", "HEAD")
    untracked = _git("ls-files", "--others", "--exclude-standard", "--", *DECIDE)
    found = [path for path in [*changed, *untracked] if path not in (str(YAML), str(LOCK))]
    if found:
        listed = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise LedgerError(
            f"{listed}: not committed, so no commit would say what the results were made with; "
            "`git add` and `git commit` first (or `git stash`), see that `snakemake -n` has nothing to do, "
            "then publish"
        )


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise LedgerError(
            f"`git {arguments[0]}` failed: {done.stderr.strip()}; results are published in a git commit"
        )
    return done.stdout.splitlines()


def file_at(commit: str, path: Path) -> str:
    """Text of a file as a commit has it.

    Raises:
        LedgerError: there is no such commit, or no such file in it.
    """
    return "\n".join(_git("show", f"{commit}:./{path}"))
