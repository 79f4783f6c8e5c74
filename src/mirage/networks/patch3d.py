"""3D patch discriminator: the way down of the 3D U-Net and a 1x1x1 convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mirage.networks.unet3d import Encoder


class PatchDiscriminator3D(nn.Module):
    """One logit for each patch of a volume; with 4 levels a patch has 68 voxels a side, and the stride is 8.

    Args:
        in_channels: channels of condition and image together.
        f_maps: channels of the first level, doubled a level.
        levels: of the encoder.
        order, affine: see :class:`mirage.networks.unet3d.ConvUnit`.
        spectral_norm: on the 3x3x3 convolutions; the head stays free, so that logits can reach the targets.
        checkpointing: of the full-resolution level.
    """

    def __init__(
        self,
        in_channels: int,
        f_maps: int = 64,
        levels: int = 4,
        order: str = "gcr",
        affine: bool = True,
        spectral_norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, f_maps, levels, order, affine, spectral_norm, checkpointing)
        self.head = nn.Conv3d(f_maps * 2 ** (levels - 1), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, D, H, W) to logits (N, 1, d, h, w), float32 also under autocast."""
        features = self.encoder(x)[-1]
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.head(features.float())
        return logits
