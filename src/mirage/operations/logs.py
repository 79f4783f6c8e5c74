"""What the end of a job's log tells."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 65536
COMMAND = re.compile(r" INFO mirage: mirage ")
"""Every attempt of a command begins its part of the log with this."""
FAULT = re.compile(
    r" (?:ERROR|CRITICAL) |^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)(?::|$)"
    r"|^(?:Killed|Terminated|Segmentation fault|Bus error|slurmstepd: error)"
)
STOPPED = re.compile(r"stopped by .* after step \d+ of \d+; state saved")


def last_error(log: Path) -> str | None:
    """The line in which the last attempt of a job tells its error; None: it tells none."""
    found = [line.strip() for line in _last_attempt(log) if FAULT.search(line)]
    return found[-1] if found else None


def stopped(log: Path) -> str | None:
    """The sentence with which the last attempt stopped before its wall time, to be resumed; else None."""
    found = [match.group() for line in _last_attempt(log) if (match := STOPPED.search(line))]
    return found[-1] if found else None


def _last_attempt(log: Path) -> list[str]:
    """Lines since the last command, of the end of the file."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    begins = max((index for index, line in enumerate(lines) if COMMAND.search(line)), default=0)
    return lines[begins:]
