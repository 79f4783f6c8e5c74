"""Write phantom mammograms in the native layouts of CBIS-DDSM, with the traps of the original.

Cut-out and mask of an abnormality lie in one folder; in every other row of the tables each has the other's
path, and one of both paths ends with a line break. A film with masses and calcifications is in both sets, and
every eighth woman in the training set of the one and the test set of the other. Every sixth mask has another
size.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mirage.config.datasets import LAYOUTS, SimulateOptions
from mirage.simulate.breast import View
from mirage.simulate.breast_lesions import DrawnLesion
from mirage.simulate.mammogram import Mammogram, Side
from mirage.simulate.mammogram_files import SECONDARY_CAPTURE, write_dicom
from mirage.simulate.native import Truth
from mirage.simulate.women import SIDES, VIEWS, WIDTH, Woman, truth_of

ROOT = "1.3.6.1.4.1.9590.100.1.2.9"
"""TCIA's root of the unique identifiers of this collection; simulated ones continue it with 9."""
SETS = {"mass": "mass", "calcification": "calc"}
PARTS = {"train": "Training", "test": "Test"}
WORDS = {
    "mass": ("mass shape", "mass margins"),
    "calc": ("calc type", "calc distribution"),
}
DESCRIPTIONS = {"film": "full mammogram images", "crop": "cropped images", "mask": "ROI mask images"}
MARGIN = 0.02
"""Of a cut-out around its lesion, in heights of the film."""
OTHER_SIZE = 0.875
"""Size of a mask that is not the film's, in sizes of the film."""
BITS = 16


@dataclass(frozen=True)
class Place:
    """Where a file is, and what the tables call it.

    Attributes:
        case: folder of the film, or of an abnormality.
        study, series: their identifiers.
        number: of the file in its series, from 0.
    """

    case: str
    study: str
    series: str
    number: int

    @property
    def listed(self) -> str:
        """Path in the tables."""
        return f"{self.case}/{self.study}/{self.series}/{self.number:06d}.dcm"

    def file(self, layout: str) -> str:
        """Path in the archive: as TCIA's retriever names files, or as they were converted."""
        if layout == "jpeg":
            return f"jpeg/{self.series}/{self.number + 1}-{len(self.case):03d}.jpg"
        return f"CBIS-DDSM/{self.case}/{self.study}/{self.series}/1-{self.number + 1}.dcm"


def write_cbis_ddsm(options: SimulateOptions, folder: Path) -> Truth:
    """CBIS-DDSM as TCIA's tree of DICOM files or, with ``layout: jpeg``, as converted for Kaggle."""
    layout = options.layout or LAYOUTS["cbis_ddsm"][0]
    truth: Truth = {}
    tables: dict[tuple[str, str], list[list[Any]]] = {(kind, part): [] for kind in WORDS for part in PARTS}
    info: list[list[str]] = []
    for woman, side, view, made in _films(options):
        for kind in WORDS:
            lesions = [lesion for lesion in made.lesions if SETS[lesion.kind] == kind]
            if not lesions:
                continue
            part = _part(woman.number, kind)
            patient = f"P_{woman.number + 1:05d}"
            case = f"{kind.capitalize()}-{PARTS[part]}_{patient}_{'LEFT' if side == 'L' else 'RIGHT'}_{view}"
            truth[case] = {**truth_of(made), "lesions": _lesions_of_kind(made, kind)}
            uid = f"{ROOT}.{options.seed}.{len(truth)}"
            film = Place(case, f"{uid}.1", f"{uid}.2", 0)
            _save(made.image, film, "film", folder, layout, info)
            for number, lesion in enumerate(lesions, 1):
                turn = len(tables[kind, part])
                marked = f"{case}_{number}"
                places = [Place(marked, f"{uid}.{number}.3", f"{uid}.{number}.4", at) for at in (0, 1)]
                crop, mask = _marks(made, lesion, other_size=turn % 6 == 5)
                _save(crop, places[0], "crop", folder, layout, info)
                _save(mask, places[1], "mask", folder, layout, info)
                if turn % 2:
                    places.reverse()
                row = [patient, woman.density, "LEFT" if side == "L" else "RIGHT", view, number]
                row += ["mass" if kind == "mass" else "calcification", *_words(lesion, kind)]
                row += [4, "MALIGNANT" if lesion.malignant else "BENIGN", 3, film.listed]
                ends = ("", "\n") if turn % 2 else ("\n", "")
                row += [f"{place.listed}{end}" for place, end in zip(places, ends, strict=True)]
                tables[kind, part].append(row)
    _write_tables(tables, folder / "csv" if layout == "jpeg" else folder)
    if layout == "jpeg":
        with open(folder / "csv/dicom_info.csv", "w", encoding="utf-8", newline="") as handle:
            header = ["file_path", "image_path", "PatientID", "SeriesDescription", "SeriesInstanceUID"]
            csv.writer(handle, lineterminator="\n").writerows([header, *info])
    return truth


