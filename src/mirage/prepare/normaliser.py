"""Fit the normaliser of a dataset on its training images, one of them in memory at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mirage import seeds
from mirage.config.datasets import DatasetConfig, PrepareOptions
from mirage.config.normalise import FittedNormalise
from mirage.data.names import NORMALISER
from mirage.data.normaliser import Normaliser, check_training_only, read_normaliser
from mirage.data.splits import split_subjects
from mirage.errors import DataError
from mirage.prepare.images import ends_of, look
from mirage.preprocess.normalise import signature
from mirage.provenance import describe
from mirage.sources.base import Source, SourceItem

logger = logging.getLogger(__name__)


def normaliser_path(config: DatasetConfig, folder: Path) -> Path | None:
    """The normaliser's file of a dataset in ``folder``, beside which other datasets lie; None without one."""
    if config.fitted is None:
        return None
    lender = config.fitted.fitted_on
    return folder / NORMALISER if lender is None else folder.parent / lender / NORMALISER


def normaliser_of(config: DatasetConfig, folder: Path) -> Normaliser | None:
    """The normaliser that the images of a dataset in ``folder`` are mapped with; None without one.

    Raises:
        DataError: it is not there, damaged, or of other options.
    """
    path = normaliser_path(config, folder)
    if path is None:
        return None
    found = read_normaliser(path)
    expected = _said(config.fitted)
    if found.options != expected:
        raise DataError(
            f"{path}: was fitted with {found.options}, the dataset says {expected}; delete it and run again"
        )
    return found


def fit_normaliser(config: DatasetConfig, source: Source, folder: Path) -> Normaliser:
    """Write ``normaliser.json`` of a dataset.

    Splits are fixed here, by the subjects that the source lists, and kept when the dataset is gathered: an
    image that cannot be read later moves no other subject. At most ``images`` training images are read, in
    the order of a hash of their ids, so that archives of any size take the same time and memory.

    Args:
        config: the dataset's entry, whose normaliser is fitted on itself.
        source: an open source, of real or of simulated data.
        folder: the dataset's, whose name is that of the dataset.

    Raises:
        DataError: no training image could be read.
        LeakError: the source puts a subject into two splits.
    """
    options, prepare = config.fitted, config.prepare
    assert options is not None  # the rule is for datasets that have one
    assert isinstance(prepare, PrepareOptions)
    items = list(source.items())
    splits = split_subjects(((item.subject_id, item.split) for item in items), config.split, folder.name)
    training = [item for item in items if splits[item.subject_id] == "train"]
    training.sort(key=lambda item: (seeds.integer(options.seed, f"normalise/{item.item_id}"), item.item_id))
    fitted, standard = fit_on(training[: options.images], splits, prepare, folder.name)
    found = Normaliser(
        dataset=folder.name,
        namespace=source.namespace,
        options=_said(options),
        standard=[round(float(value), 9) for value in standard],
        items=sorted(item.item_id for item in fitted),
        subjects=sorted({item.subject_id for item in fitted}),
        splits=dict(sorted(splits.items())),
        provenance=describe("normaliser", config.model_dump(mode="json", exclude={"runtime", "demo"})),
    )
    found.write(folder / NORMALISER)
    return found


def fit_on(
    items: Iterable[SourceItem], splits: Mapping[str, str], options: PrepareOptions, name: str
) -> tuple[list[SourceItem], np.ndarray]:
    """Mean signature of images (``mirage.preprocess.normalise``), and the images that could be read.

    Args:
        items: training images.
        splits: subject -> split.
        options: how they are cut and scaled, and the method.
        name: the dataset's, for messages.

    Raises:
        LeakError: an image is of a validation or test subject; names it, before any is read.
        DataError: none could be read.
    """
    items = list(items)
    check_training_only({item.subject_id: splits[item.subject_id] for item in items}, name)
    assert options.normalise is not None
    fitted: list[SourceItem] = []
    total: np.ndarray | None = None
    reason: BaseException | None = None
    for item in items:
        try:
            raw = item.load()
            seen = look(raw, options)
            found = signature(seen.values, options.normalise, ends_of(seen, raw, options))
        except (DataError, OSError, ValueError, ArithmeticError, MemoryError) as error:
            logger.warning("%s: left out of the normaliser's images: %s", item.item_id, error)
            reason = error
            continue
        fitted.append(item)
        total = found if total is None else total + found
    if total is None:
        raise DataError(
            f"dataset {name}: none of the {len(items)} training images could be read to fit its normaliser"
            + (f"; the last: {reason}" if reason else "; raise the share of training subjects")
        )
    return fitted, total / len(fitted)


def _said(options: FittedNormalise | None) -> dict[str, object]:
    """Method and options, whoever's normaliser it is."""
    assert options is not None
    return options.model_dump(mode="json", exclude={"fitted_on"})
