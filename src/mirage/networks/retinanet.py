"""RetinaNet (Lin 2017): a residual network, a feature pyramid, and two heads that look at anchors.

Backbone, pyramid and heads are MONAI's; what joins them is ours, because MONAI's own joint needs torchvision,
which has no build for CPU PyTorch. Anchors are ours too: MONAI's are rounded to whole pixels, which turns a
nodule of 3 pixels into one of 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.apps.detection.networks.retinanet_network import (
    RetinaNetClassificationHead,
    RetinaNetRegressionHead,
)
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

STAGES: dict[str, tuple[str, list[int]]] = {
    "resnet10": ("basic", [1, 1, 1, 1]),
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
}
"""Backbone -> kind of block, and blocks of its four stages."""
STEMS = {1: (3, 1, False), 2: (7, 2, False), 4: (7, 2, True)}
"""Stride of the first level -> kernel and stride of the first convolution, and whether pooling follows."""


class PyramidBackbone(nn.Module):
    """The first stages of a ResNet with a feature pyramid on top.

    Args:
        in_channels: of the images.
        backbone: a key of ``STAGES``.
        width: channels of the first stage, doubled a stage (times 4 for bottleneck blocks).
        out_channels: of every level.
        stem_stride: 1, 2 or 4, stride of the first level.
        levels: 1 to 4, each of twice the stride of the one before.
    """

    def __init__(
        self, in_channels: int, backbone: str, width: int, out_channels: int, stem_stride: int, levels: int
    ) -> None:
        super().__init__()
        block, blocks = STAGES[backbone]
        kernel, stride, pool = STEMS[stem_stride]
        resnet = ResNet(
            block,
            blocks,
            [width, 2 * width, 4 * width, 8 * width],
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_size=kernel,
            conv1_t_stride=stride,
            no_max_pool=not pool,
            feed_forward=False,
            bias_downsample=False,
        )
        self.stem = nn.Sequential(
            resnet.conv1, resnet.bn1, resnet.act, resnet.maxpool if pool else nn.Identity()
        )
        self.stages = nn.ModuleList([resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4][:levels])
        expansion = 4 if block == "bottleneck" else 1
        self.pyramid = FeaturePyramidNetwork(
            2, [expansion * width * 2**level for level in range(levels)], out_channels
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W) to feature maps (N, out_channels, H / stride, W / stride), finest first."""
        features, x = {}, self.stem(images)
        for level, stage in enumerate(self.stages):
            x = stage(x)
            features[str(level)] = x
        return list(self.pyramid(features).values())


class RetinaNet(nn.Module):
    """Logits and box codes of every anchor, for one class.

    Args:
        in_channels, backbone, width, fpn_channels, stem_stride, levels: as for :class:`PyramidBackbone`;
            ``fpn_channels`` is a multiple of 8, the groups of the heads' norms.
        anchors: anchors of a place.
    """

    def __init__(
        self,
        in_channels: int,
        backbone: str,
        width: int,
        fpn_channels: int,
        stem_stride: int,
        levels: int,
        anchors: int,
    ) -> None:
        super().__init__()
        self.features = PyramidBackbone(in_channels, backbone, width, fpn_channels, stem_stride, levels)
        self.scores = RetinaNetClassificationHead(fpn_channels, anchors, 1, spatial_dims=2)
        self.boxes = RetinaNetRegressionHead(fpn_channels, anchors, spatial_dims=2)
        # MONAI draws these with a deviation of 0.01. Norms follow them, so their size does not change what
        # they compute, but steps of Adam would turn weights so small right round.
        for head in (self.scores, self.boxes):
            for layer in head.conv:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to logits (N, A) and box codes (N, A, 4), in the order of :func:`anchor_boxes`."""
        features = self.features(images)
        logits = [_by_anchor(each, 1)[..., 0] for each in self.scores(features)]
        codes = [_by_anchor(each, 4) for each in self.boxes(features)]
        return torch.cat(logits, dim=1), torch.cat(codes, dim=1)


def _by_anchor(maps: Tensor, values: int) -> Tensor:
    """Maps (N, anchors * values, h, w) to (N, h * w * anchors, values)."""
    count, channels, height, width = maps.shape
    split = maps.view(count, channels // values, values, height, width)
    return split.permute(0, 3, 4, 1, 2).reshape(count, -1, values)


def anchor_boxes(
    size: tuple[int, int], stem_stride: int, sides: Sequence[Sequence[float]], ratios: Sequence[float]
) -> list[Tensor]:
    """Anchors of every level.

    Args:
        size: height and width of the images, multiples of the coarsest stride.
        stem_stride: of the first level.
        sides: of each level's square anchors, pixels.
        ratios: height to width, at the same area.

    Returns:
        For each level float32 (places * sides * ratios, 4): x0, y0, x1, y1 in pixels, places row by row.
    """
    found = []
    for level, own in enumerate(sides):
        stride = stem_stride * 2**level
        rows, columns = (torch.arange(extent // stride) * stride + stride / 2 for extent in size)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
        shapes = torch.tensor([[side * ratio**-0.5, side * ratio**0.5] for side in own for ratio in ratios])
        found.append(torch.cat([centres - shapes / 2, centres + shapes / 2], dim=-1).reshape(-1, 4))
    return found
