"""Published encoders, with weights that the user has downloaded and names by path and SHA-256.

Nothing of a file is executed: it is read as tensors alone. Every network is built here or by MONAI; its file
has to fit it name by name and shape by shape.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from monai.networks.nets import resnet10, resnet50
from torch import Tensor, nn

from mirage.config.base import Runtime
from mirage.config.encoders import PretrainedEncoder
from mirage.data import Items
from mirage.evaluate.features.encoder import Encoder, Floats, Job, Space
from mirage.evaluate.features.slices import encode_squares
from mirage.networks.inception import InceptionFID
from mirage.networks.perceptual import IMAGENET
from mirage.networks.vit import DinoV2
from mirage.training.device import choose_device
from mirage.training.weights import load_strictly, read_weights

logger = logging.getLogger(__name__)

RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class Network:
    """One published network.

    Attributes:
        build: makes it, untrained.
        features: their number.
        dimensions: 2 for images, 3 for volumes.
        side: of the squares it is given; None: images as they are stored, which it resizes itself.
        prepare: tensor (N, C, ...) of 0 ... 1 to what it expects.
        unused: beginnings of parameters that are in the file and not in the network.
        words: what is done to an image, for the record.
    """

    build: Callable[[], nn.Module]
    features: int
    dimensions: int
    side: int | None
    prepare: Callable[[Tensor], Tensor]
    words: str
    unused: tuple[str, ...] = ()


def _imagenet(x: Tensor) -> Tensor:
    mean, std = (x.new_tensor(values)[None, :, None, None] for values in IMAGENET)
    return (x - mean) / std


def _radimagenet(x: Tensor) -> Tensor:
    return x * 2 - 1


def _resnet50() -> nn.Module:
    return resnet50(
        spatial_dims=2, n_input_channels=3, conv1_t_stride=2, feed_forward=False, bias_downsample=False
    )


def _dilated(build: Callable[..., nn.Module]) -> nn.Module:
    """MONAI's network with the dilations of MedicalNet: the last two stages keep their resolution."""
    network = build(
        spatial_dims=3, n_input_channels=1, conv1_t_stride=2, feed_forward=False, bias_downsample=False
    )
    for stage, dilation in (("layer3", 2), ("layer4", 4)):
        for module in network.get_submodule(stage).modules():
            if isinstance(module, nn.Conv3d):
                module.stride = (1, 1, 1)
                if module.kernel_size == (3, 3, 3):
                    module.dilation = module.padding = (dilation,) * 3
    return network


def _medicalnet(build: Callable[..., nn.Module], features: int) -> Network:
    words = "z-scores of the training volumes' values that are not 0, mean over places"
    return Network(lambda: _dilated(build), features, 3, None, lambda x: x, words, ("conv_seg.",))


def _dinov2(width: int, depth: int, heads: int) -> Network:
    words = "224 x 224, mean and standard deviation of ImageNet, class token"
    return Network(lambda: DinoV2(width, depth, heads), width, 2, 224, _imagenet, words)


NETWORKS: dict[str, Network] = {
    "inception_fid": Network(
        InceptionFID,
        2048,
        2,
        None,
        lambda x: 255 * x,
        "299 x 299 by TensorFlow 1's bilinear resize, (x - 128) / 128 of 0 ... 255, not rounded, last pool",
        ("fc.", "AuxLogits."),
    ),
    "dinov2_vits14": _dinov2(384, 12, 6),
    "dinov2_vitb14": _dinov2(768, 12, 12),
    "dinov2_vitl14": _dinov2(1024, 24, 16),
    "radimagenet_resnet50": Network(
        _resnet50, 2048, 2, 224, _radimagenet, "224 x 224, 0 ... 1 to -1 ... 1, mean over places", ("fc.",)
    ),
    "medicalnet_resnet10": _medicalnet(resnet10, 512),
    "medicalnet_resnet50": _medicalnet(resnet50, 2048),
}
STATISTICS_ITEMS = 200
"""Training volumes whose mean and standard deviation MedicalNet's input is scaled by."""


