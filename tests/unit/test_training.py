"""The training loop: what it computes, how it stops, and that a resumed training ends with the same bits."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from small_training import OPTIONS, TRAINING, fit, fit_by_frechet

from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.config.generators import (
    Augment,
    TrainingOptions,
)
from mirage.errors import CheckpointError, ConfigError, DataError
from mirage.evaluate.features.jobs import fit_encoder
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.training import state as state_module
from mirage.training.augment import augment
from mirage.training.batches import batches, step_items
from mirage.training.ema import EMA
from mirage.training.fabric import launch
from mirage.training.history import TrainingDivergedError
from mirage.training.learner import sampling_weights
from mirage.training.loop import TimeBudgetReached, train
from mirage.training.losses import cross_entropy, dice_loss, real_loss
from mirage.training.progress import Progress
from mirage.training.selection import Selection
from mirage.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")


def same_bits(first, second) -> bool:
    """Whether two models hold the same weights and buffers, bit for bit."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, {here!r})
    from small_training import fit, fit_by_frechet
    from mirage.data import Dataset
    from mirage.training import state

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def wrap(model):
        steps = 0
        inner = model.training_step
        def training_step(batch, phase):
            nonlocal steps
            steps += 1
            return die() if steps == 10 else inner(batch, phase)
        if point == "step":
            model.training_step = training_step
        elif point == "best":
            state.TrainingState.save = lambda *_, **__: die() if list(folder.glob("best-*")) else None
        else:
            write, count = torch.save, [0]
            def save(*arguments):
                write(*arguments)
                count[0] += 1
                return die() if count[0] == 5 else None
            state.torch.save = save

    data = Dataset({data!r})
    for name in {names!r}:
        for point in ("step", "best", "save"):
            folder = Path({root!r}) / name / point
            child = os.fork()
            if child == 0:
                if name == "frechet":
                    fit_by_frechet(Path({encoder!r}), data, folder, wrap=wrap)
                else:
                    fit(name, data, folder, wrap=wrap)
                os._exit(0)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, (name, point)
"""


def killed(data, root, *names, encoder=""):
    """Begin trainings in other processes, each of which is killed at three points."""
    here = str(Path(__file__).parent)
    given = {
        "here": here,
        "data": str(data.folder),
        "root": str(root),
        "names": names,
        "encoder": str(encoder),
    }
    script = textwrap.dedent(KILLED.format(**given))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_killed_training_resumes_to_the_same_bits(toy_dataset, tmp_path):
    """Killed in a step, between best weights and state, and in a state's write; with an image pool too."""
    data = toy_dataset()
    killed(data, tmp_path / "killed", "dcgan", "pix2pix")
    for arch in ("dcgan", "pix2pix"):
        whole, expected = fit(arch, data, tmp_path / "whole" / arch)
        for point in ("step", "best", "save"):
            folder = tmp_path / "killed" / arch / point
            assert (folder / "last.pt").exists() == (point != "best")
            model, result = fit(arch, data, folder)
            assert same_bits(model, whole), (arch, point)
            assert result.history == expected.history
            assert (result.step, result.metric) == (expected.step, expected.metric)


def test_killed_training_that_is_chosen_by_a_moving_average_resumes_to_the_same_bits(toy_dataset, tmp_path):
    """The values before the kill count in the averages after it, and the same weights are the best."""
    data = toy_dataset(splits={"train": 8, "val": 9, "test": 4})
    encoder = tmp_path / "encoders" / "toy" / "randconv"
    entry = TypeAdapter(EncoderConfig).validate_python({"encoder": "randconv"})
    runtime = Runtime(accelerator="cpu")
    fit_encoder(entry, data.folder, encoder, tmp_path / "features.parquet", runtime=runtime)
    killed(data, tmp_path / "killed", "frechet", encoder=encoder)
    whole, expected = fit_by_frechet(encoder, data, tmp_path / "whole")
    steps = [step for step, name, _ in expected.history if name == "val_frechet_randconv_average"]
    assert steps == [3, 4, 5, 6, 7, 8]
    for point in ("step", "best", "save"):
        model, result = fit_by_frechet(encoder, data, tmp_path / "killed" / "frechet" / point)
        assert same_bits(model, whole), point
        assert result.history == expected.history
        assert (result.step, result.metric) == (expected.step, expected.metric)


