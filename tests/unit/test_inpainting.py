"""Inpainters: the published networks, holes, one way in and out, and what training makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from small_training import fit
from torch import nn

from conftest import write_dataset
from mirage.config.base import Runtime
from mirage.config.generators import (
    AOTGANOptions,
    Augment,
    ContextualAttentionOptions,
    GeneratorConfig,
    Holes,
    PerceptualOptions,
    TrainingOptions,
)
from mirage.data import Dataset, Item
from mirage.errors import CheckpointError, ConfigError, DataError, TimeBudgetReached
from mirage.evaluate.privacy.discriminator import attack_discriminators
from mirage.files import file_digest
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.generators.checkpoint import load_generator, save_model
from mirage.generators.contextual_attention import discounts
from mirage.generators.holes import draw_hole
from mirage.generators.inpainting import Inpainter
from mirage.generators.perceptual import perceptual_and_style
from mirage.metrics.inpainting import hole_scores
from mirage.networks.aot import AOTBlock, AOTGenerator, SoftMaskDiscriminator, soft_target
from mirage.networks.contextual_attention import CoarseToFine, Critic, attend
from mirage.networks.perceptual import RandomFeatures, VGG19Features, random_filters
from mirage.training.loop import TrainingResult, train
from mirage.training.losses import gradient_penalty

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = {
    "aot_gan": AOTGANOptions(features=4, critic_features=4, blocks=2, rates=(1, 2), soft_sigma=2),
    "contextual_attention": ContextualAttentionOptions(features=4, critic_features=4, critic_steps=2),
}
RESULT = TrainingResult(7, "lowest hole_l1", "hole_l1", 0.25, [(7, "hole_l1", 0.25)], 1.0)


def make(arch: str, data: Dataset, **changes) -> Inpainter:
    """A small inpainter."""
    model = build(arch, OPTIONS[arch].model_copy(update=changes), ImageSpec.of(data.info), seed=3)
    assert isinstance(model, Inpainter)
    return model.eval()


def batch_of(model: Inpainter, data: Dataset, count: int = 3) -> dict[str, torch.Tensor]:
    """Examples of the first items, with random holes."""
    rng = np.random.default_rng(0)
    examples = [model.example(data.item(index), rng, Augment()) for index in range(count)]
    return {key: torch.stack([example[key] for example in examples]) for key in examples[0]}


def parameters(module: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def test_contextual_attention_has_the_published_parameters():
    """Generator in colour and in grey, its two halves, both critics."""
    colour, grey = CoarseToFine(3), CoarseToFine(1)
    assert parameters(colour) == 3_601_542
    assert parameters(grey) == 3_596_162
    assert (parameters(colour.coarse), parameters(grey.coarse)) == (1_448_227, 1_446_337)
    assert (parameters(colour.refine), parameters(grey.refine)) == (2_153_315, 2_149_825)
    assert parameters(Critic(3, 128)) == 2_684_289
    assert parameters(Critic(3, 256)) == 2_733_441


def test_aot_gan_has_the_published_parameters():
    """Generator, one block, and a discriminator with 30 x 30 logits of 256 x 256 pixels."""
    assert parameters(AOTGenerator(3)) == 15_200_835
    assert parameters(AOTBlock()) == 1_770_240
    discriminator = SoftMaskDiscriminator(3)
    assert parameters(discriminator) == 2_763_777
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize("fuse", [True, False])
def test_attention_to_itself_gives_the_features_back(fuse):
    """Exactly, but for the outer border, where fewer patches overlap."""
    features = torch.relu(torch.randn(2, 128, 32, 32, generator=torch.Generator().manual_seed(0)))
    rebuilt = attend(features, features, fuse=fuse)
    assert torch.equal(rebuilt[..., 1:-1, 1:-1], features[..., 1:-1, 1:-1])
    assert not torch.equal(rebuilt, features)


def test_every_item_is_attended_to_with_its_own_hole():
    """A batch of different holes equals its items one by one; a hole is never copied from, nothing is NaN."""
    noise = torch.Generator().manual_seed(0)
    features = torch.relu(torch.randn(3, 16, 16, 16, generator=noise))
    holes = torch.zeros(3, 1, 16, 16)
    holes[0, :, 2:9, 3:8] = 1
    holes[1, :, 11:, :6] = 1
    holes[2] = 1
    together = attend(features, features, holes)
    for index in range(3):
        alone = attend(features[index : index + 1], features[index : index + 1], holes[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)
    assert together.isfinite().all()
    assert (together[2] == 0).all()
    changed = features.clone()
    changed[0, :, 2:9, 3:8] += 5
    for offered in (features, changed):
        assert torch.equal(attend(features, offered, holes)[1:], together[1:])
    # What a hole hides may change where it looks, never what is pasted elsewhere from known patches.
    torch.testing.assert_close(
        attend(features, changed, holes, fuse=False), attend(features, features, holes, fuse=False)
    )
    with pytest.raises(ValueError, match="even rate"):
        attend(features[..., :15], features[..., :15])


def plain_block(block: AOTBlock, x: torch.Tensor) -> torch.Tensor:
    """An AOT block as its authors describe it."""
    found = []
    for rate, branch in zip(block.rates, block.branches, strict=True):
        padded = nn.functional.pad(x, (rate,) * 4, mode="reflect")
        found.append(nn.functional.conv2d(padded, branch.weight, branch.bias, dilation=rate).relu())
    out = block.fuse(nn.functional.pad(torch.cat(found, 1), (1,) * 4, mode="reflect"))
    gate = block.gate(nn.functional.pad(x, (1,) * 4, mode="reflect"))
    mean, std = gate.mean((2, 3), keepdim=True), gate.std((2, 3), keepdim=True) + 1e-9
    gate = torch.sigmoid(5 * (2 * (gate - mean) / std - 1))
    return x * (1 - gate) + out * gate


@pytest.mark.parametrize("rates", [(1, 2, 4, 8), (2, 4), (1, 1)])
def test_aot_block_equals_its_formula(rates):
    """What is computed together is the same as branch by branch, values and gradients."""
    torch.manual_seed(0)
    block, x = AOTBlock(16, rates), torch.randn(2, 16, 12, 14, requires_grad=True)
    torch.testing.assert_close(block(x), plain_block(block, x), rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad(found.square().sum(), x)[0] for found in (block(x), plain_block(block, x))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_soft_target_of_a_centred_hole():
    """The published blur (sigma 10, 71 pixels) of a 128-pixel hole in 256 pixels."""
    hole = torch.zeros(1, 1, 256, 256)
    hole[..., 64:192, 64:192] = 1
    soft = soft_target(hole)[0, 0]
    found = [soft[128, 128], soft[64, 128], soft[63, 128], soft[54, 128], soft.mean()]
    assert [round(float(value), 3) for value in found] == [1.0, 0.52, 0.48, 0.171, 0.25]
    assert float(soft.mean()) == pytest.approx(0.25, abs=1e-5)


def test_discounts_as_published():
    """Mean and centre of 128 x 128; the first row weighs 1, the last 0.9."""
    weights = discounts(128, 0.9)
    assert float(weights.mean()) == pytest.approx(0.2529, abs=5e-5)
    assert float(weights[64, 64]) == pytest.approx(0.00118, abs=5e-6)
    assert (weights[0] == 1).all()
    assert float(weights[-1, 64]) == pytest.approx(0.9)


def test_gradient_penalty_sees_the_hole_alone():
    """A linear critic's slope is that of its weights in the hole; a flat one has a finite gradient."""
    weight = torch.randn(2 * 4 * 4, requires_grad=True)
    real, fake, region = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.zeros(3, 1, 4, 4)
    region[..., 1:3, 1:3] = 1
    penalty = gradient_penalty(lambda x: x.flatten(1) @ weight, real, fake, region)
    slope = weight.view(2, 4, 4)[:, 1:3, 1:3].norm()
    torch.testing.assert_close(penalty, (slope - 1).square())
    flat = gradient_penalty(lambda x: 0 * (x.flatten(1) @ weight), real, fake, region)
    assert torch.autograd.grad(flat, weight)[0].isfinite().all()


