"""The judges of volumes: DeepMedic's network, its windows, its optimiser and its tiles; the 3D U-Nets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.nn import functional

import mirage.generators.deepmedic as deepmedic_module
from mirage.config.base import Runtime
from mirage.config.generators import DeepMedicConfig, GeneratorConfig, TrainingOptions
from mirage.config.judges import DeepMedicOptions, Segmenter3DOptions, VolumeAugment
from mirage.data import Item
from mirage.errors import ConfigError, DataError
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.generators.checkpoint import load_generator, save_model
from mirage.networks.deepmedic import (
    VARIANTS,
    DeepMedic,
    Dropout,
    Pathway,
    RollingBatchNorm,
    Variant,
    repeat,
)
from mirage.preprocess.windows import anchored_tiles, beyond, mirrored, positions, tile_starts
from mirage.training.loop import TimeBudgetReached, train
from mirage.training.rmsprop import RMSProp

SMALL = {"width": 0.25, "segment": 25}
TINY = Variant((8,) * 8, (3, 5), (8, 8), 3)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec_of(extent=(24, 28, 26), channels=4, masks=("label", "brain")):
    """Specification of brain volumes."""
    return ImageSpec(
        image_shape=(channels, *extent),
        image_dtype="uint16",
        value_range=(0, 65535),
        channel_names=["flair", "t1", "t1ce", "t2"][:channels],
        mask_channels=list(masks),
        labels={1: "NCR", 2: "ED", 3: "ET"},
        modality="MRI",
        spacing_mm=(1.0, 1.0, 1.0),
    )


def settled(net):
    """A network whose batch norms have seen noise, in evaluation mode."""
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net([torch.randn(2, 4, side, side, side) for side in (25, 19, 18)])
    return net.eval()


# --- the network -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "channels", "classes", "weights", "total"),
    [
        ("default", 4, 4, 2_009_120, 2_013_516),
        ("default", 4, 5, 2_009_370, 2_013_767),
        ("default", 2, 5, 2_004_510, 2_008_901),
        ("wide", 4, 4, 5_139_120, 5_145_616),
        ("dual", 4, 4, 660_180, 663_012),
    ],
)
def test_networks_have_the_published_numbers_of_weights(variant, channels, classes, weights, total):
    """Weights of the convolutions, and all parameters, of every variant of the public program."""
    net = DeepMedic(channels, classes, VARIANTS[variant])
    assert sum(weight.numel() for weight in net.weights()) == weights
    assert sum(parameter.numel() for parameter in net.parameters()) == total


@pytest.mark.parametrize(
    ("labelled", "windows"), [(21, (37, 23, 21)), (1, (17, 17, 17)), (29, (45, 26, 22)), (30, (46, 26, 22))]
)
def test_windows_have_the_published_sizes(labelled, windows):
    """37 voxels give 21 labels, 45 give 29, 17 give 1; so do the subsampled pathways' windows."""
    assert tuple(len(positions(0, labelled, factor)) for factor in (1, 3, 5)) == windows
    net = DeepMedic(4, 3, TINY).eval()
    with torch.inference_mode():
        assert net([torch.zeros(1, 4, s, s, s) for s in windows]).shape == (1, 3, *[labelled] * 3)


def test_one_label_sees_19_voxels_and_51_and_85_around_it():
    """Support of the central logit's gradient: 17 voxels a pathway, one more on each side by the join."""
    net = settled(DeepMedic(4, 4, TINY))
    windows = [torch.randn(1, 4, side, side, side, requires_grad=True) for side in (37, 23, 21)]
    net(windows)[0, 1, 10, 10, 10].backward()
    spans = []
    for window in windows:
        seen = torch.nonzero(window.grad[0].abs().sum(0))
        spans.append((seen.amax(0) - seen.amin(0) + 1).tolist())
    assert spans[0] == [19, 19, 19]
    assert all(side in (17, 18) for span in spans[1:] for side in span)


