"""What Snakemake knows of the outputs of jobs: its records under .snakemake, by its own classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mirage.errors import LedgerError

MEANING = ("rule", "code", "params", "input", "software_stack_hash")
"""What a record says of how an output was made; the rest is when, and by which attempt."""


class Knowledge:
    """Snakemake's records of the working directory.

    Raises:
        LedgerError: Snakemake is at work here, or was killed at work.
    """

    def __init__(self) -> None:
        from snakemake.persistence.file import FilePersistence

        self._records = FilePersistence()
        if any(self._records._read_locks()):
            raise LedgerError(
                f"{Path.cwd()}: Snakemake is at work here; wait, or `snakemake --unlock` if it was killed"
            )

    def record(self, output: str) -> dict[str, Any] | None:
        """The record of an output as plain data, or None."""
        from snakemake.io import IOFile

        found = self._records.metadata(IOFile(output))
        return None if found is None else dict(found.items())

    def write(self, output: str, record: dict[str, Any]) -> None:
        """Replace the record of an output, which then counts as complete."""
        from snakemake.io import IOFile
        from snakemake.persistence import MetadataRecord

        self._records.cleanup_metadata(IOFile(output))
        self._records._write_record(output, MetadataRecord.model_validate(record))

    def mark_incomplete(self, outputs: Iterable[str]) -> None:
        """Say that outputs are being replaced: until they are written, Snakemake takes them for half made."""
        for output in outputs:
            self._records._mark_incomplete(output, None)

    def incomplete(self, outputs: Iterable[str]) -> set[str]:
        """Those outputs that a killed job or a killed pull has left half made."""
        found: set[str] = self._records._filter_incomplete_keys(outputs)
        return found


def meaning_of(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says of how an output was made."""
    return {key: record.get(key) for key in MEANING}


def same_meaning(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    """Whether two records tell of the same making."""
    return one is not None and meaning_of(one) == meaning_of(other)


def set_time(output: str, seconds: float) -> None:
    """Set the time by which Snakemake judges an output; a folder's stands in a file inside it."""
    from snakemake.io import IOFile, directory

    IOFile(directory(output) if Path(output).is_dir() else output).touch((seconds, seconds))


def time_of(output: str) -> float | None:
    """The time by which Snakemake judges a file or folder, seconds; None where there is none."""
    path = Path(output)
    stamp = path / ".snakemake_timestamp"
    if stamp.exists():
        path = stamp
    return path.stat().st_mtime if path.exists() else None
