"""Write simulated brains in the native layouts of BraTS and of the Medical Segmentation Decathlon."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.datasets import SimulateOptions
from mirage.data.tumour_labels import LABELS, SCHEMES
from mirage.files import write_json
from mirage.simulate.brain import SEQUENCES, SIDE, Brain, simulate_brain
from mirage.simulate.native import Truth

DESCRIPTION = b"simulated"
SCANNER = 1
"""NIfTI's code for coordinates of a scanner."""
MILLIMETRES = 2
"""NIfTI's code for the unit of lengths."""


@dataclass(frozen=True)
class Edition:
    """Names and label codes of some years' BraTS.

    Attributes:
        case: of an examination; takes its number from 1.
        file: of a sequence or the labels; takes ``case`` and ``name``.
        names: of the sequences.
        codes: scheme of the label codes.
    """

    case: str
    file: str
    names: Mapping[str, str]
    codes: str


EDITIONS = {
    2020: Edition(
        "BraTS20_Training_{:03d}", "{case}_{name}.nii.gz", {name: name for name in SEQUENCES}, "brats2018"
    ),
    2023: Edition(
        "BraTS-GLI-{:05d}-000",
        "{case}-{name}.nii.gz",
        {"flair": "t2f", "t1": "t1n", "t1ce": "t1c", "t2": "t2w"},
        "brats2023",
    ),
}


def write_brats(options: SimulateOptions, folder: Path, year: int = 2020) -> Truth:
    """BraTS: a folder an examination, a file a sequence, and the table of grades that 2020 has.

    Args:
        options: number, size and seed.
        folder: an empty directory.
        year: of the names and codes, a key of ``EDITIONS``.
    """
    edition = EDITIONS[year]
    truth: Truth = {}
    for subject in range(options.subjects):
        brain = simulate_brain(options.seed, subject, options.size)
        case = edition.case.format(subject + 1)
        affine = _brats_affine(brain.spacing)
        labels = _encode(brain.labels, edition.codes)
        volumes = {edition.names[name]: image for name, image in zip(SEQUENCES, brain.images, strict=True)}
        for name, volume in {**volumes, "seg": labels}.items():
            _save(volume, affine, folder / case / edition.file.format(case=case, name=name))
        truth[case] = _truth(brain, brain.labels, affine)
    if year == 2020:
        _write_grades(truth, folder / "name_mapping.csv")
    return truth


def write_msd_brain(options: SimulateOptions, folder: Path) -> Truth:
    """Task01: the sequences of an examination in one 4D file, x to the right and y to the front.

    Args:
        options: number, size and seed.
        folder: an empty directory.
    """
    truth: Truth = {}
    for subject in range(options.subjects):
        brain = simulate_brain(options.seed, subject, options.size)
        case = f"BRATS_{subject + 1:03d}"
        affine = np.diag([brain.spacing] * 3 + [1.0])
        images = np.moveaxis(brain.images[:, ::-1, ::-1], 0, -1).astype(np.float32)
        labels = brain.labels[::-1, ::-1]
        _save(images, affine, folder / "imagesTr" / f"{case}.nii.gz")
        _save(_encode(labels, "msd"), affine, folder / "labelsTr" / f"{case}.nii.gz")
        truth[case] = _truth(brain, labels, affine)
    (folder / "imagesTs").mkdir()
    write_json(folder / "dataset.json", _msd_description(list(truth)))
    return truth


def _msd_description(cases: list[str]) -> dict[str, Any]:
    return {
        "name": "BRATS",
        "description": "Simulated gliomas: segmentation of tumour and oedema in brain images",
        "reference": "none: simulated",
        "licence": "none: simulated",
        "release": "2.0 04/05/2018",
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": len(cases),
        "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in cases
        ],
        "test": [],
    }


def _brats_affine(spacing: float) -> np.ndarray:
    """Voxel to millimetres: x to the left, y to the back; the field of view is the same for every spacing."""
    first = (spacing - 1) / 2
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = [-first, SIDE - 1 - first, first]
    return affine


def _encode(labels: np.ndarray, scheme: str) -> np.ndarray:
    """Stored codes to a file's, uint8; where a scheme has two for one label, its first."""
    table = np.zeros(max(LABELS) + 1, np.uint8)
    for code, stored in reversed(SCHEMES[scheme].items()):
        table[stored] = code
    return table[labels]


def _save(volume: np.ndarray, affine: np.ndarray, path: Path) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(volume, affine)
    image.header.set_xyzt_units(MILLIMETRES)
    image.set_qform(affine, SCANNER)
    image.set_sform(affine, SCANNER)
    image.header["descrip"] = DESCRIPTION
    nibabel.save(image, path)


def _truth(brain: Brain, labels: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    """Volumes and centre of the labels as a file holds them, and how they were drawn.

    Args:
        brain: the subject.
        labels: uint8 (X, Y, Z), stored codes, in the file's orientation.
        affine: of the file.
    """
    counts = np.bincount(labels.ravel(), minlength=max(LABELS) + 1)
    centre = affine[:3, :3] @ np.argwhere(labels > 0).mean(axis=0) + affine[:3, 3]
    return {
        "volume_ml": {
            name: round(int(counts[code]) * brain.spacing**3 / 1000, 4) for code, name in LABELS.items()
        },
        "centre_mm": [round(float(value), 2) for value in centre],
        "grade": "LGG" if brain.low_grade else "HGG",
        "foci": brain.foci,
    }


def _write_grades(truth: Truth, path: Path) -> None:
    years = ("BraTS_2017", "BraTS_2018", "TCGA_TCIA", "BraTS_2019", "BraTS_2020")
    header = ["Grade", *(f"{year}_subject_ID" for year in years)]
    with open(path, "w", encoding="utf-8", newline="") as handle:
        rows = [[values["grade"], "NA", "NA", "NA", "NA", case] for case, values in truth.items()]
        csv.writer(handle, lineterminator="\n").writerows([header, *rows])