def test_constant_images_give_constant_logits():
    """No padding of the pathways shows in the result."""
    net = settled(DeepMedic(4, 4, TINY))
    with torch.inference_mode():
        logits = net([torch.full((1, 4, s, s, s), 0.7) for s in (37, 23, 21)])
    assert (logits - logits[..., :1, :1, :1]).abs().max() < 1e-4


def test_residuals_come_from_two_layers_back_cropped_and_filled_up():
    """With the fourth layer's weights at 0, its output is the centre of the third one's input."""
    pathway = Pathway(4, (3, 3, 5, 7, 5, 5, 5, 5)).eval()
    inputs = []
    for layer in pathway.layers:
        layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].clone()))
    pathway.layers[3][-1].weight.data.zero_()
    with torch.no_grad():
        pathway(torch.randn(1, 4, 21, 21, 21))
    third, fifth = inputs[2], inputs[4]
    assert torch.equal(fifth[:, :3], third[:, :, 2:-2, 2:-2, 2:-2])
    assert not fifth[:, 3:].any()


def test_layers_normalise_and_activate_before_they_convolve():
    """The first layer shifts the raw image only; all others begin with batch norm and PReLU."""
    net = DeepMedic(4, 4, TINY)
    first, second = net.pathways[0].layers[:2]
    assert [type(part).__name__ for part in first] == ["InputBias", "Dropout", "Conv3d"]
    assert [type(part).__name__ for part in second] == ["RollingBatchNorm", "PReLU", "Dropout", "Conv3d"]
    assert [layer[-2].keep for layer in (net.join, net.hidden, net.classify)] == [1, 0.5, 0.5]
    assert second[1].weight.shape == (8,)
    assert (second[1].weight == 0.01).all()
    assert all(module.bias is None for module in net.modules() if isinstance(module, torch.nn.Conv3d))
    spread = DeepMedic(4, 4).join[-1].weight.detach()
    assert float(spread.std()) == pytest.approx(math.sqrt(2 / (150 * 27)), rel=0.01)


def test_batch_norm_rolls_over_the_last_60_batches():
    """Inference takes the plain mean of the last batches' means and biased variances."""
    norm = RollingBatchNorm(2)
    batches = [torch.randn(3, 2, 2, 3, 2) * (1 + number) + number for number in range(65)]
    for number, batch in enumerate(batches, start=1):
        expected = functional.batch_norm(batch, None, None, training=True, eps=1e-30)
        assert torch.allclose(norm(batch), expected, atol=1e-5)
        if number in (5, 65):
            seen = batches[max(0, number - 60) : number]
            mean = torch.stack([b.mean((0, 2, 3, 4)) for b in seen]).mean(0)
            variance = torch.stack([b.var((0, 2, 3, 4), correction=0) for b in seen]).mean(0)
            shaped = (batch - mean.view(-1, 1, 1, 1)) / variance.sqrt().view(-1, 1, 1, 1)
            assert torch.allclose(norm.eval()(batch), shaped, atol=1e-4)
            norm.train()
    fresh = RollingBatchNorm(2).eval()
    assert torch.equal(fresh(batches[0]), batches[0])


def test_dropout_is_not_rescaled_in_training():
    """Training keeps the values it keeps as they are, inference takes all at the share that is kept."""
    ones = torch.ones(100, 100)
    drop = Dropout(0.3)
    made = drop.train()(ones)
    assert set(made.unique().tolist()) == {0.0, 1.0}
    assert 0.65 < float(made.mean()) < 0.75
    assert torch.allclose(drop.eval()(ones), 0.7 * ones)
    assert Dropout(0).train()(ones) is ones


