"""CBIS-DDSM: 3,103 digitised films of 1,566 women, curated from DDSM (Lee et al., Sci Data 4:170177, 2017).

Four tables, `mass_case_description_train_set.csv` and so on, have a row an abnormality, with the paths of
its film, of a cut-out and of a mask of the film's size. Paths hold line breaks, and folder and file names
below the first folder (`Mass-Training_P_00001_LEFT_CC`) depend on how the archive was fetched: unique
identifiers and `000000.dcm`, or dates and `1-1.dcm`, and in Kaggle's JPEG conversion `jpeg/<series
identifier>/1-211.jpg`. Cut-out and mask mostly lie in one folder, and in many rows each is called by the
other's path. So a file is told by what it holds: the mask is the one that has the film's shape and two
values. Masks of some films have another size than these; those of the same proportions, within 1 %, are
scaled.

A film with masses and calcifications is in two sets, as two images with abnormalities of one kind each, and
some women are in the training set of one and the test set of the other: they are in the test set here.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.mammography import Lesion
from mirage.config.mammography_sets import CbisDdsmSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage
from mirage.sources.layout import namespace_of, require_directories, visible_names
from mirage.sources.mammograms import MammogramRecord, Mammograms, side_of, view_of
from mirage.sources.outlines import label_mask
from mirage.sources.rows import Row, read_rows

logger = logging.getLogger(__name__)
OBTAIN = "https://www.cancerimagingarchive.net/collection/cbis-ddsm (CC BY 3.0)"
TABLE = re.compile(r"(mass|calc)_case_description_(train|test)_set\w*\.csv", re.IGNORECASE)
CASE = re.compile(r"(?:Mass|Calc)-(?:Training|Test)_P_\d+_(?:LEFT|RIGHT)_[A-Z]+(?:_\d+)?", re.IGNORECASE)
"""Folder of a film, or with a number at the end of one of its abnormalities."""
DEPTH = 3
"""Folders below the archive's among which those of the cases may lie, as in `manifest-1/CBIS-DDSM`."""
JPEG = "jpeg"
SETS = {"train": "Training", "test": "Test"}
KINDS: dict[str, Lesion] = {"mass": "mass", "calc": "calcification"}
COLUMNS = {
    "patient": ["patient_id", "patient id"],
    "density?": ["breast_density", "breast density"],
    "side": ["left or right breast", "left_or_right_breast", "side"],
    "view": ["image view", "image_view", "view"],
    "number": ["abnormality id", "abnormality_id", "abn_num"],
    "shape?": ["mass shape", "mass_shape"],
    "margin?": ["mass margins", "mass_margins"],
    "calc_type?": ["calc type", "calc_type"],
    "distribution?": ["calc distribution", "calc_distribution"],
    "birads?": ["assessment"],
    "pathology?": ["pathology"],
    "subtlety?": ["subtlety"],
    "film": ["image file path", "image_file_path", "od_img_path"],
    "crop?": ["cropped image file path", "cropped_image_file_path", "od_crop_path"],
    "mask": ["ROI mask file path", "ROI_mask_file_path", "mask_path"],
}
WORDS = ("shape", "margin", "calc_type", "distribution", "birads", "subtlety")
"""Columns that describe an abnormality."""
PATHOLOGIES = {
    "MALIGNANT": "malignant",
    "BENIGN": "benign",
    "BENIGN_WITHOUT_CALLBACK": "benign",
}
PROPORTIONS = 0.01
"""How far, as a share, height to width of a mask may be from its film's."""
SMALLEST, LARGEST = 0.5, 2.0
"""Size of a mask in sizes of its film, between which it is no cut-out."""
GREY = 0.02
"""Share of a mask's pixels that may be neither dark nor bright: edges in a JPEG."""


@dataclass(frozen=True)
class Abnormality:
    """A row of a table.

    Attributes:
        case: set, patient, side and view, as the film's folder is called.
        number: of the abnormality in the film, from 1.
        kind: mass or calcification.
        split: train or test.
        patient, side, view: whose film it is, L or R, CC or MLO.
        malignancy: benign or malignant; None when unknown.
        density: of the breast, 1 to 4; None when unknown.
        words: what describes it.
        film: path of the film, as the table has it, cleaned.
        marks: those of mask and cut-out.
        where: file and line.
    """

    case: str
    number: str
    kind: Lesion
    split: str
    patient: str
    side: str
    view: str
    malignancy: str | None
    density: int | None
    words: dict[str, str]
    film: str
    marks: tuple[str, ...]
    where: str


