"""Write phantom mammograms in the native layouts of mini-MIAS, INbreast and BCDR, with their odd rows."""

from __future__ import annotations

import csv
import math
import plistlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xlwt
from PIL import Image

from mirage import seeds
from mirage.config.datasets import SimulateOptions
from mirage.config.mammography import Lesion
from mirage.simulate.breast_lesions import DrawnLesion
from mirage.simulate.mammogram import Mammogram
from mirage.simulate.mammogram_files import write_dicom
from mirage.simulate.native import Truth
from mirage.simulate.women import SIDES, VIEWS, WIDTH, Woman, outline_of, truth_of

FILM_SIDE = 1024
"""Side of the films of mini-MIAS, in whose pixels the circles are."""
FILM_WIDTH = 0.62
"""Width of what a film shows, in heights; the rest of the square is black."""
MIAS_CLASSES = {
    "calcification": "CALC",
    "distortion": "ARCH",
    "asymmetry": "ASYM",
}
MIAS_MARGINS = {"circumscribed": "CIRC", "spiculated": "SPIC"}
"""Margin of a mass -> its class; others are MISC."""
UNLOCATED = 16
"""Every so many women the circle of a lesion is missing."""
DIGITAL = 2**14 - 1
HEADER = (
    "Patient ID",
    "Patient age",
    "Laterality",
    "View",
    "Acquisition date",
    "File Name",
    "ACR",
    "Bi-Rads",
    "Mass ",
    "Micros",
    "Distortion",
    "Asymmetry",
    "Findings Notes (in Portuguese)",
)
"""Of INbreast's workbook; the first eight are those of its CSV."""
NAMES = {"calcification": "Cluster", "distortion": "Distortion", "asymmetry": "Assymetry", "mass": "Mass"}
BIRADS = {False: ("2", "3"), True: ("4a", "4c", "5", "6")}
"""Whether a lesion is malignant -> categories that women have in turn."""
BCDR_KINDS: tuple[Lesion, ...] = ("mass", "calcification", "distortion", "mass", "calcification", "other")
"""BCDR has no flag for an asymmetry."""
FLAGS: dict[str, tuple[Lesion, ...]] = {
    "nodule": ("mass",),
    "calcification": (),
    "microcalcification": ("calcification",),
    "axillary_adenopathy": ("other",),
    "architectural_distortion": ("distortion",),
    "stroma_distortion": (),
}


def write_mini_mias(options: SimulateOptions, folder: Path) -> Truth:
    """mini-MIAS: two oblique films a woman, and `Info.txt` with circles from the lower left corner."""
    truth: Truth = {}
    rows: list[str] = []
    for number in range(options.subjects):
        woman = Woman(options.seed, number)
        for film, side in enumerate(SIDES, 2 * number + 1):
            size = (options.size, round(FILM_WIDTH * options.size))
            made = woman.mammogram(side, "MLO", size, "film")
            left = (options.size - size[1]) // 2
            grey = np.zeros((options.size, options.size), np.uint8)
            grey[:, left : left + size[1]] = np.rint(made.image * 255)
            name = f"mdb{film:03d}"
            _save(grey, folder / "all-mias" / f"{name}.pgm")
            found = [_circle(lesion, left, options.size) for lesion in made.lesions]
            if number % UNLOCATED == 1:
                found = [{**one, "circle": one["circle"] if at else None} for at, one in enumerate(found)]
            truth[name] = truth_of(made, found)
            rows += _mias_rows(name, "FGGD"[woman.density - 1], made, found)
    text = "INFORMATION:\n\n1st column: MIAS database reference number.\n\n"
    (folder / "all-mias").mkdir(parents=True, exist_ok=True)
    (folder / "all-mias/Info.txt").write_text(text + "\n".join(rows) + "\n", encoding="latin-1")
    return truth


