"""Generators: one transform, samples that do not depend on their batch, and model folders."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mirage.config.base import Runtime
from mirage.config.generators import (
    DCGAN_SIZES,
    Augment,
    ConditionalDCGANOptions,
    DCGANConfig,
    DCGANOptions,
    NoiseTraining,
    Pix2PixOptions,
    SegmenterOptions,
    TrainingOptions,
    WGANGPOptions,
)
from mirage.data import Dataset, Item
from mirage.data.manifest import ABSENT
from mirage.errors import CheckpointError, ConfigError, DataError
from mirage.generators import build, create, generator_class
from mirage.generators import fit as fit_module
from mirage.generators.base import Generator, ImageSpec
from mirage.generators.checkpoint import load_generator, save_model
from mirage.generators.labels import LabelCode
from mirage.generators.pool import ImagePool
from mirage.metrics.distances import frechet_distance
from mirage.networks.dcgan import SIZES
from mirage.training.loop import TrainingResult, train
from mirage.training.losses import mode_seeking_loss, r1_penalty

OPTIONS = {
    "conditional_dcgan": ConditionalDCGANOptions.model_validate(
        {
            "latent": 6,
            "features": 4,
            "max_features": 16,
            "conditions": {"sex": {}, "age": {"kind": "numeric"}},
        }
    ),
    "dcgan": DCGANOptions(latent=6, features=4, max_features=16),
    "pix2pix": Pix2PixOptions(features=4, critic_features=4),
    "segmenter": SegmenterOptions(features=4, patch=32),
    "wgan_gp": WGANGPOptions(latent=6, features=4, max_features=16),
}
CRITICS = {"dcgan": "discriminator", "pix2pix": "critic", "wgan_gp": "critic"}
RESULT = TrainingResult(7, "lowest l1", "l1", 0.25, [(1, "generator", 0.5), (7, "l1", 0.25)], 1.0)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(arch: str, data: Dataset, **changes) -> Generator:
    """A small generator with non-trivial batch norm statistics."""
    options = OPTIONS[arch].model_copy(update=changes)
    generator = build(arch, options, generator_class(arch).spec_of(options, data), seed=3)
    for name, buffer in generator.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(1e-3, 1e-2, generator=torch.Generator().manual_seed(len(name)))
    return generator.eval()


def conditions(generator: Generator, data: Dataset, count: int) -> torch.Tensor | None:
    """Conditions of the first items as a recipe makes them."""
    if not generator.conditional:
        return None
    return torch.stack([generator.condition(data.item(i)) for i in range(count)])


@pytest.mark.parametrize("arch", OPTIONS)
def test_samples_do_not_depend_on_their_batch(arch, toy_dataset):
    """An item is the same bits alone, in another order, and in another shard's batch; seeds matter."""
    data = toy_dataset(size=64)
    generator = make(arch, data)
    given, seeds = conditions(generator, data, 5), [11, 2**62, 13, 14, 15]
    together = generator.sample(given, seeds)
    order = [4, 1, 3]
    some = generator.sample(None if given is None else given[order], [seeds[i] for i in order])
    assert torch.equal(some, together[order])
    assert together.shape == (5, *generator.sample_shape)
    low, high = generator.model_range
    assert low <= together.min() <= together.max() <= high
    again = generator.sample(None if given is None else given[[0, 0]], [1, 2])
    assert torch.equal(again[0], again[1]) == (arch == "segmenter")
    assert generator.sample(None if given is None else given[:0], []).shape == (0, *generator.sample_shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("arch", OPTIONS)
def test_training_and_sampling_share_one_transform(arch, dtype, toy_dataset):
    """Tensors of a training example without augmentation equal validation's and a recipe's, bit for bit."""
    data = toy_dataset(dtype=dtype)
    generator = make(arch, data)
    for index in range(3):
        item = data.item(index)
        trained = generator.example(item, np.random.default_rng(0), Augment())
        validated = generator.example(item)
        assert all(torch.equal(trained[key], validated[key]) for key in trained)
        assert all(value.dtype == torch.float32 for value in trained.values())
        if arch in ("pix2pix", "conditional_dcgan"):
            assert torch.equal(trained["condition"], generator.condition(item))
        if arch == "pix2pix":
            assert torch.equal(trained["condition"], generator.condition_of_label(data.mask(index)))
        if arch == "segmenter":
            assert torch.equal(trained["input"], generator.condition(Item(item.image)))
        else:
            assert np.array_equal(generator.decode(trained["real"][None])[0], item.image)
            assert trained["real"].min() == -1


def test_segmenter_trains_on_patches_and_predicts_whole_images(toy_dataset):
    """Image, target and field of view are cut alike; sampling covers every pixel of any size."""
    data = toy_dataset(size=64)
    generator = make("segmenter", data)
    whole = generator.example(data.item(0))
    patch = generator.example(data.item(0), np.random.default_rng(1), Augment())
    assert {value.shape[1:] for value in patch.values()} == {(32, 32)}
    matches = [
        (top, left)
        for top in range(33)
        for left in range(33)
        if torch.equal(whole["input"][:, top : top + 32, left : left + 32], patch["input"])
    ]
    assert len(matches) == 1
    top, left = matches[0]
    for key in ("target", "inside"):
        assert torch.equal(whole[key][:, top : top + 32, left : left + 32], patch[key])
    other = toy_dataset("other", size=80)
    assert generator.sample(generator.condition(other.item(0))[None], [0]).shape == (1, 1, 80, 80)


def test_segmenter_learns_only_inside_the_field_of_view(toy_dataset):
    """A label flipped outside changes no loss; an absent field of view (255) counts everywhere."""
    data = toy_dataset()
    generator = make("segmenter", data, patch=0, dropout=0.0)
    masks = data.masks(0).copy()
    flipped = masks.copy()
    flipped[0][masks[1] == 0] = 1
    assert not np.array_equal(masks, flipped)

    def loss(stack):
        batch = {key: value[None] for key, value in generator.example(Item(data.image(0), stack)).items()}
        return sum(generator.training_step(batch, "net").values()).item()

    assert loss(masks) == loss(flipped)
    absent = flipped.copy()
    absent[1] = 255
    assert loss(absent) != loss(masks)
    assert generator.inside(absent).all()


def test_an_absent_label_is_never_learnt_as_background(toy_dataset):
    """An item without a label mask (255 throughout) is refused, also when augmentation turns it."""
    data = toy_dataset(size=64)
    masks = data.masks(0).copy()
    masks[0] = ABSENT
    turned = {"rng": np.random.default_rng(1), "augment": Augment(rotate_deg=90, scale=0.3)}
    for arch, message in (("segmenter", r"prepare\.require_mask"), ("pix2pix", r"\[255\]")):
        generator = make(arch, data)
        for changes in ({}, turned):
            with pytest.raises(DataError, match=message):
                generator.example(Item(data.image(0), masks), **changes)


def test_segmenter_draws_one_label_or_all(toy_dataset):
    """`label` restricts the foreground, and decoding gives that label's value back."""
    data = toy_dataset(labels=2)
    label = np.array([[0, 1, 2]], np.uint8)
    assert make("segmenter", data).target(label).tolist() == [[[0, 1, 1]]]
    assert make("segmenter", data).made_labels == {1: "foreground"}
    one = make("segmenter", data, label="disc2")
    assert one.target(label).tolist() == [[[0, 0, 1]]]
    assert one.made_labels == {2: "disc2"}
    assert one.decode(torch.tensor([0.4, 0.6]).reshape(1, 1, 1, 2)).tolist() == [[[[0, 2]]]]
    with pytest.raises(ConfigError, match=r"options\.label: 'vessel' is none of"):
        make("segmenter", data, label="vessel")


def test_dcgan_takes_the_sides_that_the_configuration_promises():
    """One list in the configuration, which must not import networks, and one beside the network."""
    assert SIZES == DCGAN_SIZES


@pytest.mark.parametrize("labels", [1, 3])
def test_dcgan_of_masks_makes_label_masks(labels, toy_dataset):
    """One channel for one label, one-hot for more; encoding and decoding are inverse."""
    data = toy_dataset(labels=labels)
    generator = make("dcgan", data, of="mask")
    assert generator.channels == (1 if labels == 1 else labels + 1)
    assert generator.made_labels == data.info.labels
    real = generator.example(data.item(0))["real"]
    assert set(real.unique().tolist()) == {-1.0, 1.0}
    assert np.array_equal(generator.decode(real[None])[0, 0], data.mask(0))
    masks = generator.decode(generator.sample(None, range(4)))
    assert masks.shape == (4, 1, 32, 32)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) <= set(range(labels + 1))


