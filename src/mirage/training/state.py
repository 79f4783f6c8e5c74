"""The resumable training state: whole or absent, owned by one process, never mixed between settings."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mirage.errors import CheckpointError
from mirage.files import atomic_path, read_json, write_json
from mirage.training.signs import HEARTBEAT_SECONDS, LOCK, SILENCE_SECONDS, dead, read_lock

LOG = logging.getLogger("mirage.training")


class TrainingState:
    """A folder with ``last.pt``, ``best-<step>.safetensors``, ``fingerprint.json`` and ``lock.json``.

    Beside them lies ``progress.json``, which :class:`~mirage.training.progress.Progress` writes for
    onlookers.

    Args:
        folder: made when absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._saved_best: int | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the folder; a heartbeat tells others that the owner lives.

        A lock of a process of this host that is gone is taken over at once. Another host's is watched
        (without trusting clocks) until it beats or has been silent for 45 s, as after a pre-emption.

        Raises:
            CheckpointError: another process trains here.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / LOCK
        self._wait_for(lock)
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
        write_json(lock, {**owner, "beat": 0})
        if read_json(lock)["token"] != owner["token"]:
            raise CheckpointError(f"{lock}: another process has just begun to train here; let it finish")
        done = threading.Event()
        thread = threading.Thread(target=_beat, args=(lock, owner, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            lock.unlink(missing_ok=True)

    def _wait_for(self, lock: Path) -> None:
        seen, began = read_lock(lock), time.monotonic()
        while seen is not None and not dead(seen):
            if time.monotonic() - began > SILENCE_SECONDS:
                LOG.warning("%s: its owner has been silent for %.0f s; taking over", lock, SILENCE_SECONDS)
                return
            time.sleep(0.5)
            now = read_lock(lock)
            if now is not None and now != seen:
                owner = f"process {now.get('pid')} on {now.get('host')}"
                raise CheckpointError(f"{lock}: {owner} is training here; let it finish or stop it")
            seen = now

    def claim(self, fingerprint: str) -> None:
        """Make the folder belong to these settings; a state of others is moved to ``state.old-<hash>``."""
        path = self.folder / "fingerprint.json"
        found = read_json(path)["fingerprint"] if path.exists() else None
        if found not in (None, fingerprint):
            aside = self.folder.with_name(f"{self.folder.name}.old-{found[:8]}")
            number = 1
            while aside.exists():
                number += 1
                aside = self.folder.with_name(f"{self.folder.name}.old-{found[:8]}-{number}")
            aside.mkdir()
            for file in self.folder.iterdir():
                if file.name != LOCK:
                    file.rename(aside / file.name)
            LOG.warning(
                "%s holds a training with other settings or data (%s, not %s); moved to %s, starting afresh",
                self.folder,
                found[:8],
                fingerprint[:8],
                aside,
            )
        if found != fingerprint:
            write_json(path, {"fingerprint": fingerprint})

    def load(self) -> dict[str, Any] | None:
        """The last saved state on the CPU, or None.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = self.folder / "last.pt"
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{path}: damaged ({error}); delete {self.folder} to train from the start"
            ) from error
        self._saved_best = state.pop("best")
        return state

    def save(self, state: dict[str, Any], best: int | None) -> None:
        """Write the state, which refers to the best weights of step ``best``, then remove all others."""
        with atomic_path(self.folder / "last.pt") as temporary:
            torch.save({**state, "best": best}, temporary)
        self._saved_best = best
        self._keep_best(best)

    def save_best(self, step: int, weights: dict[str, Tensor]) -> None:
        """Write the weights of the best step so far; those that the saved state refers to stay as well."""
        with atomic_path(self.folder / best_name(step)) as temporary:
            save_file({key: value.contiguous().cpu() for key, value in weights.items()}, temporary)
        self._keep_best(step, self._saved_best)

    def _keep_best(self, *steps: int | None) -> None:
        kept = {best_name(step) for step in steps if step is not None}
        for file in self.folder.glob("best-*.safetensors"):
            if file.name not in kept:
                file.unlink()

    def load_best(self, step: int) -> dict[str, Tensor]:
        """Weights of the best step.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        path = self.folder / best_name(step)
        try:
            weights: dict[str, Tensor] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path}: not readable ({error}); delete {self.folder} to train from the start"
            ) from error
        return weights


def best_name(step: int) -> str:
    """File of the best weights."""
    return f"best-{step:08d}.safetensors"


def _beat(lock: Path, owner: dict[str, Any], done: threading.Event) -> None:
    beat = 0
    while not done.wait(HEARTBEAT_SECONDS):
        beat += 1
        try:
            write_json(lock, {**owner, "beat": beat})
        except OSError as error:
            LOG.warning("%s: heartbeat not written (%s)", lock, error)