def _circle(lesion: DrawnLesion, left: int, size: int) -> dict[str, Any]:
    """A lesion's box in the film, and the circle around it in pixels of 1024 from the lower left corner."""
    scale = FILM_SIDE / size
    x0, y0, x1, y1 = (scale * edge for edge in lesion.box)
    x, y = (x0 + x1) / 2 + left * scale, (y0 + y1) / 2
    radius = math.ceil(max(x1 - x0, y1 - y0) / 2) + 1
    across = [lesion.box[0] + left, lesion.box[2] + left]
    return {
        "box": [across[0], lesion.box[1], across[1], lesion.box[3]],
        "circle": [int(x), FILM_SIDE - 1 - int(y), radius],
    }


def _mias_rows(name: str, tissue: str, made: Mammogram, found: Sequence[dict[str, Any]]) -> list[str]:
    if not made.lesions:
        return [f"{name} {tissue} NORM "]
    rows = []
    for lesion, also in zip(made.lesions, found, strict=True):
        kind = MIAS_CLASSES.get(lesion.kind) or MIAS_MARGINS.get(lesion.shape.margin or "", "MISC")
        place = " ".join(map(str, also["circle"])) if also["circle"] else "*NOTE 3*"
        rows.append(f"{name} {tissue} {kind} {'M' if lesion.malignant else 'B'} {place}")
    return rows


def write_inbreast(options: SimulateOptions, folder: Path) -> Truth:
    """INbreast: DICOM, outlines as OsiriX exports them, and the spreadsheet in both forms."""
    truth: Truth = {}
    rows: list[list[Any]] = []
    size = (options.size, round(WIDTH * options.size))
    (folder / "AllXML").mkdir(parents=True)
    for number in range(options.subjects):
        woman = Woman(options.seed, number)
        patient = f"{seeds.integer(options.seed, f'inbreast/{number}'):016x}"[-16:]
        for at, (side, view) in enumerate((side, view) for view in VIEWS for side in SIDES):
            made = woman.mammogram(side, view, size, "siemens")
            image = str(20586908 + 104 * number + 26 * at)
            short = "ML" if view == "MLO" else view
            write_dicom(
                folder / "AllDICOMs" / f"{image}_{patient}_MG_{side}_{short}_ANON.dcm",
                np.rint(made.image * 4095).astype(np.uint16),
                uid=f"1.2.826.0.1.3680043.10.9.{options.seed}.{image}",
                bits=12,
                spacing_mm=made.spacing_mm,
                ImageLaterality=side,
                ViewPosition=view,
            )
            if made.lesions:
                (folder / "AllXML" / f"{image}.xml").write_bytes(_property_list(made))
            truth[image] = truth_of(made)
            rows.append(_inbreast_row(image, woman, made, number))
    _write_inbreast_tables(folder, rows)
    return truth


def _inbreast_row(image: str, woman: Woman, made: Mammogram, turn: int) -> list[Any]:
    worst = [BIRADS[lesion.malignant] for lesion in made.lesions]
    categories = max(worst, default=("1",))
    kinds = {lesion.kind for lesion in made.lesions}
    marks = ["X" if kind in kinds else "" for kind in ("mass", "calcification", "distortion", "asymmetry")]
    known = ["removed", "removed", made.side, made.view, "201001", image, woman.density]
    return [*known, categories[turn % len(categories)], *marks, ""]


def _write_inbreast_tables(folder: Path, rows: Sequence[Sequence[Any]]) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Folha1")
    sums = [""] * 5 + ["total", "", len(rows)]
    for at, line in enumerate([HEADER, *rows, [""], sums]):
        for column, value in enumerate(line):
            number = str(value).isdecimal()
            sheet.write(at, column, int(value) if number else value)
    book.save(str(folder / "INbreast.xls"))
    with open(folder / "INbreast.csv", "w", encoding="utf-8", newline="") as handle:
        lines = [line[:8] for line in [HEADER, *rows]]
        csv.writer(handle, delimiter=";", lineterminator="\n").writerows(lines)


