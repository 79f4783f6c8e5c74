"""Fidelity: references at equal numbers, intervals by patients, and tables that say what they hold."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feature_tables import bank_of

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset, ItemRow, ShardWriter
from mirage.data.dataset import write_info
from mirage.data.manifest import to_table, write_manifest
from mirage.errors import DataError, LeakError
from mirage.evaluate import fidelity, run_set, statistics
from mirage.evaluate.features.bank import FeatureBank

Change = Callable[[np.ndarray], np.ndarray]


def made_from(
    source: Dataset,
    folder: Path,
    items: list[int],
    image: Change = lambda image: image,
    mask: Change = lambda mask: mask,
    keep_masks: bool = True,
) -> Dataset:
    """A synthetic dataset of changed items of another one."""
    rows = []
    channels = source.info.mask_channels if keep_masks else []
    shape = (len(channels), *source.info.image_shape[1:]) if channels else None
    with ShardWriter(
        folder / "shard-0000-of-0001.arrow", source.info.image_shape, source.info.image_dtype, shape
    ) as w:
        for number, index in enumerate(items):
            stack = np.ascontiguousarray(mask(source.masks(index))) if channels else None
            row = w.append(np.ascontiguousarray(image(source.image(index))), stack)
            name = f"made_{number:03d}"
            origin = "synthetic" if channels else None
            rows.append(ItemRow(name, name, "synthetic", origin, "train", 0, row))
    write_manifest(folder / "manifest.parquet", to_table(rows))
    write_info(
        folder,
        source.info.model_copy(
            update={
                "name": folder.name,
                "namespace": folder.name,
                "shards": 1,
                "mask_channels": channels,
            }
        ),
    )
    return Dataset(folder)


def run(
    real: Dataset, synthetic: Dataset, out: Path, *, encoders: tuple[str, ...] = (), **keys: Any
) -> dict[str, pd.DataFrame]:
    """Run the evaluation with few resamples and read its tables."""
    config = FidelityEvaluation.model_validate(
        {
            "evaluator": "fidelity",
            "real": "toy",
            "synthetic": "made",
            "bootstrap": 60,
            "encoders": list(encoders),
            **keys,
        }
    )
    made = learnt(synthetic, real)
    bank = bank_of(out / "bank", encoders, ("toy", real), ("made", made))
    run_set(config, "likeness", {"toy": real, "made": made}, bank, out)
    details = {
        name: pd.read_parquet(out / "details" / f"{name}.parquet")
        for name in ("histogram", "embeddings", "single_features")
    }
    return {"metrics": pd.read_parquet(out / "metrics.parquet"), **details}


def facts(out: Path) -> dict[str, Any]:
    """What the evaluation wrote of itself."""
    found: dict[str, Any] = json.loads((out / "details" / "fidelity.json").read_text())
    return found


def learnt(synthetic: Dataset, real: Dataset, split: str = "train") -> Dataset:
    """The synthetic dataset with subjects of a real split as what its generator has learnt from."""
    subjects = sorted(real.select(split).subjects())
    write_info(synthetic.folder, synthetic.info.model_copy(update={"lineage": subjects}))
    return Dataset(synthetic.folder)


def value(metrics: pd.DataFrame, metric: str, arm: str = "synthetic", **columns: str) -> float:
    """The one value of a metric."""
    keep = (metrics["metric"] == metric) & (metrics["arm"] == arm)
    for name, wanted in {"kind": "absolute", **columns}.items():
        keep &= metrics[name] == wanted
    assert keep.sum() == 1, f"{metric} {arm} {columns}: {keep.sum()} rows"
    return float(metrics.loc[keep, "value"].iloc[0])


SPLITS = {"train": 16, "val": 4, "test": 6}


def test_fresh_real_images_have_ratio_one(toy_dataset: Any, tmp_path: Path) -> None:
    """New images of the same kind are as far from real ones as real ones are."""
    real = toy_dataset(splits=SPLITS)
    fresh = toy_dataset("fresh", splits={"train": 26}, seed=9)
    metrics = run(real, fresh, tmp_path / "out")["metrics"]
    luma = metrics[(metrics["label"] == "luma") & (metrics["kind"] == "ratio")]
    assert len(luma) > 0
    halves = luma[luma["protocol"] == "halves"].set_index("metric")
    assert 0.6 < halves.loc["js_robust", "value"] < 1.7
    assert (halves["low"] < 1).all()
    assert (halves["high"] > 1).all()
    held = luma[luma["protocol"] == "heldout"].set_index("metric")
    assert held.loc["js_robust", "low"] < 1 < held.loc["js_robust", "high"]
    assert 0.7 < value(metrics, "mask_foreground", kind="ratio") < 1.4


def test_darker_images_are_far(toy_dataset: Any, tmp_path: Path) -> None:
    """Half as bright: every distance is many times its reference, Wasserstein is the shift of the mean."""
    real = toy_dataset(splits=SPLITS)
    dark = made_from(real, tmp_path / "dark", list(range(16)), lambda image: image // 2)
    tables = run(real, dark, tmp_path / "out")
    metrics = tables["metrics"]
    for metric in ("js_robust", "kl_published_synthetic_real", "wasserstein1_robust"):
        assert value(metrics, metric, kind="ratio", protocol="halves", label="luma") > 5
        assert value(metrics, metric, kind="ratio", protocol="heldout", label="luma") > 5
    train = real.select("train")
    means = [
        np.mean([image(i)[0][train.mask(i, "fov") > 0].mean() for i in range(16)])
        for image in (train.image, dark.image)
    ]
    assert value(metrics, "wasserstein1_robust", protocol="all", label="red") == pytest.approx(
        means[0] - means[1], rel=0.02
    )
    assert value(metrics, "js_robust", protocol="all", label="luma") <= np.log(2)


def test_pixel_halves_are_far_closer_than_image_halves(toy_dataset: Any, tmp_path: Path) -> None:
    """A split of pixels is no reference for images: it diverges far less than halves of images do."""
    real = toy_dataset(splits={"train": 8, "val": 2}, size=128)
    fresh = toy_dataset("fresh", splits={"train": 4}, seed=9, size=128)
    metrics = run(real, fresh, tmp_path / "out", compare="image")["metrics"]
    luma = {"label": "luma", "arm": "reference"}
    pixels = value(metrics, "kl_published_synthetic_real", protocol="pixels", **luma)
    images = value(metrics, "kl_published_synthetic_real", protocol="halves", **luma)
    assert 0 < pixels < images / 2


def test_sixteen_bit_grey_images_without_masks(toy_dataset: Any, tmp_path: Path) -> None:
    """Other depths and channels, no masks and nothing held out."""
    real = toy_dataset(splits={"train": 12}, channels=1, dtype=np.uint16, fov=False)
    made = made_from(
        toy_dataset("fresh", splits={"train": 6}, channels=1, dtype=np.uint16, fov=False, seed=4),
        tmp_path / "made",
        list(range(6)),
        keep_masks=False,
    )
    tables = run(real, made, tmp_path / "out")
    assert facts(tmp_path / "out")["compared"] == ["image"]
    metrics = tables["metrics"]
    assert set(metrics["label"].dropna()) == {"grey"}
    assert value(metrics, "ms_ssim", arm="reference") > 0
    assert "heldout" not in set(metrics["protocol"])
    assert 0 < value(metrics, "js_robust", protocol="all", label="grey") < np.log(2)


def test_masks_only(toy_dataset: Any, tmp_path: Path) -> None:
    """A set of masks is compared by its masks; the histogram is empty and images are not judged."""
    real = toy_dataset(splits=SPLITS)
    grey = toy_dataset("masks", splits={"train": 5}, channels=1, fov=False, seed=2)
    tables = run(real, grey, tmp_path / "out")
    assert len(tables["histogram"]) == 0
    assert tables["metrics"]["metric"].str.startswith("mask_").all()
    with pytest.raises(DataError, match="compare"):
        run(real, grey, tmp_path / "images", compare="image")


def test_a_set_from_other_data_is_refused(toy_dataset: Any, tmp_path: Path) -> None:
    """Copies can only be sought among what the generator has seen; the message says which to name."""
    real, fresh = toy_dataset(splits=SPLITS), toy_dataset("fresh", splits={"train": 5}, seed=9)
    config = FidelityEvaluation(evaluator="fidelity", real="toy", synthetic="fresh")
    with pytest.raises(DataError, match=r"none of the training subjects of toy.*Name as `real`"):
        fidelity.run(config, "likeness", {"toy": real, "fresh": fresh}, FeatureBank(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_set_that_knows_held_out_subjects_is_refused(toy_dataset: Any, tmp_path: Path, split: str) -> None:
    """What is new is measured on held-out subjects, so no generator may have learnt from them."""
    real, fresh = toy_dataset(splits=SPLITS), toy_dataset("fresh", splits={"train": 5}, seed=9)
    seen = [*real.select("train").subjects(), f"toy:0/{split}_s1"]
    write_info(fresh.folder, fresh.info.model_copy(update={"lineage": seen}))
    config = FidelityEvaluation(evaluator="fidelity", real="toy", synthetic="fresh")
    datasets = {"toy": real, "fresh": Dataset(fresh.folder)}
    with pytest.raises(LeakError, match=f"held-out subjects of toy: toy:0/{split}_s1"):
        fidelity.run(config, "x", datasets, FeatureBank(), tmp_path / "out")


def test_all_options_are_written_down(toy_dataset: Any, tmp_path: Path) -> None:
    """Provenance spells out defaults, so that a later default does not change what a file says."""
    real = toy_dataset(splits=SPLITS)
    run(real, toy_dataset("fresh", splits={"train": 5}, seed=9), tmp_path / "out", compare="mask")
    made = facts(tmp_path / "out")["provenance"]
    assert made["config"]["neighbours"] == 5
    assert made["config"]["bootstrap"] == 60


def test_the_job_hands_on_the_resources_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runtime` decides no result and is no option of the job, so it comes from its threads and resources."""
    seen: list[Any] = []
    monkeypatch.setattr("mirage.evaluate.run_set", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr("mirage.log.log_to", lambda path: nullcontext())  # it would take pytest's output away
    options = {"evaluator": "fidelity", "real": "toy", "synthetic": "made"}
    job = SimpleNamespace(
        params=SimpleNamespace(options={"options": options}),
        wildcards=SimpleNamespace(evaluation="likeness"),
        input=SimpleNamespace(manifests=[], features=[], encoders=[], discriminators=[], readers=[]),
        output=SimpleNamespace(metrics=tmp_path / "metrics.parquet"),
        resources=SimpleNamespace(gpu=1, accelerator="gpu"),
        threads=3,
        log=[tmp_path / "log"],
    )
    script = Path(__file__).resolve().parents[2] / "workflow/scripts/evaluate_set.py"
    runpy.run_path(str(script), init_globals={"snakemake": job})
    runtime = seen[0][0].runtime
    assert (runtime.threads, runtime.gpus, runtime.accelerator) == (3, 1, "gpu")


def test_histograms_add_up(toy_dataset: Any, tmp_path: Path) -> None:
    """Published bins count every pixel of the image; densities integrate to 1 in both profiles."""
    real = toy_dataset(splits=SPLITS)
    bars = run(real, toy_dataset("fresh", splits={"train": 5}, seed=9), tmp_path / "out")["histogram"]
    area = (bars["density"] * (bars["bin_hi"] - bars["bin_lo"])).groupby(
        [bars["profile"], bars["side"], bars["channel"]]
    )
    assert area.sum().to_numpy() == pytest.approx(1)
    published = bars.query("profile == 'published' and side == 'synthetic'")
    assert set(published["channel"]) == {"luma"}
    assert published["count"].sum() == 5 * 32 * 32
    assert set(bars.query("profile == 'robust'")["channel"]) == {"luma", "red", "green", "blue"}


def test_results_are_reproducible(toy_dataset: Any, tmp_path: Path) -> None:
    """The same data and seed give the same numbers; the seed moves only what is drawn."""
    real, fresh = toy_dataset(splits=SPLITS), toy_dataset("fresh", splits={"train": 9}, seed=9)
    first = run(real, fresh, tmp_path / "a", compare="image")["metrics"]
    pd.testing.assert_frame_equal(first, run(real, fresh, tmp_path / "b", compare="image")["metrics"])
    other = run(real, fresh, tmp_path / "c", compare="image", seed=1)["metrics"]
    fixed = first["protocol"] == "all"
    assert first["value"][fixed].equals(other["value"][fixed])
    assert not first["low"][fixed].equals(other["low"][fixed])


def test_large_sets_are_sampled(toy_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the cap a random sample is judged and its size is written down."""
    monkeypatch.setattr(fidelity, "MAX_ITEMS", 5)
    real, fresh = toy_dataset(splits=SPLITS), toy_dataset("fresh", splits={"train": 9}, seed=9)
    metrics = run(real, fresh, tmp_path / "out", compare="image")["metrics"]
    assert facts(tmp_path / "out")["items"]["synthetic"] == {"counted": 5, "of": 9}
    assert metrics.loc[metrics["protocol"] == "all", "n_items"].max() == 5


def test_bootstrap_draws_whole_subjects() -> None:
    """Items of one subject are drawn together, as many subjects as there are."""
    subjects = np.array([0, 0, 1, 2, 2, 2])
    weights = statistics.bootstrap_weights(np.random.default_rng(0), subjects, 50)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] + weights[:, 2] + weights[:, 3] == 3).all()


def test_halves_never_cut_a_subject() -> None:
    """Both halves hold whole subjects, nobody is in both, and everybody is in one."""
    subjects = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    first, second = statistics.halves(np.random.default_rng(0), subjects, 40)
    assert (first ^ second).all()
    assert (second.sum(axis=1) == 4).all()
    assert (first[:, ::2] == first[:, 1::2]).all()


def test_weighted_median_is_the_median_of_the_drawn() -> None:
    """Weights are repetitions."""
    values, weights = np.array([5.0, 1.0, 3.0, 9.0]), np.array([[1, 1, 1, 1], [0, 2, 1, 0], [3, 0, 0, 1]])
    expected = [np.median(np.repeat(values, row)) for row in weights]
    assert statistics.weighted_median(values, weights.astype(float)).tolist() == expected
