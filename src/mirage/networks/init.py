"""Weight initialisation of GANs."""

from __future__ import annotations

from torch import nn


def normal_init(module: nn.Module, std: float = 0.02) -> None:
    """Draw convolution weights from N(0, std) and norm scales from N(1, std); biases become 0.

    The initialisation of DCGAN (Radford 2015, section 3) and pix2pix (Isola 2017, appendix 6.2).
    Draws from torch's global random numbers.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, std)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, std)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
