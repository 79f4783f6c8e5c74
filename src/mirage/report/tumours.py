"""Where tumours are and how large, measured on the label masks of stored volumes, one volume at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mirage.data import Dataset
from mirage.data.tumour_labels import REGIONS
from mirage.preprocess.brain import bounding_box
from mirage.preprocess.geometry import axis_weights
from mirage.report.chapters.base import evenly
from mirage.report.volumes import PLANES, is_volume

MOST = 400
"""Volumes of a dataset that are measured at most, at even steps through it."""
BINS = 32
"""Side of the maps of places."""
AXES = {"d": "inferior to superior", "h": "anterior to posterior", "w": "right to left"}
MM3_A_ML = 1000.0
ACROSS = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Plane -> axis of (D, H, W) that its line of sight runs along."""


@dataclass(frozen=True)
class Measured:
    """Tumours of one dataset.

    Attributes:
        name: the dataset's.
        table: a row a volume: ``dataset, item_id, subject_id, tumour_of`` (the first donor; empty without),
            ``volume_<label or region>`` in ``unit``, and ``d, h, w``, the tumour's centre of mass as a share
            of the brain's box, 0 inferior, anterior and right; NaN without a tumour.
        unit: ``ml``, or ``voxels`` where the spacing is unknown.
        maps: plane -> (BINS, BINS), mean share of tumour along the line of sight, superior or anterior up.
        brain: plane -> the same of the brain's silhouette.
        box: sides of the brain's box, mean over volumes, D, H, W, in mm or voxels.
        boxed_by: ``the brain``, or ``the volume`` where there is no mask of it.
        total: labelled volumes that the dataset has.
    """

    name: str
    table: pd.DataFrame
    unit: str
    maps: Mapping[str, np.ndarray]
    brain: Mapping[str, np.ndarray]
    box: tuple[float, float, float]
    boxed_by: str
    total: int


@dataclass(frozen=True)
class Group:
    """A dataset that was not made, and those that recipes made out of it; either may be missing."""

    real: Measured | None
    made: Sequence[Measured]

    @property
    def name(self) -> str:
        """The dataset's name, or that of the first made one."""
        return self.all[0].name

    @property
    def all(self) -> list[Measured]:
        """The real dataset first."""
        return [*([self.real] if self.real else []), *self.made]


def parts_of(labels: Mapping[int, str]) -> dict[str, list[int]]:
    """Regions made of the labels that the data have, then the labels: name -> values."""
    values = {name: value for value, name in labels.items()}
    regions = {
        region: [values[name] for name in names]
        for region, names in REGIONS.items()
        if set(names) <= values.keys()
    }
    return regions | {name: [value] for name, value in values.items()}


def source_of(dataset: Dataset, data: Mapping[str, Dataset]) -> str | None:
    """Name of the dataset whose subjects a made dataset was mixed from; None when it is not among ``data``.

    Its recipe names it; else it is the first that has the namespace of the donors and the same extent.
    """
    named = (dataset.info.provenance.get("config") or {}).get("data")
    if named in data:
        return str(named)
    donors = [donor for donors in dataset.items["donor_subject_ids"] for donor in donors]
    for name, other in data.items():
        same = other.info.image_shape[1:] == dataset.info.image_shape[1:] and other is not dataset
        if same and any(donor in other.subjects() for donor in donors):
            return name
    return None


def measure_all(data: Mapping[str, Dataset], made: Sequence[str]) -> list[Group]:
    """Tumours of every dataset of labelled volumes, those that were made beside what they were made of.

    Patches of CT around a nodule are left out: all have it in their middle.

    Args:
        data: all datasets of the study.
        made: names of those that recipes made; of the others the training split is measured.
    """
    measured: dict[str, Measured] = {}
    for name, dataset in data.items():
        patches = "nodule" in dataset.items
        if is_volume(dataset.info) and "label" in dataset.info.mask_channels and not patches:
            found = measure(name, (dataset if name in made else dataset.select("train")).labelled())
            if found is not None:
                measured[name] = found
    of = {name: source_of(data[name], data) for name in measured if name in made}
    groups = [
        Group(found, [measured[other] for other, source in of.items() if source == name])
        for name, found in measured.items()
        if name not in made
    ]
    alone = [
        Group(None, [measured[name]])
        for name, source in of.items()
        if source is None or source not in measured
    ]
    return groups + alone


