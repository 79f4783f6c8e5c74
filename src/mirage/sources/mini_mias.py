"""mini-MIAS: 322 digitised films of 161 women (Suckling et al., Excerpta Medica ICS 1069, 1994, pp. 375-378).

PGM files `mdb001.pgm` ... of 1024 x 1024 pixels of 0.2 mm and 8 bits, all of the mediolateral oblique view,
and `Info.txt` with a row a lesion: name, tissue, class, severity, x, y and radius of a circle, in pixels
from the lower left corner. A lesion without a circle, whether its row ends after the severity (`mdb059`) or
says `*NOTE 3*`, makes its image abnormal and has no box. Odd numbers and the even ones after them are the
breasts of one woman. `Info.txt` calls the even ones left, but the markers on the films and the names of the
full MIAS database (`mdb001lm`, `mdb002rl`) say that the odd ones are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mirage.config.mammography import Lesion
from mirage.config.mammography_sets import MiniMiasSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage
from mirage.sources.layout import namespace_of, require_directories
from mirage.sources.mammograms import MammogramRecord, Mammograms, kinds_of, lesion_box, worst
from mirage.sources.rows import number_of

OBTAIN = "http://peipa.essex.ac.uk/info/mias.html (research only, see Licence.txt)"
INFO = "Info.txt"
PLACES = ("", "all-mias")
SIDE = 1024
"""Side of the images in whose pixels the circles are."""
SPACING_MM = 0.2
NAME = re.compile(r"mdb(\d{3})", re.IGNORECASE)
IMAGES = (".pgm", ".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
"""Suffixes of images, the original's first: a copy in another format may lie beside it."""
TISSUES = {"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"}
CLASSES: dict[str, tuple[Lesion, str | None]] = {
    "CALC": ("calcification", None),
    "CIRC": ("mass", "circumscribed"),
    "SPIC": ("mass", "spiculated"),
    "MISC": ("mass", "ill_defined"),
    "ARCH": ("distortion", None),
    "ASYM": ("asymmetry", None),
}
"""Class -> kind of lesion, and a mass's margin."""
NORMAL = "NORM"
SEVERITIES = {"B": "benign", "M": "malignant"}


@dataclass
class Film:
    """What `Info.txt` says of one film.

    Attributes:
        name: such as ``mdb001``, lower case.
        tissue: a value of ``TISSUES``.
        classes: of its abnormalities, in their order, such as ``CIRC``.
        severities: benign or malignant, of the same.
        boxes: of those that have a circle, in pixels of 1024 from the upper left corner, cut at the film's
            edges: circles enclose lesions, and reach beyond.
    """

    name: str
    tissue: str
    classes: list[str] = field(default_factory=list)
    severities: list[str] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def number(self) -> int:
        """From 1."""
        return int(self.name[3:])


