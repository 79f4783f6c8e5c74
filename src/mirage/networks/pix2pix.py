"""pix2pix: Isola et al., Image-to-image translation with conditional adversarial networks, CVPR 2017."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mirage.networks.init import normal_init

Norm = Literal["instance", "batch"]


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Affine instance or batch norm; both have the same parameters.

    Raises:
        ValueError: another kind.
    """
    if kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    raise ValueError(f"norm is 'instance' or 'batch', not {kind!r}")


class ItemDropout(nn.Module):
    """Dropout that can draw each item's mask from the item's own random numbers.

    pix2pix keeps dropout at sampling, where it is the noise; an ordinary dropout would make an item
    depend on its place in the batch.

    Args:
        p: probability of an element to be zeroed, in [0, 1).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability is in [0, 1), not {p}")
        self.p = p

    def forward(self, x: Tensor, noise: Sequence[torch.Generator] | None = None) -> Tensor:
        """Drop with one CPU generator an item if given, else with global random numbers while training."""
        if noise is None or self.p == 0:
            return functional.dropout(x, self.p, self.training)
        masks = torch.stack([torch.rand(x.shape[1:], generator=generator) for generator in noise])
        return x * ((masks >= self.p).to(x) / (1 - self.p)).to(x.device)


class UNetBlock(nn.Module):
    """One level of the U-Net: down, everything inside, up, and the skip connection around them.

    Args:
        outer: channels that come in.
        width: channels after the way down.
        inside: the next level, or None at the bottom.
        norm: kind of normalisation.
        dropout: probability, 0 for none.
    """

    def __init__(
        self,
        outer: int,
        width: int,
        inside: UNetBlock | None,
        norm: Norm,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Conv2d(outer, width, 4, stride=2, padding=1, bias=False)
        )
        if inside is not None:
            self.down.append(norm_layer(norm, width))
        self.inside = inside
        self.up = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width if inside is None else 2 * width, outer, 4, 2, 1, bias=False),
            norm_layer(norm, outer),
        )
        self.dropout = ItemDropout(dropout)

    def forward(self, x: Tensor, noise: Sequence[torch.Generator] | None = None) -> Tensor:
        """Features (N, outer, H, W) to the same concatenated with what the level made of them."""
        y = self.down(x)
        if self.inside is not None:
            y = self.inside(y, noise)
        return torch.cat([x, self.dropout(self.up(y), noise)], dim=1)


class UNetGenerator(nn.Module):
    """U-Net generator of pix2pix; output in [-1, 1].

    Channels double from ``features`` to 8 x ``features`` and then stay. Dropout sits in the three
    innermost up blocks (the paper's CD512-CD512-CD512), never in the output layer.

    Args:
        in_channels: channels of the condition.
        out_channels: channels of the image.
        features: channels of the first level.
        levels: halvings of the image's side; 8 brings 256 pixels to 1.
        norm: affine ``instance`` or ``batch`` norm.
        dropout: probability in the three innermost up blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: int = 64,
        levels: int = 8,
        norm: Norm = "instance",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if levels < 3:
            raise ValueError(f"the U-Net needs at least 3 levels, not {levels}")
        self.levels = levels
        widths = [features * min(2**level, 8) for level in range(levels)]
        body = UNetBlock(widths[-2], widths[-1], None, norm, dropout)
        for level in reversed(range(1, levels - 1)):
            p = dropout if level >= levels - 3 else 0.0
            body = UNetBlock(widths[level - 1], widths[level], body, norm, p)
        self.first = nn.Conv2d(in_channels, features, 4, stride=2, padding=1, bias=False)
        self.body = body
        self.last = nn.Sequential(
            nn.ReLU(inplace=True), nn.ConvTranspose2d(2 * features, out_channels, 4, 2, 1), nn.Tanh()
        )
        normal_init(self)

    def forward(self, condition: Tensor, noise: Sequence[torch.Generator] | None = None) -> Tensor:
        """Conditions (N, C, H, W) to images (N, C', H, W); H and W are multiples of 2**levels.

        Args:
            condition: in [-1, 1].
            noise: one CPU generator an item, from which its dropout masks are drawn; None for ordinary
                dropout while training and none otherwise.
        """
        return self.last(self.body(self.first(condition), noise))


class PatchCritic(nn.Module):
    """PatchGAN: one logit for each overlapping patch of an image, or of condition and image.

    Args:
        in_channels: channels of all that it is shown, together.
        features: channels of the first layer.
        norm: affine ``instance`` or ``batch`` norm.
        levels: halvings of the image's side; patches are 34 pixels wide with 2 and, as published, 70 with 3.
    """

    def __init__(
        self, in_channels: int, features: int = 64, norm: Norm = "instance", levels: int = 3
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, features, 4, stride=2, padding=1)]
        for level in range(1, levels + 1):
            stride = 2 if level < levels else 1
            before, width = features * 2 ** (level - 1), features * 2**level
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            layers += [nn.Conv2d(before, width, 4, stride=stride, padding=1, bias=False)]
            layers += [norm_layer(norm, width)]
        layers += [nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(width, 1, 4, padding=1)]
        self.layers = nn.Sequential(*layers)
        normal_init(self)

    def forward(self, *shown: Tensor) -> Tensor:
        """Images (N, C, H, W), or conditions and images, sides at least 32, to logits (N, 1, h, w)."""
        return self.layers(torch.cat(shown, dim=1))