def measure(name: str, dataset: Dataset) -> Measured | None:
    """Tumours of the items of a view, all labelled volumes; None without any."""
    if not len(dataset):
        return None
    boxed = "brain" in dataset.info.mask_channels
    picks = evenly(len(dataset), MOST)
    spacings = {index: dataset.spacing_mm(index) for index in picks}
    known = all(spacing is not None for spacing in spacings.values())
    rows, sides = [], []
    sums = {kind: {plane: np.zeros((BINS, BINS)) for plane in PLANES} for kind in ("tumour", "brain")}
    for index in picks:
        label = dataset.mask(index)
        brain = dataset.mask(index, "brain") > 0 if boxed else np.ones(label.shape, bool)
        spacing = np.array(spacings[index] if known else (1.0, 1.0, 1.0))
        box = bounding_box(brain) if brain.any() else tuple(slice(0, side) for side in label.shape)
        rows.append(_row(name, dataset, index, label, box, float(np.prod(spacing)), known))
        sides.append(spacing * [span.stop - span.start for span in box])
        for plane in PLANES:
            sums["tumour"][plane] += _binned((label[box] > 0).mean(axis=ACROSS[plane]), plane)
            sums["brain"][plane] += _binned(brain[box].max(axis=ACROSS[plane]), plane)
    maps = {kind: {plane: total / len(picks) for plane, total in own.items()} for kind, own in sums.items()}
    depth, height, width = (float(side) for side in np.mean(sides, axis=0))
    return Measured(
        name=name,
        table=pd.DataFrame(rows),
        unit="ml" if known else "voxels",
        maps=maps["tumour"],
        brain=maps["brain"],
        box=(depth, height, width),
        boxed_by="the brain" if boxed else "the volume",
        total=len(dataset),
    )


def _row(
    name: str,
    dataset: Dataset,
    index: int,
    label: np.ndarray,
    box: tuple[slice, ...],
    voxel: float,
    known: bool,
) -> dict[str, object]:
    item = dataset.items.iloc[index]
    counts = np.bincount(label.ravel(), minlength=256)
    unit = voxel / MM3_A_ML if known else 1.0
    volumes = {
        f"volume_{part}": float(counts[values].sum() * unit)
        for part, values in parts_of(dataset.info.labels).items()
    }
    donors = item["donor_subject_ids"]
    return {
        "dataset": name,
        "item_id": item["item_id"],
        "subject_id": item["subject_id"],
        "tumour_of": donors[0] if len(donors) else "",
        **volumes,
        **_centre(label[box] > 0),
    }


def _centre(tumour: np.ndarray) -> dict[str, float]:
    """Centre of mass as a share of each side of a box, 0 at its first edge and 1 at its last."""
    total = np.count_nonzero(tumour)
    places = {}
    for axis, name in enumerate(AXES):
        counts = tumour.sum(axis=tuple(other for other in range(3) if other != axis))
        at = (np.arange(len(counts)) + 0.5) / len(counts)
        places[name] = float(counts @ at / total) if total else float("nan")
    return places


def _binned(seen: np.ndarray, plane: str) -> np.ndarray:
    """What is seen along the line of sight of a plane as (BINS, BINS), superior or anterior up."""
    upright = (seen if plane == "axial" else seen[::-1]).astype(np.float64)
    rows, columns = (axis_weights(side, 0.0, side, BINS)[0] for side in upright.shape)
    turned: np.ndarray = columns @ (rows @ upright).T
    return turned.T
