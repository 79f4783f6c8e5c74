"""Whose GPU is whose on a workstation without a scheduler."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import torch

from mirage.errors import ConfigError

LOG = logging.getLogger("mirage.training")
POLL_SECONDS = 2.0


@contextmanager
def own_gpus(accelerator: str, wanted: int) -> Iterator[None]:
    """Within the block this process and its children see only GPUs that no other job of Mirage holds.

    A job that asks for GPUs waits until so many are free; one that asks for none takes a free one where
    there is one, and goes without where there is none. Where `CUDA_VISIBLE_DEVICES` is set, only devices
    that it names are taken. Nothing is done inside a Slurm job, whose devices are its own, in a rank of a
    job that has taken its devices, or where there is no CUDA device. A lock is the operating system's: it
    ends with the process, however that ends.

    Args:
        accelerator: as in `runtime.accelerator`.
        wanted: GPUs asked for.

    Raises:
        ConfigError: more GPUs are asked for than there are.
    """
    settled = "SLURM_JOB_ID" in os.environ or "LOCAL_RANK" in os.environ
    devices = [] if settled or accelerator not in ("auto", "gpu") else _visible()
    if not devices:
        yield
        return
    if wanted > len(devices):
        raise ConfigError(f"runtime.gpus: {wanted} asked for, this machine shows {len(devices)}; lower it")
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with ExitStack() as held:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_claim(held, devices, wanted))
        try:
            yield
        finally:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def _visible() -> list[str]:
    """Devices that this process may use, by number or UUID."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    return [device.strip() for device in listed.split(",") if device.strip() not in ("", "-1")]


def _claim(held: ExitStack, devices: list[str], wanted: int) -> list[str]:
    """The devices that ``held`` now locks; none where none was asked for and none is free."""
    needed = max(1, wanted)
    said = False
    while True:
        with ExitStack() as attempt:
            free: list[str] = []
            for device in devices:
                if len(free) < needed and (lock := _try_lock(device)):
                    attempt.enter_context(lock)
                    free.append(device)
            if len(free) == needed:
                held.enter_context(attempt.pop_all())
                return free
        if not wanted:
            return []
        if not said:
            LOG.info("waiting for %d free GPU(s) of %d; locks in %s", needed, len(devices), _folder())
            said = True
        time.sleep(POLL_SECONDS)


def _try_lock(device: str) -> IO[str] | None:
    """The device's lock file, locked, or None when another process holds it."""
    path = _folder() / f"{device}.lock"
    if not path.exists():
        path.touch()
        path.chmod(0o644)  # whatever the umask: other users' jobs open it too
    handle = path.open()
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def _folder() -> Path:
    """Folder of the locks, which all users of the machine share."""
    folder = Path(tempfile.gettempdir()) / "mirage-gpus"
    folder.mkdir(exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o1777)
    return folder
