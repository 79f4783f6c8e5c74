"""This machine: its software, processors, memory and devices, beside what the studies ask for."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import mirage
from mirage.config.base import Runtime
from mirage.config.model import Config
from mirage.operations.finding import Finding

GIB = 2**30
INSTALL = "pip install -c constraints.txt -e ."
SHARED_MEMORY = "/dev/shm"
SHARED_MEMORY_GIB = 1.0
"""What loading processes want at least; containers often have 64 MiB."""


def usable_cores() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def software() -> Iterator[Finding]:
    """Versions of what decides results and of what runs them."""
    yield Finding("python", "ok", f"{platform.python_version()}, {platform.platform(terse=True)}")
    yield Finding("mirage", "ok", f"{mirage.__version__} in {os.path.dirname(mirage.__file__)}")
    for topic, package in (("snakemake", "snakemake"), ("slurm plugin", "snakemake-executor-plugin-slurm")):
        found = _version(package)
        yield Finding(topic, "ok", found) if found else Finding(topic, "problem", "not installed", INSTALL)
    dvc = _version("dvc")
    yield Finding("dvc", "ok", dvc or "not installed; only publishing and fetching of results needs it")
    yield _torch()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("torch", "problem", f"cannot be imported: {error}", INSTALL)
    build = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    found = f"{torch.__version__}, {build}"
    if not torch.version.cuda and shutil.which("nvidia-smi"):
        mend = "install the CUDA build of PyTorch; its install page gives the command"
        return Finding("torch", "warning", f"{found}, though this machine has an NVIDIA driver", mend)
    return Finding("torch", "ok", found)


def hardware(config: Config | None) -> Iterator[Finding]:
    """Processors, memory, devices and shared memory; ``config`` None: nothing to compare with."""
    runtimes = {} if config is None else _runtimes(config)
    yield Finding("CPU", "ok", f"{usable_cores()} cores")
    yield _memory(runtimes)
    yield _devices(runtimes)
    yield _shared_memory(runtimes)


def _runtimes(config: Config) -> dict[str, Runtime]:
    """``generators.eyes`` -> what it asks for, of the entries of the studies to be run."""
    found: dict[str, Runtime] = {}
    for study in config.run:
        data = config.study_data(study)
        named = {
            "datasets": data & config.datasets.keys(),
            "recipes": data & config.recipes.keys(),
            "generators": {name for name, _ in config.study_models(study)},
            "evaluations": set(config.studies[study].evaluations),
        }
        for registry, names in named.items():
            found |= {f"{registry}.{name}": getattr(config, registry)[name].runtime for name in sorted(names)}
    return found


def _memory(runtimes: dict[str, Runtime]) -> Finding:
    import psutil

    total = psutil.virtual_memory().total
    found = f"{total / GIB:.0f} GiB"
    most = max(runtimes, key=lambda name: runtimes[name].mem_mb, default=None)
    if most is not None and runtimes[most].mem_mb * 1e6 > total:
        asked = runtimes[most].mem_mb
        return Finding(
            "memory",
            "warning",
            f"{found}; {most}.runtime.mem_mb asks for {asked} MB",
            "run it on a larger machine; on this one it may be killed for want of memory",
        )
    return Finding("memory", "ok", found)


def _devices(runtimes: dict[str, Runtime]) -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("devices", "problem", "unknown, since torch cannot be imported", "see torch")
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    named = [f"{gpu.name}, {gpu.total_memory / GIB:.0f} GiB" for gpu in gpus]
    if torch.backends.mps.is_available():
        named.append("Apple GPU (mps)")
    asked = max(runtimes, key=lambda name: runtimes[name].gpus, default=None)
    if asked is not None and runtimes[asked].gpus > len(named):
        return Finding(
            "GPUs",
            "warning",
            f"{len(named)}; {asked}.runtime.gpus asks for {runtimes[asked].gpus}",
            "use --profile slurm or a machine with as many; without a GPU training takes long",
        )
    return Finding("GPUs", "ok", "; ".join(named) or "none; trains on the CPU")


def _shared_memory(runtimes: dict[str, Runtime]) -> Finding:
    if not os.path.isdir(SHARED_MEMORY):
        return Finding("shared memory", "ok", "no limit of its own")
    size = shutil.disk_usage(SHARED_MEMORY).total / GIB
    asked = next((name for name, runtime in runtimes.items() if runtime.workers), None)
    if asked is not None and size < SHARED_MEMORY_GIB:
        return Finding(
            "shared memory",
            "warning",
            f"{size * 1024:.0f} MiB; {asked}.runtime.workers load items through it",
            "give the container more (docker run --shm-size=8g), or set workers: 0",
        )
    return Finding("shared memory", "ok", f"{size:.1f} GiB")