def test_label_code_keeps_the_datasets_values():
    """Values need not be consecutive; a value that is no label is named."""
    code = LabelCode({4: "tumour", 2: "oedema"})
    label = np.array([[0, 2], [4, 2]], np.uint8)
    tensor = code.encode(label)
    assert tensor.shape == (3, 2, 2)
    assert tensor[:, 1, 0].tolist() == [-1, -1, 1]
    assert np.array_equal(code.decode(tensor[None])[0, 0], label)
    with pytest.raises(DataError, match=r"\[255\], the labels are \[2, 4\]"):
        code.encode(np.array([[255]], np.uint8))


def test_label_code_takes_volumes():
    """(D, H, W) label maps, binary and one-hot, come back."""
    label = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    for names in ({1: "a", 2: "b"}, {1: "a"}):
        code, known = LabelCode(names), np.minimum(label, len(names))
        tensor = code.encode(known)
        assert tensor.shape == (code.channels, 4, 5, 6)
        assert np.array_equal(code.decode(tensor[None])[0, 0], known)


@pytest.mark.parametrize("arch", OPTIONS)
def test_2d_generators_refuse_volumes_and_oblong_images(arch, toy_dataset):
    """The base takes any dimension; what an architecture needs it says itself."""
    spec = ImageSpec.of(toy_dataset().info)
    for shape in ((3, 32, 64), (3, 32, 32, 32)):
        with pytest.raises(ConfigError, match=rf"{arch} needs square 2D images"):
            build(arch, OPTIONS[arch], replace(spec, image_shape=shape))