class Pretrained(Encoder):
    """Features of a published network.

    Images of one channel are given to networks of three by repeating it; red, green and blue are taken as
    they are; of any other channels the features are joined.

    Weights: ``input.mean`` and ``input.std`` float32 (C,), the grey values of the training volumes. The
    network's own stay in the user's file, of which the SHA-256 is checked again whenever it is read.
    """

    on_device: ClassVar[bool] = True
    entry: PretrainedEncoder

    @classmethod
    def fit(cls, entry: PretrainedEncoder, training: Items, job: Job) -> Self:
        longest = max(training.info.image_shape[1:])
        fitted = cls(entry, Space.of(training, entry.side or longest), {})
        count = sum(parameter.numel() for parameter in fitted.network.parameters())
        logger.info("%s: %s with %d parameters", entry.weights, entry.network, count)
        if NETWORKS[entry.network].dimensions == 3:
            fitted.weights |= fitted._statistics(training)
        return fitted

    @property
    def names(self) -> tuple[str, ...]:
        count = NETWORKS[self.entry.network].features
        inputs = len(self._inputs(np.zeros((len(self.space.channels), 1, 1), np.float32)))
        return tuple(f"{place}_{number}" for place in range(inputs) for number in range(count))

    def protocol(self) -> dict[str, Any]:
        known = NETWORKS[self.entry.network]
        sliced = len(self.space.size) == 3 and known.dimensions == 2
        return {
            **super().protocol(),
            "network": self.entry.network,
            "file_sha256": self.entry.sha256,
            "input": known.words,
            "repeated": known.dimensions == 2 and self.space.channels != RGB,
            **({"slices": self.entry.slices} if sliced else {}),
        }

    @cached_property
    def network(self) -> nn.Module:
        """The network with the user's weights, on the CPU."""
        known = NETWORKS[self.entry.network]
        network = known.build()
        load_strictly(network, read_weights(Path(self.entry.weights), self.entry.sha256), known.unused)
        return network.requires_grad_(False).eval()

    def encode(self, data: Items, indices: Sequence[int], runtime: Runtime) -> Floats:
        device, known = choose_device(runtime), NETWORKS[self.entry.network]
        network = self.network.to(device)

        @torch.inference_mode()
        def encode(images: Floats) -> Floats:
            return network(known.prepare(torch.from_numpy(images).to(device))).cpu().numpy()

        inputs = [self._inputs(self._image(data, index)) for index in indices]
        if known.dimensions == 3:
            return np.stack([np.concatenate([encode(part[None])[0] for part in parts]) for parts in inputs])
        side = known.side or max(self.space.size)
        found = [
            encode_squares(parts, side, self.entry.slices, encode) for parts in zip(*inputs, strict=True)
        ]
        return np.concatenate(found, axis=1)

    def _image(self, data: Items, index: int) -> Floats:
        image = self.space.image(data, index)
        if "input.mean" not in self.weights:
            return image
        shape = (-1, *(1,) * len(self.space.size))
        return (image - self.weights["input.mean"].reshape(shape)) / self.weights["input.std"].reshape(shape)

    def _inputs(self, image: Floats) -> list[Floats]:
        """What is given to the network one after the other: (3, ...) images, or (1, ...) volumes."""
        if NETWORKS[self.entry.network].dimensions == 3:
            return list(image[:, None])
        return [image] if self.space.channels == RGB else [np.repeat(part[None], 3, 0) for part in image]

    def _statistics(self, training: Items) -> dict[str, Floats]:
        """Mean and standard deviation of the training volumes' channels, where they are not 0."""
        total = np.zeros((3, len(self.space.channels)))
        for index in range(min(len(training), STATISTICS_ITEMS)):
            for channel, values in enumerate(self.space.image(training, index)):
                inside = values[values != 0].astype(np.float64)
                total[:, channel] += len(inside), inside.sum(), np.square(inside).sum()
        mean = total[1] / np.maximum(total[0], 1)
        std = np.sqrt(np.maximum(total[2] / np.maximum(total[0], 1) - mean**2, 1e-12))
        return {"input.mean": mean.astype(np.float32), "input.std": std.astype(np.float32)}
