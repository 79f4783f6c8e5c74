"""Contextual attention: Yu et al., Generative image inpainting with contextual attention, CVPR 2018.

Version 1, with WGAN-GP critics.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

DILATIONS = (2, 4, 8, 16)
NORM_FLOOR = 1e-4
TRACE = 30.0
"""Logits so far below the highest one weigh 1e-13 of it: nothing in a sum of single precision."""


def attend(
    wanted: Tensor,
    offered: Tensor,
    hole: Tensor | None = None,
    *,
    rate: int = 2,
    scale: float = 10.0,
    fuse: bool = True,
) -> Tensor:
    """Rebuild each place of a feature map from patches of the same map outside the hole.

    Patches of 3 x 3 are compared at ``1 / rate`` of the resolution: inner products of what is wanted with
    normalised patches of what is offered, a softmax over the latter. What is pasted are patches of
    2 ``rate`` x 2 ``rate`` at full resolution, whose overlaps are averaged. As published, a patch that
    touches the hole scores 0 (not minus infinity) in the softmax and weighs 0 after it; it touches where any
    pixel of the hole lies in it. Every item has its own hole; all are computed in batched matrix products.

    Args:
        wanted: (N, C, H, W), whose patches look for others; H and W are multiples of ``rate``.
        offered: (N, C, H, W), whose patches are found.
        hole: (N, 1, H, W), 1 where a hole is; None: no hole.
        rate: even; shrinks the grid on which patches are compared.
        scale: of the softmax.
        fuse: patches score higher where those of neighbouring places lie next to them.

    Returns:
        (N, C, H, W). With ``wanted`` and ``offered`` alike and no hole the input itself, but for a border of
        ``rate / 2`` pixels, where fewer patches overlap.

    Raises:
        ValueError: an odd rate, or a size that is no multiple of it.
    """
    height, width = wanted.shape[-2:]
    if rate % 2 or height % rate or width % rate:
        raise ValueError(f"expected an even rate and sides that it divides, found {rate}, {height} x {width}")
    kernel, grid = 2 * rate, (height // rate, width // rate)
    pasted = functional.unfold(offered, kernel, padding=rate // 2, stride=rate)
    seen = functional.unfold(wanted[..., ::rate, ::rate], 3, padding=1)
    patches = functional.unfold(offered[..., ::rate, ::rate], 3, padding=1)
    patches = patches / patches.norm(dim=1, keepdim=True).clamp(min=NORM_FLOOR)
    score = torch.bmm(seen.transpose(1, 2), patches)
    if fuse:
        score = fused(score, grid)
    valid = None
    if hole is not None:
        coarse = functional.max_pool2d(hole.float(), rate)
        valid = (functional.max_pool2d(coarse, 3, stride=1, padding=1) == 0).flatten(2).to(score.dtype)
        score = score * valid
    weights = functional.softmax(_without_traces(scale * score), dim=2)
    if valid is not None:
        weights = weights * valid
    rebuilt = torch.bmm(pasted, weights.transpose(1, 2).to(pasted.dtype))
    return functional.fold(rebuilt, (height, width), kernel, padding=rate // 2, stride=rate) / 4


def _without_traces(logits: Tensor) -> Tensor:
    """Logits whose softmax is 0, and has no gradient, where it would be less than a rounding error.

    Sharp attention leaves weights below the smallest normal number everywhere else, with which a CPU
    multiplies ten times more slowly.
    """
    lowest = logits.detach().amax(dim=2, keepdim=True) - TRACE
    return logits.masked_fill(logits < lowest, float("-inf"))


def fused(score: Tensor, grid: tuple[int, int]) -> Tensor:
    """Scores to which those of the diagonal neighbours are added, along rows and then along columns.

    Args:
        score: (N, L, L): of each wanted place with each offered one, L = h w places in rows.
        grid: h, w.
    """
    height, width = grid
    rows = _diagonal_sums(score)
    columns = _with_other_order(rows, height, width)
    return _with_other_order(_diagonal_sums(columns), width, height)


def _diagonal_sums(score: Tensor) -> Tensor:
    """Convolution with the 3 x 3 identity matrix."""
    summed = score.clone()
    summed[:, 1:, 1:] += score[:, :-1, :-1]
    summed[:, :-1, :-1] += score[:, 1:, 1:]
    return summed


def _with_other_order(score: Tensor, height: int, width: int) -> Tensor:
    """(N, L, L) of places in rows to places in columns."""
    places = score.view(-1, height, width, height, width)
    return places.permute(0, 2, 1, 4, 3).reshape(score.shape)


class Conv(nn.Sequential):
    """Convolution that keeps (or, with stride 2, halves) the size, and ELU or another activation."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        activation: type[nn.Module] = nn.ELU,
    ) -> None:
        padding = dilation * (kernel - 1) // 2
        convolution = nn.Conv2d(in_channels, channels, kernel, stride, padding, dilation)
        super().__init__(convolution, activation(inplace=True))