def test_time_budget_saves_and_stops_and_goes_on(toy_dataset, tmp_path):
    """Each run of a hopelessly small budget makes one step; together they equal one training."""
    data = toy_dataset()
    whole, _ = fit("pix2pix", data, tmp_path / "whole")
    for _ in range(TRAINING["steps"] - 1):
        with pytest.raises(TimeBudgetReached, match="budget"):
            fit("pix2pix", data, tmp_path / "short", minutes=1e-6)
    model, _ = fit("pix2pix", data, tmp_path / "short", minutes=1e-6)
    assert same_bits(model, whole)


def test_sigterm_saves_the_state_after_the_step(toy_dataset, tmp_path):
    """The step at hand is finished, the state saved, the handler restored."""

    def wrap(model):
        inner = model.training_step
        calls = []

        def training_step(batch, phase):
            calls.append(phase)
            if calls.count("generator") == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return inner(batch, phase)

        model.training_step = training_step

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TimeBudgetReached, match="SIGTERM after step 2 of 6"):
        fit("dcgan", toy_dataset(), tmp_path / "state", wrap=wrap)
    assert torch.load(tmp_path / "state" / "last.pt", weights_only=True)["step"] == 2
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "state" / "lock.json").exists()


def test_state_of_other_settings_is_moved_aside(toy_dataset, tmp_path, caplog):
    """It is neither used nor lost, and the training starts afresh."""
    data = toy_dataset()
    fit("dcgan", data, tmp_path / "state", fingerprint="a" * 16, steps=2)
    model, _ = fit("dcgan", data, tmp_path / "state", fingerprint="b" * 16)
    whole, _ = fit("dcgan", data, tmp_path / "other")
    assert same_bits(model, whole)
    assert (tmp_path / "state.old-aaaaaaaa" / "last.pt").exists()
    assert json.loads((tmp_path / "state" / "fingerprint.json").read_text())["fingerprint"] == "b" * 16
    assert "other settings" in caplog.text


def test_finished_training_is_not_repeated(toy_dataset, tmp_path):
    """A second call reads the last state and gives the same weights without a step."""
    data = toy_dataset()
    first, before = fit("dcgan", data, tmp_path / "state")

    def wrap(model):
        model.training_step = None

    second, after = fit("dcgan", data, tmp_path / "state", wrap=wrap)
    assert same_bits(first, second)
    assert after.history == before.history
    assert after.chosen_because == before.chosen_because


def test_damaged_state_is_named(toy_dataset, tmp_path):
    """The message says which file, and how to go on."""
    data = toy_dataset()
    fit("dcgan", data, tmp_path / "state", steps=2)
    (tmp_path / "state" / "last.pt").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=r"last\.pt: damaged.*delete"):
        fit("dcgan", data, tmp_path / "state", steps=2)


def test_living_owner_keeps_others_out(tmp_path):
    """A lock whose heartbeat goes on is respected."""
    beat = 0

    def sleep(_seconds):
        nonlocal beat
        beat += 1
        lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "beat": beat}))

    lock = tmp_path / "lock.json"
    sleep(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module.time, "sleep", sleep)
        with pytest.raises(CheckpointError, match="process 1 on elsewhere is training here"):
            TrainingState(tmp_path).locked().__enter__()


