"""The commands that Snakemake's jobs call: training, synthesis with every recipe, judging."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from mirage.cli import app
from mirage.cli.jobs import CONTINUE
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.files import read_json

TINY = {"steps": 4, "batch_size": 4, "validate_every": 2, "preview_every": 4}


def call(*arguments: str | Path, expect: int = 0) -> None:
    """Run the command in this process."""
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    assert result.exit_code == expect, result.output


def frozen(path: Path, **options: Any) -> Path:
    """A stage file as the freeze rules write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"stage": "test", "version": 1, "options": options}))
    return path


def trained(root: Path, name: str, data: Dataset, **options: Any) -> Path:
    """Weights of a generator after four steps."""
    config = frozen(root / name / "config.yaml", data=data.info.name, training=TINY, **options)
    call("train", "--config", config, "--data", data.folder, "--out", root / name / "seed-0")
    return root / name / "seed-0" / "weights.safetensors"


def synthesised(folder: Path, inputs: list[Path], shards: int = 2, **options: Any) -> Dataset:
    """A gathered synthetic dataset."""
    config = frozen(folder / "config.yaml", shards=shards, **options)
    for index in range(shards):
        shard = folder / f"shard-{index:04d}-of-{shards:04d}.arrow"
        call("synthesise", *inputs, "--config", config, "--shard", shard)
    gather(folder, name=folder.name, shards=shards, split=None, max_failed_fraction=0.5)
    return Dataset(folder)


def test_two_stages_make_a_labelled_dataset(tmp_path: Path, toy_dataset: Any) -> None:
    """Masks, photographs and fields of view; the items do not depend on how they are cut into shards."""
    data = toy_dataset("real")
    masks = trained(tmp_path, "masks", data, arch="dcgan", options={"of": "mask", "features": 4})
    photos = trained(tmp_path, "photos", data, arch="pix2pix", options={"features": 4, "critic_features": 4})
    options = {
        "recipe": "mask_then_image",
        "masks": {"generator": "masks"},
        "images": {"generator": "photos"},
        "count": 5,
    }
    one = synthesised(tmp_path / "one", [masks, photos], shards=1, **options)
    two = synthesised(tmp_path / "two", [masks, photos], shards=2, **options)
    assert len(one) == 5
    assert one.info.mask_channels == ["label", "fov"]
    assert set(one.items.origin) == {"synthetic"}
    assert set(one.items.split) == {"train"}
    for index in range(5):
        assert (one.image(index) == two.image(index)).all()
        assert (one.masks(index) == two.masks(index)).all()
        assert one.mask(index).any()
    assert one.learnt_from() >= data.select("train").subjects()
    assert not one.learnt_from() & data.select("test").subjects()


def test_masks_have_the_foreground_of_the_training_masks(tmp_path: Path, toy_dataset: Any) -> None:
    """Soft masks are cut where their share of foreground is right, not where thin structures vanish."""
    data = toy_dataset("real")
    masks = trained(tmp_path, "masks", data, arch="dcgan", options={"of": "mask", "features": 4})
    photos = trained(tmp_path, "photos", data, arch="pix2pix", options={"features": 4, "critic_features": 4})
    options = {
        "recipe": "mask_then_image",
        "masks": {"generator": "masks"},
        "images": {"generator": "photos"},
        "count": 30,
    }
    known = read_json(masks.parent / "model.json")["training"]["foreground"]
    expected = np.mean([data.select("train").mask(i).mean() for i in range(8)])
    assert known == pytest.approx(expected)
    for matched in (True, False):
        made = synthesised(tmp_path / str(matched), [masks, photos], match_foreground=matched, **options)
        share = np.mean([made.mask(i).mean() for i in range(len(made))])
        assert (abs(share - known) < 0.01) == matched


