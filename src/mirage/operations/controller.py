"""Whether Snakemake runs in the working directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(".snakemake/locks")


@dataclass(frozen=True)
class Controller:
    """What is known of a Snakemake in the working directory.

    Attributes:
        locked: it, or one that was killed, holds the lock.
        processes: ids of Snakemakes of this host that work here.
    """

    locked: bool
    processes: list[int]

    @classmethod
    def here(cls) -> Controller:
        """What the lock and the processes of this host tell."""
        locked = LOCKS.is_dir() and any(LOCKS.iterdir())
        return cls(locked, _processes(Path.cwd()) if locked else [])


def _processes(folder: Path) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if _is_snakemake(process.cmdline()) and Path(process.cwd()) == folder:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _is_snakemake(command: list[str]) -> bool:
    """Whether a process is Snakemake: its program, or the script or module that Python runs."""
    named = "snakemake" in (Path(word).name for word in command[:2])
    return named or ["-m", "snakemake"] in (command[1:3], command[2:4])
