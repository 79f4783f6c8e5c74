"""The judge of a classification: a network of two classes on the one training loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, pi
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from mirage import seeds
from mirage.config.classifiers import Balance, ClassifierOptions
from mirage.config.generators import Augment
from mirage.data import Item, Items
from mirage.generators.base import ImageSpec
from mirage.metrics.classification import average_precision
from mirage.networks.classifier import ConvNet, LogitHead
from mirage.networks.resnet import ResNet18
from mirage.training.augment import augment as augmented
from mirage.training.previews import panel
from mirage.training.trainable import Trainable


class Classifier(Trainable):
    """A CNN or ResNet with one logit, and the loss that an arm asks for.

    Args:
        options: network and optimiser.
        spec: images that it looks at.
        balance: which loss; ways that add images have the plain one.
        rarity: training negatives to a positive, the weight of a positive under ``class_weights``.
    """

    phases = ("net",)
    sampling_modules = ("net",)
    channels_last: ClassVar = "cpu"
    metric_name = "val_average_precision"
    metric_mode = "max"
    chunk: ClassVar[int] = 256

    def __init__(
        self, options: ClassifierOptions, spec: ImageSpec, balance: Balance = "none", rarity: float = 1.0
    ) -> None:
        super().__init__()
        self.options, self.spec, self.balance, self.rarity = options, spec, balance, rarity
        self.image_shape = tuple(spec.image_shape)
        channels = self.image_shape[0]
        body: ConvNet | ResNet18
        if options.arch == "cnn":
            body = ConvNet(channels, options.width, options.stages)
        else:
            body = ResNet18(channels, options.width)
        self.net = LogitHead(body, body.out_channels, options.dropout)

    def unit(self, image: np.ndarray) -> Tensor:
        """Stored image (C, H, W) to float32 in [0, 1] by the stored value range."""
        low, high = self.spec.value_range
        return torch.from_numpy((image.astype(np.float32) - np.float32(low)) / np.float32(high - low))

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``input`` (C, H, W) in [-1, 1] and ``target``, 0 or 1."""
        unit = self.unit(item.image)
        if rng is not None and augment is not None:
            unit, _ = augmented(unit, None, augment, rng, "reflection")
        return {"input": unit * 2 - 1, "target": torch.tensor(float(item.attributes["positive"]))}

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        logits, target = self.net(batch["input"]), batch["target"]
        if self.balance == "focal":
            return {"focal_loss": self._focal(logits, target)}
        weight = torch.tensor(self.rarity, device=logits.device) if self.balance == "class_weights" else None
        loss = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
        return {"cross_entropy": loss}

    def _focal(self, logits: Tensor, target: Tensor) -> Tensor:
        """Focal loss (Lin 2017), the mean over images."""
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        sure = torch.exp(-entropy)
        alpha = self.options.focal_alpha
        weight = torch.where(target > 0, alpha, 1 - alpha)
        return (weight * (1 - sure) ** self.options.focal_gamma * entropy).mean()

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        given = list(parameters)
        fused = given[0].device.type in ("cpu", "cuda")
        decay = self.options.weight_decay
        return torch.optim.AdamW(given, self.options.lr, weight_decay=decay, fused=fused)

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """Half a cosine."""
        return (1 + cos(pi * done)) / 2

    def scores(self, data: Items) -> npt.NDArray[np.float64]:
        """Probability (N,) that an item is positive, each by itself whatever its batch."""
        device, training = next(self.parameters()).device, self.training
        self.eval()
        logits = []
        with torch.inference_mode():
            for start in range(0, len(data), self.chunk):
                rows = range(start, min(start + self.chunk, len(data)))
                images = torch.stack([self.unit(data.image(row)) * 2 - 1 for row in rows])
                logits.append(self.net(images.to(device)).double().cpu())
        self.train(training)
        return torch.sigmoid(torch.cat(logits)).numpy()

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``val_average_precision``; 0 where there is no positive."""
        truth = [bool(validation.item(row).attributes["positive"]) for row in range(len(validation))]
        found = average_precision(np.array(truth), self.scores(validation))[0]
        return {self.metric_name: float(np.nan_to_num(found))}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """A row an item: the image."""
        return np.stack([panel(item.image, *self.spec.value_range)[None] for item in items])


def build(
    options: ClassifierOptions, spec: ImageSpec, balance: Balance, rarity: float, seed: int
) -> Classifier:
    """An untrained classifier, whose first weights are decided by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.integer(seed, "weights"))
        return Classifier(options, spec, balance, rarity)
