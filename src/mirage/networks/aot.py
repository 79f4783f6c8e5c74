"""AOT-GAN: Zeng et al., Aggregated contextual transformations for high-resolution image inpainting, 2022."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from mirage.networks.init import normal_init


class AOTBlock(nn.Module):
    """Context at several distances, and a gate that decides how much of it replaces the features.

    All convolutions read the same features, so these are reflected at their border once, for the widest
    dilation; and the gate and the branch without dilation, which see the same 3 x 3 places, are one
    convolution.

    Args:
        channels: of the features; a multiple of the number of rates.
        rates: dilations of the branches.

    Raises:
        ValueError: branches that do not divide the channels.
    """

    def __init__(self, channels: int = 256, rates: Sequence[int] = (1, 2, 4, 8)) -> None:
        super().__init__()
        if channels % len(rates):
            raise ValueError(f"{len(rates)} branches do not divide {channels} channels")
        self.rates = tuple(rates)
        width = channels // len(rates)
        self.branches = nn.ModuleList(nn.Conv2d(channels, width, 3, dilation=rate) for rate in rates)
        self.fuse = nn.Conv2d(channels, channels, 3)
        self.gate = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W), H and W larger than every rate, to the same."""
        margin = max(self.rates)
        padded = functional.pad(x, (margin,) * 4, mode="reflect")
        gate, context = None, []
        for rate, branch in zip(self.rates, self.branches, strict=True):
            assert isinstance(branch, nn.Conv2d)
            seen = _cropped(padded, margin - rate)
            if rate == 1 and gate is None:
                found, gate = _both(seen, branch, self.gate)
            else:
                found = branch(seen)
            context.append(found)
        if gate is None:
            gate = self.gate(_cropped(padded, margin - 1))
        merged = functional.relu(torch.cat(context, dim=1), inplace=True)
        filled = self.fuse(functional.pad(merged, (1,) * 4, mode="reflect"))
        return torch.lerp(x, filled.to(x.dtype), opened(gate).to(x.dtype))


def _cropped(padded: Tensor, margin: int) -> Tensor:
    """Without ``margin`` pixels on each side."""
    height, width = padded.shape[-2:]
    return padded[..., margin : height - margin, margin : width - margin]


def _both(x: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> list[Tensor]:
    """Results of two convolutions of one kernel size and no dilation, by one convolution."""
    assert first.bias is not None
    assert second.bias is not None
    weight, bias = torch.cat([first.weight, second.weight]), torch.cat([first.bias, second.bias])
    made = functional.conv2d(x, weight, bias)
    return list(made.split([first.out_channels, second.out_channels], dim=1))


def opened(gate: Tensor) -> Tensor:
    """Gate in (0, 1): each channel of each item standardised over its places, u, to sigmoid(5 (2 u - 1))."""
    gate = gate.float()
    deviation, mean = torch.std_mean(gate, dim=(2, 3), keepdim=True)
    slope = 10 / (deviation + 1e-9)
    return torch.sigmoid(gate * slope - (mean * slope + 5))


class AOTGenerator(nn.Module):
    """Two halvings, AOT blocks, two doublings; no normalisation.

    Args:
        channels: of the image.
        width: channels of the first layer, four times as many in the blocks.
        blocks: AOT blocks.
        rates: dilations of a block's branches.
    """

    def __init__(
        self, channels: int, width: int = 64, blocks: int = 8, rates: Sequence[int] = (1, 2, 4, 8)
    ) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(channels + 1, width, 7, padding=3, padding_mode="reflect"),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1, padding_mode="reflect"),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1, padding_mode="reflect"),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(*(AOTBlock(4 * width, rates) for _ in range(blocks)))
        self.decode = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(4 * width, 2 * width, 3, padding=1, padding_mode="reflect"),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(2 * width, width, 3, padding=1, padding_mode="reflect"),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 3, padding=1, padding_mode="reflect"),
            nn.Tanh(),
        )
        normal_init(self)

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        """Images with holes to images, also outside the hole.

        Args:
            masked: (N, C, H, W) in [-1, 1], +1 in the hole; H and W are multiples of 4, a quarter of them
                larger than every rate.
            hole: (N, 1, H, W), 1 where the hole is.

        Returns:
            (N, C, H, W) in [-1, 1].
        """
        return self.decode(self.blocks(self.encode(torch.cat([masked, hole], dim=1))))


class SoftMaskDiscriminator(nn.Module):
    """Spectrally normalised PatchGAN without other norms: patches of 70 pixels, a logit each.

    Args:
        channels: of the image.
        width: channels of the first layer.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        widths, strides = [channels, width, 2 * width, 4 * width, 8 * width], (2, 2, 2, 1)
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(widths), strides, strict=True):
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)
        normal_init(self)
        for layer in layers[:-1]:
            if isinstance(layer, nn.Conv2d):
                spectral_norm(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), sides at least 32, to logits (N, 1, h, w): 30 x 30 of 256 x 256."""
        return self.layers(images)


def soft_target(hole: Tensor, sigma: float = 10.0) -> Tensor:
    """Holes blurred by a Gaussian, so that patches on their border are not wholly fake.

    Args:
        hole: (N, 1, H, W), 1 where the hole is.
        sigma: of the Gaussian, pixels; it is cut off at 3.5 sigma (71 pixels of 10), and at the border the
            outermost pixels go on.

    Returns:
        (N, 1, H, W), float32 in [0, 1].
    """
    radius = round(3.5 * sigma)
    places = torch.arange(-radius, radius + 1, device=hole.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(hole.float(), (radius,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])
