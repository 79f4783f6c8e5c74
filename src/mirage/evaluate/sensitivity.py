"""Sensitivity matrix: what every metric does when synthetic images are made worse in a known way.

Phantoms of cells (:mod:`mirage.simulate.cells`) stand for real images, and a fresh sample of them for perfect
synthetic ones. The sample is then spoilt step by step on a ladder, and judged by the very evaluators that
judge users' data. A metric that is to see a fault has to move the right way up its ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import TypeAdapter
from scipy import ndimage

from mirage import seeds
from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.config.evaluations import FidelityEvaluation, PrivacyEvaluation
from mirage.data import Dataset, DatasetInfo, ItemRow, ShardWriter, shard_name
from mirage.data.dataset import write_info
from mirage.data.manifest import to_table, write_manifest
from mirage.data.shards import content_hash
from mirage.evaluate import fidelity, privacy
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.features.jobs import extract_features, fit_encoder
from mirage.evaluate.sides import sides
from mirage.files import digest
from mirage.simulate.cells import draw_mask, simulate_cell

SIDE = 64
"""Pixels of a phantom's side."""
COUNT = 64
"""Phantoms of each side of a comparison."""
MODES = 4
"""Parts of equal size, by brightness, that a fresh sample is made of."""
ENCODER = "randconv"
"""Encoder in whose feature space ``EXPECTED`` holds; others are blind to some faults."""
CPU = Runtime(accelerator="cpu")


@dataclass(frozen=True)
class Images:
    """Phantoms with their masks.

    Attributes:
        grey: uint8 (N, H, W).
        masks: uint8 (N, H, W), 1 on the cell.
    """

    grey: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]

    def take(self, places: Sequence[int] | npt.NDArray[np.int64]) -> Images:
        """Some of them."""
        return Images(self.grey[places], self.masks[places])


def phantoms(seed: int, count: int) -> Images:
    """Cells, in the order of their brightness."""
    drawn = [simulate_cell(seed, cell, SIDE, SIDE) for cell in range(count)]
    grey = np.stack([image for image, _ in drawn])
    masks = np.stack([draw_mask(outline, SIDE, SIDE) for _, outline in drawn])
    return Images(grey, masks).take(np.argsort(grey.mean(axis=(1, 2)), kind="stable"))


@dataclass(frozen=True)
class Sets:
    """What ladders work on.

    Attributes:
        training, heldout: real phantoms.
        pool: fresh ones, ``MODES`` times as many as are needed.
    """

    training: Images
    heldout: Images
    pool: Images

    @property
    def fresh(self) -> Images:
        """A perfect synthetic set."""
        return self.pool.take(np.arange(0, len(self.pool.grey), MODES))


def _rng(name: str) -> np.random.Generator:
    return seeds.rng(0, f"sensitivity/{name}")


def _as_grey(values: np.ndarray) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def blurred(sets: Sets, sigma: float) -> Images:
    """Smoothed by a Gaussian of so many pixels."""
    grey = ndimage.gaussian_filter(sets.fresh.grey.astype(np.float32), (0, sigma, sigma))
    return replace(sets.fresh, grey=_as_grey(grey))


def noisy(sets: Sets, spread: float) -> Images:
    """With white noise of so many grey values."""
    noise = _rng("noise").standard_normal(sets.fresh.grey.shape)
    return replace(sets.fresh, grey=_as_grey(sets.fresh.grey + spread * noise))


def collapsed(sets: Sets, dropped: float) -> Images:
    """Without the brightest so many of four parts; as many images as before."""
    kept = len(sets.pool.grey) // MODES * (MODES - int(dropped))
    return sets.pool.take(np.linspace(0, kept - 1, len(sets.fresh.grey)).round().astype(np.int64))


def repeated(sets: Sets, times: float) -> Images:
    """Every image so many times, with noise of one grey value; as many images as before."""
    count = len(sets.fresh.grey)
    chosen = _rng("repeats").permutation(count)[: max(1, round(count / times))]
    images = sets.fresh.take(np.resize(chosen, count))
    return replace(images, grey=_as_grey(images.grey + _rng("jitter").standard_normal(images.grey.shape)))


