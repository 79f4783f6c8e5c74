"""Folds of a dataset: the same items, split anew so that every subject is tested on in one fold."""

from __future__ import annotations

import numpy as np

from mirage import seeds
from mirage.config.folds import Fold, Folds
from mirage.data.dataset import Dataset
from mirage.data.manifest import IMAGE_HASH
from mirage.data.splits import link_subjects
from mirage.errors import DataError


def in_fold(data: Dataset, fold: Fold) -> Dataset:
    """A whole dataset with the splits of one fold in place of its own.

    A function of the subjects, the seed and the number of folds alone, so that a generator and the
    evaluation that judges its images agree. Subjects that share an exact duplicate stay together.

    Args:
        data: all of it, not a split or another part.
        fold: which, of how many.

    Raises:
        DataError: too few subjects for every fold to have training, validation and test subjects.
    """
    items = data.items
    image = IMAGE_HASH if IMAGE_HASH in items.columns else "content_hash"
    groups = link_subjects(items["subject_id"], items[image])
    try:
        splits = split_groups(sorted(set(groups.values())), fold, fold.index)
    except ValueError as error:
        raise DataError(f"{data.info.name}: {error}") from error
    view = data.of_items(set(items["item_id"]))
    view.items = view.items.assign(split=[splits[groups[subject]] for subject in view.items["subject_id"]])
    return view


def split_groups(groups: list[str], folds: Folds, index: int) -> dict[str, str]:
    """Split of every group of subjects in one fold.

    Groups are ordered by a seeded hash and dealt to the folds in blocks that differ by one at most; a fold's
    validation groups are the first of the others in another order.

    Raises:
        ValueError: fewer groups than leave one to each part.
    """
    ordered = sorted(groups, key=lambda group: seeds.integer(folds.seed, f"fold/{group}"))
    blocks = np.array_split(np.arange(len(ordered)), folds.count)
    test = {ordered[place] for place in blocks[index]}
    rest = [group for group in groups if group not in test]
    if not test or len(rest) < 2:
        raise ValueError(
            f"{len(groups)} subjects cannot be cut into {folds.count} folds, with validation sets"
        )
    rest.sort(key=lambda group: seeds.integer(folds.seed, f"fold-val/{group}"))
    count = min(max(1, round(folds.val * len(rest))), len(rest) - 1)
    return {
        **dict.fromkeys(test, "test"),
        **dict.fromkeys(rest[:count], "val"),
        **dict.fromkeys(rest[count:], "train"),
    }
