"""The 3D label-to-brain GAN: published sizes, mixing identities, memory options, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from mirage.config.base import Runtime
from mirage.config.generators import Augment, LabelToBrainConfig, LabelToBrainOptions, PairTraining
from mirage.config.model import Config
from mirage.data import Item
from mirage.data.manifest import ABSENT
from mirage.errors import ConfigError, DataError
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.generators.brain_code import BrainCode
from mirage.generators.checkpoint import load_generator, save_model
from mirage.networks.patch3d import PatchDiscriminator3D
from mirage.networks.unet3d import ConvUnit, Norm, UNet3D, convolve
from mirage.training.batches import batches, step_items
from mirage.training.loop import TimeBudgetReached, TrainingResult, train
from mirage.training.losses import mean_inside
from mirage.training.previews import triplanar

SMALL = {"f_maps": 4, "levels": 3, "discriminator_f_maps": 4, "discriminator_levels": 2, "local_crop": 8}
FAITHFUL = {
    "coding": "scalar",
    "matched": False,
    "local_crop": 0,
    "noise_channels": 0,
    "order": "gcr",
    "discriminator_order": "gcr",
    "affine": True,
    "spectral_norm": "none",
    "beta1": 0.9,
}
ARMS = {"recommended": {}, "faithful": FAITHFUL, "faithful_sn": {**FAITHFUL, "spectral_norm": "both"}}
LABELS = {1: "NCR", 2: "ED", 3: "ET"}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def make(data, **changes):
    """A small generator; everything else as by default."""
    return build("label_to_brain", LabelToBrainOptions(**{**SMALL, **changes}), ImageSpec.of(data.info), 3)


def batch_of(generator, data, count=2):
    """Examples of the first items, as the loop stacks them."""
    examples = [generator.example(data.item(index)) for index in range(count)]
    return {key: torch.stack([example[key] for example in examples]) for key in examples[0]}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (lambda: UNet3D(1, 4, 16), 1_021_166),
        (lambda: UNet3D(5, 4, 16), 1_022_038),
        (lambda: UNet3D(1, 4, 32), 4_081_366),
        (lambda: UNet3D(5, 4, 32), 4_083_102),
        (lambda: UNet3D(1, 4, 64), 16_318_886),
        (lambda: UNet3D(5, 4, 64), 16_322_350),
        (lambda: UNet3D(1, 4, 64, order="cir", affine=False), 16_313_444),
        (lambda: UNet3D(1, 4, 32, order="icr", affine=False), 4_078_644),
        (lambda: UNet3D(1, 4, 64, order="cr"), 16_315_780),
        (lambda: UNet3D(1, 4, 64, order="crg"), 16_318_116),
        (lambda: UNet3D(1, 4, 64, spectral_norm=True), 16_318_886),
        (lambda: PatchDiscriminator3D(5, 64), 7_029_291),
    ],
)
def test_parameter_counts_are_the_published_ones(module, expected):
    """A bias, a norm or the rule of half the width too many or too few change the count."""
    with torch.device("meta"):
        assert parameters(module()) == expected


def test_discriminator_gives_8x30x30_logits_at_the_published_size():
    """One for each 8 x 8 x 8 voxels, whatever the number of channels."""
    network = PatchDiscriminator3D(5, f_maps=2, order="cr")
    with torch.inference_mode():
        assert network(torch.zeros(1, 5, 64, 240, 240)).shape == (1, 1, 8, 30, 30)


def test_discriminator_looks_at_68_voxels():
    """A logit does not change with anything outside a cube of 68, and does with its outermost planes."""
    network = PatchDiscriminator3D(1, f_maps=2, order="cl").eval()
    volume = torch.randn(1, 1, 96, 96, 96)
    with torch.inference_mode():
        expected = network(volume)[0, 0, 6, 6, 6]
        low, high = 6 * 8 + 4 - 34, 6 * 8 + 4 + 34
        changed = torch.randn_like(volume) * 100
        changed[..., low:high, low:high, low:high] = volume[..., low:high, low:high, low:high]
        assert network(changed)[0, 0, 6, 6, 6] == expected
        for plane in (low, high - 1):
            changed = volume.clone()
            changed[..., plane] = 1e4 * torch.randn(96, 96)
            assert network(changed)[0, 0, 6, 6, 6] != expected


@pytest.mark.parametrize("order", ["gcr", "cgr", "cir", "cl", "crg"])
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_unet_of_any_order_keeps_the_size(order, spectral_norm):
    """Down and up cancel for different sides."""
    network = UNet3D(3, 2, 4, levels=3, order=order, spectral_norm=spectral_norm)
    assert network(torch.randn(2, 3, 8, 12, 16)).shape == (2, 2, 8, 12, 16)


def test_convolution_of_parts_is_that_of_their_concatenation():
    """The largest tensor of the network is never made where the norm comes after the convolution."""
    a, b = torch.randn(2, 3, 6, 6, 6), torch.randn(2, 5, 6, 6, 6)
    for order in ("cr", "cil", "gcr"):
        unit = ConvUnit(8, 4, order, affine=True, spectral_norm=False)
        together = unit(unit.weight(), torch.cat([a, b], dim=1))
        torch.testing.assert_close(unit(unit.weight(), a, b), together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 6, 5, 4), (1, 3, 5, 5, 4), (1, 3, 1, 2, 2), (2, 3, 6, 5, 4)])
def test_a_single_item_is_convolved_like_any(shape):
    """In two halves, which overlap where they meet; values and gradients are PyTorch's own."""
    x, weight, bias = torch.randn(shape), torch.randn(2, 3, 3, 3, 3), torch.randn(2)
    made = []
    for function in (convolve, lambda *given: functional.conv3d(*given, padding=1)):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        y = function(*leaves)
        y.square().sum().backward()
        made.append([y, *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*made, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("affine", [True, False])
def test_norm_has_full_precision_statistics(groups, affine):
    """bfloat16 in and out, also under autocast; off by the rounding of values, not of their mean."""
    norm = Norm(groups, 8, affine)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = (torch.randn(2, 8, 12, 12, 12) + 100.25).bfloat16()  # bfloat16 rounds that mean
    expected = functional.group_norm(x.float(), groups, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x.float()), expected, atol=1e-4, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        made = norm(x)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("arm", ARMS)
def test_checkpointing_changes_no_result(arm, toy_volumes):
    """Losses and gradients are those without it, to the bit where one volume is made a step."""
    data = toy_volumes(extent=(16, 16, 16))
    seen = []
    for checkpointing in (False, True):
        generator = make(data, **ARMS[arm], checkpointing=checkpointing).train()
        batch, losses = batch_of(generator, data), []
        for phase in generator.phases:
            torch.manual_seed(5)
            found = generator.training_step(batch, phase)
            sum(found.values()).backward()
            losses += [loss.detach() for loss in found.values()]
        gradients = [parameter.grad for parameter in generator.parameters()]
        seen.append((torch.stack(losses), torch.cat([gradient.flatten() for gradient in gradients])))
    tolerance = 1e-4 if generator.options.matched else 0
    for plain, checkpointed in zip(*seen, strict=True):
        assert (plain - checkpointed).abs().max() <= tolerance * plain.abs().max()


def test_checkpointing_keeps_less():
    """Of all that the backward pass needs, the full-resolution levels hold most."""
    kept = {}
    for checkpointing in (False, True):
        network = UNet3D(3, 2, 8, order="cir", affine=False, checkpointing=checkpointing)
        weights = {parameter.data_ptr() for parameter in network.parameters()}
        sizes: dict[int, int] = {}

        def note(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            made = network(torch.randn(1, 3, 16, 24, 24))
        kept[checkpointing] = sum(size for place, size in sizes.items() if place not in weights)
        assert made.requires_grad
    assert kept[True] < 0.65 * kept[False]


@pytest.mark.parametrize("coding", ["one_hot", "scalar"])
def test_condition_is_the_tumour_cut_off_at_the_brain(coding):
    """No label outside, an empty tumour gives the brain itself, and values are those of the table."""
    rng = np.random.default_rng(0)
    code = BrainCode(LABELS, coding)
    label = torch.from_numpy(rng.integers(0, 4, (2, 6, 7, 8)).astype(np.uint8))
    brain = torch.from_numpy(rng.integers(0, 2, (2, 6, 7, 8)).astype(np.uint8))
    condition = code.encode(label, brain)
    assert condition.shape == (2, code.channels, 6, 7, 8)
    assert torch.equal(code.brain(condition)[:, 0], brain > 0)
    assert torch.equal(code.tumour(condition)[:, 0], (label * brain) > 0)
    healthy = code.encode(torch.zeros_like(label), brain)
    assert not code.tumour(healthy).any()
    if coding == "scalar":
        assert torch.equal(healthy[:, 0], brain.float())
        raw = torch.tensor([0, 1, 2, 4])[label.long()]  # BraTS 2020's own codes
        assert torch.equal(condition[:, 0], ((raw + brain) * brain).float())
        assert set(condition.unique().tolist()) == {0.0, 1.0, 2.0, 3.0, 5.0}
    else:
        assert torch.equal(healthy[:, 1] > 0, brain > 0)
        assert torch.equal((condition > 0).sum(dim=1), torch.ones_like(label))
        assert set(condition.unique().tolist()) == {-1.0, 1.0}


def test_scalar_code_needs_known_names():
    """A label of another table has no place among the published codes."""
    BrainCode({1: "lesion"}, "one_hot")
    with pytest.raises(ConfigError, match=r"options\.coding: the labels \['lesion'\]"):
        BrainCode({1: "lesion"}, "scalar")


@pytest.mark.parametrize("arm", ARMS)
def test_training_and_sampling_share_one_transform(arm, toy_volumes):
    """The condition of training equals a recipe's bit for bit, and real volumes come back as stored."""
    data = toy_volumes(extent=(16, 16, 16))
    generator = make(data, **ARMS[arm])
    item = data.item(0)
    trained = generator.example(item, np.random.default_rng(0), Augment())
    plain = generator.example(item)
    assert all(torch.equal(trained[key], plain[key]) for key in plain)
    condition = generator.code.encode(trained["label"][None], trained["brain"][None])[0]
    assert torch.equal(condition, generator.condition(Item(item.image * 0, item.masks)))
    assert np.array_equal(generator.decode(trained["real"][None])[0], item.image)


@pytest.mark.parametrize("arm", ARMS)
def test_everything_outside_the_brain_is_background(arm, toy_volumes):
    """-1 in samples and in what discriminators are shown, 0 in stored volumes; also for a real image."""
    data = toy_volumes(extent=(16, 16, 16))
    generator = make(data, **ARMS[arm]).train()
    batch = batch_of(generator, data)
    generator.training_step(batch, "generator")
    outside = batch["brain"][:1] == 0
    for key in ("real_shown", "fake_shown"):
        assert (batch[key].movedim(1, -1)[outside] == -1).all()
        assert (batch[key].movedim(1, -1)[~outside] > -1).any()
    sample = generator.sample(generator.condition(data.item(0))[None], [1])
    assert (sample.movedim(1, -1)[outside] == -1).all()
    assert (generator.decode(sample)[0][:, outside[0].numpy()] == 0).all()
    noisy = Item(data.image(0) | 1, data.masks(0))
    assert (generator.example(noisy)["real"].movedim(0, -1)[outside[0]] == -1).all()


def test_pairs_are_tumours_of_one_half_on_brains_of_the_other(toy_volumes):
    """Recommended: discriminators see one condition twice; faithful: real labels against mixed ones."""
    data = toy_volumes(extent=(16, 16, 16), splits={"train": 4})
    for matched in (True, False):
        generator = make(data, matched=matched).train()
        batch = batch_of(generator, data, 4)
        losses = generator.training_step(batch, "generator")
        assert ("l1" in losses) == matched
        own = torch.stack([generator.condition(data.item(index)) for index in (0, 1)])
        mixed = torch.stack([condition_of(generator, data, 2, 0), condition_of(generator, data, 3, 1)])
        assert torch.equal(batch["real_condition"], own)
        assert torch.equal(batch["fake_condition"], own if matched else mixed)
        assert set(generator.training_step(batch, "discriminator")) == {
            f"{kind}_{view}" for kind in ("real", "fake") for view in ("whole", "local")
        }


def condition_of(generator, data, tumour, brain):
    """Condition of one item's tumour on another's brain."""
    return generator.condition(
        Item(data.image(brain), np.stack([data.mask(tumour), data.mask(brain, "brain")]))
    )


@pytest.mark.parametrize("arm", ARMS)
def test_sample_depends_on_whose_tumour_and_whose_brain(arm, toy_volumes):
    """Swapping them changes it; noise, where there is any, does too."""
    data = toy_volumes(extent=(16, 16, 16))
    generator = make(data, **ARMS[arm])
    one, other = condition_of(generator, data, 0, 1), condition_of(generator, data, 1, 0)
    samples = generator.sample(torch.stack([one, other, one]), [1, 1, 2])
    assert not torch.equal(samples[0], samples[1])
    assert torch.equal(samples[0], samples[2]) == (generator.options.noise_channels == 0)
    assert torch.equal(generator.sample(one[None], [1])[0], samples[0])


@pytest.mark.parametrize("arm", ARMS)
def test_half_precision_ends_where_it_would_hurt(arm, toy_volumes):
    """Under bf16 autocast, logits, images and losses are float32, and every gradient is finite."""
    data = toy_volumes(extent=(16, 16, 16))
    generator = make(data, **ARMS[arm]).train()
    batch = batch_of(generator, data)
    for phase in generator.phases:
        with torch.autocast("cpu", torch.bfloat16):
            losses = generator.training_step(batch, phase)
            logits = generator._judge(batch["real_condition"], batch["real_shown"])
        assert {value.dtype for value in [*losses.values(), *logits.values()]} == {torch.float32}
        sum(losses.values()).backward()
    assert batch["fake_shown"].dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in generator.parameters())


@pytest.mark.parametrize(
    ("options", "views"),
    [
        ({"local_crop": 0}, {"whole": (16, 16, 24)}),
        ({"local_crop": 8}, {"whole": (16, 16, 24), "local": (8, 8, 8)}),
        (
            {"discriminate": "crops", "crop": 20},
            {"crop": (16, 16, 20), "coarse": (4, 4, 6), "local": (8, 8, 8)},
        ),
    ],
)
def test_discriminators_see_the_views_asked_for(options, views, toy_volumes):
    """Whole, crops and a coarse whole, each by a network of its own; a local crop holds tumour."""
    data = toy_volumes(extent=(16, 16, 24))
    generator = make(data, **options)
    assert generator._view_extents() == views
    seen = {}
    for view, network in generator.discriminator.items():
        network.register_forward_pre_hook(lambda _, inputs, view=view: seen.update({view: inputs[0]}))
    condition = generator.condition(data.item(0))[None]
    generator._judge(condition, torch.zeros(1, 4, 16, 16, 24))
    assert {view: tuple(x.shape[2:]) for view, x in seen.items()} == views
    if "local" in seen:
        assert generator.code.tumour(seen["local"][:, : generator.code.channels]).any()
    healthy = generator.code.encode(torch.zeros(1, 16, 16, 24), torch.ones(1, 16, 16, 24))
    generator._judge(healthy, torch.zeros(1, 4, 16, 16, 24))


def test_one_pair_is_overfitted(toy_volumes, tmp_path):
    """With L1, 300 steps on two subjects give a PSNR above 25 dB inside the brain."""
    data = toy_volumes(extent=(12, 12, 12), splits={"train": 2}).select("train")
    options = {"f_maps": 8, "discriminator_f_maps": 2, "local_crop": 0, "lr_generator": 3e-3}
    generator = make(data, **options)
    training = PairTraining(steps=300, validate_every=300, log_every=100)
    where = {"state_dir": tmp_path / "state", "fingerprint": "f", "progress": False}
    result = train(generator, data, data, training, Runtime(accelerator="cpu"), seed=0, **where)
    errors = []
    for index in range(2):
        condition, real = generator.condition(data.item(index))[None], generator.example(data.item(index))
        squared = (generator.sample(condition, [index]) - real["real"]).square()
        errors.append(mean_inside(squared, generator.code.brain(condition)).item())
    assert 10 * math.log10(4 / np.mean(errors)) > 25
    assert result.metric < 0.1


def test_interrupted_training_ends_with_the_same_bits(toy_volumes, tmp_path):
    """Crops, noise, spectral norm and averaged weights included."""
    data = toy_volumes(extent=(16, 16, 16), splits={"train": 5, "val": 1})
    training = PairTraining(steps=3, batch_size=4, validate_every=2, ema_decay=0.9)

    def fit(folder, **keys):
        generator = make(data, discriminate="crops", crop=12)
        parts = data.select("train"), data.select("val")
        where = {"state_dir": tmp_path / folder, "fingerprint": "f", "progress": False}
        train(generator, *parts, training, Runtime(accelerator="cpu"), seed=5, **where, **keys)
        return generator

    whole = fit("whole")
    for _ in range(2):
        with pytest.raises(TimeBudgetReached):
            fit("short", minutes=1e-6)
    resumed = fit("short", minutes=1e-6)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key
    # The layout that halves a step on a CPU.
    weight = whole.generator.encoder.blocks[1].first.weight()
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_batch_holds_different_subjects(toy_volumes):
    """Floor(N / 2) pairs an epoch, the odd subject left out in turn; too few subjects are refused."""
    steps = [step_items(3, step, 2, 5, distinct=True) for step in range(40)]
    assert all(a != b for a, b in steps)
    assert [len(set(np.concatenate(steps[first : first + 2]))) for first in range(0, 40, 2)] == [4] * 20
    assert set(np.concatenate(steps)) == set(range(5))
    data = toy_volumes(extent=(16, 16, 16), splits={"train": 3})
    generator = make(data)
    assert generator.distinct_items
    with pytest.raises(DataError, match="batch of 4 different items cannot be made of 3"):
        next(batches(generator, data, PairTraining(batch_size=4), seed=0))


def test_odd_batches_are_refused(toy_volumes):
    """At parse time where the configuration shows it, else in the first step."""
    with pytest.raises(ValidationError, match="multiple of 2"):
        PairTraining(batch_size=3)
    with pytest.raises(ValidationError, match="multiple of 4"):
        PairTraining(batch_size=6, accumulate=2)
    data = toy_volumes(extent=(16, 16, 16))
    generator = make(data)
    with pytest.raises(ConfigError, match=r"training\.batch_size: 3 subjects"):
        generator.training_step(batch_of(generator, data, 3), "generator")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (256, "is for volumes, its data are 2D images"),
        ((64, 60, 64), "multiples of 8"),
        ((8, 8, 8), "not all 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_parse_time(size, message):
    """2D images, sides that cannot be halved, and a single voxel at the bottom."""
    config = LabelToBrainConfig(arch="label_to_brain", data="brats")
    with pytest.raises(ValueError, match=message):
        config.check_size(size)
    config.check_size((64, 240, 240))
    assert config.training.batch_size == 2


def test_volumes_and_images_do_not_mix_in_a_configuration():
    """A 2D generator of volumes, a volume generator of images, a recipe of the wrong kind of generator."""
    brats = {"source": {"reader": "brats"}, "prepare": {"kind": "volume", "size": [64, 64, 64]}}
    fundus = {"source": {"reader": "drive"}}
    mix = {"recipe": "mix_labels", "generator": "g", "data": "d", "count": 2}

    study = {"title": "t", "question": "q", "evaluations": ["e"]}

    def config(dataset, arch, recipe):
        judge = "volume_segmentation" if dataset is brats else "segmentation"
        return Config(
            run=["s"],
            datasets={"d": dataset},
            generators={"g": {"arch": arch, "data": "d"}},
            recipes={"r": recipe} if recipe else {},
            evaluations={"e": {"evaluator": judge, "test": "d", "arms": {"real": {"train": ["d"]}}}},
            studies={"s": study},
        )

    assert config(brats, "label_to_brain", mix).recipes["r"].volumes
    for dataset, arch, recipe, message in (
        (brats, "pix2pix", None, r"generators\.g\.data: pix2pix is for 2D images"),
        (fundus, "label_to_brain", None, r"generators\.g\.data: label_to_brain is for volumes"),
        (fundus, "pix2pix", mix, r"recipes\.r: is for volumes"),
        (brats, "deepmedic", mix, r"recipes\.r\.generator: expected a generator of images from mask"),
    ):
        with pytest.raises(ValidationError, match=message):
            config(dataset, arch, recipe)


@pytest.mark.parametrize(
    ("changes", "options", "error", "message"),
    [
        ({"image_shape": (4, 32, 32)}, {}, ConfigError, "needs volumes"),
        ({"image_shape": (4, 16, 18, 16)}, {}, ConfigError, "multiples of 4"),
        ({"mask_channels": ["label"]}, {}, DataError, "mask channel 'brain'"),
        ({"mask_channels": ["brain"]}, {}, DataError, "learns from label masks"),
        ({}, {"discriminator_levels": 6}, ConfigError, r"options\.discriminator_levels: 6"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_training(changes, options, error, message, toy_volumes):
    """With what to change."""
    spec = replace(ImageSpec.of(toy_volumes(extent=(16, 16, 16)).info), **changes)
    with pytest.raises(error, match=message):
        build("label_to_brain", LabelToBrainOptions(**{**SMALL, **options}), spec)


def test_an_absent_mask_is_never_learnt(toy_volumes):
    """Neither a label that an item lacks nor a brain mask without a brain."""
    data = toy_volumes(extent=(16, 16, 16))
    generator = make(data)
    for channel, value, message in ((0, ABSENT, r"holds \[255\]"), (1, 0, "empty"), (1, ABSENT, "absent")):
        masks = data.masks(0).copy()
        masks[channel] = value
        with pytest.raises(DataError, match=message):
            generator.example(Item(data.image(0), masks))


@pytest.mark.parametrize("order", ["gg", "ccr", "icgr", "c", "rc"])
def test_impossible_orders_are_refused(order):
    """In the configuration and in the network."""
    with pytest.raises(ValidationError, match="order"):
        LabelToBrainOptions(order=order)
    with pytest.raises(ValueError, match="order"):
        UNet3D(1, 1, 4, order=order)


def test_model_folder_brings_back_the_same_samples(toy_volumes, tmp_path):
    """From files alone, without discriminators; spectral norm's estimates travel along."""
    data = toy_volumes(extent=(16, 16, 16))
    generator = make(data, spectral_norm="both").train()
    generator.training_step(batch_of(generator, data), "generator")
    condition = generator.condition(data.item(0))[None]
    expected = generator.sample(condition, [5])
    result = TrainingResult(1, "last", "val_l1", 0.5, [], 1.0)
    save_model(tmp_path / "model", generator, result, data, seed=3)
    loaded = load_generator(tmp_path / "model")
    assert torch.equal(loaded.sample(condition, [5]), expected)
    assert not hasattr(loaded, "discriminator")


def test_previews_show_three_planes(toy_volumes):
    """Axial with the anterior edge up, coronal and sagittal with the superior edge up."""
    volume = np.zeros((1, 4, 6, 8), np.uint8)
    volume[0, 3], volume[0, :, 0] = 1, 2
    sheet = triplanar(volume)
    assert sheet.shape == (1, 6, 8 + 8 + 6)
    assert (sheet[0, 0, :8] == 2).all()
    assert (sheet[0, 0, 8:16] == 1).all()
    assert (sheet[0, :4, 16] == 2).all()
    data = toy_volumes(extent=(16, 20, 24))
    panels = make(data).preview([data.item(0), data.item(1)])
    assert panels.shape == (4, 5, 20, 24 + 24 + 20, 3)
    assert panels.dtype == np.uint8
