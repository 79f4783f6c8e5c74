"""DeepMedic (Kamnitsas et al., Medical Image Analysis 2017) as its public program 0.8.4 builds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_LAYERS = (4, 6, 8)
"""Layers, counted from 1, to whose output the input of the layer before is added."""


@dataclass(frozen=True)
class Variant:
    """Sizes of one of the published networks.

    Attributes:
        maps: feature maps of the eight layers of every pathway.
        factors: subsampling of the pathways beside the normal one.
        hidden: feature maps of the two hidden layers behind the pathways.
        kernel: side of the first hidden layer's kernel.
    """

    maps: tuple[int, ...]
    factors: tuple[int, ...]
    hidden: tuple[int, int]
    kernel: int

    def scaled(self, scale: float) -> Variant:
        """The same with about ``scale`` times as many feature maps: multiples of 8, at least 8.

        CPU kernels compute 16 feature maps faster than 15.
        """

        def scaled(maps: Sequence[int]) -> tuple[int, ...]:
            return tuple(max(8, 8 * round(scale * count / 8)) for count in maps)

        first, second = scaled(self.hidden)
        return Variant(scaled(self.maps), self.factors, (first, second), self.kernel)


VARIANTS = {
    "default": Variant((30, 30, 40, 40, 40, 40, 50, 50), (3, 5), (250, 250), 3),
    "wide": Variant((30, 40, 50, 60, 70, 80, 90, 100), (3, 5), (300, 300), 3),
    "dual": Variant((30, 30, 40, 40, 40, 40, 50, 50), (3,), (150, 150), 1),
}
"""The program's example network, its wider twin, and two pathways as in the paper of 2017."""


