"""What the readers of native layouts share: checks of folders, and listings in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mirage.errors import LayoutError

OPERATING_SYSTEM_FILES = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})


def namespace_of(reader: str, folder: Path | None) -> str:
    """Namespace of a public dataset: the reader's name, so that any two copies of it share their subjects.

    Simulated data, read from a folder of their own, are named after that folder.
    """
    return reader if folder is None else f"{reader}@{folder.as_posix()}"


def require_directories(root: Path, names: Iterable[str], dataset: str, obtain: str) -> None:
    """Check that ``root`` and its sub-folders ``names`` are directories.

    Raises:
        LayoutError: names the first missing one, all that are expected, and where to get the data.
    """
    names = list(names)
    for path in [root, *(root / name for name in names)]:
        if not path.is_dir():
            found = "is not a directory" if path.exists() else "is missing"
            inside = f" with the sub-folders {', '.join(names)}" if names else ""
            raise LayoutError(
                f"{dataset}: {path} {found}. Expected a folder {root}{inside}. "
                f"Get the data from {obtain} and unpack them there, or set `source.path` to where they are"
            )


def visible_names(folder: Path) -> list[str]:
    """Names in a folder, sorted, without hidden files and what operating systems leave behind."""
    return sorted(
        name for name in os.listdir(folder) if not name.startswith(".") and name not in OPERATING_SYSTEM_FILES
    )


def no_items(dataset: str, folder: Path, expected: str) -> LayoutError:
    """The error for folders that are there but hold no items."""
    return LayoutError(f"{dataset}: {folder} holds no images; expected files such as {expected}")
