"""The discriminator that a training leaves behind: it tells members, and sampling does without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from mirage.config.base import Runtime
from mirage.config.generators import DCGANOptions, LabelToBrainOptions, Pix2PixOptions, SegmenterOptions
from mirage.data import Dataset, Items
from mirage.errors import CheckpointError
from mirage.evaluate.privacy.discriminator import attack_discriminators
from mirage.generators import build
from mirage.generators.base import Generator, ImageSpec
from mirage.generators.checkpoint import load_discriminator, save_model
from mirage.training.loop import TrainingResult

CPU = Runtime(accelerator="cpu")
RESULT = TrainingResult(7, "last", "l1", None, [], 1.0)
SPLITS = {"train": 12, "test": 12}
OPTIONS = {
    "dcgan": DCGANOptions(latent=4, features=8, max_features=16),
    "pix2pix": Pix2PixOptions(features=4, critic_features=8),
    "segmenter": SegmenterOptions(features=4, patch=32),
    "label_to_brain": LabelToBrainOptions(
        f_maps=4, levels=3, discriminator_f_maps=4, discriminator_levels=2, local_crop=8
    ),
}


def batch_of(generator: Generator, data: Items) -> dict[str, torch.Tensor]:
    """Examples of all items."""
    examples = [generator.example(data.item(index)) for index in range(len(data))]
    return {key: torch.stack([example[key] for example in examples]) for key in examples[0]}


def saved(folder: Path, arch: str, data: Dataset, learn: int = 0) -> Path:
    """A model of the training split, whose discriminator has learnt to tell it from the test split."""
    generator = build(arch, OPTIONS[arch], ImageSpec.of(data.info), seed=3)
    training, heldout = data.select("train"), data.select("test")
    if learn:
        shown = [batch_of(generator, side) for side in (training, heldout)]
        weights = [p for name in generator.discriminators for p in generator.get_submodule(name).parameters()]
        optimiser = torch.optim.Adam(weights, 3e-3)
        for _ in range(learn):
            optimiser.zero_grad()
            loss = sum(
                functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
                for logits, truth in zip(map(generator.judge, shown), (1.0, 0.0), strict=True)
            )
            loss.backward()
            optimiser.step()
    save_model(folder / arch / "seed-2", generator, RESULT, training, seed=2)
    return folder / arch / "seed-2"


def attack(models: list[Path], data: Dataset, heldout: Items | None = None):
    """What the discriminators tell of all items."""
    sides = {"training": data.select("train")}
    sides |= {} if heldout is None else {"heldout": heldout}
    picked = {side: list(range(len(items))) for side, items in sides.items()}
    return attack_discriminators(models, sides, picked, 0, CPU)


@pytest.mark.parametrize("arch", ["dcgan", "pix2pix"])
def test_a_discriminator_that_knows_its_members_names_them(arch, toy_dataset, tmp_path):
    """Also as it is found in the model folder; what it tells of the condition is part of it."""
    data = toy_dataset(splits=SPLITS)
    found = attack([saved(tmp_path, arch, data, 40)], data, data.select("test"))
    name = f"{arch} (seed 2)"
    assert found.reasons == {name: None}
    auc, tpr = found.rows
    assert (auc["arm"], auc["metric"], auc["label"], auc["protocol"]) == (
        "weights",
        "auc",
        name,
        "discriminator",
    )
    assert auc["value"] > 0.9
    assert auc["low"] > 0.55
    assert auc["n_subjects"] == 24
    assert tpr["metric"] == "tpr_at_fpr_1"
    assert set(found.curves["space"]) == {name}


def test_an_untrained_discriminator_of_volumes_tells_nothing(toy_volumes, tmp_path):
    """The same crops every time, whatever else has drawn random numbers; the interval holds one half."""
    data = toy_volumes(splits={"train": 4, "test": 4}, extent=(16, 16, 16))
    models = [saved(tmp_path, "label_to_brain", data)]
    found, again = (attack(models, data, data.select("test")) for _ in range(2))
    assert found.rows[0]["low"] < 0.5 < found.rows[0]["high"]
    assert found.rows[0]["value"] == again.rows[0]["value"]


def test_what_cannot_be_attacked_says_why(toy_dataset, tmp_path):
    """No discriminator, nothing held out, other images, other subjects, no masks to show."""
    data = toy_dataset(splits=SPLITS)
    heldout = data.select("test")
    models = [saved(tmp_path, "pix2pix", data)]
    other = toy_dataset("other", splits=SPLITS, size=64, seed=1)
    bare = heldout.of_subjects(heldout.subjects())
    bare.items["mask_origin"] = None
    for folders, training, held, reason in (
        ([saved(tmp_path, "segmenter", data)], data, heldout, "no discriminator"),
        (models, data, None, "nothing is held out"),
        (models, data, other, "other has another image_shape"),
        (models, toy_dataset("others", splits=SPLITS, seed=2), heldout, "0 members"),
        (models, data, bare, "0 held-out subjects"),
    ):
        found = attack(folders, training, held)
        assert reason in str(next(iter(found.reasons.values())))
        assert not found.rows
        assert found.curves.empty


def test_the_file_holds_the_discriminators_alone(toy_dataset, tmp_path):
    """All of them, without the generator; a damaged one is refused."""
    data = toy_dataset(splits=SPLITS)
    options = OPTIONS["dcgan"].model_copy(update={"patch_weight": 1.0})
    generator = build("dcgan", options, ImageSpec.of(data.info), seed=3).eval()
    save_model(tmp_path, generator, replace(RESULT, step=2), data, seed=2)
    names = {key.split(".")[0] for key in load_file(tmp_path / "discriminator.safetensors")}
    assert names == {"discriminator", "patch_discriminator"}
    loaded, shown = load_discriminator(tmp_path), batch_of(generator, data.select("test"))
    assert torch.equal(loaded.judge(shown), generator.judge(shown))
    assert not hasattr(loaded, "generator")
    (tmp_path / "discriminator.safetensors").write_bytes(b"\0")
    with pytest.raises(CheckpointError, match="not a readable model"):
        load_discriminator(tmp_path)
