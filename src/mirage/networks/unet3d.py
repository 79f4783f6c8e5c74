"""3D U-Net (Çiçek 2016, in the form of Wolny's pytorch-3dunet) with options for norm, order and memory.

Channels double a level; a level is two 3x3x3 convolutions; max pooling goes down, nearest neighbour up, and
the skip connection is concatenated before what comes from below.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm
from torch.utils.checkpoint import checkpoint

ORDER = re.compile("^([gi]?c[rl]|c[gi][rl]|c[rl][gi])$")
GROUPS = 8
LEAK = 0.2


class Norm(nn.Module):
    """Group norm with fp32 statistics that returns the type it was given.

    Autocast would return fp32 and with it double the memory of the largest tensors. One group a channel is
    instance norm.

    Args:
        groups: divides channels.
        channels: of the input.
        affine: a learnt scale and offset a channel.
    """

    def __init__(self, groups: int, channels: int, affine: bool) -> None:
        super().__init__()
        self.groups, self.channels, self.affine = groups, channels, affine
        self.weight: Tensor
        self.bias: Tensor
        for name, value in (("weight", torch.ones(channels)), ("bias", torch.zeros(channels))):
            if affine:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, D, H, W), normalised within each item and group."""
        with torch.autocast(x.device.type, enabled=False):
            if self.groups == self.channels:
                return functional.instance_norm(x, weight=self.weight, bias=self.bias)
            if x.dtype == torch.float32:
                return functional.group_norm(x, self.groups, self.weight, self.bias)
            # Group norm would round mean and deviation to half precision too. Instance norm keeps them in
            # fp32 where its parameters are fp32, which is why there are some even if they are not learnt.
            one, zero = self.weight.new_ones(self.groups), self.weight.new_zeros(self.groups)
            flat = functional.instance_norm(x.reshape(len(x), self.groups, -1), weight=one, bias=zero)
            normal = flat.view_as(x)
            if not self.affine:
                return normal
            shape = (-1, *[1] * (x.ndim - 2))
            return torch.addcmul(self.bias.to(x).view(shape), normal, self.weight.to(x).view(shape))


