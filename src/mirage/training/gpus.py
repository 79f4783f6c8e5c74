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

LOG = logging.getLogger("mirage.training")
POLL_SECONDS = 2.0


@contextmanager
def own_gpus(accelerator: str, wanted: int) -> Iterator[None]:
    """Within the block this process and its children see only GPUs that no other job of Mirage holds.

    A job that asks for GPUs waits until so many are free; one that asks for none takes a free one where
    there is one. Nothing is done where a scheduler or the user has chosen already (`CUDA_VISIBLE_DEVICES`, or
    inside a Slurm job), or where there is no CUDA device. A lock is the operating system's: it ends with
    the process, however that ends.

    Args:
        accelerator: as in `runtime.accelerator`.
        wanted: GPUs asked for.
    """
    chosen = "CUDA_VISIBLE_DEVICES" in os.environ or "SLURM_JOB_ID" in os.environ
    devices = 0 if chosen or accelerator not in ("auto", "gpu") else torch.cuda.device_count()
    if not devices:
        yield
        return
    with ExitStack() as held:
        mine = _claim(held, devices, wanted)
        if not mine:
            yield
            return
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, mine))
        held.callback(os.environ.pop, "CUDA_VISIBLE_DEVICES", None)
        yield


def _claim(held: ExitStack, devices: int, wanted: int) -> list[int]:
    """Numbers of the devices that ``held`` now locks; none where none was asked for and none is free."""
    needed = min(max(1, wanted), devices)
    said = False
    while True:
        with ExitStack() as attempt:
            free: list[int] = []
            for device in range(devices):
                if len(free) < needed and (lock := _try_lock(device)):
                    attempt.enter_context(lock)
                    free.append(device)
            if len(free) == needed:
                held.enter_context(attempt.pop_all())
                return free
        if not wanted:
            return []
        if not said:
            LOG.info("waiting for %d free GPU(s) of %d; locks in %s", needed, devices, _folder())
            said = True
        time.sleep(POLL_SECONDS)


def _try_lock(device: int) -> IO[str] | None:
    """The device's lock file, locked, or None when another process holds it."""
    path = _folder() / f"{device}.lock"
    if not path.exists():
        path.touch()
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