def _property_list(made: Mammogram) -> bytes:
    """Outlines of an image's lesions; a cluster with some of its calcifications, a mass with its spicules."""
    rois: list[dict[str, Any]] = []
    for lesion in made.lesions:
        points = outline_of(lesion) + 0.5
        rois.append(_roi(NAMES[lesion.kind], points, len(rois)))
        centre = points.mean(axis=0)
        if lesion.kind == "calcification":
            inner = centre + 0.4 * (points[:: max(1, len(points) // 3)] - centre)
            rois += [_roi("Calcification", point[None], len(rois) + at) for at, point in enumerate(inner)]
        elif lesion.shape.margin == "spiculated":
            rois.append(_roi("Espiculated Region", centre + 0.9 * (points - centre), len(rois)))
    height, width = made.image.shape
    rois.append(_roi("Point 1", np.array([[width / 2, height / 2]]), len(rois)))
    image = {"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois}
    return plistlib.dumps({"Images": [image]}, sort_keys=False)


def _roi(name: str, points: np.ndarray, number: int) -> dict[str, Any]:
    return {
        "Area": 0.0,
        "Center": "(0.000000, 0.000000, 0.000000)",
        "IndexInImage": number,
        "Name": name,
        "NumberOfPoints": len(points),
        "Point_mm": ["(0.000000, 0.000000, 0.000000)"] * len(points),
        "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in points],
        "Type": 15 if len(points) > 1 else 19,
    }


def write_bcdr(options: SimulateOptions, folder: Path) -> Truth:
    """BCDR: film and digital images of women in turn; those without a lesion are in the normal folders."""
    truth: Truth = {}
    images: dict[str, list[list[Any]]] = {}
    outlines: dict[str, list[list[Any]]] = {}
    segmentation = 0
    size = (options.size, round(WIDTH * options.size))
    for number in range(options.subjects):
        woman = Woman(options.seed, number, BCDR_KINDS)
        film = number % 2 == 0
        healthy = not any(woman.lesions(side) for side in SIDES)
        part = f"{'f' if film else 'd'}{'n' if healthy else ''}01"
        base = folder / f"BCDR-{part.upper()}_dataset"
        patient, study = number + 1, 2 * number + 1
        for at, (view, side) in enumerate(((view, side) for view in VIEWS for side in "RL"), 1):
            made = woman.mammogram("R" if side == "R" else "L", view, size, "film" if film else "siemens")
            word = f"{side}{'O' if view == 'MLO' else view}"
            file = f"patient_{patient}/study_{study}/img_{patient}_{study}_1_{word}.tif"
            values = np.rint(made.image * (255 if film else DIGITAL))
            _save(values.astype(np.uint8 if film else np.uint16), base / file)
            truth[f"{part.upper()}/{Path(file).stem}"] = truth_of(made)
            density = woman.density if number % 5 else "NaN"
            images.setdefault(part, []).append([patient, study, 1, file, word, at - 1, woman.age, density])
            for lesion_id, lesion in enumerate(made.lesions, 10 * number + 1):
                segmentation += 1
                row = [patient, study, 1, lesion_id, segmentation, at, file]
                row += _bcdr_outline(lesion, woman.age, density)
                outlines.setdefault(part, []).append(row)
    known = ["patient_id", "study_id", "series"]
    flags = [f"mammography_{flag}" for flag in FLAGS]
    names = {
        "img": [*known, "image_filename", "image_type_name", "image_type_id", "age", "density"],
        "outlines": [
            *known,
            *("lesion_id", "segmentation_id", "image_view", "image_filename", "lw_x_points", "lw_y_points"),
            *("mammography_type", *flags, "age", "density", "classification"),
        ],
    }
    for kind, tables in (("img", images), ("outlines", outlines)):
        for part, rows in tables.items():
            path = folder / f"BCDR-{part.upper()}_dataset" / f"bcdr_{part}_{kind}.csv"
            # A blank after each comma, as in the original.
            lines = [",".join(names[kind]), *(", ".join(map(str, row)) for row in rows)]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return truth


def _bcdr_outline(lesion: DrawnLesion, age: int, density: Any) -> list[Any]:
    points = outline_of(lesion)
    flags = [int(lesion.kind in kinds) for kinds in FLAGS.values()]
    across, down = (" ".join(map(str, points[:, axis])) for axis in (0, 1))
    return [across, down, 1, *flags, age, density, "Malign" if lesion.malignant else "Benign"]


def _save(values: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
