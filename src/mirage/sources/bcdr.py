"""BCDR: the Breast Cancer Digital Repository (Moura and Guevara Lopez, IJCARS 8, 2013).

Folders such as `BCDR-F01_dataset` (digitised film, 8 bits) and `BCDR-D01_dataset` (digital, 14 bits), of
normal breasts `FN01` and `DN01`. In each `bcdr_f01_img.csv` lists the images,
`patient_2/study_3/img_2_3_1_LO.tif` with R or L and CC or O (mediolateral oblique), and
`bcdr_f01_outlines.csv` has a row an outline: pixels along it in two columns of numbers, flags of what it
is, and benign or malign. Cells begin with a blank, and what is unknown is `NaN`; F03 has outlines only. An
image that several folders hold, such as D01 and D02, is read once, with the lesions of all; the same
number of a patient in several folders is taken for one patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mirage.config.mammography import Lesion
from mirage.config.mammography_sets import BcdrSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage
from mirage.sources.layout import namespace_of, require_directories, visible_names
from mirage.sources.mammograms import MammogramRecord, lesion_box, view_of
from mirage.sources.outlined import OutlinedMammograms
from mirage.sources.outlines import box_of, points_of
from mirage.sources.rows import Row, age_of, read_rows

OBTAIN = "https://bcdr.eu (registration)"
TABLE = re.compile(r"bcdr_([fd])(n?)(\d+)_(img|outlines)\.csv", re.IGNORECASE)
FILE = re.compile(r"img_(\d+)_(\d+)_(\d+)_([RL])(CC|MLO|O)\.tiff?", re.IGNORECASE)
MEDIA: dict[str, Literal["film", "digital"]] = {"f": "film", "d": "digital"}
HIGHEST = 2**14 - 1
"""Highest value of a digital image, whose file has 16 bits."""
IMAGES = {
    "patient": ["patient_id"],
    "study": ["study_id"],
    "file": ["image_filename"],
    "view?": ["image_type_name", "image_view"],
    "age?": ["age"],
    "density?": ["density"],
}
OUTLINES = {
    **IMAGES,
    "view?": ["image_view", "image_type_name"],
    "lesion?": ["lesion_id"],
    "segmentation?": ["segmentation_id"],
    "x": ["lw_x_points"],
    "y": ["lw_y_points"],
    "nodule?": ["mammography_nodule"],
    "calcification?": ["mammography_calcification"],
    "microcalcification?": ["mammography_microcalcification"],
    "adenopathy?": ["mammography_axillary_adenopathy"],
    "distortion?": ["mammography_architectural_distortion"],
    "stroma?": ["mammography_stroma_distortion"],
    "classification?": ["classification"],
}
VIEWS = {"1": "RCC", "2": "LCC", "3": "RMLO", "4": "LMLO"}
"""Code of `image_view`; others are further views."""
KINDS: tuple[tuple[str, Lesion], ...] = (
    ("nodule", "mass"),
    ("microcalcification", "calcification"),
    ("calcification", "calcification"),
    ("distortion", "distortion"),
    ("stroma", "distortion"),
    ("adenopathy", "other"),
)
"""Flag -> kind, of several the first; a nodule with calcifications is a mass."""
CLASSES = {"benign": "benign", "malign": "malignant", "malignant": "malignant"}
UNKNOWN = ("", "nan", "unknown")


@dataclass(frozen=True)
class Table:
    """A table of one of the folders.

    Attributes:
        path: file.
        medium: film or digital.
        normal: whether it lists normal breasts.
        outlines: whether it lists outlines, or images.
    """

    path: Path
    medium: Literal["film", "digital"]
    normal: bool
    outlines: bool


class Bcdr(OutlinedMammograms):
    """Reader of the repository's native layout."""

    title = "BCDR"
    options: BcdrSource

    def __init__(self, options: BcdrSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._namespace = namespace_of("bcdr", folder)

    @property
    def namespace(self) -> str:
        """``bcdr``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for a table of the media that are asked for."""
        require_directories(self.root, [], self.title, OBTAIN)
        self._tables()
        self.check_exclusions()

    def records(self) -> Iterator[MammogramRecord]:
        """Images in the order of the tables, film first."""
        records: dict[tuple[str, str], MammogramRecord] = {}
        lesions: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        for table in self._tables():
            for row in read_rows(table.path, OUTLINES if table.outlines else IMAGES):
                key = (table.medium, Path(row["file"].replace("\\", "/")).stem.lower())
                found = self._record(row, table)
                record = records.setdefault(key, found)
                self._merge(record, found, row)
                if table.outlines:
                    record.abnormal = True
                    # Two folders give one lesion's outline under the same numbers.
                    numbers = (row["lesion"], row["segmentation"], row["x"], row["y"])
                    same = numbers[:2] if all(numbers[:2]) else numbers
                    if same not in lesions.setdefault(key, set()):
                        lesions[key].add(same)
                        record.boxes += lesions_of(row)
        yield from records.values()

    def _record(self, row: Row, table: Table) -> MammogramRecord:
        """An image without its lesions."""
        if not row["patient"] or not row["file"]:
            raise DataError(f"{row.where}: names no patient or no image; mend the row")
        listed = row["file"].replace("\\", "/").replace(" ", "").strip("/")
        path = table.path.parent / listed
        name = FILE.fullmatch(path.name)
        word = f"{name[4]}{name[5]}" if name else VIEWS.get(row["view"], row["view"])
        word = word.upper()
        view, side = view_of(f"{word[0]}MLO" if word in ("RO", "LO") else word)
        folder = table.path.parent.relative_to(self.root).as_posix()
        short = table.path.name.split("_")[1].upper()
        return MammogramRecord(
            name=path.name,
            file=listed if folder == "." else f"{folder}/{listed}",
            item_id=f"{short}/{path.stem}",
            subject_id=row["patient"],
            view=view,
            laterality=side,
            attributes={
                "medium": table.medium,
                "study": row["study"] or None,
                "age": age_of(row["age"]),
                "density": int(row["density"]) if row["density"] in ("1", "2", "3", "4") else None,
            },
            there=path.is_file(),
        )

    @staticmethod
    def _merge(record: MammogramRecord, found: MammogramRecord, row: Row) -> None:
        """Take from another row of an image what is not yet known of it."""
        if found.subject_id != record.subject_id:
            raise DataError(
                f"{row.where}: {record.name} is of patient {found.subject_id}, elsewhere of "
                f"{record.subject_id}; mend one of the rows"
            )
        if found.there and not record.there:
            record.file, record.there = found.file, True
        for name, value in found.attributes.items():
            if record.attributes[name] is None:
                record.attributes[name] = value

    def read(self, record: MammogramRecord) -> RawImage:
        """The range of a digital image is that of its 14 bits."""
        raw = super().read(record)
        if raw.image.dtype.name == "uint16" and raw.image.max() <= HIGHEST:
            raw.full_range = (0, HIGHEST)
        return raw

    def _tables(self) -> list[Table]:
        """Tables of the folder and of those in it, lists of images before outlines, film before digital."""
        found = []
        for folder in (self.root, *(self.root / name for name in visible_names(self.root))):
            for name in visible_names(folder) if folder.is_dir() else []:
                if named := TABLE.fullmatch(name):
                    medium = MEDIA[named[1].lower()]
                    found.append(Table(folder / name, medium, bool(named[2]), named[4].lower() == "outlines"))
        asked = [table for table in found if table.medium in self.options.media]
        if not asked:
            held = f"; it has {', '.join(table.path.name for table in found)}" if found else ""
            raise LayoutError(
                f"{self.title}: {self.root} has no table of {' or '.join(self.options.media)}, such as "
                f"BCDR-F01_dataset/bcdr_f01_outlines.csv{held}. Get the folders from {OBTAIN}, or set "
                "`source.path` to where they are"
            )
        return sorted(asked, key=lambda table: (table.medium == "digital", table.outlines, table.path))


def lesions_of(row: Row) -> list[dict[str, Any]]:
    """The lesion of a row of outlines as a box with its ``points``; none where the row has no outline.

    Raises:
        DataError: an outline that cannot be, or an unknown classification.
    """
    across, down = row["x"].split(), row["y"].split()
    if not across and not down:
        return []
    word = row["classification"].lower()
    if word not in CLASSES and word not in UNKNOWN:
        raise DataError(
            f"{row.where}: classification is {row['classification']!r}, expected Benign or Malign"
        )
    points = points_of(across, down, "the outline", row.where)
    kinds = [kind for flag, kind in KINDS if row[flag] in ("1", "1.0")]
    also = {"also": "calcification"} if kinds[:1] == ["mass"] and "calcification" in kinds else {}
    kind = kinds[0] if kinds else "other"
    return [lesion_box(kind, box_of(points), CLASSES.get(word), points=points, **also)]
