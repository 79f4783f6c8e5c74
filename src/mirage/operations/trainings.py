"""How far a training is, read from its state folder while it runs, on this host or another."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mirage.files import read_json
from mirage.training.signs import LOCK, PROGRESS, SILENCE_SECONDS, dead, read_lock


@dataclass(frozen=True)
class Training:
    """What a state folder tells.

    Attributes:
        part: ``pretrain`` or ``train`` of a judge; empty for a generator.
        alive: whether its process lives: it has beaten lately, and is no process of this host that is gone.
        killed: whether it ended without giving the state back, as a killed process does.
        step: steps done when it last said so; None before it said anything.
        steps: steps it will do in all.
        seconds_per_step: pace of this run; None before the first.
        seconds_left: at that pace; None where there is none.
        losses: last means.
        device: such as ``cuda:0 (NVIDIA H200)``.
        ranks: processes that train together.
        host: where it runs, or ran.
        saved_seconds_ago: age of the state it would be resumed from; None: there is none yet.
    """

    part: str
    alive: bool
    killed: bool
    step: int | None
    steps: int | None
    seconds_per_step: float | None
    seconds_left: float | None
    losses: dict[str, float]
    device: str
    ranks: int
    host: str
    saved_seconds_ago: float | None


def file_system_time(folder: Path) -> float:
    """Now, by the clock that stamps the files of ``folder``: a file server's, not this host's.

    Where nothing can be written there, this host's clock has to do.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"now")
            file.flush()
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def training_at(state: Path, now: float) -> Training | None:
    """The training of a state folder; None where there is none.

    A judge has a state for each part of its training; the one that shows signs of life latest counts.

    Args:
        state: the folder.
        now: from :func:`file_system_time`.
    """
    signs = [path for name in (LOCK, PROGRESS) for path in (state / name, *state.glob(f"*/{name}"))]
    stamps = {path.parent: stamp for path in signs if (stamp := _stamp(path)) is not None}
    if not stamps:
        return None
    latest = max(stamps, key=lambda folder: stamps[folder])
    return _training(latest, "" if latest == state else latest.name, now)


def _training(folder: Path, part: str, now: float) -> Training:
    owner, beat = read_lock(folder / LOCK), _stamp(folder / LOCK)
    alive = owner is not None and beat is not None and now - beat < SILENCE_SECONDS and not dead(owner)
    told, saved = _told(folder / PROGRESS), _stamp(folder / "last.pt")
    step, steps, pace = told.get("step"), told.get("steps"), told.get("seconds_per_step")
    left = None
    if step is not None and steps is not None and pace is not None:
        age = now - (_stamp(folder / PROGRESS) or now)
        left = max(0.0, pace * (steps - step) - age)
    return Training(
        part=part,
        alive=alive,
        killed=owner is not None and not alive,
        step=step,
        steps=steps,
        seconds_per_step=pace,
        seconds_left=left,
        losses=told.get("losses", {}),
        device=told.get("device", ""),
        ranks=told.get("ranks", 1),
        host=(owner or {}).get("host", ""),
        saved_seconds_ago=None if saved is None else max(0.0, now - saved),
    )


def _told(path: Path) -> dict:
    try:
        return dict(read_json(path))
    except (OSError, ValueError):
        return {}


def _stamp(path: Path) -> float | None:
    """When a file was written; None when it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