@pytest.mark.parametrize("shape", ["box", "strokes", "both"])
@pytest.mark.parametrize("place", ["centre", "random"])
def test_holes_keep_to_their_options(shape, place):
    """Never empty; boxes shrink evenly by up to the share asked for; strokes stay in the box."""
    options = Holes(shape=shape, place=place, side=0.5, shrink=0.125)
    sizes, corners = set(), set()
    for seed in range(60):
        hole = draw_hole(64, options, np.random.default_rng(seed))
        assert hole.mask.dtype == np.uint8
        assert set(np.unique(hole.mask)) == {0, 1}
        corners.add((hole.top, hole.left))
        inside = hole.mask[hole.top : hole.top + 32, hole.left : hole.left + 32]
        if shape != "both":
            assert inside.sum() == hole.mask.sum()
        if shape == "box":
            rows, columns = inside.any(axis=1), inside.any(axis=0)
            assert inside.sum() == rows.sum() * columns.sum()
            assert np.array_equal(rows, rows[::-1])
            sizes.add(int(rows.sum()))
    assert corners == {(16, 16)} if place == "centre" else len(corners) > 20
    assert shape != "box" or sizes == {24, 26, 28, 30, 32}
    again = [draw_hole(64, options, np.random.default_rng(5)).mask for _ in range(2)]
    assert np.array_equal(*again)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("arch", OPTIONS)
