"""Seconds and peak memory of a training step of `label_to_brain` and DeepMedic, and of DeepMedic's inference.

    python benchmarks/brain_step.py --size 32 64 64
    python benchmarks/brain_step.py --size 64 240 240 --steps 10        # on a GPU

Each row runs in a process of its own, on random volumes. `thesis, plain` is the published design as people
write it: whole volumes, single precision, nothing computed twice. `thesis` is the same design in bf16 on a
GPU, with activation checkpointing; `recommended` is the matched one with a discriminator of crops. Memory is
the most that the tensors of a first step take, weights and optimisers included: what the allocator says on a
GPU, the sum of all allocations on a CPU, where each row runs at 2/3 of the width as well and the last column
extends the line through both to 64 x 240 x 240. Half precision takes less than that column says.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

THESIS_SIZE = (64, 240, 240)
FAITHFUL = {
    "coding": "scalar",
    "matched": False,
    "local_crop": 0,
    "noise_channels": 0,
    "order": "gcr",
    "discriminator_order": "gcr",
    "affine": True,
    "spectral_norm": "none",
    "beta1": 0.9,
}
SAVING = {"checkpointing": True}
ROWS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "thesis, plain": ("label_to_brain", FAITHFUL, False),
    "thesis": ("label_to_brain", {**FAITHFUL, **SAVING}, True),
    "recommended": ("label_to_brain", {**SAVING, "discriminate": "crops"}, True),
    "DeepMedic, 10 segments": ("deepmedic", {}, False),
}
"""Row -> architecture, its options, and whether it runs in bf16 on a GPU."""


def volume(size: tuple[int, ...]) -> Any:
    """A stored item: four noisy sequences of an ellipsoid with a tumour of three labels, (4, D, H, W)."""
    from mirage.data import Item

    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij"))
    brain = ((grid**2).sum(axis=0) < 0.9).astype(np.uint8)
    distance = np.sqrt(((grid - 0.3) ** 2).sum(axis=0))
    label = np.select([distance < 0.1, distance < 0.2, distance < 0.3], [1, 3, 2], 0).astype(np.uint8) * brain
    image = (rng.random((4, *size)) * 40000 * brain).astype(np.uint16)
    return Item(image, np.stack([label, brain]))


@contextmanager
def watched(device: torch.device, found: dict[str, float]) -> Iterator[None]:
    """Put into ``found["mb"]`` the most memory that tensors made in the block take at once."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield
        found["mb"] = torch.cuda.max_memory_allocated() / 2**20
        return
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        yield
    events = [event for event in watch.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    found["mb"] = float(np.cumsum(changes).max()) / 2**20


def child(
    row: str, size: tuple[int, int, int], f_maps: int, steps: int, device: str, half: bool
) -> dict[str, float]:
    """Run one row here; seconds a step and MB, and for DeepMedic seconds a volume."""
    from mirage.config.base import Runtime
    from mirage.config.generators import DeepMedicOptions, LabelToBrainOptions, TrainingOptions
    from mirage.data.tumour_labels import LABELS
    from mirage.generators import build
    from mirage.generators.base import ImageSpec
    from mirage.generators.volume_segmenter import VolumeSegmenter
    from mirage.training.fabric import launch
    from mirage.training.learner import Learner

    arch, given, low = ROWS[row]
    item = volume(size)
    names = ["flair", "t1", "t1ce", "t2"]
    spec = ImageSpec(
        (4, *size), "uint16", (0, 65535), names, ["label", "brain"], LABELS, "brain MRI", (1.0, 1.0, 1.0)
    )
    options: Any
    if arch == "deepmedic":
        batch, options = 10, DeepMedicOptions(**given)
    else:
        batch, options = 2, LabelToBrainOptions(**given, f_maps=f_maps, discriminator_f_maps=f_maps)
    model = build(arch, options, spec)
    runtime = Runtime(accelerator=device)
    fabric = launch(runtime, "bf16-mixed" if low and half else "32-true")
    learner = Learner(fabric, model, TrainingOptions(steps=steps, batch_size=batch), seed=0)
    rng = np.random.default_rng(1)
    examples = [model.example(item, rng) for _ in range(batch)]
    tensors = {key: torch.stack([example[key] for example in examples]) for key in examples[0]}
    weights = sum(parameter.nbytes for parameter in model.parameters())
    found: dict[str, float] = {}
    with watched(fabric.device, found):
        learner.step(0, [dict(tensors)])
    if fabric.device.type == "cpu":
        found["mb"] += weights / 2**20
    seconds = []
    for step in range(steps):
        began = time.perf_counter()
        learner.step(step, [dict(tensors)])
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    found["seconds"] = float(np.median(seconds))
    if isinstance(model, VolumeSegmenter):
        model.eval()
        began = time.perf_counter()
        model.predict(item)
        found["predict"] = time.perf_counter() - began
    return found


def measure(row: str, size: tuple[int, ...], arguments: argparse.Namespace) -> dict[str, float]:
    """Run one row in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, __file__, "--child", row, str(out), "--steps", str(arguments.steps)]
        command += ["--f-maps", str(arguments.f_maps), "--device", arguments.device]
        command += ["--half"] if arguments.half else []
        subprocess.run([*command, "--size", *map(str, size)], check=True)
        found: dict[str, float] = json.loads(out.read_text())
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[32, 64, 64], help="D H W")
    parser.add_argument("--f-maps", type=int, default=64, help="channels of the first level")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "gpu"], help="default: a GPU where there is one")
    parser.add_argument(
        "--half", action="store_true", help="half precision on a CPU too: slow, for the memory"
    )
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device is None:
        arguments.device = "gpu" if torch.cuda.is_available() else "cpu"
    size = tuple(arguments.size)
    if arguments.child:
        row, out = arguments.child
        half = arguments.half or arguments.device == "gpu"
        found = child(row, size, arguments.f_maps, arguments.steps, arguments.device, half)
        Path(out).write_text(json.dumps(found))
        return
    print(f"{' x '.join(map(str, size))} voxels, {arguments.f_maps} channels, {arguments.device}\n")
    print("| step | s | peak, MB | at 64 x 240 x 240, GB |\n| --- | --- | --- | --- |")
    smaller = (*size[:2], size[2] * 2 // 3 // 8 * 8)
    for row, (arch, _, _) in ROWS.items():
        found = measure(row, size, arguments)
        extended = ""
        if arch != "deepmedic" and arguments.device == "cpu":
            less = measure(row, smaller, arguments)["mb"]
            steps = (np.prod(THESIS_SIZE) - np.prod(size)) / (np.prod(size) - np.prod(smaller))
            extended = f"{(found['mb'] + (found['mb'] - less) * steps) / 1024:.0f}"
        print(f"| {row} | {found['seconds']:.2f} | {found['mb']:.0f} | {extended} |", flush=True)
        if "predict" in found:
            print(f"| DeepMedic, one volume | {found['predict']:.2f} | | |", flush=True)


if __name__ == "__main__":
    main()
