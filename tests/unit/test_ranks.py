"""Training on several devices, with two ranks on the CPU: what is computed, and what a killed rank leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_training import fit

from mirage.cli.jobs import CONTINUE
from mirage.errors import ConfigError
from mirage.training import gpus

pytestmark = pytest.mark.usefixtures("one_thread")

JOB = """
    import json, os, signal, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, {tests!r})
    from safetensors.torch import save_file
    from mirage.data import Dataset
    from mirage.training.device import is_first_rank
    from small_training import fit

    steps_before_death = {dies}
    def wrap(model):
        steps, inner = [0], model.training_step
        def training_step(batch, phase):
            steps[0] += phase == model.phases[0]
            if steps[0] == steps_before_death and not is_first_rank():
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(batch, phase)
        model.training_step = training_step

    root = Path({root!r})
    model, result = fit({arch!r}, Dataset({data!r}), root / "state", wrap=wrap, **{keys!r})
    if is_first_rank():
        weights = {{key: value.contiguous() for key, value in model.state_dict().items()}}
        save_file(weights, root / "weights.safetensors")
        (root / "history.json").write_text(json.dumps(result.history))
"""
# A Slurm allocation of another shape must not be looked at.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "SLURM_NTASKS": "3", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0"}


def on_two_ranks(arch: str, data: Any, root: Path, *, dies: int = 0, **keys: Any) -> str:
    """Train under torchrun in ``root``; rank 1 kills itself in step ``dies``. What was printed."""
    root.mkdir(exist_ok=True)
    job = root / "job.py"
    text = JOB.format(
        tests=str(Path(__file__).parent),
        dies=dies,
        root=str(root),
        arch=arch,
        data=str(data.folder),
        keys=keys,
    )
    job.write_text(textwrap.dedent(text))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(job)]
    done = subprocess.run(
        torchrun, timeout=300, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
    )
    assert (done.returncode != 0) == bool(dies), done.stderr[-3000:]
    return done.stderr


def assert_same_training(root: Path, model: Any, history: list[Any]) -> None:
    """The ranks' loss curves and weights are those of one process, up to rounding."""
    found = json.loads((root / "history.json").read_text())
    assert [(step, name) for step, name, _ in found] == [(step, name) for step, name, _ in history]
    np.testing.assert_allclose([row[2] for row in found], [row[2] for row in history], rtol=1e-4)
    for key, value in load_file(root / "weights.safetensors").items():
        if not key.endswith("num_batches_tracked"):  # a count of micro-batches that nothing reads
            torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ["segmenter", "dcgan"])
def test_two_ranks_compute_what_one_process_computes(toy_dataset: Any, tmp_path: Path, arch: str) -> None:
    """With the same configuration, also where batch norm makes a step depend on its micro-batches."""
    data = toy_dataset()
    keys = {"select": "last", "steps": 3, "accumulate": 2}
    on_two_ranks(arch, data, tmp_path / "two", **keys)
    model, result = fit(arch, data, tmp_path / "one", **keys)
    assert_same_training(tmp_path / "two", model, result.history)


def test_killed_rank_ends_the_job_and_the_next_run_goes_on(toy_dataset: Any, tmp_path: Path) -> None:
    """The other rank does not wait for ever; the resumed training is the uninterrupted one.

    Resumed on two ranks it ends with the same bits; on one process, which cuts a step alike, up to rounding.
    """
    data = toy_dataset()
    keys = {"select": "last", "steps": 14, "accumulate": 2}
    on_two_ranks("dcgan", data, tmp_path / "whole", **keys)
    on_two_ranks("dcgan", data, tmp_path / "killed", dies=12, **keys)
    state = tmp_path / "killed" / "state"
    assert 0 < torch.load(state / "last.pt", weights_only=True)["step"] < 12
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "state").mkdir()
    for file in state.iterdir():
        (tmp_path / "one" / "state" / file.name).write_bytes(file.read_bytes())
    on_two_ranks("dcgan", data, tmp_path / "killed", **keys)
    whole = load_file(tmp_path / "whole" / "weights.safetensors")
    resumed = load_file(tmp_path / "killed" / "weights.safetensors")
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    model, result = fit("dcgan", data, tmp_path / "one" / "state", **keys)
    assert_same_training(tmp_path / "whole", model, result.history)


def test_killed_rank_is_named_and_another_number_of_devices_is_refused(
    toy_dataset: Any, tmp_path: Path
) -> None:
    """`mirage train --gpus 2` ends with a line a user understands; one device would cut steps otherwise."""
    data = toy_dataset("real")
    config = tmp_path / "config.yaml"
    training = {"steps": 4000, "batch_size": 4, "validate_every": 4}
    options = {
        "arch": "dcgan",
        "data": "real",
        "options": {"of": "mask", "features": 4},
        "training": training,
    }
    config.write_text(yaml.safe_dump({"stage": "train", "version": 1, "options": options}))
    out = tmp_path / "model"

    def train(ranks: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mirage.cli", "train", "--config", str(config), "--out", str(out)]
        command += ["--data", str(data.folder), "--accelerator", "cpu", "--gpus", str(ranks)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def train_two_until_a_validation() -> subprocess.Popen[str]:
        job = train(2)
        assert job.stderr is not None
        printed = []
        while "val_frechet" not in (line := job.stderr.readline()):
            printed.append(line)
            assert line, "".join(printed)[-3000:]
        return job

    job = train_two_until_a_validation()
    ranks = [rank for rank in psutil.Process(job.pid).children(recursive=True) if "train" in rank.cmdline()]
    [rank_1] = [rank for rank in ranks if rank.environ().get("RANK") == "1"]
    rank_1.kill()
    said = job.communicate(timeout=120)[1]
    assert job.returncode == 1
    assert "rank 1 was killed by SIGKILL" in said
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)
    assert not (out / "weights.safetensors").exists()

    job = train_two_until_a_validation()
    job.send_signal(signal.SIGTERM)
    said = job.communicate(timeout=120)[1]
    assert job.returncode == CONTINUE, said[-3000:]
    assert (out / "state" / "last.pt").exists()
    job = train(1)
    assert "begun on 2 device(s)" in job.communicate(timeout=120)[1]
    assert job.returncode == 1


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs and locks of its own."""
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus.torch.cuda, "device_count", lambda: 2)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def seen() -> str | None:
    """GPUs that this process may see."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.usefixtures("two_gpus")
def test_every_job_of_a_workstation_gets_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs take one each; a third does without if it asked for none, and waits if it did."""

    def wait(_: float) -> None:
        raise TimeoutError

    monkeypatch.setattr(gpus.time, "sleep", wait)
    with gpus.own_gpus("gpu", 1):
        first = seen()
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with gpus.own_gpus("auto", 0):
            assert {first, seen()} == {"0", "1"}
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
            with gpus.own_gpus("auto", 0):
                assert seen() == ""
            with pytest.raises(TimeoutError), gpus.own_gpus("gpu", 1):
                pass
            os.environ["CUDA_VISIBLE_DEVICES"] = "0"  # as it was when this block began
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    with gpus.own_gpus("gpu", 2):
        assert seen() == "0,1"
    with pytest.raises(ConfigError, match="this machine shows 2"), gpus.own_gpus("gpu", 3):
        pass


@pytest.mark.usefixtures("two_gpus")
def test_only_gpus_that_the_user_or_the_scheduler_names_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the user's own list one that is free; inside a Slurm job all that it was given."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    with gpus.own_gpus("gpu", 1):
        assert seen() == "5"
    assert seen() == "5,7"
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with gpus.own_gpus("gpu", 1):
        assert seen() == "5,7"