class CbisDdsm(Mammograms[MammogramRecord]):
    """Reader of TCIA's collection, and of Kaggle's conversion of it."""

    title = "CBIS-DDSM"
    options: CbisDdsmSource

    def __init__(self, options: CbisDdsmSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self.labels = options.label_table
        self.mask_channels = ["label"] if options.masks else []
        self._namespace = namespace_of("cbis_ddsm", folder)

    @property
    def namespace(self) -> str:
        """``cbis_ddsm``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for at least one of the tables."""
        require_directories(self.root, [], self.title, OBTAIN)
        self._tables()
        self.check_exclusions()

    def records(self) -> Iterator[MammogramRecord]:
        """Films in the order of the tables. Their boxes have a place once the masks are read."""
        films: dict[str, list[Abnormality]] = {}
        for table in self._tables():
            for one in read_table(table):
                films.setdefault(one.case, []).append(one)
        tested = {one.patient for found in films.values() for one in found if one.split == "test"}
        moved = {one.patient for found in films.values() for one in found if one.split == "train"} & tested
        if moved:
            logger.warning(
                "%s: %d women are in a training and in a test set, as %s is; all their films are in test",
                self.title,
                len(moved),
                min(moved),
            )
        for case, found in films.items():
            yield self._record(case, found, "test" if found[0].patient in tested else "train")

    def _record(self, case: str, found: Sequence[Abnormality], split: str) -> MammogramRecord:
        first = found[0]
        film = self._files.film(first.film)
        numbers = [one.number for one in found]
        twice = next((one for one in found if numbers.count(one.number) > 1), None)
        return MammogramRecord(
            name=case,
            file=film.relative_to(self.root).as_posix() if film else first.film,
            item_id=case,
            subject_id=first.patient,
            view=first.view,
            laterality=first.side,
            boxes=[
                {
                    "label": one.kind,
                    "malignancy": one.malignancy,
                    **one.words,
                    "number": one.number,
                    "marks": one.marks,
                }
                for one in found
            ],
            abnormal=True,
            # Lesions of the other kind are in another image of the film, and of a kind not asked for no mask
            # is read.
            unplaced=True,
            split=split,
            attributes={"density": first.density},
            there=film is not None,
            problem=f"abnormality {twice.number} is listed twice in the table ({twice.where})"
            if twice
            else None,
        )

    def read(self, record: MammogramRecord) -> RawImage:
        """The film, with the boxes of its masks and, with ``masks``, the masks of what is kept."""
        from mirage.sources.images import read_image

        path = self.root / record.file
        raw = read_image(path, "grey", display=True)
        shape = (raw.image.shape[1], raw.image.shape[2])
        lesions = []
        for box in record.boxes:
            if box["label"] not in self.options.box_labels:
                continue
            files = {other: None for mark in box["marks"] for other in self._files.beside(mark)}
            files.pop(path, None)
            mask = read_film_mask(list(files), shape, f"{path}: abnormality {box['number']}")
            words = {key: value for key, value in box.items() if key not in ("marks", "number")}
            raw.boxes.append({**words, **_around(mask)})
            lesions.append((box["label"], mask))
        if self.options.masks:
            raw.masks["label"] = label_mask(lesions, shape)
        return raw

    @cached_property
    def _files(self) -> CaseFiles:
        return CaseFiles(self.root)

    def _tables(self) -> list[Path]:
        """The tables, in the archive's folder or in one of its folders, such as `csv`."""
        found: dict[str, Path] = {}
        for folder in (self.root, *(self.root / name for name in visible_names(self.root))):
            if folder.is_dir() and not CASE.fullmatch(folder.name) and folder.name != JPEG:
                for name in visible_names(folder):
                    if TABLE.fullmatch(name):
                        found.setdefault(name.lower(), folder / name)
        if not found:
            raise LayoutError(
                f"{self.title}: {self.root} has no table such as mass_case_description_train_set.csv, nor "
                f"has a folder in it. Get the four tables from {OBTAIN}, or set `source.path` to where "
                "they are"
            )
        return [found[name] for name in sorted(found, key=lambda name: ("test" in name, "mass" not in name))]


class CaseFiles:
    """Where the files of a copy of the archive are, by the paths that the tables give them.

    Args:
        root: the archive's folder.
    """

    def __init__(self, root: Path) -> None:
        self._cases: dict[str, list[Path]] = {}
        self._jpeg: Path | None = None
        self._search(root, DEPTH)

    def _search(self, folder: Path, depth: int) -> None:
        for name in visible_names(folder):
            path = folder / name
            if CASE.fullmatch(name):
                self._cases.setdefault(name.lower(), []).append(path)
            elif depth and path.is_dir():
                if name.lower() == JPEG:
                    self._jpeg = path
                else:
                    self._search(path, depth - 1)

    def film(self, listed: str) -> Path | None:
        """The file of a film, the largest where there are several; None when it is not there."""
        found = self.beside(listed)
        if len(found) < 2:
            return found[0] if found else None
        return max(found, key=lambda path: os.path.getsize(path))

    def beside(self, listed: str) -> list[Path]:
        """Files that can be the one of a table's path: all of its folder, of its series, or of its case.

        Args:
            listed: first folder, study, series and file, as ``clean_path`` gives it.
        """
        parts = listed.split("/")
        first, series = parts[0], parts[-2] if len(parts) > 1 else ""
        for case in self._cases.get(first.lower(), []):
            exact = case.parent / listed
            found = _files_below(exact.parent) if exact.is_file() else _files_below(case)
            if found:
                return found
        return _files_below(self._jpeg / series) if self._jpeg and series else []


def _files_below(folder: Path) -> list[Path]:
    """DICOM and JPEG files of a folder and those in it, by name; none where it is not there."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in (".dcm", ".jpg", ".jpeg", ".png") and not path.name.startswith(".")
    )


def clean_path(text: str) -> str:
    """A table's path, with slashes, and without the line breaks and quotes that are in some."""
    return re.sub(r"[\s\"']+", "", text).replace("\\", "/").strip("/")


def read_table(path: Path) -> Iterator[Abnormality]:
    """Abnormalities of one table, whose name tells their kind and set.

    Raises:
        DataError: a column is missing, a row names no patient, side, view or film, an unknown pathology.
    """
    named = TABLE.fullmatch(path.name)
    if not named:
        raise DataError(f"{path}: no table of CBIS-DDSM; expected mass_case_description_train_set.csv ...")
    kind, split = named[1].lower(), named[2].lower()
    for row in read_rows(path, COLUMNS):
        yield _abnormality(row, kind, split)


def _abnormality(row: Row, kind: str, split: str) -> Abnormality:
    side, view = side_of(row["side"]), view_of(row["view"])[0]
    film = clean_path(row["film"])
    pathology = row["pathology"].upper().replace(" ", "_")
    if not (row["patient"] and side and view and film):
        raise DataError(
            f"{row.where}: names no patient, breast, view or film: {row['patient']!r}, {row['side']!r}, "
            f"{row['view']!r}, {row['film']!r}; mend the row"
        )
    if pathology and pathology not in PATHOLOGIES:
        raise DataError(
            f"{row.where}: pathology is {row['pathology']!r}, expected one of {', '.join(PATHOLOGIES)}"
        )
    words = {word: row[word] for word in WORDS if row[word] not in ("", "N/A", "NA")}
    sides = {"L": "LEFT", "R": "RIGHT"}
    return Abnormality(
        case=f"{kind.capitalize()}-{SETS[split]}_{row['patient']}_{sides[side]}_{view}",
        number=row["number"],
        kind=KINDS[kind],
        split=split,
        patient=row["patient"],
        side=side,
        view=view,
        malignancy=PATHOLOGIES.get(pathology),
        density=int(row["density"]) if row["density"] in ("1", "2", "3", "4") else None,
        words=words,
        film=film,
        marks=tuple(clean_path(row[column]) for column in ("mask", "crop") if row[column]),
        where=row.where,
    )


def read_film_mask(files: Sequence[Path], shape: tuple[int, int], what: str) -> np.ndarray:
    """The mask among some files, in the film's pixels, bool (H, W).

    Args:
        files: mask and cut-out, in any order; others may be among them.
        shape: H, W of the film.
        what: it marks, for messages.

    Raises:
        DataError: none of the files has the film's proportions and two values, or it marks nothing.
    """
    from mirage.sources.images import read_image

    sizes = {path: size_of(path) for path in files}
    for path in sorted((path for path in files if _alike(sizes[path], shape)), key=str):
        values = read_image(path, "grey").image[0]
        highest = values.max()
        between = (values > 0.1 * highest) & (values < 0.9 * highest)
        if between.mean() > GREY:
            continue
        mask = values > highest / 2
        if not mask.any():
            raise DataError(f"{what}: its mask {path} marks nothing; get it again from {OBTAIN}")
        if mask.shape == shape:
            return mask
        rows, columns = (
            (np.arange(there) + 0.5) * here / there for here, there in zip(mask.shape, shape, strict=True)
        )
        return np.asarray(mask[np.ix_(rows.astype(int), columns.astype(int))])
    found = ", ".join(f"{path.name} of {height} x {width}" for path, (height, width) in sizes.items())
    raise DataError(
        f"{what}: no file is its mask, which has two values and about the film's {shape[0]} x {shape[1]} "
        f"(height x width) pixels; found {found or 'no file'}. Get its folder from {OBTAIN}, or exclude "
        "the film"
    )


def _alike(size: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Whether an image can be the mask of a film."""
    down, across = size[0] / shape[0], size[1] / shape[1]
    return SMALLEST <= down <= LARGEST and abs(down - across) <= PROPORTIONS * across


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of a DICOM file or other image, without reading its pixels; raises DataError."""
    if path.suffix.lower() == ".dcm":
        from mirage.sources.dicom import read_header

        header = read_header(path)
        return int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _around(mask: np.ndarray) -> dict[str, Any]:
    """Edges of the box around what a mask (H, W) marks."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return {
        "x0": float(columns[0]),
        "y0": float(rows[0]),
        "x1": float(columns[-1] + 1),
        "y1": float(rows[-1] + 1),
    }