def test_training_and_sampling_share_one_transform(arch, dtype, toy_dataset):
    """Image, hole value and range of a training example and of a condition are the same bits."""
    data = toy_dataset(dtype=dtype)
    model = make(arch, data)
    for index in range(3):
        item = data.item(index)
        trained = model.example(item, np.random.default_rng(index), Augment())
        validated = model.example(item)
        assert torch.equal(trained["real"], validated["real"])
        assert trained["real"].min() == -1
        for example in (trained, validated):
            shown = model.masked(example["real"][None], example["hole"][None])[0]
            condition = model.condition_of_hole(item.image, example["hole"][0].byte().numpy())
            assert torch.equal(torch.cat([shown, example["hole"]]), condition)
            assert (condition[:-1][:, example["hole"][0] > 0] == model.hole_value).all()
        assert torch.equal(model.condition(item)[-1:], validated["hole"])
        assert torch.equal(model.condition(Item(item.image)), model.condition(Item(item.image.copy())))
        assert np.array_equal(model.decode(trained["real"][None])[0], item.image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("arch", OPTIONS)
def test_fill_leaves_known_pixels_alone(arch, channels, dtype, toy_dataset):
    """Bit by bit outside the hole, whatever its form; inside, something that is not the input."""
    data = toy_dataset(dtype=dtype, channels=channels, size=40)
    model = make(arch, data)
    image = data.item(0).image
    hole = np.zeros((40, 40), np.uint8)
    hole[0:9, 30:] = 1
    hole[20:24, 3:17] = 1
    made = model.fill(image, hole, seed=1)
    assert made.dtype == image.dtype
    assert made.shape == image.shape
    assert np.array_equal(made[:, hole == 0], image[:, hole == 0])
    assert not np.array_equal(made, image)
    assert np.array_equal(model.fill(image, hole, seed=1), made)
    assert np.array_equal(model.fill(image, np.zeros_like(hole), seed=1), image)
    with pytest.raises(DataError, match="has learnt from"):
        model.fill(image[:, :32, :32], hole[:32, :32], seed=1)
    with pytest.raises(DataError, match="0 and 1"):
        model.fill(image, hole * 255, seed=1)


@pytest.mark.parametrize("arch", OPTIONS)
def test_model_folder_fills_alike_and_says_what_it_is(arch, toy_dataset, tmp_path):
    """Samples, hole value and the source of perceptual features travel; no critic is needed."""
    data = toy_dataset(labels=0, fov=False)
    model = make(arch, data)
    save_model(tmp_path / "model", model, RESULT, data.select("train"), seed=0)
    loaded = load_generator(tmp_path / "model")
    assert isinstance(loaded, Inpainter)
    assert not any(hasattr(loaded, name) for name in model.discriminators)
    item = data.item(1)
    hole = model.hole_of(item.image, item.content_hash).mask
    assert np.array_equal(loaded.fill(item.image, hole, 0), model.fill(item.image, hole, 0))
    notes = json.loads((tmp_path / "model" / "model.json").read_text())["notes"]
    assert notes["hole_value"] == model.hole_value == {"aot_gan": 1.0, "contextual_attention": 0.0}[arch]
    assert ("no file of VGG19" in notes.get("perceptual_features", "")) == (arch == "aot_gan")


def test_critics_learn_in_every_step_and_the_generator_in_every_second(toy_dataset, tmp_path):
    """The loop trains a phase in the last step of its interval, and says so in the history."""
    data = toy_dataset(labels=0, fov=False)
    model = make("contextual_attention", data)
    phases = []
    inner = model.training_step

    def training_step(batch, phase):
        phases.append(phase)
        return inner(batch, phase)

    model.training_step = training_step
    training = TrainingOptions(steps=4, batch_size=2, validate_every=4, log_every=1, ema_decay=0.9)
    where = {"state_dir": tmp_path / "state", "fingerprint": "f", "progress": False}
    cpu = Runtime(accelerator="cpu")
    found = train(model, data.select("train"), data.select("val"), training, cpu, seed=0, **where)
    assert phases == ["critics", "generator", "critics"] * 2
    assert [step for step, name, _ in found.history if name == "l1"] == [2, 4]
    assert [step for step, name, _ in found.history if name == "penalty_local"] == [1, 2, 3, 4]
    assert {"hole_l1", "hole_psnr", "hole_ssim"} <= {name for _, name, _ in found.history}


def test_aot_generator_is_to_be_found_real(toy_dataset):
    """With a discriminator that knows, the generator's loss is smaller for real images than for fakes."""
    torch.manual_seed(0)
    model = make("aot_gan", toy_dataset(labels=0, fov=False), critic_features=8).train()
    batch = batch_of(model, toy_dataset("again", labels=0, fov=False))
    with torch.no_grad():
        made = model.complete(model.masked(batch["real"], batch["hole"]), batch["hole"])
        batch["fake"] = model.composite(made, batch["real"], batch["hole"])
    optimiser = torch.optim.Adam(model.discriminator.parameters(), 2e-3)
    for _ in range(60):
        optimiser.zero_grad()
        sum(model.training_step(batch, "discriminator").values()).backward()
        optimiser.step()
    with torch.no_grad():
        real, fake = (model.adversarial(batch[key], batch["hole"]) for key in ("real", "fake"))
    assert real < 0.5 * fake


def test_hole_scores_look_at_the_hole_alone():
    """Changes around it count in the windows of the similarity only; a flat error has known scores."""
    rng = np.random.default_rng(0)
    real, hole = rng.random((2, 24, 24)).astype(np.float32), np.zeros((24, 24), np.uint8)
    hole[8:16, 8:16] = 1
    same = hole_scores(real, real, hole)
    assert same == {"hole_l1": 0.0, "hole_psnr": 100.0, "hole_ssim": pytest.approx(1.0)}
    outside = hole_scores(real, np.where(hole, real, 0.0), hole)
    assert (outside["hole_l1"], outside["hole_psnr"]) == (0.0, 100.0)
    flat = hole_scores(real, np.where(hole, real + np.float32(0.1), real), hole)
    assert flat["hole_l1"] == pytest.approx(0.1, abs=1e-6)
    assert flat["hole_psnr"] == pytest.approx(20.0, abs=1e-4)
    assert 0 < flat["hole_ssim"] < 1
    with pytest.raises(ValueError, match="empty hole"):
        hole_scores(real, real, hole * 0)


@pytest.mark.parametrize(
    ("arch", "size", "options", "message"),
    [
        ("contextual_attention", 36, {}, "multiple of 8"),
        ("aot_gan", 34, {}, "multiple of 4"),
        ("aot_gan", 32, {"rates": (1, 2, 4, 8)}, "at least 36"),
    ],
)
def test_sides_that_do_not_fit_are_refused(arch, size, options, message, toy_dataset):
    """With what would fit."""
    with pytest.raises(ConfigError, match=message):
        make(arch, toy_dataset(size=size, labels=0, fov=False), **options)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"arch": "aot_gan", "options": {"perceptual": {"network": "vgg19"}}},
            "needs `weights` and `sha256`",
        ),
        ({"arch": "aot_gan", "options": {"perceptual": {"sha256": "0" * 64}}}, "has no file of weights"),
        ({"arch": "aot_gan", "options": {"features": 4, "rates": [1, 2, 4]}}, "do not divide 16 channels"),
        ({"arch": "contextual_attention", "training": {"steps": 4}}, "before the generator's first update"),
        ({"arch": "aot_gan", "options": {"holes": {"stroke_width": [0.2, 0.1]}}}, "thinnest first"),
    ],
)
def test_options_that_contradict_themselves_are_refused(entry, message):
    """At parse time."""
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(GeneratorConfig).validate_python({"data": "toy", **entry})