class MiniMias(Mammograms[MammogramRecord]):
    """Reader of the database's native layout."""

    title = "mini-MIAS"
    tables = "rows of Info.txt"

    def __init__(self, options: MiniMiasSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._namespace = namespace_of("mini_mias", folder)

    @property
    def namespace(self) -> str:
        """``mini_mias``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for `Info.txt`."""
        require_directories(self.root, [], self.title, OBTAIN)
        self._info()
        self.check_exclusions()

    def records(self) -> Iterator[MammogramRecord]:
        """Films in the table's order."""
        info = self._info()
        place = info.parent
        files: dict[str, str] = {}
        for name in sorted(os.listdir(place), key=lambda name: Path(name).suffix.lower() != IMAGES[0]):
            stem, suffix = Path(name).stem.lower(), Path(name).suffix.lower()
            if suffix in IMAGES and NAME.fullmatch(stem):
                files.setdefault(stem, name)
        for film in read_info(info):
            file = files.get(film.name, f"{film.name}.pgm")
            yield MammogramRecord(
                name=film.name,
                file=(place / file).relative_to(self.root).as_posix(),
                item_id=film.name,
                subject_id=woman_of(film.number),
                view="MLO",
                laterality="L" if film.number % 2 else "R",
                boxes=film.boxes,
                abnormal=bool(film.classes),
                unplaced=len(film.boxes) < len(film.classes),
                attributes={
                    "tissue": film.tissue,
                    "classes": "|".join(film.classes) or NORMAL,
                    # Those without a circle too, which no box tells.
                    "lesion_types": kinds_of({"label": CLASSES[word][0]} for word in film.classes),
                    "malignancy": worst(film.severities),
                },
                there=film.name in files,
            )

    def read(self, record: MammogramRecord) -> RawImage:
        """Boxes and spacing are scaled where the image is a copy of another size."""
        raw = super().read(record)
        height, width = raw.image.shape[1:]
        for box in raw.boxes:
            box["x0"], box["x1"] = box["x0"] * width / SIDE, box["x1"] * width / SIDE
            box["y0"], box["y1"] = box["y0"] * height / SIDE, box["y1"] * height / SIDE
        raw.spacing_mm = (SPACING_MM * SIDE / height, SPACING_MM * SIDE / width)
        return raw

    def _info(self) -> Path:
        for place in PLACES:
            folder = self.root / place
            if folder.is_dir():
                found = next((name for name in os.listdir(folder) if name.lower() == INFO.lower()), None)
                if found:
                    return folder / found
        raise LayoutError(
            f"{self.title}: {self.root} has no {INFO}, nor has {PLACES[1]}/ below it; expected it beside "
            f"mdb001.pgm. Get the database from {OBTAIN}, or set `source.path` to where it is"
        )


def woman_of(number: int) -> str:
    """The woman of a film: films 1 and 2 are hers, and so on."""
    first = number - 1 + number % 2
    return f"mdb{first:03d}-{first + 1:03d}"


def read_info(path: Path) -> list[Film]:
    """The films that `Info.txt` lists, in its order.

    Rows are the lines that begin with a film's name; all others are explanations. A row that is there twice
    is taken once.

    Raises:
        DataError: not readable, or a row that cannot be: an unknown tissue, class or severity, a circle that
            is none or whose centre lies outside the film, a film that is normal and not.
    """
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    films: dict[str, Film] = {}
    seen: set[tuple[str, ...]] = set()
    for number, line in enumerate(lines, 1):
        words = tuple(line.split())
        if not words or not NAME.fullmatch(words[0]) or words in seen:
            continue
        seen.add(words)
        _add(films, words, f"{path}, line {number}")
    return list(films.values())


def _add(films: dict[str, Film], words: tuple[str, ...], where: str) -> None:
    """Add a row to its film."""
    name, tissue, kind, severity = (*words, "", "", "")[:4]
    name, tissue, kind, severity = name.lower(), tissue.upper(), kind.upper(), severity.upper()
    _known(tissue, TISSUES, "tissue", where)
    _known(kind, (NORMAL, *CLASSES), "class", where)
    film = films.get(name)
    if film is not None and (NORMAL in (kind, *film.classes) or not film.classes):
        raise DataError(f"{where}: {name} is normal in one row and listed in another; mend them")
    film = films.setdefault(name, Film(name, TISSUES[tissue]))
    if kind == NORMAL:
        return
    _known(severity, SEVERITIES, "severity", where)
    film.classes.append(kind)
    film.severities.append(SEVERITIES[severity])
    place = words[4:]
    if place and not place[0].startswith("*"):
        film.boxes.append(_box(kind, SEVERITIES[severity], place, where))


def _known(word: str, known: Any, what: str, where: str) -> None:
    if word not in known:
        raise DataError(f"{where}: the {what} is {word!r}, expected one of {', '.join(known)}")


def _box(kind: str, malignancy: str, place: tuple[str, ...], where: str) -> dict[str, Any]:
    """The box of a circle, from the upper left corner; the circle's origin is the lower left pixel."""
    if len(place) < 3:
        raise DataError(f"{where}: a circle needs x, y and radius, found {' '.join(place)!r}")
    x, y, radius = (
        number_of(word, what, where) for word, what in zip(place[:3], ("x", "y", "radius"), strict=True)
    )
    if not (0 <= x < SIDE and 0 <= y < SIDE and radius > 0):
        raise DataError(
            f"{where}: the circle at ({x:g}, {y:g}) with radius {radius:g} is not on the film of {SIDE} x "
            f"{SIDE} pixels"
        )
    x, y = x + 0.5, SIDE - 1 - y + 0.5
    edges = [min(max(edge, 0.0), SIDE) for edge in (x - radius, y - radius, x + radius, y + radius)]
    lesion, margin = CLASSES[kind]
    words = {"margin": margin} if margin else {}
    return lesion_box(lesion, edges, malignancy, **words)
