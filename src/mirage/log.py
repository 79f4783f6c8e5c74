"""Logging of jobs, and their end: everything a job prints goes to its log file, errors of the user's without
a traceback, and one that is told to stop removes what it has begun to write.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirage.errors import MirageError

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(level: int = logging.INFO) -> None:
    """Log to standard error, one line a record."""
    logging.basicConfig(level=level, format=FORMAT, stream=sys.stderr, force=True)


class _Terminated(BaseException):
    """SIGTERM has come."""


@contextmanager
def unwound_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does; the process then dies of it, as it would have at once.

    Its children, and blocks inside that handle the signal themselves, are left alone; once the exception is
    raised, a second signal kills. Outside the main thread, and where somebody handles the signal already,
    nothing is changed.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    own = os.getpid()

    def unwind(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() == own:
            raise _Terminated
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    except _Terminated:
        os.kill(own, signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
        with unwound_on_sigterm():
            yield
    except MirageError as error:
        logging.getLogger("mirage").error("%s", error)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        raise
