"""Residual encoders: images to vectors."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 with a small stem: 5x5 with stride 2 and no pooling, for images of 64 to 256 pixels.

    Args:
        in_channels: of the images.
        width: channels of the first of four stages, doubled a stage; 64 is the published one.
    """

    def __init__(self, in_channels: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(BasicBlock(before, after, 1 if stage == 0 else 2), BasicBlock(after, after, 1))
                for stage, (before, after) in enumerate(pairwise(widths))
            )
        )
        self.out_channels = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 8 * width): the mean over places."""
        return self.stages(self.stem(x)).mean(dim=(2, 3))


class Projector(nn.Sequential):
    """The two layers between features and the space in which they are contrasted (Chen et al. 2020)."""

    def __init__(self, channels: int, out_channels: int = 128) -> None:
        super().__init__(
            nn.Linear(channels, channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, out_channels),
        )
