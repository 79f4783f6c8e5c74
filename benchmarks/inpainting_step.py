"""Training steps a second of the inpainters, beside plainly written versions of the same networks.

    python benchmarks/inpainting_step.py --steps 5 --batch 1 --out benchmarks/results/inpainting-step.md
    python benchmarks/inpainting_step.py --batch 16                     # on a GPU

The plain versions compute the same losses in the same loop, as public code does: attention by a Python loop
over the items of a batch, convolutions with patches as filters and a transposed one; AOT blocks branch by
branch, each with a border of its own; two passes of the feature network, one for each loss that reads it;
images in PyTorch's own memory layout; unfused Adam. A step of `contextual_attention` is the mean over one
update of the generator and `critic_steps` of the critics. Grey noise of 256 x 256; published widths. Seconds
of the processor count all threads and, unlike those of the clock, hardly depend on what else runs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 256


def attend_plainly(
    wanted: Tensor,
    offered: Tensor,
    hole: Tensor | None = None,
    *,
    rate: int = 2,
    scale: float = 10.0,
    fuse: bool = True,
) -> Tensor:
    """:func:`mirage.networks.contextual_attention.attend`, item by item, with convolutions."""
    height, width = wanted.shape[-2] // rate, wanted.shape[-1] // rate
    channels, identity = wanted.shape[1], torch.eye(3, device=wanted.device)[None, None]
    rebuilt = []
    for item in range(len(wanted)):
        raw = functional.unfold(offered[item : item + 1], 2 * rate, padding=rate // 2, stride=rate)
        raw = raw[0].T.reshape(-1, channels, 2 * rate, 2 * rate)
        patches = functional.unfold(offered[item : item + 1, :, ::rate, ::rate], 3, padding=1)
        patches = patches[0].T.reshape(-1, channels, 3, 3)
        patches = patches / patches.square().sum((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-4)
        score = functional.conv2d(wanted[item : item + 1, :, ::rate, ::rate], patches, padding=1)
        if fuse:
            table = score.view(1, 1, height * width, height * width)
            table = functional.conv2d(table, identity, padding=1).view(1, height, width, height, width)
            table = table.permute(0, 2, 1, 4, 3).reshape(1, 1, height * width, height * width)
            table = functional.conv2d(table, identity, padding=1).view(1, width, height, width, height)
            score = table.permute(0, 2, 1, 4, 3).reshape(1, height * width, height, width)
        valid: Tensor | float = 1.0
        if hole is not None:
            shrunk = functional.max_pool2d(hole[item : item + 1], rate)
            touched = functional.unfold(shrunk, 3, padding=1).mean(dim=1)
            valid = (touched == 0).float().view(1, -1, 1, 1)
        weights = functional.softmax(scale * score * valid, dim=1) * valid
        rebuilt.append(functional.conv_transpose2d(weights, raw, stride=rate, padding=rate // 2) / 4)
    return torch.cat(rebuilt)


def block_plainly(block: Any, x: Tensor) -> Tensor:
    """An AOT block, branch by branch."""
    found = []
    for rate, branch in zip(block.rates, block.branches, strict=True):
        padded = functional.pad(x, (rate,) * 4, mode="reflect")
        found.append(functional.conv2d(padded, branch.weight, branch.bias, dilation=rate).relu())
    merged = block.fuse(functional.pad(torch.cat(found, 1), (1,) * 4, mode="reflect"))
    gate = block.gate(functional.pad(x, (1,) * 4, mode="reflect"))
    mean, deviation = gate.mean((2, 3), keepdim=True), gate.std((2, 3), keepdim=True) + 1e-9
    gate = torch.sigmoid(5 * (2 * (gate - mean) / deviation - 1))
    return x * (1 - gate) + merged * gate


def losses_plainly(network: nn.Module, made: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Perceptual and style loss, with a pass of the network for each."""
    from mirage.generators.perceptual import gram

    pairs = zip(network(made)[0], network(real)[0], strict=True)
    perceptual = sum(functional.l1_loss(a, b) for a, b in pairs)
    pairs = zip(network(made)[1], network(real)[1], strict=True)
    return torch.as_tensor(perceptual), torch.as_tensor(
        sum(functional.l1_loss(gram(a), gram(b)) for a, b in pairs)
    )


@contextmanager
def plainly() -> Iterator[None]:
    """Within the block the inpainters are the plain ones."""

    def adam(parameters: list[nn.Parameter], lr: float, beta1: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr, (beta1, 0.999), foreach=False)

    with (
        patch("mirage.networks.contextual_attention.attend", attend_plainly),
        patch("mirage.networks.aot.AOTBlock.forward", block_plainly),
        patch("mirage.generators.aot_gan.perceptual_and_style", losses_plainly),
        patch("mirage.generators.inpainting.Inpainter.channels_last", False),
        patch("mirage.generators.inpainting.adam", adam),
    ):
        yield


