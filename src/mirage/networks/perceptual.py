"""Fixed networks whose features tell how alike two images look."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mirage import seeds

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RANDOM_WIDTHS = (16, 48, 64)
"""Filters of the layers of random convolutions."""

VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512)
"""Channels of VGG19's convolutions up to conv5_2; 0: a maximum pool."""
PERCEPTUAL_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_LAYERS = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")

Features = tuple[list[Tensor], list[Tensor]]
"""Maps (N, C, h, w) for the perceptual loss, and those for the style loss."""


class VGG19Features(nn.Module):
    """VGG19 (Simonyan 2015) up to conv5_2; parameters have the names of torchvision's file.

    Images of one channel are repeated to three; of more channels but three, each is an image of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: dict[int, str] = {}
        channels, block, number = 3, 1, 0
        for width in VGG19:
            if not width:
                layers.append(nn.MaxPool2d(2))
                block, number = block + 1, 0
                continue
            # In place, so that the map of an activation replaces that of its convolution.
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels, number = width, number + 1
            self.taps[len(layers) - 1] = f"relu{block}_{number}"
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Features:
        """Images (N, C, H, W) in [-1, 1], sides of 16 or more."""
        mean, std = (images.new_tensor(values)[None, :, None, None] for values in IMAGENET)
        x = images if images.shape[1] == 3 else images.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
        x = ((x + 1) / 2 - mean) / std
        found = {}
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                found[self.taps[place]] = x
        return [found[name] for name in PERCEPTUAL_LAYERS], [found[name] for name in STYLE_LAYERS]


def random_filters(seed: int, channels: int, dimensions: int) -> Mapping[str, np.ndarray]:
    """Filters ``layer_1`` ... ``layer_3``, float32 (filters, channels, 3, 3) or (filters, channels, 3, 3, 3).

    Normal with variance 2 / fan-in (He et al. 2015).
    """
    widths, filters = (channels, *RANDOM_WIDTHS), {}
    for layer in range(1, len(widths)):
        shape = (widths[layer], widths[layer - 1], *(3,) * dimensions)
        drawn = seeds.rng(seed, "encode/randconv", layer).standard_normal(shape)
        filters[f"layer_{layer}"] = (drawn * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    return filters


class RandomFeatures(nn.Module):
    """Three layers of fixed random convolutions with stride 2, those of the encoder ``randconv``.

    Style and texture can be matched through random filters (Ustyuzhaninov 2016); they know no anatomy.

    Args:
        channels: of the images.
        seed: of the filters.
    """

    def __init__(self, channels: int, seed: int = 0) -> None:
        super().__init__()
        for name, filters in random_filters(seed, channels, 2).items():
            self.register_buffer(name, torch.from_numpy(filters))

    def forward(self, images: Tensor) -> Features:
        """Images (N, C, H, W) in [-1, 1]."""
        x, found = images / 2, []
        for layer in range(1, len(RANDOM_WIDTHS) + 1):
            x = functional.relu(functional.conv2d(x, self.get_buffer(f"layer_{layer}"), stride=2, padding=1))
            found.append(x)
        return found, found
