"""DCGAN: Radford et al., Unsupervised representation learning with deep convolutional GANs, 2015."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mirage.networks.init import normal_init

SIZES = (32, 64, 128, 256, 512)

CriticNorm = Literal["batch", "layer", "instance", "none"]


def stage_channels(size: int, features: int, max_features: int) -> list[int]:
    """Channels at sides 4, 8, ..., size / 2: ``features`` at the last, doubled towards the first up to a cap.

    Raises:
        ValueError: a size outside 32, 64, ..., 512, or a cap below ``features``.
    """
    if size not in SIZES:
        raise ValueError(f"DCGAN makes square images of side {SIZES}, not {size}")
    if not 0 < features <= max_features:
        raise ValueError(f"max_features ({max_features}) is below features ({features})")
    stages = size.bit_length() - 3
    return [min(features * 2**level, max_features) for level in reversed(range(stages))]


class DCGANGenerator(nn.Module):
    """Noise to images in [-1, 1] by 4x4 transposed convolutions, batch norm and ReLU.

    Args:
        size: side of the image, a power of two from 32 to 512.
        channels: image channels.
        latent: length of the noise vector.
        features: channels of the layer before the output.
        max_features: cap on the channels of the small layers.
    """

    def __init__(
        self, size: int, channels: int, latent: int = 100, features: int = 64, max_features: int = 1024
    ) -> None:
        super().__init__()
        widths = stage_channels(size, features, max_features)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent, widths[0], 4, bias=False)]
        for width, following in zip(widths, [*widths[1:], channels], strict=True):
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(width, following, 4, stride=2, padding=1, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        normal_init(self)

    def forward(self, noise: Tensor) -> Tensor:
        """Noise (N, latent) to images (N, C, size, size)."""
        return self.layers(noise[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Images to one logit each by strided convolutions, with norms in all layers but the first and last.

    Every strided layer halves the side whatever its kernel; the last one covers the 4 x 4 map that is left.

    Args:
        size: side of the image, a power of two from 32 to 512.
        channels: image channels.
        features: channels of the first layer.
        max_features: cap on the channels of the small layers.
        kernel: side of the strided convolutions' kernels, 3 or more.
        norm: ``batch``, ``layer`` or ``instance``, each with scales and offsets a channel, or ``none``.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        features: int = 64,
        max_features: int = 1024,
        kernel: int = 4,
        norm: CriticNorm = "batch",
    ) -> None:
        super().__init__()
        widths = stage_channels(size, features, max_features)[::-1]
        layers: list[nn.Module] = [_halving(channels, widths[0], kernel)]
        for width, following in pairwise(widths):
            layers += [nn.LeakyReLU(0.2, inplace=True), _halving(width, following, kernel)]
            layers += _norm(norm, following)
        layers += [nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(widths[-1], 1, 4, bias=False)]
        self.layers = nn.Sequential(*layers)
        self.width = widths[-1]
        normal_init(self)

    def forward(self, image: Tensor) -> Tensor:
        """Images (N, C, size, size) to logits (N,)."""
        return self.layers(image).flatten()


class ConditionedGenerator(nn.Module):
    """Noise and a condition to images: an embedding of the condition is joined to the noise.

    Args:
        size: side of the image, a power of two from 32 to 512.
        channels: image channels.
        latent: length of the noise vector.
        condition: length of the condition.
        embedding: length of what is joined to the noise.
        features: channels of the layer before the output.
        max_features: cap on the channels of the small layers.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        latent: int,
        condition: int,
        embedding: int,
        features: int = 64,
        max_features: int = 1024,
    ) -> None:
        super().__init__()
        self.trunk = DCGANGenerator(size, channels, latent + embedding, features, max_features)
        self.embedding = nn.Linear(condition, embedding)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Noise (N, latent) and conditions (N, W) to images (N, C, size, size)."""
        told = functional.leaky_relu(self.embedding(condition), 0.2)
        return self.trunk(torch.cat([noise, told], dim=1))


class ProjectionDiscriminator(nn.Module):
    """Images and conditions to one logit each (Miyato 2018, eq. 3).

    To the logit of the image is added the inner product of an embedding of the condition with the features
    before the last layer, summed over places.

    Args:
        size: side of the image, a power of two from 32 to 512.
        channels: image channels.
        condition: length of the condition.
        features: channels of the first layer.
        max_features: cap on the channels of the small layers.
        kernel: side of the strided convolutions' kernels.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        condition: int,
        features: int = 64,
        max_features: int = 1024,
        kernel: int = 4,
    ) -> None:
        super().__init__()
        self.trunk = DCGANDiscriminator(size, channels, features, max_features, kernel)
        self.embedding = nn.Linear(condition, self.trunk.width, bias=False)
        nn.init.normal_(self.embedding.weight, 0.0, 0.02)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Images (N, C, size, size) and conditions (N, W) to logits (N,)."""
        features = self.trunk.layers[:-1](image)
        projected = (self.embedding(condition) * features.sum(dim=(2, 3))).sum(dim=1)
        return self.trunk.layers[-1](features).flatten() + projected


def _halving(channels: int, features: int, kernel: int) -> nn.Conv2d:
    """A convolution whose output is half as large, of even sides."""
    return nn.Conv2d(channels, features, kernel, stride=2, padding=(kernel - 1) // 2, bias=False)


def _norm(kind: CriticNorm, features: int) -> list[nn.Module]:
    """Normalisation of maps (N, features, H, W); nothing for ``none``."""
    if kind == "batch":
        return [nn.BatchNorm2d(features)]
    if kind == "layer":  # over channels and places of an item: one group
        return [nn.GroupNorm(1, features)]
    return [nn.InstanceNorm2d(features, affine=True)] if kind == "instance" else []