def timed(run: Callable[[], object], repeats: int, device: torch.device) -> tuple[float, float]:
    """Seconds of the clock and of the processor for one run, after one that does not count."""

    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    run()
    settle()
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        run()
    settle()
    return (time.perf_counter() - clock) / repeats, (time.process_time() - processor) / repeats


def step_of(arch: str, batch: int, device: str, features: int | None) -> tuple[Callable[[], object], Any]:
    """A function that trains one step, and its model."""
    from mirage.config.base import Runtime
    from mirage.config.generators import AOTGANOptions, ContextualAttentionOptions, TrainingOptions
    from mirage.data import Item
    from mirage.generators import build
    from mirage.generators.base import ImageSpec
    from mirage.training.fabric import launch
    from mirage.training.learner import Learner

    spec = ImageSpec((1, SIDE, SIDE), "uint8", (0, 255), ["grey"], [], {}, "noise", None)
    classes = {"aot_gan": AOTGANOptions, "contextual_attention": ContextualAttentionOptions}
    options: Any = classes[arch](**({} if features is None else {"features": features}))
    model: Any = build(arch, options, spec)
    learner = Learner(
        launch(Runtime(accelerator=device), "32-true"), model, TrainingOptions(batch_size=batch), 0
    )
    rng = np.random.default_rng(0)
    items = [Item(rng.integers(0, 256, (1, SIDE, SIDE)).astype(np.uint8)) for _ in range(batch)]
    examples = [model.example(item, rng) for item in items]
    tensors = {key: torch.stack([example[key] for example in examples]) for key in examples[0]}
    done = 0

    def step() -> None:
        nonlocal done
        learner.step(done, [dict(tensors)])
        done += 1

    def cycle() -> None:
        for _ in range(model.interval("generator")):
            step()

    return cycle, model


def layer_of(batch: int, device: torch.device) -> Callable[[], object]:
    """The attention layer alone, forwards and backwards, on features as sharp as trained ones."""
    from mirage.networks import contextual_attention

    noise = torch.randn(batch, 128, SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(0))
    features = noise.relu().to(device).requires_grad_()
    hole = torch.zeros(batch, 1, SIDE // 4, SIDE // 4, device=device)
    hole[..., 16:48, 16:48] = 1
    return lambda: contextual_attention.attend(features, features, hole).square().sum().backward()


def measure(arguments: argparse.Namespace) -> list[str]:
    """Rows of the table."""
    device = torch.device("cuda" if arguments.device == "gpu" else "cpu")
    rows = ["| what | version | s | processor, s | speed-up |", "| --- | --- | --- | --- | --- |"]
    for what in ("attention layer alone", "contextual_attention", "aot_gan"):
        before = 0.0
        for version, context in (("plain", plainly()), ("Mirage", nullcontext())):
            with context:
                if what == "attention layer alone":
                    run, steps = layer_of(arguments.batch, device), 1
                else:
                    run, model = step_of(what, arguments.batch, arguments.device, arguments.features)
                    steps = model.interval("generator")
                repeats = max(1, arguments.steps // steps)
                clock, processor = (seconds / steps for seconds in timed(run, repeats, device))
            # On a GPU the processor waits; on a CPU the clock counts what others do.
            spent = clock if device.type == "cuda" else processor
            gain = f"{before / spent:.1f} x" if version == "Mirage" else ""
            before = spent
            rows.append(f"| {what} | {version} | {clock:.3g} | {processor:.3g} | {gain} |")
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=1, help="images a step")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--features", type=int, help="channels of the first layer; default: as published")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--device", choices=["cpu", "gpu"], help="default: a GPU where there is one")
    parser.add_argument("--out", type=Path, help="file for the table, Markdown")
    arguments = parser.parse_args()
    if arguments.device is None:
        arguments.device = "gpu" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    rows = measure(arguments)
    where = (
        torch.cuda.get_device_name() if arguments.device == "gpu" else f"{arguments.threads} CPU thread(s)"
    )
    head = [
        f"# A training step of the inpainters, {date.today()}",
        "",
        f"`benchmarks/inpainting_step.py`, {SIDE} x {SIDE} grey pixels, batch {arguments.batch}, "
        f"{arguments.steps} steps, {where}, PyTorch {torch.__version__}. Load of the machine {load:.1f} at "
        f"the beginning and {os.getloadavg()[0]:.1f} at the end, on {os.cpu_count()} cores: compare seconds "
        "of the processor. What the plain versions are the script says.",
        "",
    ]
    text = "\n".join([*head, *rows]) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
