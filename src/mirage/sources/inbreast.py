"""INbreast: 410 digital mammograms of 115 women, with outlines (Moreira et al., Acad Radiol 19, 2012).

`AllDICOMs/20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm` ...: number of the image, the woman (also the name of
her report), side and view, where `ML` is the mediolateral oblique one. `AllXML/20586908.xml`, where an
image has findings, is a property list of OsiriX: outlines in pixels of the image (`Point_px`) with a name
that its author typed, such as `Mass`, `Cluster`, `Espiculated Region` or `Assymetry`. `INbreast.xls`, or
`INbreast.csv` with semicolons and fewer columns, gives side, view, half-year, density (ACR) and BI-RADS
category by the image's number.

A spiculated region that touches a mass is the surround of that mass, not another lesion. The BI-RADS
category is that of the image; no pathology is in the tables.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.mammography import Lesion
from mirage.config.mammography_sets import InbreastSource
from mirage.errors import DataError, LayoutError
from mirage.sources.layout import namespace_of, require_directories, visible_names
from mirage.sources.mammograms import MammogramRecord, lesion_box, side_of, view_of
from mirage.sources.outlined import OutlinedMammograms
from mirage.sources.outlines import box_of, points_of
from mirage.sources.rows import Row, age_of
from mirage.sources.spreadsheet import read_spreadsheet

logger = logging.getLogger(__name__)
OBTAIN = "its authors, medicalresearch.inescporto.pt/breastresearch (on request)"
DICOMS = "AllDICOMs"
XMLS = "AllXML"
TABLES = ("INbreast.xls", "INbreast.xlsx", "INbreast.csv")
NAME = re.compile(r"(\d+)_([0-9a-f]+)_MG_([LR])_([A-Z]+)_ANON\.(?:dcm|dicom)", re.IGNORECASE)
COLUMNS = {
    "image": ["File Name"],
    "age?": ["Patient age"],
    "side?": ["Laterality"],
    "view?": ["View"],
    "date?": ["Acquisition date"],
    "density?": ["ACR"],
    "birads?": ["Bi-Rads"],
    "mass?": ["Mass"],
    "micros?": ["Micros"],
    "distortion?": ["Distortion"],
    "asymmetry?": ["Asymmetry"],
}
FINDINGS = ("mass", "micros", "distortion", "asymmetry")
"""Columns that hold an X where the image has the finding."""
KINDS: dict[str, Lesion] = {
    "mass": "mass",
    "cluster": "calcification",
    "calcifications": "calcification",
    "distortion": "distortion",
    "asymmetry": "asymmetry",
    "assymetry": "asymmetry",
}
"""Name of an outline, lower case -> what it is of."""
SPICULATED = ("spiculated region", "espiculated region")
SINGLE = re.compile(r"(?:calcification|point\s*\d*|unnamed)?")
"""Names of single calcifications; where the author typed none, OsiriX numbers its points."""


@dataclass(frozen=True)
class Outline:
    """An outline of a property list.

    Attributes:
        name: as typed.
        points: (N, 2) of x and y, pixels of the image.
    """

    name: str
    points: np.ndarray

    @property
    def key(self) -> str:
        """The name, lower case, with single spaces."""
        return " ".join(self.name.lower().split())


class Inbreast(OutlinedMammograms):
    """Reader of the release's native layout."""

    title = "INbreast"
    tables = "spreadsheet and file names"
    options: InbreastSource

    def __init__(self, options: InbreastSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._namespace = namespace_of("inbreast", folder)

    @property
    def namespace(self) -> str:
        """``inbreast``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for the images and, because an image without a file there is a healthy one, the outlines."""
        require_directories(self.root, [], self.title, OBTAIN)
        base = self._base()
        if not self._folder(base, XMLS):
            raise LayoutError(
                f"{self.title}: {base} has no folder {XMLS}; without it no image would have a lesion. Get it "
                f"from {OBTAIN}"
            )
        self.check_exclusions()

    def records(self) -> Iterator[MammogramRecord]:
        """Images of the spreadsheet in its order, then those that it does not list, by name."""
        base = self._base()
        files = self._files(base)
        rows = _rows(base)
        xmls = self._folder(base, XMLS)
        outlined = {Path(name).stem: xmls / name for name in visible_names(xmls)} if xmls else {}
        for image in [*rows, *sorted(set(files) - set(rows))]:
            row, file = rows.get(image), files.get(image)
            outlines, problem = list[Outline](), None
            try:
                outlines = read_outlines(outlined[image]) if image in outlined else []
            except DataError as error:
                problem = str(error)
            record = self._record(image, row, file, outlines)
            record.problem, record.abnormal = problem, record.abnormal or problem is not None
            yield record

    def _record(
        self, image: str, row: Row | None, file: str | None, outlines: Sequence[Outline]
    ) -> MammogramRecord:
        named = NAME.fullmatch(Path(file).name) if file else None
        category = birads_of(row["birads"]) if row else None
        density = row["density"] if row else ""
        view, side = view_of((named[4] if named else "") or (row["view"] if row else ""))
        single = self.options.calcifications == "all"
        boxes = boxes_of(outlines, single=single, malignancy=self._malignancy(category))
        return MammogramRecord(
            name=image,
            file=file or f"{DICOMS}/{image}_*_ANON.dcm",
            item_id=image,
            # The name of an absent file, which would tell whose it is, is not known.
            subject_id=named[2].lower() if named else image,
            view="MLO" if view == "ML" else view,
            laterality=side_of(named[3] if named else row["side"] if row else None) or side,
            boxes=boxes,
            abnormal=bool(outlines)
            or (category is not None and category[0] != "1")
            or (row is not None and any(row[finding] for finding in FINDINGS)),
            attributes={
                "birads": category,
                "density": int(density) if density in ("1", "2", "3", "4") else None,
                "age": age_of(row["age"]) if row else None,
                "date": (row["date"] or None) if row else None,
            },
            there=file is not None,
        )

    def _malignancy(self, category: str | None) -> str | None:
        first = self.options.malignant_from
        if first is None or category is None or category[0] in "01":
            return None
        return "malignant" if int(category[0]) >= first else "benign"

    def _base(self) -> Path:
        """The folder that holds ``AllDICOMs``: the archive's, or one in it."""
        for base in (self.root, *(self.root / name for name in visible_names(self.root))):
            if base.is_dir() and self._folder(base, DICOMS):
                return base
        raise LayoutError(
            f"{self.title}: {self.root} has no folder {DICOMS}, nor has a folder in it. Get the release from "
            f"{OBTAIN} and unpack it there, or set `source.path` to where it is"
        )

    @staticmethod
    def _folder(base: Path, name: str) -> Path | None:
        """A folder by its name, whatever its case."""
        found = (entry for entry in visible_names(base) if entry.lower() == name.lower())
        return next((base / entry for entry in found if (base / entry).is_dir()), None)

    def _files(self, base: Path) -> dict[str, str]:
        """Number of every image that is there -> its path relative to the archive."""
        folder = self._folder(base, DICOMS)
        files: dict[str, str] = {}
        for name in visible_names(folder) if folder else []:
            if folder and (named := NAME.fullmatch(name)):
                if named[1] in files:
                    raise DataError(
                        f"{folder / name}: image {named[1]} is there twice, also as "
                        f"{Path(files[named[1]]).name}; delete one"
                    )
                files[named[1]] = (folder / name).relative_to(self.root).as_posix()
        return files


def _rows(base: Path) -> dict[str, Row]:
    """Number of an image -> its row of the spreadsheet, empty without one; sums below it have no number."""
    there = {name.lower(): name for name in os.listdir(base)}
    table = next((base / there[name.lower()] for name in TABLES if name.lower() in there), None)
    if table is None:
        logger.warning(
            "INbreast: %s has none of %s, so density, category and malignancy of all images are unknown",
            base,
            ", ".join(TABLES),
        )
        return {}
    rows: dict[str, Row] = {}
    for row in read_spreadsheet(table, COLUMNS):
        image = row["image"]
        if not image.isdecimal():
            continue
        if image in rows:
            raise DataError(f"{row.where}: image {image} is listed twice, also in line {rows[image].line}")
        rows[image] = row
    return rows


def birads_of(text: str) -> str | None:
    """Category 0 to 6, with the letter of 4a to 4c, of ``4a``, ``2`` ...; None when unknown."""
    found = re.fullmatch(r"([0-6])\s*([abc]?)", text.strip().lower())
    return f"{found[1]}{found[2]}" if found else None


def read_outlines(path: Path) -> list[Outline]:
    """Outlines of a property list of OsiriX, in their order.

    Raises:
        DataError: no property list, one of another kind, or of several images; an outline without points.
    """
    import plistlib
    from xml.parsers.expat import ExpatError

    try:
        with open(path, "rb") as handle:
            images = plistlib.load(handle)["Images"]
        rois = [roi for image in images for roi in image["ROIs"]]
    except (OSError, ExpatError, plistlib.InvalidFileException, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: no property list of outlines as OsiriX writes it, with Images and ROIs "
            f"({type(error).__name__}: {error}); get the file again, or exclude the image"
        ) from error
    if len(images) > 1:
        raise DataError(
            f"{path}: holds outlines of {len(images)} images, expected one; split it, or exclude the image"
        )
    outlines = []
    for number, roi in enumerate(rois):
        what = f"outline {number} ({roi.get('Name', 'without a name')})"
        pairs = [str(point).strip("() ").split(",")[:2] for point in roi.get("Point_px", [])]
        if any(len(pair) < 2 for pair in pairs):
            raise DataError(
                f"{path}: {what} has a point that is no pair of numbers; mend it, or exclude the image"
            )
        points = points_of([x for x, _ in pairs], [y for _, y in pairs], what, str(path))
        outlines.append(Outline(str(roi.get("Name") or ""), points))
    return outlines


def boxes_of(
    outlines: Sequence[Outline], *, single: bool = False, malignancy: str | None = None
) -> list[dict[str, Any]]:
    """Lesions of an image, each once, with ``name`` as typed and ``points``.

    An outline that is there twice is one lesion. A single calcification's malignancy is unknown: the image's
    BI-RADS category is that of its worst finding.

    Args:
        outlines: of one image.
        single: also single calcifications that lie in no cluster.
        malignancy: of the image.
    """
    boxes: list[dict[str, Any]] = []
    surrounds, points = [], []
    for outline in _distinct(outlines):
        if outline.key in SPICULATED:
            surrounds.append(outline)
        elif SINGLE.fullmatch(outline.key) and (outline.key == "calcification" or len(outline.points) < 3):
            points.append(outline)
        else:
            boxes.append(_box(KINDS.get(outline.key, "other"), outline, malignancy))
    for outline in surrounds:
        around = _box("mass", outline, malignancy, margin="spiculated")
        masses = [box for box in boxes if box["label"] == "mass" and _touch(box, around)]
        for box in masses:
            box["margin"] = "spiculated"
        if not masses:
            boxes.append(around)
    clusters = [box for box in boxes if box["label"] == "calcification"]
    for outline in points if single else []:
        alone = _box("calcification", outline, None)
        if not any(_touch(cluster, alone) for cluster in clusters):
            boxes.append(alone)
    return boxes


def _distinct(outlines: Sequence[Outline]) -> list[Outline]:
    kept: list[Outline] = []
    for outline in outlines:
        same = (one.key == outline.key and np.array_equal(one.points, outline.points) for one in kept)
        if not any(same):
            kept.append(outline)
    return kept


def _box(kind: Lesion, outline: Outline, malignancy: str | None, **words: Any) -> dict[str, Any]:
    corners = box_of(outline.points)
    return lesion_box(kind, corners, malignancy, name=outline.name, points=outline.points, **words)


def _touch(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two boxes share a pixel."""
    return all(
        max(one[f"{axis}0"], other[f"{axis}0"]) < min(one[f"{axis}1"], other[f"{axis}1"]) for axis in "xy"
    )
