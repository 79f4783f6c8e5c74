"""nnU-Net v2 as a judge: a dataset in its layout with our splits, and its predictions scored as ours are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.data import Dataset
from mirage.data.tumour_labels import REGIONS
from mirage.errors import ConfigError
from mirage.evaluate.external.cases import (
    BACKGROUND,
    CLASSES,
    Cases,
)
from mirage.evaluate.external.folders import new_folder
from mirage.files import write_json
from mirage.preprocess.nifti import describe, volume_affine, write_nifti

SUFFIXES = {"train": "Tr", "val": "Tr", "test": "Ts"}
"""Part of the arm -> end of the names of its folders."""


def export_nnunet(
    config: VolumeSegmentationEvaluation,
    arm: str,
    datasets: Mapping[str, Dataset],
    folder: Path,
    seed: int = 0,
) -> None:
    """Write a dataset folder (``Dataset<number>_<name>``) for nnU-Net v2.

    ``imagesTr`` and ``labelsTr`` hold the arm's training volumes and the real validation volumes,
    ``imagesTs`` (and, for us, ``labelsTs``) the test volumes. ``splits_final.json`` is fold 0, whose
    validation is real: copy it into nnU-Net's folder of the preprocessed dataset before training. It is not
    written where there are no validation volumes, and not needed where fold ``all`` is trained. Labels are
    numbered such that nnU-Net learns the regions. How it trains and augments is its own choice.

    Args:
        config: the evaluation; only ``arm`` of its arms is looked at. Its regions must lie inside one
            another.
        arm: which arm.
        datasets: whole datasets by name: the test set and all that the arm trains on.
        folder: the dataset folder; made, whole or absent.
        seed: of our own judge beside it, which has the same part where the arm asks for one.

    Raises:
        LeakError: the training sets know held-out subjects, or what is held out is not real.
        DataError: datasets that do not fit together, or a folder in use.
        ConfigError: an arm that cannot be exported, or regions that are not inside one another.
    """
    cases = Cases.of(config, arm, datasets, seed)
    with new_folder(folder) as temporary:
        _export(cases, config.regions or REGIONS, temporary)


def _export(cases: Cases, regions: Mapping[str, Sequence[str]], folder: Path) -> None:
    info = cases.train.info
    order = nested_labels(regions, [info.labels[value] for value in sorted(info.labels)])
    numbers = np.zeros(256, np.uint8)
    for value, name in info.labels.items():
        numbers[value] = 1 + order.index(name)
    split: dict[str, list[str]] = {"train": [], "val": []}
    for part, name, items, index in cases.named():
        affine, origin = volume_affine(items, index), describe(items, index)
        for channel, volume in enumerate(items.image(index)):
            path = folder / f"images{SUFFIXES[part]}" / f"{name}_{channel:04d}.nii.gz"
            write_nifti(path, volume, affine, origin)
        path = folder / f"labels{SUFFIXES[part]}" / f"{name}.nii.gz"
        write_nifti(path, numbers[items.mask(index)], affine, origin)
        if part in split:
            split[part].append(name)
    if split["val"]:
        write_json(folder / "splits_final.json", [split])
    write_json(folder / CLASSES, {"0": BACKGROUND, **{str(n): name for n, name in enumerate(order, start=1)}})
    made = {BACKGROUND: 0} | {
        name: [1 + order.index(label) for label in sorted(labels, key=order.index)]
        for name, labels in _regions(regions, order).items()
    }
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {str(number): name for number, name in enumerate(info.channel_names)},
            "labels": made,
            "regions_class_order": list(range(1, 1 + len(order))),
            "numTraining": len(split["train"]) + len(split["val"]),
            "file_ending": ".nii.gz",
        },
    )


def nested_labels(regions: Mapping[str, Sequence[str]], labels: Sequence[str]) -> list[str]:
    """Labels in the order in which nnU-Net must number them: those of the outermost shell first.

    A voxel gets the number of the last region that it is in, so each region must add one label to those
    inside it. Labels of no region come last; each is a region of its own.

    Raises:
        ConfigError: a region of unknown labels, or that does not hold one label more than the next.
    """
    ordered = sorted((set(names) for names in regions.values()), key=len, reverse=True)
    shells = []
    for outer, inner in zip(ordered, [*ordered[1:], set()], strict=True):
        shell = outer - inner
        if not inner < outer or len(shell) != 1 or not outer <= set(labels):
            named = "; ".join(f"{name}: {', '.join(of)}" for name, of in regions.items())
            raise ConfigError(
                f"regions {named} of the labels {list(labels)}: nnU-Net learns regions of which each holds "
                "the next one and one label more"
            )
        shells.append(shell.pop())
    return [*shells, *(label for label in labels if label not in shells)]


def _regions(regions: Mapping[str, Sequence[str]], order: Sequence[str]) -> dict[str, Sequence[str]]:
    """Regions from the outermost in, then labels of no region."""
    known = dict(sorted(regions.items(), key=lambda region: -len(set(region[1]))))
    covered = {label for labels in known.values() for label in labels}
    return known | {label: [label] for label in order if label not in covered}
