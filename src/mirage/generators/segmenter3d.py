"""Segmenter of volumes: a 3D network of MONAI on random patches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet, SegResNet
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from mirage.config.generators import Augment
from mirage.config.judges import Segmenter3DOptions
from mirage.data import Item
from mirage.generators.base import ImageSpec
from mirage.generators.volume_segmenter import VolumeSegmenter
from mirage.preprocess.windows import crop

POWER = 0.9
"""Of the learning rate's fall, (1 - t)^0.9, as in nnU-Net."""


class Segmenter3D(VolumeSegmenter):
    """MONAI's BasicUNet or SegResNet with Dice loss plus cross entropy; its modern counterpart to DeepMedic.

    A training patch is centred on a labelled voxel with probability ``options.foreground``, else on any voxel
    of the brain, and moved inside the volume where it would leave it. Inference slides over the brain.

    Args:
        options: network, patches, intensities, optimiser.
        spec: volumes with labels.

    Raises:
        ConfigError: images instead of volumes, or a patch larger than the volume.
        DataError: the data have no labels.
    """

    arch = "segmenter3d"
    options_class = Segmenter3DOptions

    def __init__(self, options: Segmenter3DOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        channels, f = self.image_shape[0], options.features
        if options.network == "unet3d":
            self.net: nn.Module = BasicUNet(
                spatial_dims=3,
                in_channels=channels,
                out_channels=self.classes,
                features=(f, 2 * f, 4 * f, 8 * f, 8 * f, f),
                dropout=options.dropout,
            )
        else:
            self.net = SegResNet(
                spatial_dims=3,
                init_filters=f,
                in_channels=channels,
                out_channels=self.classes,
                dropout_prob=options.dropout or None,
            )
        self.dice_loss = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``input`` (C, d, h, w) and ``target`` (d, h, w), int64: a patch.

        Without ``rng`` the patch in the middle of the volume, unchanged. ``augment`` is not looked at: the
        options say how patches are changed.
        """
        brain, sides = self.brain(item), self.options.patch
        if rng is None:
            starts = [(extent - side) // 2 for extent, side in zip(self.extent, sides, strict=True)]
        else:
            starts = self._patch(self.mask(item.masks, "label"), brain, rng)
        axes = [np.arange(start, start + side) for start, side in zip(starts, sides, strict=True)]
        patch = self.intensities(item, brain).apply(crop(item.image, axes))
        (patch,) = self.changed([patch], self.options.augment, rng)
        target = self.target(item, axes)
        if self.mirrored(rng):
            patch, target = patch.flip(-1), target.flip(-1)
        return {"input": patch, "target": target}

    def _patch(self, label: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> list[int]:
        """First voxel of a random patch on each axis."""
        wanted = np.flatnonzero(label) if rng.random() < self.options.foreground else np.empty(0, np.int64)
        voxels = wanted if len(wanted) else np.flatnonzero(brain)
        centre = np.unravel_index(rng.choice(voxels), brain.shape)
        return [
            int(np.clip(place - side // 2, 0, extent - side))
            for place, side, extent in zip(centre, self.options.patch, self.extent, strict=True)
        ]

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        logits = self.net(batch["input"]).float()
        return {
            "dice_loss": self.dice_loss(logits, batch["target"][:, None]),
            "cross_entropy": functional.cross_entropy(logits, batch["target"]),
        }

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        parameters = list(parameters)
        fused = parameters[0].device.type in ("cpu", "cuda")
        weight_decay = self.options.weight_decay
        return torch.optim.AdamW(parameters, self.options.lr, weight_decay=weight_decay, fused=fused)

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """Falls from 1 to 0 as (1 - done)^0.9."""
        return float((1 - done) ** POWER)

    def fill(self, probabilities: Tensor, image: Tensor, inside: Tensor) -> None:
        box = tuple(
            _widened(int(places.min()), int(places.max()) + 1, side, extent)
            for places, side, extent in zip(inside.nonzero().T, self.options.patch, self.extent, strict=True)
        )
        windows = 4 if image.device.type == "cuda" else 1
        logits = sliding_window_inference(
            image[(slice(None), *box)][None],
            self.options.patch,
            windows,
            self.net,
            overlap=self.options.overlap,
            mode="gaussian",
        )
        probabilities[(slice(None), *box)] = logits[0].float().softmax(dim=0)


def _widened(low: int, high: int, least: int, extent: int) -> slice:
    """An interval, made ``least`` long and moved inside [0, extent) where need be."""
    if high - low < least:
        low = min(max((low + high - least) // 2, 0), extent - least)
        high = low + least
    return slice(low, high)