def swapped(sets: Sets, share: float) -> Images:
    """With a share of the masks laid over other images than their own."""
    masks = sets.fresh.masks.copy()
    chosen = _rng("labels").permutation(len(masks))[: round(share * len(masks))]
    masks[chosen] = masks[np.roll(chosen, 1)]
    return replace(sets.fresh, masks=masks)


def copied(sets: Sets, share: float) -> Images:
    """With a share of the images replaced by training images."""
    chosen = _rng("copies").permutation(len(sets.fresh.grey))[: round(share * len(sets.fresh.grey))]
    grey, masks = sets.fresh.grey.copy(), sets.fresh.masks.copy()
    grey[chosen], masks[chosen] = sets.training.grey[chosen], sets.training.masks[chosen]
    return Images(grey, masks)


LADDERS: Mapping[str, tuple[Callable[[Sets, float], Images], tuple[float, ...]]] = {
    "blur": (blurred, (0.5, 1.0, 2.0)),
    "noise": (noisy, (4.0, 8.0, 16.0)),
    "modes": (collapsed, (1.0, 2.0, 3.0)),
    "repeats": (repeated, (2.0, 6.0, 20.0)),
    "labels": (swapped, (0.3, 0.6, 1.0)),
    "copies": (copied, (0.3, 0.6, 1.0)),
}
"""Ladder -> what spoils the images, and its levels; every one begins with the fresh sample at 0."""
WITH_PRIVACY = ("copies",)
"""Ladders on which novelty and privacy are measured as well: what else is spoilt is new all the same."""
_SPOILT = {"blur": 1, "noise": 1, "modes": 1}
EXPECTED: Mapping[str, Mapping[str, int]] = {
    "frechet_pca": {**_SPOILT, "copies": -1},
    "kid": {**_SPOILT, "copies": -1},
    "sliced_wasserstein": _SPOILT,
    "medigan_fid_ratio_pca": {"blur": -1, "noise": -1, "modes": -1},
    "c2st": {"blur": 1, "noise": 1, "modes": 1},
    "precision": {"blur": -1, "noise": -1},
    "density": {"blur": -1, "noise": -1},
    "recall": {"modes": -1, "repeats": -1},
    "coverage": {"blur": -1, "noise": -1, "modes": -1, "repeats": -1},
    "vendi": {"repeats": -1},
    "ms_ssim": {"blur": 1, "repeats": 1},
    "js_robust": {"modes": 1},
    "wasserstein1_robust": {"modes": 1},
    "mask_contrast": {"labels": 1},
    "nearest": {"copies": -1},
    "nndr": {"copies": -1},
    "exact_copies": {"copies": 1},
    "near_copies": {"copies": 1},
    "authenticity": {"copies": -1},
    "c_t": {"copies": -1},
    "dcr_share": {"copies": 1},
    "fld": {"copies": 1},
    "fld_gap": {"copies": -1},
    "auc_distance": {"copies": 1},
    "auc_calibrated": {"copies": 1},
    "auc_domias": {"copies": 1},
}
"""Metric -> ladder -> 1 where it is to rise, -1 where it is to fall. What is not named is not asked for."""


def moves(values: Sequence[float], direction: int) -> bool:
    """Whether values up a ladder go one way, no step back being more than a fifth of the whole way."""
    steps = np.diff(np.asarray(values)) * direction
    return bool(steps.sum() > 0 and steps.min() >= -0.2 * steps.sum())