def test_coarse_features_are_repeated_and_cut_from_the_start():
    """Every voxel three times in a row; what is left over goes at the end."""
    made = repeat(torch.arange(8.0).view(1, 1, 2, 2, 2), 3, (5, 4, 6))
    assert made.shape == (1, 1, 5, 4, 6)
    assert made[0, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert made[0, 0, :, 0, 0].tolist() == [0, 0, 0, 4, 4]
    assert repeat(torch.arange(8.0).view(1, 1, 2, 2, 2), 3, (2, 2, 3), 2)[0, 0, 0, 0].tolist() == [0, 1, 1]


def test_narrow_networks_have_multiples_of_eight():
    """The reduced width."""
    variant = VARIANTS["default"].scaled(0.3)
    assert variant.maps == (8, 8, 16, 16, 16, 16, 16, 16)
    assert variant.hidden == (72, 72)
    assert VARIANTS["default"].scaled(0.01).maps == (8,) * 8


# --- windows and tiles -------------------------------------------------------------------------------------


def test_windows_lie_where_the_public_program_puts_them():
    """Start of the segment + factor // 2 - (factor - 1) / 2 x 17, then every factor-th voxel."""
    segment = 100
    for factor in (3, 5):
        places = positions(segment + 8, 21, factor)
        assert places[0] == segment + factor // 2 - (factor - 1) // 2 * 17
        assert set(np.diff(places)) == {factor}
    assert positions(segment + 8, 21).tolist() == list(range(segment, segment + 37))


def test_volumes_are_mirrored_outwards_by_8_voxels():
    """As NumPy's reflect padding; further out is beyond."""
    values = np.arange(12) ** 2
    places = np.arange(-11, 23)
    assert np.array_equal(values[mirrored(places, 12)], np.pad(values, 11, mode="reflect"))
    assert places[~beyond(places, 12)].tolist() == list(range(-8, 20))


def test_tiles_cover_an_axis():
    """Fixed tiles end where the axis ends; anchored ones begin at multiples of the step."""
    assert tile_starts(64, 29) == [0, 29, 35]
    assert tile_starts(58, 29) == [0, 29]
    assert tile_starts(20, 29) == [0]
    for budget in (1, 10_000, 60_000, 10**9):
        tiles = anchored_tiles((7, 20, 30), (64, 120, 101), 15, budget)
        count = np.zeros((64, 120, 101), int)
        for tile in tiles:
            assert all(start % 15 == 0 for start, _ in tile)
            assert np.prod([size for _, size in tile]) <= max(budget, 15**3)
            count[tuple(slice(start, start + size) for start, size in tile)] += 1
        assert (count[7:, 20:, 30:] == 1).all()
        assert count.max() == 1
    assert len(anchored_tiles((7, 20, 30), (64, 120, 101), 15, 10**9)) == 1


def volume(extent, seed=0):
    """An item with a brain that fills the volume."""
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 65535, (4, *extent)).astype(np.uint16)
    return Item(image, np.stack([np.zeros(extent, np.uint8), np.ones(extent, np.uint8)]))


def judge(extent, **options):
    """A DeepMedic for volumes of one size, with settled batch norms."""
    made = build("deepmedic", DeepMedicOptions(**{**SMALL, **options}), spec_of(extent), seed=3)
    settled(made.net)
    return made


def test_tiles_of_a_multiple_of_15_agree_inside_and_others_nowhere():
    """The identity of the public program's tiles: 46 (stride 30) differs in the outermost voxels alone."""
    extent = (60, 14, 14)
    with torch.inference_mode():
        item = volume(extent)
        condition = judge(extent).condition(item)[None]
        whole, fits, other = (judge(extent, tile=side).sample(condition, [0])[0] for side in (76, 46, 45))
    # 29 and 30 are where the two tiles of 30 meet.
    differ = (whole - fits).abs().amax(dim=(0, 2, 3))
    inner = (whole - fits).abs()[:, :, 1:-1, 1:-1]
    assert inner.amax(dim=(0, 2, 3))[[*range(29), *range(31, 60)]].max() < 1e-5
    assert (differ[[29, 30]] > 1e-3).all()
    assert ((whole - other).abs().amax(dim=0) > 1e-3).float().mean() > 0.5