def _dilated(width: int) -> list[nn.Module]:
    return [Conv(width, width, dilation=dilation) for dilation in DILATIONS]


def _up(*widths: int) -> list[nn.Module]:
    """Nearest enlargement to the double size and one convolution a width after the first."""
    return [nn.Upsample(scale_factor=2, mode="nearest"), *(Conv(*pair) for pair in pairwise(widths))]


def _head(width: int, channels: int) -> list[nn.Module]:
    """Last enlargement and the image, which the published network clips."""
    half = max(1, width // 2)
    last = nn.Conv2d(half, channels, 3, padding=1)
    return [*_up(2 * width, width), Conv(width, half), last, nn.Hardtanh()]


class CoarseNet(nn.Sequential):
    """The first network: a rough guess of what is missing.

    Args:
        channels: of the image; the input has two more, ones and the hole.
        width: channels of the first layer.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__(
            Conv(channels + 2, width, 5),
            Conv(width, 2 * width, stride=2),
            Conv(2 * width, 2 * width),
            Conv(2 * width, 4 * width, stride=2),
            *(Conv(4 * width, 4 * width) for _ in range(2)),
            *_dilated(4 * width),
            *(Conv(4 * width, 4 * width) for _ in range(2)),
            *_up(4 * width, 2 * width, 2 * width),
            *_head(width, channels),
        )


class RefinementNet(nn.Module):
    """The second network: one encoder imagines, the other looks for known patches; one decoder.

    Args:
        channels: of the image; the input has two more, ones and the hole.
        width: channels of the first layer.
        scale, fuse: see :func:`attend`.
    """

    def __init__(self, channels: int, width: int = 32, scale: float = 10.0, fuse: bool = True) -> None:
        super().__init__()
        self.scale, self.fuse = scale, fuse
        wide = 4 * width
        self.imagine = nn.Sequential(
            Conv(channels + 2, width, 5),
            Conv(width, width, stride=2),
            Conv(width, 2 * width),
            Conv(2 * width, 2 * width, stride=2),
            Conv(2 * width, wide),
            Conv(wide, wide),
            *_dilated(wide),
        )
        self.look = nn.Sequential(
            Conv(channels + 2, width, 5),
            Conv(width, width, stride=2),
            Conv(width, 2 * width),
            Conv(2 * width, wide, stride=2),
            Conv(wide, wide),
            # Features that are compared by inner products must not be negative.
            Conv(wide, wide, activation=nn.ReLU),
        )
        self.after = nn.Sequential(*(Conv(wide, wide) for _ in range(2)))
        self.decode = nn.Sequential(
            Conv(2 * wide, wide),
            Conv(wide, wide),
            *_up(wide, 2 * width, 2 * width),
            *_head(width, channels),
        )

    def forward(self, x: Tensor, hole: Tensor) -> Tensor:
        """Image with ones and hole (N, C + 2, H, W), hole (N, 1, H, W), to an image in [-1, 1]."""
        features = self.look(x)
        # One float for every compared product: half precision would order patches by rounding errors.
        with torch.autocast(x.device.type, enabled=False):
            known = features.float()
            found = attend(known, known, functional.max_pool2d(hole, 4), scale=self.scale, fuse=self.fuse)
        return self.decode(torch.cat([self.imagine(x), self.after(found)], dim=1))


class CoarseToFine(nn.Module):
    """Both networks in turn.

    Args:
        channels: of the image.
        width: channels of the first layers.
        scale, fuse: see :func:`attend`.
    """

    def __init__(self, channels: int, width: int = 32, scale: float = 10.0, fuse: bool = True) -> None:
        super().__init__()
        self.coarse = CoarseNet(channels, width)
        self.refine = RefinementNet(channels, width, scale, fuse)

    def forward(self, masked: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Images with holes to the guesses of both networks.

        Args:
            masked: (N, C, H, W) in [-1, 1], 0 in the hole; H and W are multiples of 8.
            hole: (N, 1, H, W), 1 where the hole is.

        Returns:
            Coarse and refined images (N, C, H, W) in [-1, 1], also outside the hole.
        """
        marks = [torch.ones_like(hole), hole]
        coarse = self.coarse(torch.cat([masked, *marks], dim=1))
        pasted = masked * (1 - hole) + coarse * hole
        return coarse, self.refine(torch.cat([pasted, *marks], dim=1), hole)


class Critic(nn.Module):
    """WGAN critic: four 5 x 5 convolutions that halve the image, and one number for it.

    Args:
        channels: of the image.
        side: of the image, pixels.
        width: channels of the first layer; at most four times as many.
    """

    def __init__(self, channels: int, side: int, width: int = 64) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width, 4 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 5, 2, 2), nn.LeakyReLU(0.2, inplace=True)]
            side = (side + 1) // 2
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * side**2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N,)."""
        return self.head(self.layers(images).flatten(1)).squeeze(1)
