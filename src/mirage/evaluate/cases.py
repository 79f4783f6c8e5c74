"""Images of two classes: which are positive, nested training subsets by patient, and what is held out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mirage.config.evaluations import ClassificationEvaluation
from mirage.data import Dataset, Item, Items
from mirage.data.criteria import known, meets
from mirage.data.folds import in_fold
from mirage.data.leaks import check_training
from mirage.data.pool import Pool
from mirage.errors import DataError, LeakError
from mirage.files import digest

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Images = npt.NDArray[np.generic]


class Cases(Items):
    """Items with a class: those of a dataset, then images that were made here, all of them positives.

    Args:
        data: stored items.
        positive: (N,) their class.
        made: (M, C, H, W) further positives, in the stored type; None: none.
    """

    def __init__(self, data: Items, positive: Flags, made: Images | None = None) -> None:
        self.data = data
        self.info, self.items, self.failures = data.info, data.items, data.failures
        self.made = np.empty((0, *data.info.image_shape), data.info.image_dtype) if made is None else made
        self.positive = np.concatenate([positive, np.ones(len(self.made), np.bool_)])

    def __len__(self) -> int:
        return len(self.data) + len(self.made)

    def image(self, index: int) -> np.ndarray:
        return self.data.image(index) if index < len(self.data) else self.made[index - len(self.data)]

    def masks(self, index: int) -> np.ndarray:
        raise DataError(f"{self.info.name}: images with a class are read without their masks")

    def item(self, index: int) -> Item:
        """The image, and its class as attribute ``positive``."""
        return Item(self.image(index), attributes={"positive": bool(self.positive[index])})

    def subjects(self) -> set[str]:
        return self.data.subjects()

    def learnt_from(self) -> set[str]:
        return self.data.learnt_from()

    def counts(self) -> dict[str, int]:
        """Numbers of positives, of those among them that were made here, and of negatives."""
        return {
            "positives": int(self.positive.sum()),
            "made": len(self.made),
            "negatives": int((~self.positive).sum()),
        }


@dataclass(frozen=True)
class Sides:
    """What an arm's classifiers learn from and are scored on, in one fold or in the dataset's own splits.

    Attributes:
        fold: which fold; None without cross-validation.
        train: real training items of both classes; ``positive`` their class.
        positive: (N,) of ``train``.
        added: synthetic positives, in the order in which they are taken.
        val, test: real held-out items with their classes.
    """

    fold: int | None
    train: Dataset
    positive: Flags
    added: list[Dataset]
    val: Cases
    test: Cases

    @property
    def title(self) -> str:
        """In words, for messages."""
        return _title(self.train, self.fold)


def _title(data: Items, fold: int | None) -> str:
    return data.info.name + ("" if fold is None else f", fold {fold}")


def classes(data: Items, config: ClassificationEvaluation) -> tuple[Flags, Flags]:
    """Which items (N,) are positive, and which are negative; an item may be neither.

    Raises:
        DataError: an attribute that is not there, a class without items, or an item in both.
    """
    positive = meets(data, config.positive)
    if config.negative is None:
        negative = known(data, config.positive) & ~positive
    else:
        negative = meets(data, config.negative)
    both = data.items["item_id"][positive & negative]
    if len(both):
        raise DataError(
            f"{data.info.name}: {len(both)} items are positive ({config.positive.words()}) and negative at "
            f"once, such as {both.iloc[0]}; mend `positive` and `negative`"
        )
    if not negative.any():
        raise DataError(
            f"{data.info.name}: no negative item beside those of {config.positive.words()}; name them by "
            "`negative`"
        )
    return positive, negative


def sides_of(
    config: ClassificationEvaluation, arm: str, datasets: Mapping[str, Dataset], fold: int | None
) -> Sides:
    """The sides of one arm, checked against one another.

    Args:
        config: the evaluation.
        arm: which arm.
        datasets: whole datasets by name.
        fold: which fold; None: the splits of the tested dataset.

    Raises:
        LeakError: something that is trained on has learnt from held-out subjects, or what is held out is not
            real.
        DataError: a class is missing where it is needed, or there are fewer images than are asked for.
    """
    whole = datasets[config.test]
    if config.folds is not None and fold is not None:
        whole = in_fold(whole, config.folds.at(fold))
    positive, negative = classes(whole, config)
    positives = set(whole.items["item_id"][positive])
    whole = whole.of_items(set(whole.items["item_id"][positive | negative]))
    train = whole.select("train")
    added = [
        datasets[part.data].select("train")
        for part in config.arms[arm].added(config.test)
        if part.fold is None or part.fold == fold
    ]
    val, test = (_held_out(whole, split, positives, config, fold) for split in ("val", "test"))
    for held in (val.data, test.data):
        check_training([train, *added], held)
    _check_synthetic(added)
    if not len(train):
        raise DataError(f"{whole.info.name}: no training items; check `split`")
    found = Sides(fold, train, _among(train, positives), added, val, test)
    _check_sizes(config, arm, found)
    return found


def _among(data: Dataset, names: Collection[str]) -> Flags:
    """Which items (N,) have one of some ids."""
    return np.asarray(data.items["item_id"].isin(names), np.bool_)


def _held_out(
    whole: Dataset,
    split: Literal["val", "test"],
    positives: set[str],
    config: ClassificationEvaluation,
    fold: int | None,
) -> Cases:
    data = whole.select(split)
    positive = _among(data, positives)
    if positive.all() or not positive.any():
        more = "give it more subjects" if fold is None else "take fewer `folds`, or a larger `folds.val`"
        raise DataError(
            f"{_title(whole, fold)}: the {split} split has {int(positive.sum())} positives and "
            f"{int((~positive).sum())} negatives; both are needed, {more}"
        )
    if config.held_out_ratio is not None:
        ordered = order(data, config.subset_seed)
        most = max(1, round(config.held_out_ratio * positive.sum()))
        rows = np.concatenate([np.flatnonzero(positive), ordered[~positive[ordered]][:most]])
        data = data.of_items(set(data.items["item_id"].to_numpy()[rows]))
        positive = _among(data, positives)
    return Cases(data, positive)


def _check_synthetic(added: Sequence[Dataset]) -> None:
    for data in added:
        real = data.items["item_id"][data.items["origin"] != "synthetic"]
        if len(real):
            raise LeakError(
                f"{data.info.name}: {len(real)} items are not synthetic, such as {real.iloc[0]}; only images "
                "that a generator made are added to the positives"
            )


def _check_sizes(config: ClassificationEvaluation, arm: str, sides: Sides) -> None:
    """Refuse a largest k that there are too few images for, before anything is trained."""
    k = config.positives[-1]
    there = {"positives": int(sides.positive.sum()), "negatives": int((~sides.positive).sum())}
    wanted = {"positives": k, "negatives": config.negatives_of(k)}
    if sides.added:
        there["synthetic positives"] = sum(map(len, sides.added))
        wanted["synthetic positives"] = config.added_to(k)
    for name, count in wanted.items():
        if there[name] < count:
            raise DataError(
                f"{sides.title}: k = {k} needs {count} training {name} in arm {arm!r}, there are "
                f"{there[name]}; lower `positives`, `ratio` or `augmentation_ratio`, or give it more"
            )


def order(data: Dataset, seed: int) -> Indices:
    """All items (N,) by patient, patients and the items of each in the order of a seeded hash.

    Every prefix is a subset of every longer one, whatever is trained on it.
    """
    subjects = {name: digest([seed, "subset", name]) for name in data.items["subject_id"].unique()}
    items = [digest([seed, "item", name]) for name in data.items["item_id"]]
    patients = data.items["subject_id"].map(subjects)
    return np.lexsort([np.array(items), patients.to_numpy(str)]).astype(np.int64)


def training_set(
    config: ClassificationEvaluation, sides: Sides, k: int
) -> tuple[Dataset, Flags, list[Dataset]]:
    """Real items and their classes of a subset of k positives, and the synthetic positives beside them."""
    ordered = order(sides.train, config.subset_seed)
    chosen = sides.positive[ordered]
    rows = np.concatenate([ordered[chosen][:k], ordered[~chosen][: config.negatives_of(k)]])
    names = sides.train.items["item_id"].to_numpy()[rows]
    real = sides.train.of_items(set(names))
    added, missing = [], config.added_to(k)
    for data in sides.added:
        own = sorted(data.items["item_id"])[:missing]
        added.append(data.of_items(set(own)))
        missing -= len(own)
    return real, _among(real, set(names[:k])), [data for data in added if len(data)]


def pooled(real: Dataset, positive: Flags, added: Sequence[Dataset], made: Images | None = None) -> Cases:
    """One training set of real items, synthetic positives and positives made here."""
    flags = [positive, *(np.ones(len(data), np.bool_) for data in added)]
    return Cases(Pool([real, *added], mask_channels=()), np.concatenate(flags), made)