def test_whole_volumes_are_the_same_in_any_tiles(monkeypatch):
    """Without a tile size the result depends on the voxel's place alone, at every voxel."""
    extent = (47, 20, 17)
    made, item = judge(extent), volume(extent)
    condition = made.condition(item)[None]
    whole = made.sample(condition, [0])
    assert len(list(made._tiles(condition[0, -1] > 0))) == 1
    for budget in (2**24, 2**21):
        monkeypatch.setattr(deepmedic_module, "CPU_TILE_BYTES", budget)
        tiles = len(list(made._tiles(condition[0, -1] > 0)))
        assert tiles > 1
        assert torch.allclose(made.sample(condition, [0]), whole, atol=1e-5), tiles
    assert torch.allclose(whole.sum(dim=1), torch.ones(1, *extent), atol=1e-5)


def test_tiles_outside_the_brain_are_not_computed():
    """Outside the brain is background with certainty, and the network is not asked."""
    extent = (60, 30, 30)
    item = volume(extent)
    item.masks[1, :40] = 0
    made = judge(extent, tile=46)
    calls = []
    made.net.register_forward_hook(lambda *_: calls.append(1))
    found = made.sample(made.condition(item)[None], [0])[0]
    assert len(calls) == 1
    assert (found[0, :40] == 1).all()
    assert not found[1:, :40].any()
    assert (found[0, 40:] < 1).float().mean() > 0.9
    assert (made.decode(found[None])[0, 0, :40] == 0).all()


# --- training examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", ["zscore", "stored"])
def test_training_and_inference_share_one_transform(normalise, toy_volumes):
    """Windows of a training example are, bit for bit, those that inference cuts out of the condition."""
    data, shown = toy_volumes(), []
    made = build("deepmedic", DeepMedicOptions(normalise=normalise, **SMALL), ImageSpec.of(data.info))
    item = data.item(0)
    example = made.example(item)
    made.net.register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    start = [(extent - 9) // 2 for extent in made.extent]
    made.options = made.options.model_copy(update={"tile": 25})
    made._tiles = lambda _: [[(place, 9) for place in start]]
    made.sample(made.condition(item)[None], [0])
    for number, window in enumerate(shown[0]):
        assert torch.equal(window[0], example[f"window{number}"])


def test_z_scores_are_taken_inside_the_brain(toy_volumes):
    """Mean 0 and deviation 1 inside the brain of every channel; stored ranges go to [-1, 1]."""
    data = toy_volumes()
    item = data.item(0)
    made = build("deepmedic", DeepMedicOptions(**SMALL), ImageSpec.of(data.info))
    *channels, brain = made.condition(item)
    for channel in channels:
        inside = channel[brain > 0].double()
        assert abs(float(inside.mean())) < 1e-4
        assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-4)
    stored = build("deepmedic", DeepMedicOptions(normalise="stored", **SMALL), ImageSpec.of(data.info))
    condition = stored.condition(item)
    assert torch.allclose(condition[:-1], stored.normalise(item.image), atol=1e-6)
    assert float(condition[:-1].min()) == -1


def test_without_a_brain_mask_the_brain_is_what_is_not_background(toy_volumes):
    """Zero in every channel is outside; a volume of nothing is an error."""
    data, bare = toy_volumes(), toy_volumes("bare", brain=False)
    made = build("deepmedic", DeepMedicOptions(**SMALL), ImageSpec.of(bare.info))
    assert np.array_equal(made.brain(bare.item(0)), data.mask(0, "brain") > 0)
    empty = Item(np.zeros((4, 24, 28, 26), np.uint16), np.zeros((1, 24, 28, 26), np.uint8))
    with pytest.raises(DataError, match="brain mask is empty"):
        made.condition(empty)


def test_segments_are_centred_on_every_class_equally_often():
    """Equal shares of a subject's classes; centres inside the brain, segments inside the volume."""
    extent = (40, 40, 40)
    label, brain = np.zeros(extent, np.uint8), np.zeros(extent, np.uint8)
    brain[6:34, 6:34, 6:34] = 1
    label[20:24, 20:24, 20:24] = 1
    label[20, 20, 20] = 3
    label[0, 0, 0] = 2  # outside the brain: never a centre
    made = build("deepmedic", DeepMedicOptions(width=0.25, segment=37), spec_of(extent))
    centres = []
    for seed in range(600):
        start = made._segment(label, brain > 0, np.random.default_rng(seed))
        assert all(0 <= place <= 40 - 21 for place in start)
        centres.append(label[tuple(place + 10 for place in start)])
        assert brain[tuple(place + 10 for place in start)] == 1
    share = np.bincount(centres, minlength=4) / len(centres)
    assert share[2] == 0
    assert np.abs(share[[0, 1, 3]] - 1 / 3).max() < 0.06


