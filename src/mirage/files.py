"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

BEGAN = time.time()
"""When this process did, seconds since 1970: a temporary file that is older is that of a killed one."""
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}(\.[^.]*)?")


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well.

    The temporary file keeps the suffix of ``path``, because many writers choose the format by it.
    On an exception the temporary file is removed and ``path`` is left as it was. Those that killed processes
    have left of the same file are removed at the start: a file has one writer at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale, of in _left_behind(path.parent.absolute()):
        if of == path.name:
            stale.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_umask())  # some writers make files that only their owner can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@lru_cache(maxsize=1024)
def _left_behind(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Temporary files of processes before this one, and names of the files that they were to become."""
    with os.scandir(folder) as entries:
        found = [(entry, name) for entry in entries if (name := TEMPORARY.fullmatch(entry.name))]
        return tuple(
            (Path(entry.path), f"{name[1]}{name[2] or ''}") for entry, name in found if _is_older(entry)
        )


def _is_older(entry: os.DirEntry[str]) -> bool:
    """Whether a file was last written before this process began; False where it has just been renamed."""
    try:
        return entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < BEGAN
    except FileNotFoundError:
        return False


def _umask() -> int:
    """The process's file mode mask; the system only tells it when it is set."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. Keys keep their order; NaN is refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read one JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def digest(value: Any) -> str:
    """SHA-256 (first 16 hex digits) of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's bytes, hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def existing_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return folder if folder.is_dir() else existing_folder(folder.parent)
