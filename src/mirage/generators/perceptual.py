"""Perceptual and style losses (Johnson 2016) on features of a fixed network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mirage.config.generators import PerceptualOptions
from mirage.networks.perceptual import RandomFeatures, VGG19Features
from mirage.training.weights import load_strictly, read_weights

UNUSED = ("features.32.", "features.34.", "classifier.")
"""Beginnings of parameters of VGG19's file that lie behind the last layer that is looked at."""


def feature_network(options: PerceptualOptions, channels: int) -> nn.Module:
    """The network that an option names, without gradients, on the CPU.

    Raises:
        CheckpointError: the user's file is missing, another one, or does not fit.
    """
    network: nn.Module
    if options.network == "vgg19":
        assert options.weights is not None
        assert options.sha256 is not None
        network = VGG19Features()
        load_strictly(network, read_weights(Path(options.weights), options.sha256), UNUSED)
    else:
        network = RandomFeatures(channels)
    return network.requires_grad_(False).eval()


def in_words(options: PerceptualOptions) -> str:
    """What the losses look at, for ``model.json`` and the report."""
    if options.network == "vgg19":
        return f"VGG19 of the user's file, SHA-256 {options.sha256}"
    return "fixed random convolutions (encoder randconv); no file of VGG19's weights was named"


def perceptual_and_style(network: nn.Module, made: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute differences of features and of their Gram matrices, each summed over layers.

    Both losses read one pass of the network; the real images need no gradients.

    Args:
        network: from :func:`feature_network`.
        made: (N, C, H, W) in [-1, 1].
        real: the same.
    """
    with torch.no_grad():
        wanted = network(real)
    found = network(made)
    pairs = [list(zip(*both, strict=True)) for both in zip(found, wanted, strict=True)]
    perceptual = sum(functional.l1_loss(a.float(), b.float()) for a, b in pairs[0])
    style = sum(functional.l1_loss(gram(a), gram(b)) for a, b in pairs[1])
    return torch.as_tensor(perceptual), torch.as_tensor(style)


def gram(features: Tensor) -> Tensor:
    """Products of the channels of (N, C, H, W) summed over places, divided by C H W: (N, C, C)."""
    # Sums over 65,536 places do not fit the 16 bits of half precision.
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return torch.bmm(flat, flat.transpose(1, 2)) / features[0].numel()