class RollingBatchNorm(nn.Module):
    """Batch norm that, at inference, uses the plain mean of the last batches' means and biased variances.

    Args:
        channels: of the input (N, C, D, H, W).
        batches: how many of the last batches; before that many were seen, all of them; without any, the
            input is only scaled and shifted.
    """

    means: Tensor
    variances: Tensor
    seen: Tensor

    def __init__(self, channels: int, batches: int = 60) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("means", torch.zeros(batches, channels))
        self.register_buffer("variances", torch.zeros(batches, channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised input, same shape."""
        eps = torch.finfo(torch.float32).tiny
        if not self.training:
            mean, variance = self._rolled()
            return functional.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.0, eps)
        mean, variance = torch.zeros_like(self.means[0]), torch.zeros_like(self.variances[0])
        # With momentum 1 the function leaves this batch's mean and unbiased variance in the two tensors.
        out = functional.batch_norm(x, mean, variance, self.weight, self.bias, True, 1.0, eps)
        values = x.numel() // x.shape[1]
        row = (self.seen % len(self.means)).view(1)
        self.means.index_copy_(0, row, mean[None])
        self.variances.index_copy_(0, row, variance[None] * ((values - 1) / values))
        self.seen.add_(1)
        return out

    def _rolled(self) -> tuple[Tensor, Tensor]:
        known = self.seen.clamp(max=len(self.means))
        return (
            self.means.sum(0) / known.clamp(min=1),
            self.variances.sum(0) / known.clamp(min=1) + (known == 0),
        )


class InputBias(nn.Module):
    """A bias on each raw input channel, where other layers normalise and activate.

    Args:
        channels: of the input (N, C, D, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shifted input, same shape."""
        return x + self.bias


class Dropout(nn.Module):
    """Dropout that is not rescaled in training; inference multiplies by the share that is kept.

    Args:
        rate: share of values dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.keep = 1 - rate

    def forward(self, x: Tensor) -> Tensor:
        """Input with some values at 0, or all of them scaled."""
        if self.keep == 1:
            return x
        return x * torch.empty_like(x).bernoulli_(self.keep) if self.training else x * self.keep


def layer(channels: int, maps: int, kernel: int, *, raw: bool = False, dropout: float = 0.0) -> nn.Sequential:
    """Batch norm and PReLU (on the ``raw`` image: a bias), dropout, then a convolution without bias."""
    before = [InputBias(channels)] if raw else [RollingBatchNorm(channels), nn.PReLU(channels, init=0.01)]
    conv = nn.Conv3d(channels, maps, kernel, bias=False)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (channels * kernel**3)))
    return nn.Sequential(*before, Dropout(dropout), conv)


def add_residual(deep: Tensor, early: Tensor) -> Tensor:
    """``deep`` plus the centre of ``early`` on as many channels as both have; changes ``deep`` in place."""
    margins = [(e - d) // 2 for e, d in zip(early.shape[2:], deep.shape[2:], strict=True)]
    depth, height, width = (slice(m, m + d) for m, d in zip(margins, deep.shape[2:], strict=True))
    both = min(deep.shape[1], early.shape[1])
    deep[:, :both] += early[:, :both, depth, height, width]
    return deep


class Pathway(nn.Module):
    """Eight valid 3x3x3 convolutions with residuals from two layers back.

    Args:
        channels: of the image.
        maps: feature maps of the layers.
    """

    def __init__(self, channels: int, maps: Sequence[int]) -> None:
        super().__init__()
        inputs = [channels, *maps[:-1]]
        self.layers = nn.ModuleList(
            layer(into, out, 3, raw=number == 0)
            for number, (into, out) in enumerate(zip(inputs, maps, strict=True))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, maps[-1], D - 16, H - 16, W - 16)."""
        before = x
        for number, one in enumerate(self.layers, start=1):
            out = one(x)
            if number in RESIDUAL_LAYERS:
                out = add_residual(out, before)
            before, x = x, out
        return x


class DeepMedic(nn.Module):
    """Parallel pathways on one centre at several resolutions, joined by repetition, and three last layers.

    Args:
        channels: of the image.
        classes: of the output, background included.
        variant: sizes; see ``VARIANTS``.
    """

    def __init__(self, channels: int, classes: int, variant: Variant = VARIANTS["default"]) -> None:
        super().__init__()
        self.variant = variant
        self.pathways = nn.ModuleList(
            Pathway(channels, variant.maps) for _ in range(1 + len(variant.factors))
        )
        joined, (first, second) = len(self.pathways) * variant.maps[-1], variant.hidden
        self.join = layer(joined, first, variant.kernel)
        self.hidden = layer(first, second, 1, dropout=0.5)
        self.classify = layer(second, classes, 1, dropout=0.5)
        self.class_bias = nn.Parameter(torch.zeros(classes, 1, 1, 1))

    @property
    def context(self) -> int:
        """Voxels beyond its output on each side that the joined pathways need where nothing is mirrored."""
        return self.variant.kernel // 2

    def forward(self, windows: Sequence[Tensor], context: bool = False) -> Tensor:
        """Logits of the voxels that the normal window is centred on.

        Args:
            windows: (N, C, d, h, w) of each pathway, the normal one first, placed as
                :func:`mirage.preprocess.windows.positions` says.
            context: the windows reach one voxel further on each side, and the first of the last layers sees
                it; False mirrors the outermost voxel instead, as the public program does.

        Returns:
            (N, classes, ...), smaller than the normal window by 16 in each axis, by 18 with context.
        """
        normal = self.pathways[0](windows[0])
        joined = [normal]
        for factor, pathway, window in zip(self.variant.factors, self.pathways[1:], windows[1:], strict=True):
            skipped = factor - self.context if context and self.context else 0
            joined.append(repeat(pathway(window), factor, normal.shape[2:], skipped))
        features = torch.cat(joined, dim=1)
        mirrored = 0 if context else self.context
        x = functional.pad(features, [mirrored] * 6, mode="replicate") if mirrored else features
        x = add_residual(self.hidden(self.join(x)), features)
        return self.classify(x) + self.class_bias

    def weights(self) -> list[Tensor]:
        """Weights of the convolutions, which alone are regularised."""
        return [module.weight for module in self.modules() if isinstance(module, nn.Conv3d)]


def repeat(x: Tensor, factor: int, extent: Sequence[int], skipped: int = 0) -> Tensor:
    """Repeat every voxel ``factor`` times an axis; keep ``extent`` voxels after the first ``skipped``."""
    whole = functional.interpolate(x, scale_factor=factor, mode="nearest")
    depth, height, width = (slice(skipped, skipped + size) for size in extent)
    return whole[..., depth, height, width]