def measure_ladders(
    folder: Path, encoders: Sequence[str], ladders: Sequence[str] = tuple(LADDERS)
) -> pd.DataFrame:
    """Judge the fresh sample and all steps of ladders.

    Args:
        folder: gets datasets and features.
        encoders: kinds of encoders, with their defaults.
        ladders: some of ``LADDERS``.

    Returns:
        ladder, level, metric, label (encoder, channel, ``image`` or none) and value of the synthetic side.
    """
    sets = Sets(phantoms(1, COUNT), phantoms(2, COUNT), phantoms(3, COUNT * MODES))
    real = write_images(folder / "real", {"train": sets.training, "test": sets.heldout})
    learnt = sorted(real.select("train").subjects())
    made = {("", 0.0): sets.fresh}
    made |= {(name, level): LADDERS[name][0](sets, level) for name in ladders for level in LADDERS[name][1]}
    files = []
    for kind in encoders:
        entry: Any = TypeAdapter(EncoderConfig).validate_python({"encoder": kind})
        files.append(folder / "features" / kind / "real.parquet")
        fit_encoder(entry, real.folder, folder / "encoders" / kind, files[-1], runtime=CPU)
    tables = []
    for (name, level), images in made.items():
        data = write_images(folder / f"made_{name}_{level:g}", {"train": images}, learnt)
        own = [folder / "features" / kind / f"{data.info.name}.parquet" for kind in encoders]
        for kind, file in zip(encoders, own, strict=True):
            extract_features(folder / "encoders" / kind, data.folder, file, runtime=CPU)
        bank = FeatureBank([*files, *own])
        found = _judge(real, data, bank, encoders)
        if name in ("", *WITH_PRIVACY):
            searched = _search(real, data, bank, encoders, folder / f"privacy_{data.info.name}")
            found = pd.concat([found, searched], ignore_index=True)
        at = [name] if name else list(ladders)
        tables += [found.assign(ladder=ladder, level=level) for ladder in at]
    return pd.concat(tables, ignore_index=True)[["ladder", "level", "metric", "label", "value"]]


def _judge(real: Dataset, made: Dataset, bank: FeatureBank, encoders: Sequence[str]) -> pd.DataFrame:
    config = FidelityEvaluation(
        evaluator="fidelity", real="real", synthetic=made.info.name, encoders=list(encoders), bootstrap=50
    )
    compared = sides(config, {"real": real, made.info.name: made})
    rows = pd.DataFrame(fidelity.measure(config, compared, bank).rows)
    kept = (rows["arm"] == "synthetic") & (rows["kind"] == "absolute") & ~rows["protocol"].eq("halves")
    return rows[kept].drop_duplicates(["metric", "label"], keep="last")


def _search(
    real: Dataset, made: Dataset, bank: FeatureBank, encoders: Sequence[str], out: Path
) -> pd.DataFrame:
    """Novelty and membership; the area under the curve of every attack is a metric of its own."""
    name = made.info.name
    config = PrivacyEvaluation(
        evaluator="privacy",
        real="real",
        synthetic=name,
        encoders=list(encoders),
        compare="image",
        bootstrap=50,
    )
    privacy.run(config, name, {"real": real, name: made}, bank, out)
    rows = pd.read_parquet(out / "metrics.parquet")
    attacks = rows["metric"] == "auc"
    rows["metric"] = rows["metric"].where(~attacks, "auc_" + rows["protocol"])
    return rows[(rows["arm"] == "synthetic") & (rows["kind"] == "absolute") & rows["metric"].isin(EXPECTED)]


def write_images(folder: Path, splits: Mapping[str, Images], lineage: Sequence[str] = ()) -> Dataset:
    """Phantoms as a dataset; synthetic where it has a lineage."""
    rows: list[ItemRow] = []
    height, width = next(iter(splits.values())).grey.shape[1:]
    shape, name = (1, height, width), shard_name(0, 1)
    origin = "synthetic" if lineage else "simulated"
    with ShardWriter(folder / f"{name}.arrow", shape, np.dtype(np.uint8), shape) as writer:
        for split, images in splits.items():
            for number, (grey, mask) in enumerate(zip(images.grey, images.masks, strict=True)):
                item, row = f"{split}_{number:03d}", writer.append(grey[None], mask[None])
                hashed = content_hash(grey[None])
                rows.append(ItemRow(item, item, origin, origin, split, 0, row, content_hash=hashed))
    write_manifest(folder / "manifest.parquet", to_table(rows))
    info = DatasetInfo(
        namespace=folder.name,
        name=folder.name,
        modality="simulated cells",
        image_shape=shape,
        image_dtype="uint8",
        value_range=(0, 255),
        channel_names=["grey"],
        mask_channels=["label"],
        labels={1: "cell"},
        shards=1,
        fingerprint=digest([str(row.content_hash) for row in rows]),
        lineage=list(lineage),
    )
    write_info(folder, info)
    return Dataset(folder)