def norm_of(code: str, channels: int, affine: bool) -> Norm:
    """Group norm (``g``: 8 groups or as many as divide the channels, 1 below 8) or instance norm (``i``)."""
    groups = math.gcd(channels, GROUPS) if channels >= GROUPS else 1
    return Norm(channels if code == "i" else groups, channels, affine)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """3x3x3 convolution of (N, C, D, H, W) that keeps D, H and W.

    On a CPU PyTorch takes a path several times slower for a single small item, so its lower and upper halves
    are convolved as two items.
    """
    depth = x.shape[2]
    if x.device.type != "cpu" or len(x) > 1 or depth % 2:
        return functional.conv3d(x, weight, bias, padding=1)
    padded = functional.pad(x, (0, 0, 0, 0, 1, 1))
    halves = torch.cat([padded[:, :, : depth // 2 + 2], padded[:, :, depth // 2 :]])
    return torch.cat(functional.conv3d(halves, weight, bias, padding=(0, 1, 1)).chunk(2), dim=2)


class ConvUnit(nn.Module):
    """One 3x3x3 convolution with its norm and activation, in a given order.

    Args:
        in_channels: channels that come in, over all parts.
        out_channels: channels that go out.
        order: ``c`` convolution, ``g`` group or ``i`` instance norm, ``r`` ReLU or ``l`` LeakyReLU(0.2).
            The convolution has a bias where there is no norm.
        affine: whether the norm has parameters.
        spectral_norm: divide the weights by their largest singular value (Miyato 2018).
    """

    def __init__(
        self, in_channels: int, out_channels: int, order: str, affine: bool, spectral_norm: bool
    ) -> None:
        super().__init__()
        if not ORDER.match(order):
            raise ValueError(f"order {order!r} is not a convolution c with norm g or i and activation r or l")
        self.order = order
        codes = set(order) & {"g", "i"}
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=not codes)
        if spectral_norm:
            with_spectral_norm(self.conv)
        normed = in_channels if order[0] in codes else out_channels
        self.norm = norm_of(codes.pop(), normed, affine) if codes else None

    def weight(self) -> Tensor:
        """The convolution's weight; with spectral norm and in training each call improves its estimate."""
        with torch.autocast(next(self.conv.parameters()).device.type, enabled=False):
            return self.conv.weight

    def forward(self, weight: Tensor, *parts: Tensor) -> Tensor:
        """Run on the concatenation of the parts (N, C_i, D, H, W), which is not made if it can be avoided.

        A convolution of a concatenation is the sum of the convolutions of its parts.
        """
        if len(parts) > 1 and self.order[0] != "c":
            parts = (torch.cat(parts, dim=1),)
        for code in self.order:
            if code == "c":
                pieces = weight.split([part.shape[1] for part in parts], dim=1)
                x = convolve(parts[0], pieces[0], self.conv.bias)
                for part, piece in zip(parts[1:], pieces[1:], strict=True):
                    x += convolve(part, piece)
                parts = (x,)
            elif code in "rl":
                parts = (functional.leaky_relu(parts[0], LEAK if code == "l" else 0.0, inplace=True),)
            else:
                assert self.norm is not None
                parts = (self.norm(parts[0]),)
        return parts[0]


class DoubleConv(nn.Module):
    """Two units: ``in_channels`` to ``middle`` to ``out_channels``.

    Args:
        in_channels, middle, out_channels: channels before, between and after.
        order, affine, spectral_norm: of both units, see :class:`ConvUnit`.
        checkpointing: keep nothing but inputs and output, and compute the rest again in the backward pass.
    """

    def __init__(
        self,
        in_channels: int,
        middle: int,
        out_channels: int,
        order: str,
        affine: bool,
        spectral_norm: bool,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.first = ConvUnit(in_channels, middle, order, affine, spectral_norm)
        self.second = ConvUnit(middle, out_channels, order, affine, spectral_norm)

    def forward(self, x: Tensor, coarse: Tensor | None = None) -> Tensor:
        """Features (N, C, D, H, W), and coarser ones (N, C', d, h, w), to (N, out_channels, D, H, W)."""
        # Taken before the checkpoint: taken again in the backward pass, spectral norm's would be others.
        weights = self.first.weight(), self.second.weight()
        if self.checkpointing and torch.is_grad_enabled():
            made: Tensor = checkpoint(
                self._run, *weights, x, coarse, use_reentrant=False, preserve_rng_state=False
            )
            return made
        return self._run(*weights, x, coarse)

    def _run(self, first: Tensor, second: Tensor, x: Tensor, coarse: Tensor | None) -> Tensor:
        parts = (x,) if coarse is None else (x, functional.interpolate(coarse, x.shape[2:], mode="nearest"))
        return self.second(second, self.first(first, *parts))


class Encoder(nn.Module):
    """The way down: ``levels`` double convolutions with max pooling between them.

    The first convolution of a level brings half of the level's channels, or all that come in if those are
    more.

    Args:
        in_channels: channels of the input.
        f_maps: channels of the first level, doubled a level.
        levels: at least 1; the smallest features have 1 / 2**(levels - 1) of the side, rounded down.
        order, affine, spectral_norm: see :class:`ConvUnit`.
        checkpointing: of the first, full-resolution level.
    """

    def __init__(
        self,
        in_channels: int,
        f_maps: int,
        levels: int,
        order: str,
        affine: bool,
        spectral_norm: bool,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if f_maps < 2 or levels < 1:
            raise ValueError(f"f_maps {f_maps} and levels {levels} are not at least 2 and 1")
        widths = [f_maps * 2**level for level in range(levels)]
        self.blocks = nn.ModuleList()
        for level, (before, width) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True)):
            middle, saving = max(width // 2, before), checkpointing and level == 0
            self.blocks.append(
                DoubleConv(before, middle, width, order, affine, spectral_norm, checkpointing=saving)
            )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, in_channels, D, H, W) to the features of every level, finest first."""
        features: list[Tensor] = []
        for block in self.blocks:
            features.append(block(functional.max_pool3d(features[-1], 2) if features else x))
        return features


class UNet3D(nn.Module):
    """3D U-Net without activation at its end.

    With order ``gcr`` and affine norm the reference implementation has as many parameters.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        f_maps: channels of the first level, doubled a level.
        levels: at least 2.
        order: of convolution, norm and activation, see :class:`ConvUnit`.
        affine: whether norms have parameters.
        spectral_norm: on all 3x3x3 convolutions.
        checkpointing: of the two full-resolution levels, which hold three quarters of all activations.

    Raises:
        ValueError: an order or a number of levels that is impossible.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        f_maps: int = 64,
        levels: int = 4,
        order: str = "gcr",
        affine: bool = True,
        spectral_norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"the 3D U-Net needs at least 2 levels, not {levels}")
        norm = order, affine, spectral_norm
        self.encoder = Encoder(in_channels, f_maps, levels, *norm, checkpointing)
        self.decoder = nn.ModuleList()
        for level in reversed(range(levels - 1)):
            width, saving = f_maps * 2**level, checkpointing and level == 0
            self.decoder.append(DoubleConv(3 * width, width, width, *norm, checkpointing=saving))
        self.last = nn.Conv3d(f_maps, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, D, H, W) to (N, out_channels, D, H, W), any real number."""
        *skips, x = self.encoder(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(skip, x)
        made: Tensor = self.last(x)
        return made
