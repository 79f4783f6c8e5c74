"""Detectors trained on lists of images and boxes, without a study: what `mirage benchmark` does.

Lists become dataset folders by the preparation that studies have, and each pair of a list and a detector is
judged as an arm is. What was prepared or trained before is taken up again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.config.base import Runtime
from mirage.config.datasets import DatasetConfig, Intensity
from mirage.config.detectors import DETECTOR_JUDGES
from mirage.config.evaluations import DetectionEvaluation
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.data.leaks import check_pixels
from mirage.data.pool import Pool
from mirage.detectors import DETECTORS
from mirage.errors import ConfigError, DataError, LayoutError, LeakError
from mirage.evaluate.detection import Job, judge_arm, rule_of, save_detector_weights
from mirage.evaluate.holdout import ATTRIBUTE as DONORS
from mirage.evaluate.marks import TESTS, read_tables
from mirage.evaluate.statistics.resampling import bootstrap_interval, bootstrap_weights
from mirage.evaluate.tracked import tracked_arm
from mirage.files import digest, existing_folder, file_digest, read_json, write_json
from mirage.metrics import detection as scores
from mirage.prepare.shards import prepare_shard
from mirage.sources.box_list import BoxList
from mirage.versions import STAGES

RESAMPLES = 1000
SHOWN = ("cpm", "froc_mean", "wafroc", "wafroc1", "roc_auc")
"""Figures of the printed table that have intervals; of wAFROC and wAFROC1 just one can be given."""
PLAIN = ("hit_fraction", "ap20", "map", "node21")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        sources: CSVs of training images and boxes, see :class:`mirage.sources.box_list.BoxList`.
        test: CSV of real images that all detectors are scored on; None: only each list's own hold-out.
        benchmarks: names of detectors.
        out: folder of all that is written.
        size: side of the images as the detectors see them.
        intensity: how grey values are mapped, for every list alike.
        epochs: passes over the training images of a list.
        keys: of the evaluation: ``batch_size``, ``hit``, ``judge``, ``augment`` ...
        split: share of a list's subjects that is trained on, the others are its own test.
        seed: training seed.
        pretrained: ``weights.safetensors`` to begin with.
        runtime: device, threads and workers.
        minutes: wall time of one training, or None.
    """

    sources: Sequence[Path]
    test: Path | None
    benchmarks: Sequence[str]
    out: Path
    size: int
    intensity: Intensity
    epochs: int
    keys: dict[str, Any]
    split: float
    seed: int
    pretrained: Path | None
    runtime: Runtime
    minutes: float | None = None


def run(request: Request) -> Iterator[pd.DataFrame]:
    """Train and score every pair of a list and a detector, and yield its rows of the table.

    Raises:
        ConfigError: an unknown detector, two lists of one name, or pretrained weights for several pairs.
        LayoutError, DataError: a list that cannot be read.
        LeakError: an image or subject of the test list is also trained on.
        TimeBudgetReached: a training was stopped; run again to go on.
    """
    _check(request)
    test = None if request.test is None else _dataset(request.test, "test", request)
    done = []
    for source in request.sources:
        data = _dataset(source, "train", request)
        if test is not None:
            check_pixels(data, test)
            _check_donors(data, test)
        for benchmark in request.benchmarks:
            done.append(_judge(source.stem, benchmark, data, test, request))
            yield done[-1]
    table = pd.concat(done, ignore_index=True)
    table.to_csv(request.out / "table.csv", index=False)


def _check(request: Request) -> None:
    known = sorted(DETECTORS.keys() & DETECTOR_JUDGES.keys())
    unknown = sorted(set(request.benchmarks) - set(known))
    if unknown:
        raise ConfigError(f"--benchmarks: {', '.join(unknown)} is no detector; known are {', '.join(known)}")
    names = [path.stem for path in request.sources]
    if len(set(names)) < len(names):
        raise ConfigError(f"--sources: two lists are called {names}; results go by their names, rename one")
    if request.pretrained is not None and len(names) * len(request.benchmarks) > 1:
        raise ConfigError(
            "--pretrained-model-path: with several lists or detectors nobody could tell whose weights these "
            "are; name one of each"
        )


def _dataset(path: Path, split: str, request: Request) -> Dataset:
    """The list as a dataset folder; one that is there already is taken if it is of this list and size."""
    source = BoxList(path, split)
    source.check_layout()
    folder = request.out / "data" / f"{path.stem}-{split}"
    wanted = {
        "list": file_digest(path),
        "size": request.size,
        "intensity": request.intensity.model_dump(mode="json"),
        "version": [STAGES["prepare"], STAGES["evaluate_detection"]],
        "files": digest([_stamp(path, str(item.attributes["file"])) for item in source.items()]),
    }
    told = folder / "request.json"
    if not told.is_file() or read_json(told) != wanted:
        told.unlink(missing_ok=True)
        config = DatasetConfig.model_validate(
            {
                "source": {"reader": "folder", "path": str(path.parent), "channels": "grey"},
                "prepare": {"size": request.size, "fov": "none", "intensity": request.intensity},
            }
        )
        prepare_shard(config, source, 0, folder)
        gather(folder, name=folder.name, shards=1, split=None, max_failed_fraction=0.05)
        write_json(told, wanted)
    data = Dataset(folder)
    for row in data.failures.itertuples():
        logger.warning("%s: %s is left out: %s", path, row.file, row.reason)
    return data


