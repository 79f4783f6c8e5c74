"""Responses of fixed random convolutions: no training, no download, texture at three scales.

Three layers of random filters with stride 2, of which the means and standard deviations over the image are
kept. A cheap check that finds gross failures: noise, blur, wrong contrast. It knows no anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mirage.config.base import Runtime
from mirage.config.encoders import RandomConvEncoder
from mirage.data import Items
from mirage.evaluate.features.encoder import Encoder, Floats, Job, Scaling, Space
from mirage.networks.perceptual import RANDOM_WIDTHS, random_filters
from mirage.training.device import choose_device

MOMENTS = ("mean", "std")


class RandomConv(Encoder):
    """Moments of the responses of random filters.

    Weights: ``layer_1`` ... ``layer_3``, float32 (filters, channels, 3, 3) or (filters, channels, 3, 3, 3),
    normal with variance 2 / fan-in (He et al. 2015), drawn from the seed.
    """

    on_device: ClassVar[bool] = True
    scaling: ClassVar[Scaling] = "each"
    entry: RandomConvEncoder

    @classmethod
    def fit(cls, entry: RandomConvEncoder, training: Items, job: Job) -> Self:
        dimensions = len(training.info.image_shape) - 1
        space = Space.of(training, entry.side or (128 if dimensions == 2 else 64))
        return cls(entry, space, random_filters(entry.seed, len(space.channels), dimensions))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(
            f"layer_{layer}_{moment}_{number}"
            for layer, width in enumerate(RANDOM_WIDTHS, start=1)
            for moment in MOMENTS
            for number in range(width)
        )

    @torch.inference_mode()
    def encode(self, data: Items, indices: Sequence[int], runtime: Runtime) -> Floats:
        device = choose_device(runtime)
        convolve = functional.conv2d if len(self.space.size) == 2 else functional.conv3d
        x = torch.from_numpy(np.stack([self.space.image(data, index) for index in indices])).to(device) - 0.5
        found: list[Tensor] = []
        for layer in range(1, len(RANDOM_WIDTHS) + 1):
            x = convolve(x, torch.from_numpy(self.weights[f"layer_{layer}"]).to(device), stride=2, padding=1)
            x = x.relu_()
            places = x.flatten(2)
            found += [places.mean(dim=2), places.std(dim=2, correction=0)]
        return torch.cat(found, dim=1).cpu().numpy()
