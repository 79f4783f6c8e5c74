"""What all exports need: an arm from its frozen options, and its training, validation and test volumes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.config.load import read_yaml
from mirage.data import Dataset, Items
from mirage.data.leaks import check_training
from mirage.data.pool import Pool
from mirage.errors import ConfigError
from mirage.evaluate import judging
from mirage.evaluate.volume_segmentation import (
    check_volumes,
    pool_volumes,
    regions_of,
    shared_channels,
)
from mirage.files import digest

CLASSES = "classes.json"
"""File of an export that says what label each number of its label volumes stands for."""
BACKGROUND = "background"


def read_arm(path: Path, arm: str) -> VolumeSegmentationEvaluation:
    """An evaluation with one arm, from the arm's frozen options.

    Args:
        path: ``results/evaluations/<evaluation>/<arm>/config.yaml``.
        arm: what to call the arm.

    Raises:
        ConfigError: the file is something else, of another evaluator, or its options are wrong.
    """
    options = read_yaml(path).get("options")
    if not isinstance(options, dict) or "arm" not in options:
        raise ConfigError(
            f"{path}: holds no options of an arm; give results/evaluations/<evaluation>/<arm>/config.yaml, "
            "which the workflow writes"
        )
    if options.get("evaluator") != "volume_segmentation":
        raise ConfigError(
            f"{path}: its evaluator is {options.get('evaluator')!r}; only arms of `evaluator: "
            "volume_segmentation` are judged by programs of their own"
        )
    shared = {key: value for key, value in options.items() if key != "arm"}
    try:
        return VolumeSegmentationEvaluation.model_validate(
            {**shared, "arms": {arm: options["arm"]}, "baseline": arm}
        )
    except ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_datasets(manifests: Iterable[Path]) -> dict[str, Dataset]:
    """Whole datasets by name, from their ``manifest.parquet``.

    Raises:
        DataError: a folder is no dataset.
    """
    return {path.absolute().parent.name: Dataset(path.parent) for path in manifests}


@dataclass(frozen=True)
class Cases:
    """Volumes of one arm by their part in it.

    Attributes:
        train: training volumes, as the evaluation's own judges get them.
        val: real validation volumes; may be none.
        test: test split of the test set.
        regions: name -> label values of every label and every region that is scored.
    """

    train: Pool
    val: Pool
    test: Pool
    regions: dict[str, list[int]]

    @classmethod
    def of(
        cls, config: VolumeSegmentationEvaluation, arm: str, datasets: Mapping[str, Dataset], seed: int
    ) -> Cases:
        """The parts of an arm.

        Args:
            config: the evaluation; only ``arm`` of its arms is looked at.
            arm: which arm.
            datasets: whole datasets by name: the test set and all that the arm trains on.
            seed: of our own judge beside it, which has the same part where the arm asks for one.

        Raises:
            LeakError: the training sets know held-out subjects, or what is held out is not real.
            DataError: datasets that do not fit together, images instead of volumes, or fewer volumes than
                the arm asks for.
            ConfigError: the arm pretrains, a dataset is not given, or a region is of unknown labels.
        """
        training = config.arms[arm]
        if training.pretrain:
            raise ConfigError(
                "the arm has `pretrain`: only the evaluation's own judges train in two stages; export an arm "
                "that has all its data under `train`"
            )
        lacking = sorted({config.test, *(part.data for part in training.train)} - datasets.keys())
        if lacking:
            raise ConfigError(
                f"the arm needs the datasets {', '.join(lacking)}; give the manifest.parquet of each"
            )
        held_out = [datasets[config.test].select(split) for split in ("val", "test")]
        check_volumes(datasets[config.test])
        regions = regions_of(config, datasets[config.test].info.labels)
        views = judging.training_views(training, datasets, seed)["train"]
        for part in held_out:
            check_training(views, part)
        shared = shared_channels([*views, *held_out])
        train, val, test = (pool_volumes(parts, shared) for parts in (views, held_out[:1], held_out[1:]))
        judging.check_test_fits(train, test)
        return cls(train, val, test, regions)

    def named(self) -> Iterator[tuple[str, str, Items, int]]:
        """(part, file name, items, index) of every volume; names as ``case_names`` makes them."""
        parts: dict[str, Items] = {"train": self.train, "val": self.val, "test": self.test}
        found = [
            (part, items, index, (str(row.dataset), str(row.item_id)))
            for part, items in parts.items()
            for index, row in enumerate(items.items.itertuples())
        ]
        names = case_names([key for *_, key in found])
        for (part, items, index, _), name in zip(found, names, strict=True):
            yield part, name, items, index


def case_names(keys: Sequence[tuple[str, str]]) -> list[str]:
    """File names without suffix, each once, of items (dataset, item).

    A name is the dataset's and the item's with ``_`` between. One that would not be a file name, or that
    several items would share (upper and lower case are one on some disks), is marked by a checksum.
    """
    plain = [f"{data}_{item}" for data, item in keys]
    safe = [re.sub(r"[^A-Za-z0-9_.-]", "_", name) for name in plain]
    shared = Counter(name.casefold() for name in safe)
    seen: Counter[tuple[str, str]] = Counter()
    names = []
    for key, name, whole in zip(keys, safe, plain, strict=True):
        seen[key] += 1  # a dataset that an arm names twice counts double, so its items are written twice
        kept = name == whole and shared[name.casefold()] == 1
        names.append(name if kept else f"{name}-{digest([*key, seen[key]])[:8]}")
    return names
