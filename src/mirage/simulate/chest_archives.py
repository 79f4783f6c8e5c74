"""Write chest phantoms in the native layouts of the NIH's archive and of CheXpert.

Of every image `ground_truth.json` holds the shapes of its nodules and what metal is in it; ``nodule_of``
turns a shape into what the nodule adds to the image before it is rounded to 8 bits, so that subtraction
leaves the healthy chest. Of the NIH's layout, `truth/lungs/` holds the lung fields.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mirage import seeds
from mirage.config.chest import CHEXPERT_FINDINGS, NO_FINDING
from mirage.config.datasets import SimulateOptions
from mirage.simulate.chest import FIELD_MM, Nodule, NoduleShape, Radiograph, draw_nodule, radiograph
from mirage.simulate.devices import Device, add_device
from mirage.simulate.thorax import View

Truth = dict[str, dict[str, Any]]
SIDE = 1024
"""Side of the NIH's images, in whose pixels the boxes are."""
FOLDER_IMAGES = 50
"""Images a folder; the archive has about 10,000."""
MASS = 0.08
"""Diameter, share of the side, from which a nodule is called a mass: about 3 cm."""
DEVICES: dict[int, Device] = {7: "pacemaker", 13: "cables"}
"""Number of a patient modulo 16 -> the metal on all images of that patient."""


@dataclass(frozen=True)
class Visit:
    """One image of a patient.

    Attributes:
        made: the phantom.
        grey: uint8 (size, size), what is written.
        labels: of the nodules, in order.
        device: the metal on the image.
    """

    made: Radiograph
    grey: np.ndarray
    labels: list[str]
    device: Device | None

    @property
    def findings(self) -> list[str]:
        """Labels of the image, sorted."""
        return sorted(set(self.labels)) or [NO_FINDING]

    @property
    def truth(self) -> dict[str, Any]:
        """Entry of ``ground_truth.json``."""
        nodules = [
            {
                **asdict(nodule.shape),
                "box": nodule.box,
                "label": label,
                "mass": float(nodule.contribution.sum()),
            }
            for nodule, label in zip(self.made.nodules, self.labels, strict=True)
        ]
        return {"view": self.made.view, "nodules": nodules, "device": self.device}


def nodule_of(entry: dict[str, Any], size: int) -> Nodule:
    """The nodule of an entry of ``ground_truth.json``, drawn at a size; exactly as it is in the image."""
    keys = ("x", "y", "diameter", "contrast", "hardness")
    lobes = tuple((amplitude, phase) for amplitude, phase in entry["lobes"])
    return draw_nodule(NoduleShape(**{key: entry[key] for key in keys}, lobes=lobes), size)


def simulate_visit(seed: int, patient: int, visit: int, size: int) -> Visit:
    """One image of a patient; every other patient has one to three nodules.

    Args:
        seed: of the dataset.
        patient: index >= 0. Patients do not depend on how many there are.
        visit: index >= 0.
        size: side of the image, pixels.
    """
    rng = seeds.rng(seed, "simulate-chest", patient, visit)
    view: View = "AP" if rng.random() < 0.2 else "PA"
    made = radiograph(rng, size, int(rng.integers(1, 4)) if patient % 2 else 0, view)
    labels = ["Mass" if nodule.shape.diameter >= MASS else "Nodule" for nodule in made.nodules]
    device = DEVICES.get(patient % 16)
    image = made.image
    if device:
        image = add_device(image, seeds.rng(seed, "simulate-device", patient, visit), device)
    return Visit(made, np.rint(image * 255).astype(np.uint8), labels, device)