def test_silent_or_dead_owner_is_replaced(tmp_path, monkeypatch):
    """A dead process of this host at once, a silent one of another host after a while."""
    lock = tmp_path / "lock.json"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    lock.write_text(json.dumps({"host": os.uname().nodename, "pid": child.pid, "beat": 3}))
    with TrainingState(tmp_path).locked():
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    monkeypatch.setattr(state_module, "SILENCE_SECONDS", 0.6)
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "beat": 3}))
    with TrainingState(tmp_path).locked():
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_accumulation_equals_the_bigger_batch(toy_dataset, tmp_path):
    """Four micro-batches of one item give the step of one batch of four, for a net without batch norm."""
    data = toy_dataset()

    def wrap(model):
        # Adam would blow up the rounding errors of gradients that are zero, such as biases before a norm.
        model.configure_optimizer = lambda _phase, parameters: torch.optim.SGD(parameters, 0.5)

    keys = {"select": "last", "ema_decay": None, "wrap": wrap}
    whole, one = fit("segmenter", data, tmp_path / "1", accumulate=1, **keys)
    parts, four = fit("segmenter", data, tmp_path / "4", accumulate=4, **keys)
    losses = [[value for _, name, value in result.history if name != "val_dice"] for result in (one, four)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_workers_change_nothing(toy_dataset, tmp_path):
    """Items loaded by other processes are the same items."""
    data = toy_dataset()
    alone, _ = fit("dcgan", data, tmp_path / "0", steps=2)
    helped, _ = fit("dcgan", data, tmp_path / "2", steps=2, runtime={"workers": 2})
    assert same_bits(alone, helped)


def test_every_epoch_holds_every_item_once():
    """Consecutive steps walk through shuffled epochs, also where the batch does not divide them."""
    stream = np.concatenate([step_items(3, step, 4, 10) for step in range(5)])
    assert sorted(stream[:10]) == list(range(10))
    assert sorted(stream[10:20]) == list(range(10))
    assert not np.array_equal(stream[:10], stream[10:20])
    assert sorted(np.concatenate([step_items(0, step, 7, 3) for step in range(3)])) == sorted([0, 1, 2] * 7)


def test_batches_that_cannot_be_made_are_refused(toy_dataset):
    """No items, another shape, or a batch that cannot be cut: before the first step."""
    data = toy_dataset()
    model = build("dcgan", OPTIONS["dcgan"], ImageSpec.of(data.info))
    with pytest.raises(DataError, match="no items"):
        next(batches(model, data.select("train", images=0), TrainingOptions(), seed=0))
    with pytest.raises(DataError, match=r"\(3, 64, 64\).*\(3, 32, 32\)"):
        next(batches(model, toy_dataset("big", size=64), TrainingOptions(), seed=0))
    with pytest.raises(ConfigError, match="multiple of 6"):
        next(batches(model, data, TrainingOptions(batch_size=4, accumulate=2), seed=0, ranks=3))


def test_device_that_is_not_there_is_refused(toy_dataset, tmp_path):
    """Rather than training silently on another one, or in another precision."""
    data = toy_dataset()
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"runtime\.accelerator"):
            fit("dcgan", data, tmp_path / "state", runtime={"accelerator": "gpu"})
    with pytest.raises(ConfigError, match=r"training\.precision"):
        fit("dcgan", data, tmp_path / "state", precision="16-mixed")


def test_slurms_variables_are_not_looked_at(monkeypatch):
    """Inside an allocation of four tasks a process that torchrun did not start is alone."""
    for name, value in {
        "NTASKS": "4",
        "JOB_NAME": "train",
        "JOB_ID": "1",
        "PROCID": "2",
        "LOCALID": "2",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = launch(Runtime(accelerator="cpu"), "32-true")
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_bf16_on_a_cpu_trains(toy_dataset, tmp_path):
    """Autocast is on: other numbers than in full precision, weights still float32 and finite."""
    data = toy_dataset()
    full, _ = fit("segmenter", data, tmp_path / "32", steps=2)
    half, _ = fit("segmenter", data, tmp_path / "16", steps=2, precision="bf16-mixed")
    assert not same_bits(full, half)
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in half.parameters())


