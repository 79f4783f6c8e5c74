"""Whether raw data are still the same, without reading a pixel."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def contents_digest(root: Path) -> str:
    """Digest of the names and sizes of all files below a folder.

    Changes when a file is added, removed, renamed or replaced by one of another size, and not with time
    stamps, so that copying or checking out the same data remakes nothing. Links are followed; hidden files
    are left out, because file managers write them. About a second for 200,000 files on a local disk.

    Returns:
        SHA-256, first 16 hex digits.
    """
    listed = hashlib.sha256()
    for name, size in sorted(_files(root)):
        listed.update(f"{name}\t{size}\n".encode("utf-8", "surrogateescape"))
    return listed.hexdigest()[:16]


def _files(root: Path) -> Iterator[tuple[str, int]]:
    """(path relative to ``root``, bytes) of every visible file; what cannot be read has -1 bytes."""
    folders: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while folders:
        folder, above = folders.pop()
        place = os.path.join(root, folder)
        try:
            status, entries = os.stat(place), os.scandir(place)
        except PermissionError:
            yield folder, -1
            continue
        own = (status.st_dev, status.st_ino)
        if own in above:
            continue  # a link to a folder above it
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir():
                    folders.append((path, above | {own}))
                else:
                    yield path, entry.stat().st_size if entry.is_file() else -1