def write_nih_chest(options: SimulateOptions, folder: Path) -> Truth:
    """NIH ChestX-ray: folders of images, both tables, some RGBA files; a tenth of the nodules has no box."""
    truth: Truth = {}
    rows, boxes = [], []
    for patient, visit in _visits(options.subjects):
        made = simulate_visit(options.seed, patient, visit, options.size)
        name = f"{patient + 1:08d}_{visit:03d}.png"
        place = f"images_{len(truth) // FOLDER_IMAGES + 1:03d}/images"
        _save(made.grey, folder / place / name, "RGBA" if patient % 11 == 5 else "L")
        _save(made.made.lungs.max(axis=0) * np.uint8(255), folder / "truth/lungs" / name, "1")
        truth[name] = made.truth
        age, sex = _person(options.seed, patient)
        spacing = f"{FIELD_MM / 2500:g}"
        findings = "|".join(made.findings)
        rows.append(
            [
                name,
                findings,
                visit,
                patient + 1,
                age + visit,
                sex,
                made.made.view,
                2500,
                2500,
                spacing,
                spacing,
            ]
        )
        if patient % 20 != 9:
            boxes += [[name, *box] for box in _native_boxes(made)]
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    bracketed = "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    _write_table(folder / "Data_Entry_2017_v2020.csv", f"{header},{bracketed}", rows)
    _write_table(folder / "BBox_List_2017.csv", "Image Index,Finding Label,Bbox [x,y,w,h]", boxes)
    return truth


def write_chexpert(options: SimulateOptions, folder: Path) -> Truth:
    """CheXpert: JPEG files wider than high, labels 1, 0, -1 and blank; every fifth patient in `valid.csv`."""
    truth: Truth = {}
    tables: dict[str, list[list[Any]]] = {"train": [], "valid": []}
    for patient, visit in _visits(options.subjects):
        made = simulate_visit(options.seed, patient, visit, options.size)
        part, number = ("valid", 64541) if patient % 5 == 4 else ("train", 1)
        path = f"{part}/patient{patient + number:05d}/study{visit + 1}/view1_frontal.jpg"
        _save(made.grey[: round(0.82 * options.size)], folder / path, "L", quality=95)
        truth[path] = made.truth
        age, sex = _person(options.seed, patient)
        known = ["Male" if sex == "M" else "Female", age + visit, "Frontal", made.made.view]
        labels = _chexpert_labels(made, uncertain=patient % 7 == 3)
        tables[part].append([f"CheXpert-v1.0-small/{path}", *known, *labels])
    header = ",".join(["Path,Sex,Age,Frontal/Lateral,AP/PA", *CHEXPERT_FINDINGS])
    for part, rows in tables.items():
        _write_table(folder / f"{part}.csv", header, rows)
        (folder / part).mkdir(exist_ok=True)
    return truth


def _visits(patients: int) -> Iterable[tuple[int, int]]:
    """Every third patient comes twice."""
    return ((patient, visit) for patient in range(patients) for visit in range(2 if patient % 3 == 2 else 1))


def _person(seed: int, patient: int) -> tuple[int, str]:
    rng = seeds.rng(seed, "simulate-person", patient)
    return int(rng.integers(18, 90)), "FM"[int(rng.integers(2))]


def _native_boxes(made: Visit) -> list[list[Any]]:
    """Label, x, y, width, height in pixels of an image of side 1024."""
    scale = SIDE / len(made.grey)
    boxes = []
    for nodule, label in zip(made.made.nodules, made.labels, strict=True):
        x0, y0, x1, y1 = (scale * edge for edge in nodule.box)
        boxes.append([label, x0, y0, x1 - x0, y1 - y0])
    return boxes


def _chexpert_labels(made: Visit, *, uncertain: bool) -> list[str]:
    """In the order of the columns; a lesion may be uncertain, what is not mentioned stays blank."""
    labels = dict.fromkeys(CHEXPERT_FINDINGS, "")
    if made.labels:
        labels["Lung Lesion"] = "-1.0" if uncertain else "1.0"
    else:
        labels |= {NO_FINDING: "1.0", "Lung Lesion": "0.0"}
    if made.device:
        labels["Support Devices"] = "1.0"
    return list(labels.values())


def _write_table(path: Path, header: str, rows: Sequence[Sequence[Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        handle.write(f"{header}\n")
        csv.writer(handle, lineterminator="\n").writerows(rows)


def _save(values: np.ndarray, path: Path, mode: str, **options: Any) -> None:
    """Write (H, W) uint8 in a mode of Pillow's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).convert(mode).save(path, **options)