def test_divergence_stops_with_step_and_phase(toy_dataset, tmp_path):
    """The step is the one in which the loss went wrong, not the one at which it was read."""

    def wrap(model):
        inner = model.training_step
        calls = []

        def training_step(batch, phase):
            calls.append(phase)
            losses = inner(batch, phase)
            wrong = phase == "discriminator" and calls.count(phase) == 2
            return {name: loss * math.nan for name, loss in losses.items()} if wrong else losses

        model.training_step = training_step

    with pytest.raises(TrainingDivergedError, match=r"step 1, phase 'discriminator': loss 'real' is nan"):
        fit("dcgan", toy_dataset(), tmp_path / "state", wrap=wrap)


def test_only_the_phase_at_hand_is_trained(toy_dataset, tmp_path):
    """The generator's phase leaves no gradient in the discriminator, and the other way round."""
    seen = {}

    def wrap(model):
        inner = model.training_step

        def training_step(batch, phase):
            seen[phase] = {
                name for name in model.phases for p in getattr(model, name).parameters() if p.requires_grad
            }
            return inner(batch, phase)

        model.training_step = training_step

    fit("dcgan", toy_dataset(), tmp_path / "state", wrap=wrap, steps=1)
    assert seen == {name: {name} for name in ("generator", "discriminator", "patch_discriminator")}


def test_learning_rates_fall_in_a_line_at_the_end(toy_dataset, tmp_path):
    """Six steps, the last half in decay: the whole rate four times, then two thirds and one third of it."""
    rates = []

    def wrap(model):
        inner = model.learning_rate_factor
        model.learning_rate_factor = lambda phase, done: (
            rates.append((phase, inner(phase, done))) or rates[-1][1]
        )

    fit("dcgan", toy_dataset(), tmp_path / "state", wrap=wrap)
    factors = [factor for phase, factor in rates if phase == "generator"]
    assert factors == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3])


def test_best_weights_are_kept(toy_dataset, tmp_path):
    """The metric decides, not the order; `last` ignores it."""
    data = toy_dataset()
    values = {1: 3.0, 2: 1.0, 3: 2.0, 4: math.nan}
    kept = {}

    def wrap(model):
        count = iter(values)

        def validation_metric(_validation, _training):
            step = next(count)
            kept[step] = {key: value.clone() for key, value in sampling_weights(model).items()}
            return {model.metric_name: values[step]}

        model.validation_metric = validation_metric

    keys = {"steps": 4, "validate_every": 1}
    best, result = fit("dcgan", data, tmp_path / "best", wrap=wrap, **keys)
    assert (result.step, result.metric) == (2, 1.0)
    assert "lowest val_frechet" in result.chosen_because
    assert all(torch.equal(value, kept[2][key]) for key, value in sampling_weights(best).items())
    assert [file.name for file in (tmp_path / "best").glob("best-*")] == ["best-00000002.safetensors"]
    last, result = fit("dcgan", data, tmp_path / "last", wrap=wrap, select="last", **keys)
    assert result.step == 4
    assert all(torch.equal(value, kept[4][key]) for key, value in sampling_weights(last).items())


def test_best_weights_of_no_use_are_removed(tmp_path):
    """Those of the newest best step and those that the saved state refers to stay, no others."""
    state, weights = TrainingState(tmp_path), {"w": torch.zeros(2)}

    def kept():
        return sorted(int(file.stem.split("-")[1]) for file in tmp_path.glob("best-*"))

    state.save_best(1, weights)
    state.save({"step": 2}, best=1)
    for step in (3, 4, 5):
        state.save_best(step, weights)
        assert kept() == [1, step]
    resumed = TrainingState(tmp_path)
    assert resumed.load() == {"step": 2}
    resumed.save_best(3, weights)
    assert kept() == [1, 3]
    resumed.save({"step": 4}, best=3)
    assert kept() == [3]