def _films(options: SimulateOptions) -> Iterator[tuple[Woman, Side, View, Mammogram]]:
    """Films with a lesion; the collection has no others."""
    size = (options.size, round(WIDTH * options.size))
    for number in range(options.subjects):
        woman = Woman(options.seed, number, ("mass", "calcification"), healthy=False)
        for side in SIDES:
            for view in VIEWS if woman.lesions(side) else ():
                yield woman, side, view, woman.mammogram(side, view, size, "film")


def _part(number: int, kind: str) -> str:
    """Every fifth woman is in the test sets, every eighth in that of the calcifications only."""
    return "test" if number % 5 == 4 or (number % 8 == 3 and kind == "calc") else "train"


def _lesions_of_kind(made: Mammogram, kind: str) -> list[dict[str, Any]]:
    """The lesions of one of the sets, as in ``ground_truth.json``."""
    return [lesion for lesion in truth_of(made)["lesions"] if SETS[lesion["kind"]] == kind]


def _marks(made: Mammogram, lesion: DrawnLesion, *, other_size: bool) -> tuple[np.ndarray, np.ndarray]:
    """Cut-out and mask, float32 in 0..1."""
    height, width = made.image.shape
    margin = max(2, round(MARGIN * height))
    x0, y0, x1, y1 = lesion.box
    crop = made.image[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]
    mask = lesion.mask.astype(np.float32)
    if other_size:
        rows, columns = (
            ((np.arange(round(OTHER_SIZE * side)) + 0.5) / OTHER_SIZE).astype(int) for side in (height, width)
        )
        mask = mask[np.ix_(rows, columns)]
    return crop, mask


def _words(lesion: DrawnLesion, kind: str) -> list[str]:
    said = lesion.shape.words
    names = ("shape", "margin") if kind == "mass" else ("morphology", "distribution")
    return [said.get(name, "N/A").upper() for name in names]


def _save(
    image: np.ndarray, place: Place, what: str, folder: Path, layout: str, info: list[list[str]]
) -> None:
    """Write an image in 0..1; masks have 8 bits, films and cut-outs 16."""
    file = place.file(layout)
    info.append(
        [
            f"CBIS-DDSM/dicom/{place.series}/{place.number + 1}-1.dcm",
            f"CBIS-DDSM/{file}",
            place.case,
            DESCRIPTIONS[what],
            place.series,
        ]
    )
    path = folder / file
    if layout == "jpeg":
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(path, quality=95)
        return
    bits = 8 if what == "mask" else BITS
    values = np.rint(image * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    write_dicom(
        path,
        values,
        uid=f"{place.series}.{place.number + 1}",
        bits=bits,
        storage=SECONDARY_CAPTURE,
        PatientID=place.case,
        SeriesDescription=DESCRIPTIONS[what],
        SeriesInstanceUID=place.series,
        StudyInstanceUID=place.study,
    )


def _write_tables(tables: dict[tuple[str, str], list[list[Any]]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (kind, part), rows in tables.items():
        density = "breast_density" if kind == "mass" else "breast density"
        header = ["patient_id", density, "left or right breast", "image view", "abnormality id"]
        header += ["abnormality type", *WORDS[kind], "assessment", "pathology", "subtlety"]
        header += ["image file path", "cropped image file path", "ROI mask file path"]
        with open(folder / f"{kind}_case_description_{part}_set.csv", "w", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows([header, *rows])
