"""Export folders that are either whole or absent."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirage.errors import DataError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; rename it to ``folder`` when the block ends well.

    Other programs read every file of a folder, so cases of an earlier export would be trained on too.

    Raises:
        DataError: there is something already; an empty folder is allowed.
    """
    folder = folder.absolute()
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise DataError(
            f"{folder}: exists and is not an empty folder; an export would mix with what is there. Delete "
            "it, or give another --out"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
