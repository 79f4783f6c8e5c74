"""Devices and ranks of a job, and what its ranks say to each other."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor

from mirage.config.base import Runtime
from mirage.errors import ConfigError


def accelerator(wanted: str) -> str:
    """``cuda``, ``mps`` or ``cpu`` for ``auto``, ``gpu``, ``mps`` or ``cpu``.

    Raises:
        ConfigError: the machine has no such device.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    found = {"cpu": "cpu", "gpu": "cuda" if cuda else None, "mps": "mps" if mps else None}[wanted]
    if found is None:
        raise ConfigError(
            f"runtime.accelerator: {wanted!r} asked for, but PyTorch {torch.__version__} finds none on this "
            "machine; use auto or cpu, or check the driver and the PyTorch build"
        )
    return found


def choose_device(runtime: Runtime) -> torch.device:
    """Device of a job of one process.

    Raises:
        ConfigError: the machine has no such device.
    """
    return torch.device(accelerator(runtime.accelerator))


def average_in_place(tensors: list[Tensor], ranks: int) -> None:
    """Replace tensors, such as gradients, by their mean over the ranks."""
    if ranks == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= ranks
    pieces = flat.split([tensor.numel() for tensor in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view(tensor.shape))


def average(values: Tensor, ranks: int) -> Tensor:
    """Mean of a tensor over the ranks, on the CPU."""
    if ranks > 1:
        values = values.clone()
        dist.all_reduce(values)
        values /= ranks
    return values.cpu()


def seed_noise(seed: int, device: torch.device) -> None:
    """Seed the global random numbers of the CPU and of one device.

    `torch.manual_seed` also seeds every other kind of device, which costs a millisecond a call where they
    are not there.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def threads_of_rank(runtime: Runtime) -> int:
    """CPU threads of this process: the ranks of a job share its threads."""
    return max(1, runtime.threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def workers_of_rank(runtime: Runtime) -> int:
    """Processes that load items for this one: the ranks of a job share them, one each at the least."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return -(-runtime.workers // ranks)


def is_first_rank() -> bool:
    """Whether this process is the one that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def gather(value: object, ranks: int) -> list[object]:
    """``value`` of every rank, on every rank."""
    if ranks == 1:
        return [value]
    values: list[object] = [None] * ranks
    dist.all_gather_object(values, value)
    return values
