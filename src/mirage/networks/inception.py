"""The Inception v3 of the Fréchet inception distance, as published on 2015-12-05 for TensorFlow.

It is not the network of the same name in torchvision: average pools leave out the padding, and the last block
pools by maximum. Parameters have the names of `pt_inception-2015-12-05-6726825d.pth`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Kernel = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, in_channels: int, channels: int, kernel: Kernel, stride: int = 1, padding: Kernel = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


def _across(in_channels: int, channels: int, length: int = 7) -> Conv:
    return Conv(in_channels, channels, (1, length), padding=(0, length // 2))


def _down(in_channels: int, channels: int, length: int = 7) -> Conv:
    return Conv(in_channels, channels, (length, 1), padding=(length // 2, 0))


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class InceptionA(nn.Module):
    """Mixed_5b ... Mixed_5d."""

    def __init__(self, in_channels: int, pool_channels: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(in_channels, 64, 1)
        self.branch5x5_1 = Conv(in_channels, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(in_channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branches = [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double]
        return torch.cat([*branches, self.branch_pool(_average(x))], dim=1)


class InceptionB(nn.Module):
    """Mixed_6a, which halves the sides."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = Conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], dim=1)


class InceptionC(nn.Module):
    """Mixed_6b ... Mixed_6e."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(in_channels, 192, 1)
        self.branch7x7_1 = Conv(in_channels, channels, 1)
        self.branch7x7_2 = _across(channels, channels)
        self.branch7x7_3 = _down(channels, 192)
        self.branch7x7dbl_1 = Conv(in_channels, channels, 1)
        self.branch7x7dbl_2 = _down(channels, channels)
        self.branch7x7dbl_3 = _across(channels, channels)
        self.branch7x7dbl_4 = _down(channels, channels)
        self.branch7x7dbl_5 = _across(channels, 192)
        self.branch_pool = Conv(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], dim=1)


class InceptionD(nn.Module):
    """Mixed_7a, which halves the sides."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = Conv(in_channels, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Conv(in_channels, 192, 1)
        self.branch7x7x3_2 = _across(192, 192)
        self.branch7x7x3_3 = _down(192, 192)
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), long, functional.max_pool2d(x, 3, 2)], dim=1)


class InceptionE(nn.Module):
    """Mixed_7b and Mixed_7c; the latter pools by maximum."""

    def __init__(self, in_channels: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Conv(in_channels, 320, 1)
        self.branch3x3_1 = Conv(in_channels, 384, 1)
        self.branch3x3_2a = _across(384, 384, 3)
        self.branch3x3_2b = _down(384, 384, 3)
        self.branch3x3dbl_1 = Conv(in_channels, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _across(384, 384, 3)
        self.branch3x3dbl_3b = _down(384, 384, 3)
        self.branch_pool = Conv(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.maximum else _average(x)
        branches = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(branches, dim=1)


class InceptionFID(nn.Module):
    """(N, 3, H, W) of 0 ... 255 to the 2048 features of the last pool.

    Images are resized to 299 x 299 as TensorFlow 1 did it and scaled by (x - 128) / 128. The layer of 1008
    classes is in the published file and is not used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, maximum=False)
        self.Mixed_7c = InceptionE(2048, maximum=True)

    def forward(self, x: Tensor) -> Tensor:
        x = (resize_like_tensorflow_1(x, 299) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = functional.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean(dim=(2, 3))


def resize_like_tensorflow_1(x: Tensor, side: int) -> Tensor:
    """Bilinear (N, C, side, side) whose pixel i lies at i * native / side, without antialiasing."""

    def weights(native: int) -> Tensor:
        at = torch.arange(side, dtype=torch.float64, device=x.device) * (native / side)
        first = at.floor().long().clamp(max=native - 1)
        rows = torch.zeros(side, native, dtype=torch.float64, device=x.device)
        places = torch.arange(side, device=x.device)
        rows[places, first] += 1 - (at - first)
        rows[places, (first + 1).clamp(max=native - 1)] += at - first
        return rows.to(x.dtype)

    return weights(x.shape[2]) @ x @ weights(x.shape[3]).T
