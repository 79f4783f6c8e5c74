"""Label volumes that another program has predicted, scored as those of our own judges are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.data import Dataset, Items
from mirage.errors import DataError
from mirage.evaluate import judging
from mirage.evaluate.external.cases import BACKGROUND, Cases
from mirage.evaluate.table import COLUMNS, write_table
from mirage.evaluate.volume_segmentation import mean_dice, score_and_store, warn_of_order
from mirage.files import read_json, write_json


def score_predictions(
    folder: Path,
    classes: Path,
    config: VolumeSegmentationEvaluation,
    evaluation: str,
    arm: str,
    seed: int,
    datasets: Mapping[str, Dataset],
    out: Path,
) -> None:
    """Score the predictions of the test split that lie in a folder, and write them as an arm's results.

    Args:
        folder: holds ``<dataset>_<item>.nii.gz`` (nnU-Net) or ``pred_<dataset>_<item>_Segm.nii.gz``
            (DeepMedic's program) of every test item, on the exported grid.
        classes: ``classes.json`` of the export that the program was trained on.
        config: the evaluation with the arm that was exported; its regions, lesions and penalty are used.
        evaluation: its name, for the rows.
        arm: which arm.
        seed: for the rows, and that of the export.
        datasets: whole datasets by name: the test set and all that the arm trains on.
        out: gets ``metrics.parquet``, ``details/predictions.arrow`` and ``details/arm.json``, as from
            :func:`mirage.evaluate.volume_segmentation.run_arm`.

    Raises:
        LeakError: the arm knows held-out subjects, or what is held out is not real.
        DataError: a prediction is missing, unreadable, of another shape, or holds numbers that are no class.
        ConfigError: an arm that cannot be exported, or regions of labels that the data do not have.
    """
    cases = Cases.of(config, arm, datasets, seed)
    names = [name for part, name, *_ in cases.named() if part == "test"]
    found = _predictions(folder, names, cases.test, _numbers(classes, cases.test))
    path = out / "details/predictions.arrow"
    rows = list(score_and_store(cases.test, found, cases.regions, config, path))
    dice, labels = mean_dice(rows), cases.test.info.labels
    named = {"evaluation": evaluation, "arm": arm, "seed": seed}
    write_json(
        out / "details/arm.json",
        {
            **named,
            "judge": str(folder),
            "regions": {name: [labels[value] for value in of] for name, of in cases.regions.items()},
            "mean_dice": dice,
            "implausible_order": warn_of_order(dice, evaluation, arm, seed),
            "spacing_unknown": sum(cases.test.spacing_mm(n) is None for n in range(len(cases.test))),
            "train": [judging.describe_view(view) for view in cases.train.parts],
            "test": judging.describe_view(cases.test),
        },
    )
    write_table(out / "metrics.parquet", pd.DataFrame(rows).assign(fold=None, **named), COLUMNS)


def _numbers(classes: Path, items: Items) -> np.ndarray:
    """Table (256,), int64: a program's class to the stored label, -1 for a number that is no class."""
    values = {name: value for value, name in items.info.labels.items()} | {BACKGROUND: 0}
    table = np.full(256, -1)
    for number, name in read_json(classes).items():
        if name not in values:
            raise DataError(f"{classes}: {name!r} is no label of {items.info.name}, {sorted(values)}")
        table[int(number)] = values[name]
    return table


def _predictions(
    folder: Path, names: Iterable[str], items: Items, numbers: np.ndarray
) -> Iterator[np.ndarray]:
    """Stored labels (D, H, W), uint8, of every item; its exported name says which file holds them."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    for item, name in zip(items.items["item_id"], names, strict=True):
        paths = [folder / f"{name}.nii.gz", folder / f"pred_{name}_Segm.nii.gz"]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise DataError(f"{folder}: no prediction of {item}; expected {paths[0].name} or {paths[1].name}")
        try:
            volume = np.asarray(nibabel.load(path).dataobj).transpose()
        except (OSError, EOFError, ImageFileError) as error:
            raise DataError(f"{path}: not a readable volume ({error})") from error
        if volume.shape != items.info.image_shape[1:]:
            raise DataError(f"{path}: {volume.shape}, the exported volumes are {items.info.image_shape[1:]}")
        known = np.isin(volume, np.flatnonzero(numbers >= 0))
        if not known.all():
            raise DataError(
                f"{path}: holds {np.unique(volume[~known])[:8]}, which are no class of the export"
            )
        labels = numbers[volume.astype(np.uint8)]
        yield labels.astype(np.uint8)
