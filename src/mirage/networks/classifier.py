"""A small convolutional network: images to one logit."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Stages of two 3 x 3 convolutions with batch norm, each halving the side; then the mean over places.

    Args:
        in_channels: of the images.
        width: channels of the first stage, doubled a stage up to eight times as many.
        stages: how often the side is halved.
    """

    def __init__(self, in_channels: int, width: int = 32, stages: int = 4) -> None:
        super().__init__()
        widths = [in_channels, *(width * 2 ** min(stage, 3) for stage in range(stages))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [*_convolved(before, after, 1), *_convolved(after, after, 2)]
        self.stages = nn.Sequential(*layers)
        self.out_channels = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, ``out_channels``)."""
        features: Tensor = self.stages(x)
        return features.mean(dim=(2, 3))


def _convolved(before: int, after: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


class LogitHead(nn.Module):
    """One logit from a body's features.

    Args:
        body: images (N, C, H, W) to features (N, F).
        features: F.
        dropout: share of features dropped.
    """

    def __init__(self, body: nn.Module, features: int, dropout: float) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N,)."""
        logits: Tensor = self.head(self.body(x))
        return logits[:, 0]