def test_labels_of_a_segment_are_those_of_its_core(toy_volumes):
    """The target is the label mask at the centre; mirrored segments are segments of the mirrored volume."""
    data = toy_volumes()
    item = data.item(0)
    options = DeepMedicOptions(augment=VolumeAugment(shift=0, scale=0), **SMALL)
    made = build("deepmedic", options, ImageSpec.of(data.info))
    flipped = Item(item.image[..., ::-1].copy(), item.masks[..., ::-1].copy())
    found = {True: 0, False: 0}
    for seed in range(8):
        example = made.example(item, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        start = made._segment(item.masks[0], item.masks[1] > 0, rng)
        flip = rng.random() < 0.5
        found[flip] += 1
        d, h, w = start
        core = item.masks[0][d : d + 9, h : h + 9, w : w + 9]
        assert np.array_equal(example["target"], core[..., ::-1] if flip else core)
        if flip:
            start[2] = 26 - w - 9
            made._segment = lambda *_, start=start: start
            made.mirrored = lambda _: False
            expected = made.example(flipped, np.random.default_rng(seed))
            del made._segment, made.mirrored
            for number in range(3):
                assert torch.allclose(example[f"window{number}"], expected[f"window{number}"], atol=1e-5), (
                    number
                )
    assert all(found.values())


def test_intensities_change_alike_in_all_pathways(toy_volumes):
    """(value + offset) x factor with one draw a channel: the windows keep their relation."""
    data = toy_volumes()
    options = DeepMedicOptions(augment=VolumeAugment(flip=False, shift=0.5, scale=0.2), **SMALL)
    plain = options.model_copy(update={"augment": None})
    spec, item = ImageSpec.of(data.info), data.item(0)
    changed = build("deepmedic", options, spec).example(item, np.random.default_rng(1))
    same = build("deepmedic", plain, spec).example(item, np.random.default_rng(1))
    assert torch.equal(changed["target"], same["target"])
    fits = []
    for number in range(3):
        x, y = (example[f"window{number}"].flatten(1) for example in (same, changed))
        factor = (y[:, 1:] - y[:, :1]).abs().sum(1) / (x[:, 1:] - x[:, :1]).abs().sum(1)
        fits.append(torch.stack([factor, (y / factor[:, None] - x).mean(1)]))
    assert torch.allclose(fits[0], fits[1], atol=1e-3)
    assert torch.allclose(fits[0], fits[2], atol=1e-3)
    assert fits[0].std(1).min() > 0.01


# --- optimiser and training --------------------------------------------------------------------------------


def test_rmsprop_takes_the_published_first_steps():
    """1.6 lr g / sqrt(0.1 g^2 + 1e-4) first; then velocity and mean of squares go on as written."""
    gradients = [torch.tensor([0.5, -2e-3, 0.0]), torch.tensor([-0.1, 1e-3, 3.0])]
    weight = torch.nn.Parameter(torch.zeros(3))
    optimiser = RMSProp([weight], lr=1e-3)
    expected, squares, velocity = torch.zeros(3), torch.zeros(3), torch.zeros(3)
    for number, gradient in enumerate(gradients):
        weight.grad = gradient.clone()
        optimiser.step()
        squares = 0.9 * squares + 0.1 * gradient**2
        update = 1e-3 * gradient / torch.sqrt(squares + 1e-4)
        velocity = 0.6 * velocity - update
        expected = expected + 0.6 * velocity - update
        assert torch.allclose(weight.detach(), expected, atol=1e-9)
        if number == 0:
            first = -1.6e-3 * gradient / torch.sqrt(0.1 * gradient**2 + 1e-4)
            assert torch.allclose(weight.detach(), first, rtol=1e-5, atol=0)


def test_the_learning_rate_is_halved_at_the_published_epochs(toy_volumes, tmp_path):
    """After 17, 22, 27, 30 and 33 of 35 epochs, and the training loop obeys."""
    data = toy_volumes()
    made = build("deepmedic", DeepMedicOptions(width=0.01, segment=19), ImageSpec.of(data.info))
    factors = [made.learning_rate_factor("net", epoch / 35) for epoch in range(35)]
    assert [epoch for epoch in range(1, 35) if factors[epoch] != factors[epoch - 1]] == [17, 22, 27, 30, 33]
    assert factors[-1] == 0.5**5
    seen = []

    def stepped(optimiser, *_):
        seen.extend(group["lr"] for group in optimiser.param_groups)

    made.configure_optimizer = lambda phase, parameters: _watched(
        RMSProp(parameters, made.options.lr), stepped
    )
    small = TrainingOptions(steps=7, batch_size=1)
    run = {"seed": 0, "state_dir": tmp_path, "fingerprint": "f" * 16, "progress": False}
    train(made, data.select("train"), None, small, Runtime(accelerator="cpu"), **run)
    assert seen == [1e-3 * made.learning_rate_factor("net", step / 7) for step in range(7)]


def _watched(optimiser, hook):
    optimiser.register_step_pre_hook(hook)
    return optimiser


def test_a_stopped_training_goes_on_to_the_same_bits(toy_volumes, tmp_path):
    """Optimiser, schedule and rolling batch norm are resumed."""
    data = toy_volumes()
    spec, options = ImageSpec.of(data.info), DeepMedicOptions(width=0.01, segment=19)

    def fit(folder, minutes=None):
        made = build("deepmedic", options, spec, seed=1)
        keys = {"seed": 5, "state_dir": folder, "fingerprint": "f" * 16, "progress": False}
        steps = TrainingOptions(steps=5, batch_size=2)
        train(made, data.select("train"), None, steps, Runtime(accelerator="cpu"), minutes=minutes, **keys)
        return made

    whole = fit(tmp_path / "whole")
    for _ in range(4):
        with pytest.raises(TimeBudgetReached):
            fit(tmp_path / "short", minutes=1e-6)
    resumed = fit(tmp_path / "short", minutes=1e-6)
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_only_convolution_weights_are_penalised(toy_volumes):
    """L1 1e-6 sum |w| and L2 1e-4 sum w^2, without a half."""
    data = toy_volumes()
    made = build("deepmedic", DeepMedicOptions(**SMALL), ImageSpec.of(data.info))
    batch = {key: value[None] for key, value in made.example(data.item(0)).items()}
    losses = made.train().training_step(batch, "net")
    weights = torch.cat([weight.detach().flatten() for weight in made.net.weights()]).double()
    expected = 1e-6 * weights.abs().sum() + 1e-4 * weights.square().sum()
    assert float(losses["penalty"].detach()) == pytest.approx(float(expected), rel=1e-4)
    losses["penalty"].backward()
    touched = {name for name, parameter in made.net.named_parameters() if parameter.grad is not None}
    assert touched == {name for name, parameter in made.net.named_parameters() if parameter.ndim == 5}


@pytest.mark.parametrize(
    ("arch", "options", "steps"),
    [
        ("deepmedic", DeepMedicOptions(width=0.25, segment=21), 40),
        ("segmenter3d", Segmenter3DOptions(features=8, patch=(16, 32, 32), lr=1e-2), 30),
        ("segmenter3d", Segmenter3DOptions(network="segresnet", features=8, patch=(16, 32, 32), lr=5e-3), 40),
    ],
)
def test_judges_learn_the_labels(arch, options, steps, toy_volumes, tmp_path):
    """After a short training the balls are found; the model folder gives the same labels."""
    data = toy_volumes(extent=(24, 32, 32))
    made = build(arch, options, ImageSpec.of(data.info), seed=2)
    before = made.validation_metric(data.select("val"), data)["val_dice"]
    small = TrainingOptions(steps=steps, batch_size=4 if arch == "deepmedic" else 2, select="last")
    keys = {"seed": 0, "state_dir": tmp_path / "state", "fingerprint": "f" * 16, "progress": False}
    result = train(made, data.select("train"), None, small, Runtime(accelerator="cpu"), **keys)
    after = made.validation_metric(data.select("val"), data)["val_dice"]
    assert after > before + 0.25, (before, after)
    save_model(tmp_path / "model", made, result, data.select("train"), seed=2)
    item = data.select("val").item(0)
    assert np.array_equal(load_generator(tmp_path / "model").predict(item), made.predict(item))
    assert made.preview([item]).shape == (1, 3, 32, 32, 3)


# --- the 3D U-Nets -----------------------------------------------------------------------------------------


def test_patches_are_centred_on_labels_as_often_as_asked():
    """The share of patches around the tumour, all inside the volume."""
    extent = (32, 48, 40)
    label, brain = np.zeros(extent, np.uint8), np.ones(extent, bool)
    label[30, 44, 2] = 1
    for wanted in (0.0, 0.5, 1.0):
        options = Segmenter3DOptions(features=8, patch=(16, 32, 16), foreground=wanted)
        made = build("segmenter3d", options, spec_of(extent))
        starts = [made._patch(label, brain, np.random.default_rng(seed)) for seed in range(200)]
        assert np.mean([start == [16, 16, 0] for start in starts]) == pytest.approx(wanted, abs=0.12)
        assert (np.array(starts) >= 0).all()
        assert (np.array(starts) <= np.array(extent) - options.patch).all()


def test_sliding_windows_stay_around_the_brain(toy_volumes):
    """Labels outside the brain are background; probabilities sum to 1."""
    data = toy_volumes(extent=(24, 32, 36))
    options = Segmenter3DOptions(features=8, patch=(16, 32, 32))
    made = build("segmenter3d", options, ImageSpec.of(data.info))
    found = made.sample(made.condition(data.item(0))[None], [0])[0]
    outside = torch.from_numpy(data.mask(0, "brain") == 0)
    assert (found[0][outside] == 1).all()
    assert torch.allclose(found.sum(0), torch.ones(24, 32, 36), atol=1e-5)


# --- what is refused ---------------------------------------------------------------------------------------


def test_judges_refuse_what_they_cannot_learn_from(toy_dataset, toy_volumes):
    """Images, volumes that a window does not fit, and items without a label."""
    images = ImageSpec.of(toy_dataset().info)
    for arch, options in (("deepmedic", DeepMedicOptions()), ("segmenter3d", Segmenter3DOptions())):
        with pytest.raises(ConfigError, match="needs volumes"):
            build(arch, options, images)
        with pytest.raises(ConfigError, match=r"prepare\.size` \[16, 28, 26\]"):
            build(arch, options, spec_of((16, 28, 26)))
    data = toy_volumes()
    made = build("deepmedic", DeepMedicOptions(**SMALL), ImageSpec.of(data.info))
    item = data.item(0)
    absent = Item(item.image, np.stack([np.full((24, 28, 26), 255, np.uint8), item.masks[1]]))
    with pytest.raises(DataError, match=r"\[255\]"):
        made.example(absent)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"arch": "deepmedic", "training": {"augment": {"hflip": True}}}, "options.augment"),
        ({"arch": "segmenter3d", "options": {"patch": [24, 32, 32]}}, "multiples of 16"),
        ({"arch": "segmenter3d", "options": {"network": "segresnet", "features": 12}}, "multiple of 8"),
    ],
)
def test_mistakes_in_a_judges_options_are_named(entry, message):
    """At parse time."""
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(GeneratorConfig).validate_python({"data": "x", **entry})


def test_judges_make_masks_of_volumes_only():
    """The entries say what the architectures take."""
    entry = DeepMedicConfig(arch="deepmedic", data="x")
    assert (entry.makes, entry.needs) == ("mask", "image")
    entry.check_size((64, 240, 240))
    with pytest.raises(ValueError, match="for volumes"):
        entry.check_size(128)
    with pytest.raises(ValueError, match="segment 37"):
        entry.check_size((20, 240, 240))