def test_losses_take_volumes():
    """A volume of one slice has the loss of that slice."""
    logits, target = torch.randn(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float()
    inside = torch.ones_like(target)
    for loss in (dice_loss, cross_entropy):
        volume = loss(logits[:, :, None], target[:, :, None], inside[:, :, None])
        torch.testing.assert_close(volume, loss(logits, target, inside))


def test_selection_takes_the_direction_of_the_metric():
    """More is better for `max`; ties keep the earlier step; without values the last step is taken."""
    selection = Selection("dice", "max", "best")
    assert selection.choice(9)[0] == 9
    assert [selection.offer(step, value) for step, value in enumerate([0.1, 0.5, 0.5, 0.2])] == [
        True,
        True,
        False,
        False,
    ]
    assert selection.choice(9)[0] == 1


def test_selection_by_a_moving_average_is_not_led_by_one_lucky_value():
    """The mean of the last three values decides, from the third on; it goes on where a training resumes."""
    selection = Selection("fid", "min", "best", window=3)
    assert [selection.offer(step, value) for step, value in enumerate([9.0, 0.0, 9.0, 5.0])] == [
        False,
        False,
        True,
        True,
    ]
    resumed = Selection("fid", "min", "best", window=3)
    resumed.load_state_dict(selection.state_dict())
    assert resumed.offer(4, 3.0) is False  # (9 + 5 + 3) / 3 is no better than (0 + 9 + 5) / 3
    assert resumed.offer(5, 5.0)
    step, because = resumed.choice(9)
    assert step == 5
    assert "lowest fid_average, moving average over 3 values of fid, " in because
    assert not resumed.offer(6, float("nan"))


def test_the_history_holds_the_averaged_metric_beside_the_raw_one(toy_dataset, tmp_path):
    """Each average is that of the values up to its step; weights are kept by it, interrupted or not."""
    data = toy_dataset()
    keys = {"steps": 8, "validate_every": 2, "select_window": 2, "precision": "32-true"}
    _, result = fit("dcgan", data, tmp_path / "whole", **keys)
    raw = {step: value for step, name, value in result.history if name == "val_frechet"}
    mean = {step: value for step, name, value in result.history if name == "val_frechet_average"}
    assert mean == {step: pytest.approx((raw[step - 2] + raw[step]) / 2) for step in (4, 6, 8)}
    assert result.metric_name == "val_frechet_average"
    assert (result.step, result.metric) == min(mean.items(), key=lambda found: found[1])
    assert result.window == 2


def test_epochs_become_steps_of_the_training_items(toy_dataset, tmp_path):
    """Three epochs of 8 items in batches of 5 are 5 steps; both ways at once are refused."""
    data = toy_dataset()
    keys = {**TRAINING, "epochs": 3, "batch_size": 5}
    keys.pop("steps")
    options = TrainingOptions(**keys)
    assert options.in_steps(8).steps == 5
    assert options.in_steps(8).epochs is None
    model = build("dcgan", OPTIONS["dcgan"], ImageSpec.of(data.info), seed=1)
    where = {"state_dir": tmp_path / "state", "fingerprint": "f", "progress": False}
    parts = data.select("train"), data.select("val")
    assert train(model, *parts, options, Runtime(accelerator="cpu"), seed=5, **where).history[-1][0] == 5
    with pytest.raises(ValidationError, match="two ways to say how long"):
        TrainingOptions(epochs=3, steps=7)
    with pytest.raises(ValidationError, match="select_window 3: a training of 10 steps has 2 value"):
        TrainingOptions(steps=10, validate_every=5, select_window=3)
    with pytest.raises(ConfigError, match="select_window 9: a training of 5 steps"):
        train(
            model,
            *parts,
            options.model_copy(update={"select_window": 9}),
            Runtime(accelerator="cpu"),
            seed=5,
            **where,
        )


def test_history_holds_means_between_rows(toy_dataset, tmp_path):
    """One row a loss at every `log_every` steps and the last, one a validation."""
    _, result = fit("dcgan", toy_dataset(), tmp_path / "a")
    _, each = fit("dcgan", toy_dataset("again"), tmp_path / "b", log_every=1)
    steps = {name: [s for s, n, _ in result.history if n == name] for name in ("generator", "val_frechet")}
    assert steps == {"generator": [4, 6], "val_frechet": [3, 6]}
    singles = [value for _, name, value in each.history if name == "generator"]
    means = [value for _, name, value in result.history if name == "generator"]
    assert means == pytest.approx([np.mean(singles[:4]), np.mean(singles[4:])])


def test_previews_are_drawn(toy_dataset, tmp_path):
    """A grid at every `preview_every` steps and the last, of the documented size."""
    fit(
        "pix2pix", toy_dataset(), tmp_path / "state", previews=tmp_path / "previews", steps=3, preview_every=2
    )
    files = sorted(file.name for file in (tmp_path / "previews").iterdir())
    assert files == ["step-0000002.png", "step-0000003.png"]
    assert Image.open(tmp_path / "previews" / files[0]).size == (3 * 32 + 2 * 2, 3 * 32 + 2 * 2)


def test_ema_averages_weights_and_copies_buffers():
    """Decay ramps up as (1 + step) / (10 + step); the swap is undone; only what checkpoints hold counts."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    model[0].weight.data.fill_(1.0)
    model[0].register_buffer("constant", torch.ones(1), persistent=False)
    ema = EMA(model, ["0", "1"], decay=0.5)
    assert ema.average.keys() == model.state_dict().keys()
    expected = 1.0
    for step, value in enumerate([2.0, 5.0, -1.0] * 5):
        model[0].weight.data.fill_(value)
        model[1].running_mean.fill_(value)
        ema.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with ema.applied():
        assert model[0].weight.item() == pytest.approx(expected, rel=1e-6)
        assert model[1].running_mean.item() == -1.0
    assert model[0].weight.item() == -1.0


def test_augmentation_moves_image_and_mask_together():
    """After flips, rotation and zoom the bright disc still lies on its mask; labels stay labels."""
    y, x = np.mgrid[:64, :64]
    disc = ((x - 40) ** 2 + (y - 24) ** 2 < 100).astype(np.uint8) * 7
    image, masks = torch.from_numpy(disc[None] / np.float32(7)), torch.from_numpy(disc[None])
    options = Augment(hflip=True, vflip=True, rotate_deg=180, scale=0.2)
    moved = 0
    for seed in range(8):
        changed, mask = augment(image, masks, options, np.random.default_rng(seed))
        assert set(mask.unique().tolist()) == {0, 7}
        assert ((changed[0] > 0.5) != (mask[0] > 0)).float().mean() < 0.005
        moved += not torch.equal(mask, masks)
    assert moved == 8


def test_turned_picture_without_a_field_of_view_has_no_black_corners(toy_dataset):
    """Otherwise a generator learns them; a fundus photograph does end at its field of view."""
    bright = torch.full((1, 64, 64), 0.8)
    masks = torch.ones(1, 64, 64, dtype=torch.uint8)
    turn = Augment(rotate_deg=45)
    for outside, darkest in (("zeros", 0.0), ("reflection", 0.8)):
        image, label = augment(bright, masks, turn, np.random.default_rng(3), outside)
        assert image.min() == pytest.approx(darkest)
        assert label.min() == (outside == "reflection")
    item, rng = toy_dataset().item(0), np.random.default_rng
    for channels, corners in ((["label", "fov"], 0.0), (["label", "other"], 1.0)):
        spec = replace(ImageSpec.of(toy_dataset().info), mask_channels=channels)
        model = build("pix2pix", OPTIONS["pix2pix"], spec)
        white = replace(item, image=np.full_like(item.image, 255))
        unit, _ = model.augmented(white, rng(3), turn)
        assert unit[:, 0, 0].max() == pytest.approx(corners)


def test_rotation_and_zoom_have_the_size_asked_for():
    """Zoom drawn from [1 - x, 1 + x] changes the area by its square; 90 degrees turn exactly."""
    y, x = np.mgrid[:129, :129]
    disc = torch.from_numpy(((x - 64) ** 2 + (y - 64) ** 2 < 900).astype(np.uint8))[None]
    areas = [
        augment(disc.float(), disc, Augment(scale=0.3), np.random.default_rng(seed))[1].sum() / disc.sum()
        for seed in range(40)
    ]
    assert 0.45 < min(areas) < 0.65
    assert 1.4 < max(areas) < 1.75

    class Quarter:
        def random(self, size):
            return np.ones(size)

        def uniform(self, _low, _high, size):
            return np.ones(size)

    image = torch.rand(1, 16, 16)
    turned, _ = augment(image, None, Augment(rotate_deg=90), Quarter())
    torch.testing.assert_close(turned, image.rot90(1, (1, 2)), atol=1e-5, rtol=0)


def test_a_volume_is_augmented_slice_by_slice():
    """Every axial slice gets what it would get as an image, bit for bit; background stays exactly 0."""
    numbers = np.random.default_rng(0)
    masks = torch.from_numpy((numbers.random((2, 3, 20, 24)) > 0.5).astype(np.uint8))
    image = torch.from_numpy(numbers.random((4, 3, 20, 24), np.float32)) * masks[:1]
    image[:, 1] = 0
    options = Augment(hflip=True, vflip=True, rotate_deg=20, scale=0.2, gamma=0.3, brightness=0.3)
    for seed in range(4):
        volume, labels = augment(image, masks, options, np.random.default_rng(seed))
        for depth in range(3):
            slice_, label = augment(image[:, depth], masks[:, depth], options, np.random.default_rng(seed))
            assert torch.equal(volume[:, depth], slice_)
            assert torch.equal(labels[:, depth], label)
        assert not volume[:, 1].any()
    flipped, _ = augment(image, masks, Augment(hflip=True), np.random.default_rng(0))
    assert torch.equal(flipped, image) or torch.equal(flipped, image.flip(-1))


def test_intensity_changes_leave_masks_alone():
    """Gamma and brightness stay in [0, 1] and within the factors asked for."""
    image, mask = torch.rand(1, 16, 16), torch.ones(1, 16, 16, dtype=torch.uint8)
    changed, same = augment(image, mask, Augment(gamma=0.3, brightness=0.3), np.random.default_rng(2))
    assert torch.equal(same, mask)
    assert 0 <= changed.min() <= changed.max() <= 1
    assert not torch.equal(changed, image)


def test_losses_agree_with_their_definitions():
    """Smoothed cross entropy equals PyTorch's; pixels outside the region do not count."""
    logits = torch.randn(8)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.full((8,), 0.9))
    torch.testing.assert_close(real_loss(logits, 0.1), expected)
    target = (torch.rand(2, 1, 8, 8) > 0.5).float()
    inside = torch.zeros(2, 1, 8, 8)
    inside[..., :4] = 1
    perfect = (target * 2 - 1) * 50 * (inside * 2 - 1)
    assert dice_loss(perfect, target, inside) < 1e-5
    assert cross_entropy(perfect, target, inside) < 1e-5
    assert dice_loss(-perfect, target, inside) > 0.9


def test_log_lines_tell_the_time_left(caplog):
    """Where there is no terminal a line shows step, losses and the time left."""
    with caplog.at_level("INFO"), Progress(0, 2, shown=True) as progress:
        progress.step()
        progress.losses(2, {"l1": 0.25})
    assert "step 2/2  l1 0.25" in caplog.text
    assert "00:00:00 left" in caplog.text


def test_a_running_training_tells_others_how_far_it_is(tmp_path):
    """The state folder says step, steps, pace, losses and device, from the first moment on."""
    with Progress(3, 9, False, tmp_path, torch.device("cpu"), ranks=2) as progress:
        begun = json.loads((tmp_path / "progress.json").read_text())
        progress.losses(9, {"l1": 0.25})
    ended = json.loads((tmp_path / "progress.json").read_text())
    assert (begun["step"], begun["steps"], begun["seconds_per_step"]) == (3, 9, None)
    assert (ended["step"], ended["losses"], ended["device"], ended["ranks"]) == (9, {"l1": 0.25}, "cpu", 2)
    assert ended["seconds_per_step"] >= 0
