"""Time and peak memory of metrics of features, beside the packages that people use, on the same features.

    pip install torch-fidelity prdc          # in an environment of its own, beside Mirage
    python benchmarks/feature_metrics.py
    python benchmarks/feature_metrics.py --only kid --threads 1

Precision, recall, density and coverage: 5,000 + 5,000 points of 512 features, k = 5, against prdc. KID: the
same points, 100 subsets of 1,000, against torch-fidelity. Fréchet distance: 10,000 + 10,000 points of 2,048
features, against torch-fidelity. All start from the float32 features in memory; extraction is not measured.
Each run is a process of its own. Memory is the peak above what the process held before the call, features
and imports included in that. The values are printed: they must agree, KID within the noise of its subsets.

What is measured is `mirage.metrics`: one value of large sets, block by block. The Fréchet distance of
evaluations is this very code. Their KID, precision, recall, density and coverage are not: there hundreds of
draws are read off products and distances of at most 1,000 items a side that are held in memory
(`mirage.evaluate.fidelity.measures`); a unit test holds both to the same values.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

SIZES = {"prdc": (5_000, 512), "kid": (5_000, 512), "fd": (10_000, 2_048)}
SUBSETS, SUBSET_SIZE, NEIGHBOURS = 100, 1_000, 5
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Sides = tuple[np.ndarray, np.ndarray]
Run = Callable[[Sides], object]


def features(count: int, dimension: int) -> Sides:
    """Normal features with a falling spectrum, as encoders have; the synthetic ones a little off."""
    sides = []
    for seed, scale, shift in ((1, 1.0, 0.0), (2, 1.05, 0.02)):
        points = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
        points *= np.float32(scale) / np.sqrt(1 + np.arange(dimension, dtype=np.float32) / 16)
        points += np.float32(shift)
        sides.append(points)
    return sides[0], sides[1]


def prdc_by_mirage() -> Run:
    from mirage.metrics.manifold import prdc

    def run(sides: Sides) -> object:
        found = prdc(*sides, k=NEIGHBOURS)
        return [round(v, 5) for v in (found.precision, found.recall, found.density, found.coverage)]

    return run


def prdc_by_prdc() -> Run:
    from prdc import compute_prdc

    return lambda sides: [round(float(v), 5) for v in compute_prdc(*sides, nearest_k=NEIGHBOURS).values()]


def kid_by_mirage() -> Run:
    from mirage.metrics.kernels import kernel_subsets

    def run(sides: Sides) -> object:
        found = kernel_subsets(*sides, np.random.default_rng(0), draws=SUBSETS, size=SUBSET_SIZE)
        return f"{found.mean():.6f} (SD {found.std():.6f})"

    return run


def kid_by_torch_fidelity() -> Run:
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    def run(sides: Sides) -> object:
        tensors = map(torch.from_numpy, sides)
        options = {"kid_subsets": SUBSETS, "kid_subset_size": SUBSET_SIZE, "verbose": False}
        mean, spread = kid_features_to_metric(*tensors, **options).values()
        return f"{mean:.6f} (SD {spread:.6f})"

    return run


def fd_by_mirage() -> Run:
    from mirage.metrics.distances import frechet_distance

    return lambda sides: round(frechet_distance(*sides), 6)


def fd_by_torch_fidelity() -> Run:
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    def run(sides: Sides) -> object:
        statistics = [fid_features_to_statistics(torch.from_numpy(points)) for points in sides]
        return round(next(iter(fid_statistics_to_metric(*statistics, verbose=False).values())), 6)

    return run


TOOLS: dict[str, dict[str, Callable[[], Run]]] = {
    "prdc": {"mirage": prdc_by_mirage, "prdc": prdc_by_prdc},
    "kid": {"mirage": kid_by_mirage, "torch_fidelity": kid_by_torch_fidelity},
    "fd": {"mirage": fd_by_mirage, "torch_fidelity": fd_by_torch_fidelity},
}
"""Metric -> package -> what imports it and gives the call that is measured."""


def resident() -> float:
    """Resident memory now, MB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def child(metric: str, tool: str) -> None:
    """Import, make the features, call, and print wall and processor seconds, memory in MB, and the value."""
    run = TOOLS[metric][tool]()
    sides = features(*SIZES[metric])
    before, wall, busy = resident(), time.perf_counter(), time.process_time()
    value = run(sides)
    seconds, cpu = time.perf_counter() - wall, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{seconds:.2f} | {cpu:.2f} | {peak - before:.0f} | {peak:.0f} | {value}")


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=TOOLS, nargs="+", default=list(TOOLS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    print("| metric | tool | s | processor s | peak above features, MB | peak of the process, MB | value |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    environment = {**os.environ, **dict.fromkeys(THREADS, str(arguments.threads))}
    for metric in arguments.only:
        for tool in TOOLS[metric]:
            if find_spec(tool) is None:
                print(f"| {metric} | {tool} | skipped: not installed (pip install {tool}) | | | | |")
                continue
            command = [sys.executable, __file__, "--child", metric, tool]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise SystemExit(f"{tool} failed:\n{done.stderr}")
            print(f"| {metric} | {tool} | {done.stdout.strip().splitlines()[-1]} |", flush=True)


if __name__ == "__main__":
    main()
