"""Tools beside one another: each in processes of its own that start together, once all have imported."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ALONE = dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
"""Each process keeps to one thread."""


@dataclass(frozen=True)
class Used:
    """What the processes of a tool used, without their imports.

    Attributes:
        seconds: by the clock, until the last one ended.
        busy: processor seconds of all.
        memory: peak resident memory of each, MB, with its imports.
        found: what each said that it made.
    """

    seconds: float
    busy: float
    memory: list[float]
    found: list[int]


def measure(script: str, children: Iterable[Sequence[str | Path]]) -> Used:
    """Run a script's children side by side; each calls ``work_alone`` with ``--child`` and its arguments."""
    processes = []
    for arguments in children:
        processes.append(
            subprocess.Popen(
                [sys.executable, script, "--child", *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **ALONE},
            )
        )
    for process in processes:
        while (line := process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"failed before it started; run this to see why: {_command(process)}")
    began = time.perf_counter()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate()[0] for process in processes]
    seconds = time.perf_counter() - began
    for process in processes:
        if process.returncode:
            raise SystemExit(f"failed; run this to see why: {_command(process)}")
    busy, memory, found = zip(*(text.split()[-3:] for text in printed), strict=True)
    return Used(seconds, sum(map(float, busy)), list(map(float, memory)), list(map(int, found)))


def _command(process: subprocess.Popen) -> str:
    return " ".join(process.args)


def work_alone(modules: Iterable[str], work: Callable[[], int | None]) -> None:
    """Import, say so, wait for the start, work, and print processor seconds, peak memory in MB and result."""
    for name in modules:
        import_module(name)
    print("ready", flush=True)
    sys.stdin.readline()
    before = time.process_time()
    found = work() or 0
    busy = time.process_time() - before
    print(busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, found, flush=True)