@pytest.mark.parametrize("arch", OPTIONS)
def test_stopped_training_goes_on_to_the_same_bits(arch, toy_dataset, tmp_path):
    """Stopped after every step, also between two updates of a generator that waits for its critics."""
    data = toy_dataset(labels=0, fov=False)
    whole, expected = fit(arch, data, tmp_path / "whole", steps=4)
    for _ in range(3):
        with pytest.raises(TimeBudgetReached):
            fit(arch, data, tmp_path / "short", steps=4, minutes=1e-6)
    model, result = fit(arch, data, tmp_path / "short", steps=4, minutes=1e-6)
    ours, theirs = model.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert result.history == expected.history


@pytest.mark.parametrize("arch", OPTIONS)
def test_half_precision_trains(arch, toy_dataset, tmp_path):
    """Penalties, attention and Gram matrices stay finite under autocast."""
    model, _ = fit(
        arch, toy_dataset(labels=0, fov=False), tmp_path / "state", steps=2, precision="bf16-mixed"
    )
    assert all(value.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("arch", OPTIONS)
def test_samples_do_not_depend_on_their_batch(arch, toy_dataset):
    """Whole images in [-1, 1], each the same bits alone and among others, with its own hole."""
    data = toy_dataset(size=64, labels=0, fov=False)
    model = make(arch, data)
    conditions = torch.stack([model.condition(data.item(index)) for index in range(3)])
    together = model.sample(conditions, [1, 2, 3])
    assert together.shape == (3, *model.image_shape)
    assert together.abs().max() <= 1
    assert torch.equal(model.sample(conditions[2:], [3]), together[2:])
    known = conditions[:, -1:] == 0
    assert torch.equal(torch.where(known, together, 0), torch.where(known, conditions[:, :-1], 0))


@pytest.mark.parametrize("arch", OPTIONS)
def test_discriminators_can_be_asked_who_was_learnt_from(arch, toy_dataset, tmp_path):
    """Images without any mask are shown to them, as they are found in the model folder."""
    splits = {"train": 6, "test": 6}
    data = toy_dataset(labels=0, fov=False, splits=splits)
    folder = tmp_path / arch / "seed-0"
    save_model(folder, make(arch, data), RESULT, data.select("train"), seed=0)
    sides = {"training": data.select("train"), "heldout": data.select("test")}
    picked = {side: list(range(len(items))) for side, items in sides.items()}
    found = attack_discriminators([folder], sides, picked, 0, Runtime(accelerator="cpu"))
    assert list(found.reasons.values()) == [None]
    assert found.rows[0]["n_subjects"] == 12


def test_losses_look_with_the_users_vgg19(toy_dataset, tmp_path):
    """Its layers have the published names, its file is checked, and the model says so without holding it."""
    network = VGG19Features()
    taps = dict(zip(network.taps.values(), network.taps, strict=True))
    assert {name: taps[name] for name in ("relu1_1", "relu2_2", "relu3_4", "relu4_4", "relu5_2")} == {
        "relu1_1": 1,
        "relu2_2": 8,
        "relu3_4": 17,
        "relu4_4": 26,
        "relu5_2": 31,
    }
    file = tmp_path / "vgg19.pth"
    torch.save({**network.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}, file)
    options = {"network": "vgg19", "weights": str(file), "sha256": file_digest(file)}
    data = toy_dataset(channels=1, labels=0, fov=False)
    model = make("aot_gan", data, perceptual=PerceptualOptions(**options))
    losses = model.training_step(batch_of(model, data, 1), "generator")
    assert losses["style"] > 0
    assert losses["perceptual"] > 0
    assert not any("perceptual" in key for key in model.state_dict())
    assert options["sha256"] in model.notes["perceptual_features"]
    grey = torch.rand(1, 1, 32, 32)
    for one, three in zip(network(grey)[0], network(grey.expand(-1, 3, -1, -1))[0], strict=True):
        torch.testing.assert_close(one, three)
    other = make("aot_gan", data, perceptual=PerceptualOptions(**{**options, "sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="SHA-256"):
        other.training_step(batch_of(other, data, 1), "generator")


def test_random_features_are_those_of_the_encoder(toy_dataset):
    """Filters of `randconv` with seed 0; equal images cost nothing, others do."""
    network = RandomFeatures(1)
    filters = random_filters(0, 1, 2)
    assert all(np.array_equal(network.get_buffer(name), value) for name, value in filters.items())
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    perceptual, style = perceptual_and_style(network, images, images)
    assert (float(perceptual), float(style)) == (0.0, 0.0)
    perceptual, style = perceptual_and_style(network, images, images.flip(0) / 2)
    assert perceptual > 0
    assert style > 0


def wavy(rng: np.random.Generator) -> tuple[np.ndarray, None]:
    """A smooth image (1, 32, 32), uint8, that no flat patch resembles."""
    y, x = np.mgrid[:32, :32] / 32
    waves = 0.5 + 0.25 * np.sin(2 * np.pi * (1.5 * x + y)) + 0.2 * np.cos(4 * np.pi * y)
    return np.round(255 * waves)[None].astype(np.uint8), None


@pytest.mark.parametrize("arch", OPTIONS)
def test_one_image_is_learnt_by_heart(arch, tmp_path):
    """Its hole comes back eight times nearer than a flat one: networks, losses, holes, optimisers agree."""
    stored = {"image_shape": (1, 32, 32), "image_dtype": "uint8", "channel_names": ["grey"]}
    none = {"mask_channels": [], "labels": {}, "mask_origin": None, "spacing_mm": None, "lineage": []}
    how = {"splits": {"train": 1}, "shards": 1, "seed": 0, "origin": "simulated", "modality": "waves"}
    data = write_dataset(tmp_path / "waves", wavy, **how, **stored, **none).select("train")
    holes = Holes(place="centre", shrink=0, side=0.3)
    own = {"critic_steps": 1} if arch == "contextual_attention" else {}
    model = make(arch, data, features=8, lr=2e-3, holes=holes, **own)
    item = data.item(0)
    real, hole = model.unit(item.image).numpy(), model.hole_of(item.image).mask
    flat = hole_scores(real, np.where(hole, real[:, hole == 0].mean(), real), hole)["hole_l1"]
    training = TrainingOptions(steps=150, batch_size=1, validate_every=25, log_every=50)
    where = {"state_dir": tmp_path / "state", "fingerprint": "f", "progress": False}
    result = train(model, data, data, training, Runtime(accelerator="cpu"), seed=0, **where)
    assert flat > 0.25
    assert result.metric < 0.03
