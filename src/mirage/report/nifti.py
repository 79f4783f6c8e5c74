"""NIfTI files of a few synthetic volumes, to look at in any viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirage.data import Dataset
from mirage.preprocess.nifti import describe, volume_affine, write_nifti
from mirage.preprocess.volumes import AFFINE
from mirage.report.chapters.base import evenly
from mirage.report.volumes import has_label, is_volume

FOLDER = "volumes"
A_DATASET = 3
"""Volumes written of each dataset."""


@dataclass(frozen=True)
class Written:
    """One exported volume.

    Attributes:
        dataset: its dataset's name.
        item_id: its id.
        donors: namespaced subjects it was mixed from.
        files: sequence or ``seg`` -> path below the report's folder.
        placed: whether the place of its voxels was known; else only their size is right.
    """

    dataset: str
    item_id: str
    donors: Sequence[str]
    files: Mapping[str, str]
    placed: bool


def export_volumes(data: Mapping[str, Dataset], drawn: Sequence[str], out: Path) -> list[Written]:
    """Write volumes of every drawn dataset below ``out/volumes/<dataset>/``.

    Args:
        data: all datasets of the study.
        drawn: names of those whose voxels a generator has drawn. Others hold voxels of patients, whatever
            their origin says, and are not exported.
        out: folder of the report.
    """
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    return [
        _export(name, data[name], index, out)
        for name in drawn
        if is_volume(data[name].info)
        for index in evenly(len(data[name]), A_DATASET)
    ]


def _export(name: str, dataset: Dataset, index: int, out: Path) -> Written:
    item, affine = dataset.items.iloc[index], volume_affine(dataset, index)
    image = dataset.image(index)
    volumes = {sequence: image[c] for c, sequence in enumerate(dataset.info.channel_names)}
    if has_label(dataset, index):
        volumes["seg"] = dataset.mask(index)
    files = {}
    for part, volume in volumes.items():
        path = f"{FOLDER}/{name}/{item['item_id']}_{part}.nii.gz"
        write_nifti(out / path, volume, affine, describe(dataset, index))
        files[part] = path
    placed = isinstance(item.get(AFFINE), np.ndarray | list)
    return Written(name, str(item["item_id"]), list(item["donor_subject_ids"]), files, placed)
