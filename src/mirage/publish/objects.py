"""DVC's cache: objects named by the MD5 hash of their content, and whether they still have it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mirage.publish.ledger import Stored


@dataclass(frozen=True)
class Damage:
    """An object whose content is not what its name says.

    Attributes:
        file: what it is the content of; of a folder's list, the folder.
        name: the object's, which is the expected hash, with ``.dir`` for a folder's list.
        object: where it lies in the cache.
        expected, found: MD5 hashes.
    """

    file: str
    name: str
    object: Path
    expected: str
    found: str


class Objects:
    """The cache of a clone; an object found whole is not read again.

    Args:
        folder: DVC's cache folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole: set[str] = set()

    def path(self, name: str) -> Path:
        """File of an object."""
        return self.folder / "files" / "md5" / name[:2] / name[2:]

    def has(self, name: str) -> bool:
        """Whether an object is here."""
        return self.path(name).exists()

    def files(self, stored: Stored) -> dict[str, str]:
        """Object of each file behind what is stored, by path, as far as their list is here and whole."""
        if not stored.object.endswith(".dir"):
            return {stored.path: stored.object}
        if not self.has(stored.object) or self._damage(stored.path, stored.object):
            return {}
        listed = json.loads(self.path(stored.object).read_text(encoding="utf-8"))
        return {f"{stored.path}/{entry['relpath']}": entry["md5"] for entry in listed}

    def present(self, stored: Iterable[Stored]) -> set[str]:
        """Objects of all that is stored, which are here."""
        return {name for item in stored for name in self._named(item).values() if self.has(name)}

    def missing(self, stored: Iterable[Stored]) -> list[str]:
        """Files whose objects are not here; a folder whose list is not here stands for its files."""
        return [file for item in stored for file, name in self._named(item).items() if not self.has(name)]

    def damaged(self, stored: Iterable[Stored]) -> list[Damage]:
        """Objects here whose content is not what their name says. Reads all of them."""
        named = {name: file for item in stored for file, name in self._named(item).items()}
        checked = (self._damage(file, name) for name, file in named.items() if self.has(name))
        return [damage for damage in checked if damage]

    def _named(self, stored: Stored) -> dict[str, str]:
        return {stored.path: stored.object, **self.files(stored)}

    def _damage(self, file: str, name: str) -> Damage | None:
        if name in self._whole:
            return None
        expected = name.removesuffix(".dir")
        with open(self.path(name), "rb") as handle:
            found = hashlib.file_digest(handle, "md5").hexdigest()
        if found != expected:
            return Damage(file, name, self.path(name), expected, found)
        self._whole.add(name)
        return None