def test_masks_that_stay_empty_are_failed_items(tmp_path: Path, toy_dataset: Any) -> None:
    """A stage I that has not learnt anything is reported, not passed on."""
    data = toy_dataset("real")
    masks = trained(tmp_path, "masks", data, arch="dcgan", options={"of": "mask", "features": 4})
    photos = trained(tmp_path, "photos", data, arch="pix2pix", options={"features": 4, "critic_features": 4})
    config = frozen(
        tmp_path / "none" / "config.yaml",
        recipe="mask_then_image",
        masks={"generator": "masks"},
        images={"generator": "photos"},
        count=2,
        min_component=10_000,
    )
    shard = tmp_path / "none" / "shard-0000-of-0001.arrow"
    call("synthesise", masks, photos, "--config", config, "--shard", shard)
    with pytest.raises(Exception, match="2 of 2 items failed") as caught:
        gather(shard.parent, name="none", shards=1, split=None, max_failed_fraction=0.5)
    assert "train the mask generator longer" in str(caught.value)


def test_unconditional_images_get_a_field_of_view(tmp_path: Path, toy_dataset: Any) -> None:
    """Where the real images have one; there is no label."""
    data = toy_dataset("real", channels=1)
    weights = trained(tmp_path, "single", data, arch="dcgan", options={"features": 4})
    made = synthesised(
        tmp_path / "made", [weights], recipe="unconditional", generator={"generator": "single"}, count=3
    )
    assert made.info.mask_channels == ["fov"]
    assert made.image(0).shape == data.image(0).shape
    assert made.info.provenance["config"]["count"] == 3


def test_pseudo_labels_stay_inside_the_field_of_view(tmp_path: Path, toy_dataset: Any) -> None:
    """Images, subjects and splits are kept; labels are predicted and cannot be tested on."""
    labelled, plain = toy_dataset("labelled"), toy_dataset("plain", labels=0, seed=3)
    weights = trained(tmp_path, "segmenter", labelled, arch="segmenter", options={"features": 4})
    made = synthesised(
        tmp_path / "made",
        [weights, plain.folder / "manifest.parquet"],
        recipe="pseudo_label",
        images="plain",
        segmenter={"generator": "segmenter"},
        threshold=0.01,
    )
    assert set(made.items.mask_origin) == {"predicted"}
    assert dict(zip(made.items.item_id, made.items.split, strict=True)) == dict(
        zip(plain.items.item_id, plain.items.split, strict=True)
    )
    assert made.subjects() == plain.subjects()
    assert all((made.mask(i) <= made.mask(i, "fov")).all() for i in range(len(made)))
    assert any(made.mask(i).any() for i in range(len(made)))
    assert made.learnt_from() >= labelled.select("train").subjects()


def test_pseudo_labels_of_synthetic_images_keep_their_lineage(tmp_path: Path, toy_dataset: Any) -> None:
    """Labelling a GAN's images does not launder the subjects that the GAN has learnt from."""
    first, second = toy_dataset("first"), toy_dataset("second", seed=5)
    gan = trained(tmp_path, "single", first, arch="dcgan", options={"features": 4})
    segmenter = trained(tmp_path, "segmenter", second, arch="segmenter", options={"features": 4})
    images = synthesised(
        tmp_path / "images", [gan], recipe="unconditional", generator={"generator": "single"}, count=2
    )
    made = synthesised(
        tmp_path / "made",
        [segmenter, images.folder / "manifest.parquet"],
        recipe="pseudo_label",
        images="images",
        segmenter={"generator": "segmenter"},
    )
    assert made.learnt_from() >= first.select("train").subjects() | second.select("train").subjects()


def test_images_unlike_the_segmenters_are_refused(tmp_path: Path, toy_dataset: Any) -> None:
    """Another depth would reach the network as almost nothing, and give labels all the same."""
    segmenter = trained(tmp_path, "seg", toy_dataset("eight"), arch="segmenter", options={"features": 4})
    sixteen = toy_dataset("sixteen", dtype=np.uint16)
    config = frozen(
        tmp_path / "made" / "config.yaml",
        recipe="pseudo_label",
        images="sixteen",
        segmenter={"generator": "seg"},
    )
    shard = tmp_path / "made" / "shard-0000-of-0001.arrow"
    inputs = (segmenter, sixteen.folder / "manifest.parquet")
    call("synthesise", *inputs, "--config", config, "--shard", shard, expect=1)
    assert not shard.exists()