def _stamp(path: Path, file: str) -> list[Any]:
    """Name, size and time of an image file, whether or not it is there."""
    try:
        found = (path.parent / file).stat()
    except OSError:
        return [file, None, None]
    return [file, found.st_size, found.st_mtime_ns]


def _check_donors(data: Dataset, test: Dataset) -> None:
    """Refuse lesions that were pasted from test subjects: scores would be of what was learnt."""
    if DONORS not in data.items.columns:
        return
    named = {donor for donors in data.items[DONORS].dropna() for donor in donors}
    shared = sorted(named & test.subjects())
    if shared:
        raise LeakError(
            f"{data.info.name}: column `{DONORS}` names {len(shared)} subject(s) of {test.info.name}, the "
            f"first {shared[0]}; leave their lesions out of the one, or their images out of the other"
        )


def _judge(name: str, benchmark: str, data: Dataset, test: Dataset | None, request: Request) -> pd.DataFrame:
    """Train one detector on one list, score it, and return its rows of the table."""
    training = len(data.items)
    batch = request.keys.get("batch_size", DetectionEvaluation.model_fields["batch_size"].default)
    steps = max(2, math.ceil(request.epochs * training * request.split / batch))
    judge = {"arch": benchmark, **request.keys.get("judge", {}), **_known_options(request.pretrained)}
    arms = {"list": {"train": [data.info.name], "augment": True}}
    keys = {
        "evaluator": "detection",
        "test": test.info.name if test is not None else data.info.name,
        "arms": arms,
        "baseline": "list",
        "own_share": round(1 - request.split, 6),
        "steps": steps,
        **request.keys,
        "judge": judge,
    }
    try:
        config = DetectionEvaluation.model_validate(keys)
        config.judge.check_size(request.size)
    except ValueError as error:
        raise ConfigError(f"--options or --size: {error}") from error
    fingerprints = {"train": data.info.fingerprint} | (
        {"test": test.info.fingerprint} if test is not None else {}
    )
    begun = None if request.pretrained is None else file_digest(_weights(request.pretrained))
    options = config.model_dump(mode="json", exclude={"runtime", "demo", "hit", "shown_from"})
    out = request.out / name / benchmark
    job = Job(
        "benchmark",
        "list",
        request.seed,
        {"options": {**options, "begun_with": begun}, "data": fingerprints},
        out,
        out / "state",
        request.runtime,
        request.minutes,
    )
    read = {one.info.name: one for one in (data, test) if one is not None}
    with tracked_arm(config, f"benchmark/{name}", "list", request.seed, read, out):
        detector = judge_arm(
            config,
            job,
            {"pretrain": [], "train": [data]},
            None if test is None else Pool([test], mask_channels=()),
            None if request.pretrained is None else _weights(request.pretrained),
        )
    save_detector_weights(detector, out / "weights.safetensors")
    write_json(out / "detector.json", detector.options.model_dump(mode="json"))
    return table_rows(out).assign(source=name, detector=benchmark, hit_rule=rule_of(config.hit).words())


def _weights(path: Path) -> Path:
    return path / "weights.safetensors" if path.is_dir() else path


def _known_options(pretrained: Path | None) -> dict[str, Any]:
    """Options of the detector whose weights are begun with.

    Raises:
        LayoutError: no ``detector.json`` beside them.
    """
    if pretrained is None:
        return {}
    told = existing_folder(_weights(pretrained).parent) / "detector.json"
    if not told.is_file():
        raise LayoutError(
            f"{told}: missing; --pretrained-model-path names the folder of a detector that this command has "
            "trained, or the `weights.safetensors` in it"
        )
    return dict(read_json(told))


def table_rows(out: Path) -> pd.DataFrame:
    """Figures of a judged pair: column, metric, value, and ends of a 95 % bootstrap over subjects."""
    stored = pd.read_parquet(out / "metrics.parquet")
    whole = stored[stored["item_id"].isna()].set_index(["label", "metric"])["value"]
    tables, rows = read_tables(out / "details"), []
    for column in TESTS:
        own = tables.of_test(column)
        if not len(own.truths):
            continue
        data, patients = own.free_response(), own.patients()
        draws = bootstrap_weights(seeds.rng(0, f"bootstrap/{column}"), patients, RESAMPLES)
        for metric in (*SHOWN, *PLAIN):
            if (column, metric) not in whole.index:
                continue
            value = float(whole[column, metric])
            low, high = np.nan, np.nan
            if metric in SHOWN:
                drawn = scores.FIGURES[metric](data, draws)
                low, high = bootstrap_interval(value, drawn, int(patients.max()) + 1)
            rows.append({"column": column, "metric": metric, "value": value, "low": low, "high": high})
    if not rows:
        raise DataError(
            f"{out}: no test image has a box, nothing can be scored; lower --split, or name --test"
        )
    facts = read_json(out / "details/arm.json")
    return pd.DataFrame(rows).assign(
        train_images=sum(part["images"] for part in facts["train"]), steps=facts["steps"]["train"]
    )
