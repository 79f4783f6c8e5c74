"""Logging of jobs: everything a job prints goes to its log file, errors of the user's without a traceback."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirage.errors import MirageError

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(level: int = logging.INFO) -> None:
    """Log to standard error, one line a record."""
    logging.basicConfig(level=level, format=FORMAT, stream=sys.stderr, force=True)


@contextmanager
def log_to(path: Path | str) -> Iterator[None]:
    """Send standard output and error of the process, also of its children, to ``path``.

    A :class:`MirageError` is logged as its message and ends the process with status 1; any other exception
    is logged with its traceback and raised.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(handle.fileno(), stream.fileno())
    configure()
    try:
        yield
    except MirageError as error:
        logging.getLogger("mirage").error("%s", error)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        raise
