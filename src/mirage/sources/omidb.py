"""The folder tree of OMI-DB, the OPTIMAM Mammography Image Database (Halling-Brown et al., Radiol AI 2021).

data/<client>/imagedb_<client>.json                       studies, series, images and marks
data/<client>/nbss_<client>.json                          the screening service's record
data/<client>/<StudyInstanceUID>/<SOPInstanceUID>.json    header of an image
images/<client>/<StudyInstanceUID>/<SOPInstanceUID>.dcm   the image
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mirage.errors import DataError
from mirage.sources.layout import visible_names

CLIENT = re.compile(r"[A-Za-z]{4}\d+")
"""Name of a client's folder: a site or collection, and a number."""
UID = re.compile(r"\d+(\.\d+)+")


@dataclass
class Listed:
    """One image of a client, from whichever of the trees has it.

    Attributes:
        client, study, image: name and UIDs.
        series: UID; None where only the files are there.
        episode: id in the screening service's record.
        date: of the study, YYYY-MM-DD.
        marks: as the JSON file has them, mark id -> fields; None where no JSON file lists the image.
        header: path of its header in JSON relative to the archive; None where there is none.
        pixels: name of its ``.dcm``; None where it is not there.
    """

    client: str
    study: str
    image: str
    series: str | None = None
    episode: str | None = None
    date: str | None = None
    marks: dict[str, Any] | None = None
    header: str | None = None
    pixels: str | None = None

    @property
    def has_pixels(self) -> bool:
        """Whether the image is there."""
        return self.pixels is not None

    @property
    def file(self) -> str:
        """Path of the image relative to the archive."""
        return f"images/{self.client}/{self.study}/{self.pixels or f'{self.image}.dcm'}"


@dataclass
class Client:
    """A client and all images of hers, by study.

    Attributes:
        name: folder.
        site: code, or None.
        nbss: the screening service's record; empty when it is not there.
        images: in the order of the files.
    """

    name: str
    site: str | None = None
    nbss: Mapping[str, Any] = field(default_factory=dict)
    images: list[Listed] = field(default_factory=list)


def read_clients(root: Path, known: Callable[[str], bool] | None = None) -> Iterator[Client]:
    """Clients by name, one at a time; other folders are passed over.

    Args:
        root: the archive.
        known: of which clients the screening service's record is read. Default: all.

    Raises:
        DataError: a JSON file that cannot be read, or has another form.
    """
    names = {
        name
        for tree in ("data", "images")
        if (root / tree).is_dir()
        for name in visible_names(root / tree)
        if CLIENT.fullmatch(name)
    }
    for name in sorted(names, key=lambda name: (name[:4], int(name[4:]))):
        yield _client(root, name, known is None or known(name))


def _client(root: Path, name: str, with_nbss: bool) -> Client:
    folder = root / "data" / name
    imagedb, nbss = _object(folder, "imagedb", name), _object(folder, "nbss", name) if with_nbss else {}
    found: dict[tuple[str, str], Listed] = {}
    for study, listed in _children(imagedb.get("STUDIES")):
        episode, date = (str(listed.get(key) or "").strip() or None for key in ("EpisodeID", "StudyDate"))
        for series, images in _children(listed):
            for image, marks in images.items():
                if UID.fullmatch(image):
                    listing = Listed(name, study, image, series, episode, date, {})
                    known = found.setdefault((study, image), listing)  # another series may list it too
                    known.marks = {**(known.marks or {}), **(marks if isinstance(marks, dict) else {})}
    for study, image, file in _files(folder, (".dcm.json", ".json")):
        found.setdefault((study, image), Listed(name, study, image)).header = f"data/{name}/{study}/{file}"
    for study, image, file in _files(root / "images" / name, (".dcm",)):
        found.setdefault((study, image), Listed(name, study, image)).pixels = file
    site = imagedb.get("Site")
    return Client(name, str(site) if site else None, nbss, list(found.values()))


def _children(parent: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entries that are called by a UID; others are attributes."""
    for key, value in parent.items() if isinstance(parent, dict) else ():
        if UID.fullmatch(key) and isinstance(value, dict):
            yield key, value


def _files(folder: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """(study, image, file's name) of the files in a client's folder."""
    if not folder.is_dir():
        return
    for study in visible_names(folder):
        if UID.fullmatch(study) and os.path.isdir(folder / study):
            for name in visible_names(folder / study):
                ending = next((ending for ending in endings if name.lower().endswith(ending)), None)
                if ending:
                    yield study, name[: -len(ending)], name


def _object(folder: Path, kind: str, client: str) -> dict[str, Any]:
    """One of a client's records, whose kind may be in capitals; empty when the file is not there."""
    paths = (folder / f"{word}_{client}.json" for word in (kind, kind.upper()))
    return next((read_object(path) for path in paths if path.is_file()), {})


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        DataError: missing, no JSON, or no object.
    """
    try:
        with open(path, encoding="utf-8-sig") as handle:
            found = json.load(handle)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable JSON file ({error}); get it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {type(found).__name__}, expected an object; get it again")
    return found