@pytest.mark.parametrize(
    ("arch", "data", "changes", "error", "message"),
    [
        ("dcgan", {"size": 48}, {}, ConfigError, r"prepare\.size: dcgan"),
        ("dcgan", {}, {"features": 32}, ConfigError, r"options\.max_features"),
        ("dcgan", {"labels": 0}, {"of": "mask"}, DataError, "label masks"),
        ("wgan_gp", {"size": 48}, {}, ConfigError, r"prepare\.size: wgan_gp"),
        ("pix2pix", {}, {"levels": 6}, ConfigError, "multiple of 64"),
        ("pix2pix", {"labels": 0}, {}, DataError, "label masks"),
        ("segmenter", {}, {"patch": 40}, ConfigError, r"options\.patch: 40"),
        ("segmenter", {}, {"patch": 64}, ConfigError, r"options\.patch: 64"),
        ("segmenter", {"labels": 0}, {}, DataError, "label masks"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_training(arch, data, changes, error, message, toy_dataset):
    """With the key to change."""
    with pytest.raises(error, match=message):
        make(arch, toy_dataset(**data), **changes)


def test_wrong_conditions_are_refused(toy_dataset):
    """Missing, superfluous, or not one a seed."""
    data = toy_dataset()
    pix2pix, dcgan = make("pix2pix", data), make("dcgan", data)
    with pytest.raises(ValueError, match="needs conditions"):
        pix2pix.sample(None, [1])
    with pytest.raises(ValueError, match="takes no conditions"):
        dcgan.sample(torch.zeros(1, 1, 32, 32), [1])
    with pytest.raises(ValueError, match="1 conditions for 2 seeds"):
        pix2pix.sample(conditions(pix2pix, data, 1), [1, 2])


def test_initial_weights_follow_the_seed(toy_dataset):
    """And the caller's random numbers are left alone."""
    spec = ImageSpec.of(toy_dataset().info)
    config = DCGANConfig(arch="dcgan", data="toy", options=OPTIONS["dcgan"])
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    weights = [create(config, spec, seed).state_dict()["generator.layers.0.weight"] for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_gradient_penalty_of_a_linear_critic():
    """The logit w . x has the gradient w everywhere: the penalty is |w|^2 / 2, its own gradient w."""
    weight = torch.randn(3 * 4 * 4, requires_grad=True)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty(images.flatten(1) @ weight + 0.3, images)
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    torch.testing.assert_close(torch.autograd.grad(penalty, weight)[0], weight)


def test_items_of_one_noise_cost_most():
    """Neighbours' distances by hand, within kinds alone; bounded also where all noise makes one item."""
    noise = torch.tensor([[0.0, 0.0], [1.0, 3.0], [0.0, 2.0]])
    made = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    one = torch.zeros(3, dtype=torch.long)
    ratios = [1.0 / 1.0, 0.5 / 2.0, 0.5 / 1.0]  # the first one's neighbour is the last
    expected = torch.tensor(3 / sum(ratios))
    torch.testing.assert_close(mode_seeking_loss(made, noise, one), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(mode_seeking_loss(made * 0, noise, one), torch.tensor(1e5))
    assert mode_seeking_loss(made[:1], noise[:1], one[:1]) == 0
    assert mode_seeking_loss(made, noise, torch.arange(3)) == 0
    two = mode_seeking_loss(made, noise, torch.tensor([1, 0, 1]))  # the first and the last
    torch.testing.assert_close(two, torch.tensor(1.0), rtol=1e-4, atol=0)


def test_mode_seeking_keeps_a_generator_from_making_one_item(toy_dataset):
    """Its gradient alone drives items of different noise apart."""
    data = toy_dataset()
    generator = make("dcgan", data, mode_seeking=0.1).train()
    batch = {"real": torch.stack([generator.example(data.item(index))["real"] for index in range(4)])}
    optimizer = generator.configure_optimizer("generator", generator.generator.parameters())
    torch.manual_seed(0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        losses.append(generator.training_step(batch, "generator")["modes"])
        losses[-1].backward()
        optimizer.step()
    first, last = (torch.stack(part).mean() for part in (losses[:10], losses[-10:]))
    assert last < 0.8 * first
    assert "modes" not in make("dcgan", data).train().training_step(batch, "generator")


def test_patch_discriminator_teaches_the_generator(toy_dataset):
    """It adds a loss and a phase of its own, learns in it, and is no part of what sampling needs."""
    data = toy_dataset()
    generator = make("dcgan", data, patch_weight=0.5).train()
    batch = {"real": torch.stack([generator.example(data.item(index))["real"] for index in range(4)])}
    assert generator.phases == ("generator", "discriminator", "patch_discriminator")
    losses = generator.training_step(batch, "generator")
    gradient = torch.autograd.grad(losses["patches"], list(generator.generator.parameters()))
    assert all(part.isfinite().all() for part in gradient)
    assert gradient[0].abs().sum() > 0
    losses = generator.training_step(batch, "patch_discriminator")
    assert set(losses) == {"real", "fake"}
    assert generator.sampling_modules == ("generator",)
    assert make("dcgan", data).phases == ("generator", "discriminator")


def test_dcgan_trains_with_gradient_penalty_and_instance_noise(toy_dataset):
    """A quarter of the steps are penalised, four times as hard; every gradient is finite."""
    data = toy_dataset()
    generator = make("dcgan", data, r1_gamma=2.0, instance_noise=0.1).train()
    real = torch.stack([generator.example(data.item(index))["real"] for index in range(4)])
    torch.manual_seed(0)
    penalised = 0
    for _ in range(40):
        batch = {"real": real}
        assert set(generator.training_step(batch, "generator")) == {"generator"}
        losses = generator.training_step(batch, "discriminator")
        if "r1" not in losses:
            continue
        penalised += 1
        sum(losses.values()).backward()
        gradients = [parameter.grad for parameter in generator.discriminator.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        assert losses["r1"] > 0
    assert 4 <= penalised <= 18
    plain = make("dcgan", data).train()
    batch = {"real": real, "fake": real}
    assert all("r1" not in plain.training_step(batch, "discriminator") for _ in range(20))


def test_pix2pix_overfits_one_pair(toy_dataset, tmp_path):
    """L1 below 0.02 in [-1, 1] units: generator, skip connections, losses and optimiser work together."""
    data = toy_dataset(splits={"train": 1, "val": 1}, channels=1)
    options = Pix2PixOptions(features=16, critic_features=4, levels=4, lr=2e-3, dropout=0.0)
    model = build("pix2pix", options, ImageSpec.of(data.info))
    pair = data.select("train")
    training = TrainingOptions(steps=300, batch_size=1, validate_every=50, log_every=100)
    where = {"state_dir": tmp_path / "state", "fingerprint": "f", "progress": False}
    result = train(model, pair, pair, training, Runtime(accelerator="cpu"), seed=0, **where)
    assert result.metric < 0.02


def test_dcgan_metric_falls_when_samples_come_nearer(toy_dataset):
    """The real images themselves score far lower than an untrained generator's."""
    data = toy_dataset(splits={"train": 40, "val": 30})
    train_items, held_out = data.select("train"), data.select("val")
    generator = make("dcgan", data)
    untrained = generator.validation_metric(held_out, train_items)["val_frechet"]
    real = torch.stack([generator.example(data.item(i))["real"] for i in range(len(train_items))])
    generator.sample = lambda _conditions, seeds: real[torch.tensor(list(seeds)) % len(real)]
    perfect = generator.validation_metric(held_out, train_items)["val_frechet"]
    assert perfect < 0.1 * untrained


def test_dcgan_metric_survives_tiny_data(toy_dataset):
    """Two validation items and three training ones give a finite number."""
    data = toy_dataset(splits={"train": 3, "val": 2})
    value = make("dcgan", data, of="mask").validation_metric(data.select("val"), data.select("train"))
    assert np.isfinite(value["val_frechet"])


def test_frechet_distance_equals_the_gaussian_formula():
    """Commuting covariances have a closed form; points with known moments reproduce it to 1e-8."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    a, b, gap = rng.uniform(0.1, 3, 5), rng.uniform(0.1, 3, 5), rng.normal(size=5)
    expected = gap @ gap + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    first, second = (basis * a) @ basis.T, (basis * b) @ basis.T

    def points(covariance, mean):
        white = rng.normal(size=(50, 5))
        white -= white.mean(axis=0)
        white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T
        return white @ np.linalg.cholesky(covariance).T + mean

    assert frechet_distance(points(first, gap), points(second, 0)) == pytest.approx(expected, abs=1e-8)
    singular = np.repeat(rng.normal(size=(9, 1)), 5, axis=1)
    assert frechet_distance(singular, singular) == pytest.approx(0, abs=1e-8)
    with pytest.raises(ValueError, match="2 points"):
        frechet_distance(singular[:1], singular)


def test_image_pool_shows_older_pairs_half_of_the_time():
    """It fills first, keeps condition and fake together, and 0 hands through."""
    pool = ImagePool(4)
    torch.manual_seed(0)
    older = 0
    for number in range(400):
        fake = torch.full((1, 1, 2, 2), float(number))
        condition, shown = pool.exchange(-fake, fake)
        assert torch.equal(condition, -shown)
        assert number >= 4 or torch.equal(shown, fake)
        older += not torch.equal(shown, fake)
    assert len(pool.pairs) == 4
    assert 0.4 < older / 400 < 0.6
    fake = torch.rand(2, 1, 2, 2)
    assert ImagePool(0).exchange(fake, fake)[1] is fake


@pytest.mark.parametrize("arch", OPTIONS)
def test_model_folder_brings_back_the_same_samples(arch, toy_dataset, tmp_path):
    """From `model.json` and `weights.safetensors` alone; lineage and choice travel along."""
    data = toy_dataset(lineage=("elsewhere/p1",)).select("train")
    generator = make(arch, data)
    save_model(tmp_path / "model", generator, RESULT, data, seed=3, provenance={"host": "here"})
    for name in ("history.parquet", "provenance.json"):
        (tmp_path / "model" / name).unlink()
    loaded = load_generator(tmp_path / "model")
    given = conditions(generator, data, 2)
    assert torch.equal(loaded.sample(given, [5, 6]), generator.sample(given, [5, 6]))
    assert loaded.spec == generator.spec
    assert loaded.options == generator.options
    model = json.loads((tmp_path / "model" / "model.json").read_text())
    assert model["training"]["lineage"] == sorted(data.subjects() | {"elsewhere/p1"})
    assert (model["step"], model["seed"], model["metric"]["value"]) == (7, 3, 0.25)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_finished_fit_leaves_a_model_and_no_state(toy_dataset, tmp_path, monkeypatch):
    """The resumable state, three times the model's size, goes when the model is written, and only then."""
    data = toy_dataset()
    entry = DCGANConfig(
        arch="dcgan", data="toy", options=OPTIONS["dcgan"], training=NoiseTraining(steps=2, batch_size=2)
    )
    call = {"seed": 0, "runtime": Runtime(accelerator="cpu")}

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "save_model", fail)
        with pytest.raises(OSError, match="disk full"):
            fit_module.fit(entry, data.folder, tmp_path / "model", **call)
    assert (tmp_path / "model" / "state" / "last.pt").exists()
    fit_module.fit(entry, data.folder, tmp_path / "model", **call)
    assert not (tmp_path / "model" / "state").exists()
    assert load_generator(tmp_path / "model").arch == "dcgan"


@pytest.mark.parametrize("arch", OPTIONS)
def test_weights_hold_only_what_sampling_needs(arch, toy_dataset, tmp_path):
    """No discriminator, no optimiser."""
    data = toy_dataset()
    save_model(tmp_path, make(arch, data), RESULT, data, seed=0)
    names = {key.split(".")[0] for key in load_file(tmp_path / "weights.safetensors")}
    assert names == ({"net"} if arch == "segmenter" else {"generator"})
    assert not hasattr(load_generator(tmp_path), CRITICS.get(arch, "discriminator"))


def damage_weights(folder):
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-9] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


def rewrite(folder, **changes):
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_weights, "not the weights that model.json describes"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "FileNotFoundError"),
        (lambda folder: (folder / "model.json").write_text("{"), "not a readable model"),
        (lambda folder: rewrite(folder, format_version=99), "format version 99"),
        (lambda folder: rewrite(folder, arch="diffusion"), "diffusion"),
        (lambda folder: rewrite(folder, options={"latent": 5, "features": 4, "max_features": 16}), "shape"),
        (lambda folder: rewrite(folder, options={"lattent": 5}), "lattent"),
    ],
)
def test_damaged_model_folder_is_refused(damage, message, toy_dataset, tmp_path):
    """A flipped bit, a missing file, other options: always a CheckpointError that says which folder."""
    data = toy_dataset()
    folder = tmp_path / "model"
    save_model(folder, make("dcgan", data), RESULT, data, seed=0)
    load_generator(folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as error:
        load_generator(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("arch", OPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_previews_show_pictures(arch, channels, toy_dataset):
    """Panels are uint8 colours of the image's size for grey and colour data."""
    data = toy_dataset(channels=channels)
    panels = make(arch, data).preview([data.item(i) for i in range(2)])
    assert panels.dtype == np.uint8
    assert panels.shape[2:] == (32, 32, 3)
    assert panels.max() > panels.min()