def test_an_arm_is_judged_by_command(tmp_path: Path, toy_dataset: Any) -> None:
    """From a frozen arm to metrics."""
    data = toy_dataset("real")
    config = frozen(
        tmp_path / "arm.yaml",
        evaluator="segmentation",
        test="real",
        steps=4,
        batch_size=4,
        judge={"features": 4},
        arm={"train": [{"data": "real"}]},
    )
    manifest = data.folder / "manifest.parquet"
    names = ("--evaluation", "vessels", "--arm", "real")
    call("evaluate-arm", manifest, "--config", config, "--out", tmp_path / "out", *names)
    assert (tmp_path / "out" / "metrics.parquet").exists()
    assert read_json(tmp_path / "out" / "details" / "arm.json")["arm"] == "real"


def test_items_without_a_label_are_left_out_of_what_learns_labels(tmp_path: Path, toy_dataset: Any) -> None:
    """They would be learnt as images without foreground."""
    data = toy_dataset("real")
    path = data.folder / "manifest.parquet"
    rows = pd.read_parquet(path)
    rows.loc[rows["split"] == "train", "mask_origin"] = [None, *["simulated"] * 7]
    rows.to_parquet(path)
    weights = trained(tmp_path, "segmenter", data, arch="segmenter", options={"features": 4})
    assert read_json(weights.parent / "model.json")["training"]["items"] == 7


def test_users_errors_end_a_job_with_status_1(tmp_path: Path, toy_dataset: Any) -> None:
    """One clear line instead of a traceback."""
    data = toy_dataset("real", splits={"test": 3})
    config = frozen(tmp_path / "g" / "config.yaml", arch="dcgan", data="real", training=TINY)
    call("train", "--config", config, "--data", data.folder, "--out", tmp_path / "g" / "seed-0", expect=1)
    call("train", "--config", config, "--data", tmp_path, "--out", tmp_path / "g" / "seed-0", expect=1)


@pytest.mark.parametrize("ranks", [1, 2])
def test_time_budget_ends_a_job_with_its_own_status(
    tmp_path: Path, toy_dataset: Any, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    """Status 75, from one process and from several ranks, means: submit again, and it goes on."""
    data = toy_dataset("real")
    config = frozen(
        tmp_path / "g" / "config.yaml",
        arch="dcgan",
        data="real",
        options={"features": 4},
        training={**TINY, "steps": 100_000, "batch_size": 4},
    )
    out = tmp_path / "g" / "seed-0"
    arguments = ["train", "--config", config, "--data", data.folder, "--out", out]
    arguments += ["--gpus", ranks, "--accelerator", "cpu", "--minutes", 0.05]
    monkeypatch.setattr("sys.argv", ["mirage", *map(str, arguments)])
    call(*arguments, expect=CONTINUE)
    assert (out / "state" / "last.pt").exists()
    assert not (out / "weights.safetensors").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_training_and_sampling_on_a_gpu(tmp_path: Path, toy_dataset: Any, precision: str) -> None:
    """Weights trained on a GPU in each precision sample on the CPU."""
    data = toy_dataset("real", size=64)
    config = frozen(
        tmp_path / "g" / "config.yaml",
        arch="dcgan",
        data="real",
        options={"features": 8, "r1_gamma": 2},
        training={**TINY, "precision": precision},
    )
    out = tmp_path / "g" / "seed-0"
    call("train", "--config", config, "--data", data.folder, "--out", out, "--accelerator", "gpu")
    made = synthesised(
        tmp_path / "made",
        [out / "weights.safetensors"],
        recipe="unconditional",
        generator={"generator": "g"},
        count=2,
    )
    assert np.isfinite(made.image(0)).all()
