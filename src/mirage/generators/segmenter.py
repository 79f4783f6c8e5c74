"""Segmenter: label masks on images, by a 2D U-Net."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.optim import Optimizer

from mirage.config.generators import Augment, SegmenterOptions
from mirage.data import Item, Items
from mirage.data.manifest import ABSENT
from mirage.errors import ConfigError, DataError
from mirage.generators.base import Generator, ImageSpec, square_side
from mirage.training.losses import cross_entropy, dice_loss
from mirage.training.previews import panel


class Segmenter(Generator):
    """MONAI's BasicUNet with Dice plus cross entropy, within the field of view where the data have one.

    ``sample`` is deterministic: the probability of the foreground, or of the one label ``options.label``.

    Args:
        options: features, patches, learning rate.
        spec: images of side 32 or more, with labels.

    Raises:
        ConfigError: a patch that is no multiple of 16, below 32, or larger than the image; an unknown label.
        DataError: the data have no labels.
    """

    arch = "segmenter"
    options_class = SegmenterOptions
    conditional = True
    phases = ("net",)
    sampling_modules = ("net",)
    model_range = (0.0, 1.0)
    metric_name = "val_dice"
    metric_mode = "max"

    def __init__(self, options: SegmenterOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        self.size = square_side(self.arch, spec)
        patch = options.patch
        if patch and (patch % 16 or not 32 <= patch <= self.size):
            raise ConfigError(
                f"options.patch: {patch} must be 0 or a multiple of 16 from 32 to the side {self.size}"
            )
        if self.size < 32:
            raise ConfigError(
                f"prepare.size: a segmenter needs a side of 32 or more, the data have {self.size}"
            )
        self.foreground = self._foreground_values()
        f = options.features
        self.net = BasicUNet(
            spatial_dims=2,
            in_channels=self.image_shape[0],
            out_channels=1,
            features=(f, 2 * f, 4 * f, 8 * f, 8 * f, f),
            dropout=options.dropout,
        )

    def _foreground_values(self) -> list[int]:
        labels, wanted = self.labels, self.options.label
        if wanted is None:
            return sorted(labels)
        if wanted not in labels.values():
            raise ConfigError(f"options.label: {wanted!r} is none of the labels {sorted(labels.values())}")
        return [value for value, name in labels.items() if name == wanted]

    @property
    def made_labels(self) -> dict[int, str]:
        value = self.foreground[0]
        return {value: self.labels[value]} if len(self.foreground) == 1 else {1: "foreground"}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (1, self.size, self.size)

    def condition(self, item: Item) -> Tensor:
        """The item's image to the network's input (C, H, W) in [-1, 1]."""
        return self.normalise(item.image)

    def target(self, label: np.ndarray) -> Tensor:
        """Label mask (H, W) to foreground (1, H, W), float32, 0 or 1.

        Raises:
            DataError: the item has no label mask; it must not be learnt as background.
        """
        # Any, not all: augmentation fills the corners of an absent mask with 0.
        if (label == ABSENT).any():
            raise DataError(
                "an item has no label mask; set `prepare.require_mask: true` on the dataset to leave such "
                "items out, or learn from a `pseudo_label` recipe"
            )
        return torch.from_numpy(np.isin(label, self.foreground)[None].astype(np.float32))

    def inside(self, masks: np.ndarray | None) -> Tensor:
        """Field of view (1, H, W), float32; ones where the data, or the item (255 throughout), have none."""
        if masks is None or "fov" not in self.mask_channels:
            return torch.ones(1, *(self.image_shape[1:] if masks is None else masks.shape[1:]))
        return torch.from_numpy((self.mask(masks, "fov") > 0)[None].astype(np.float32))

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``input`` (C, h, w) in [-1, 1], ``target`` and ``inside`` (1, h, w); a patch with ``rng``."""
        unit, masks = self.augmented(item, rng, augment)
        tensors = {
            "input": self.to_model_range(unit),
            "target": self.target(self.mask(masks, "label")),
            "inside": self.inside(masks),
        }
        patch = self.options.patch
        if rng is None or not patch:
            return tensors
        top, left = (int(start) for start in rng.integers(0, self.size - patch, size=2, endpoint=True))
        window = (..., slice(top, top + patch), slice(left, left + patch))
        return {name: tensor[window].contiguous() for name, tensor in tensors.items()}

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        logits = self.net(batch["input"])
        return {
            "dice_loss": dice_loss(logits, batch["target"], batch["inside"]),
            "cross_entropy": cross_entropy(logits, batch["target"], batch["inside"]),
        }

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        parameters = list(parameters)
        fused = parameters[0].device.type in ("cpu", "cuda")
        weight_decay = self.options.weight_decay
        return torch.optim.AdamW(parameters, self.options.lr, weight_decay=weight_decay, fused=fused)

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        assert conditions is not None
        if not self.options.patch:
            return torch.sigmoid(self.net(conditions))
        # Item by item, because the windows of several items would share batches.
        logits = [
            sliding_window_inference(
                item[None], self.options.patch, 4, self.net, overlap=self.options.overlap, mode="gaussian"
            )
            for item in conditions
        ]
        return torch.sigmoid(torch.cat(logits))

    def decode(self, images: Tensor) -> np.ndarray:
        """Foreground where the probability exceeds 0.5, with the label's value, 1 for several labels."""
        (value,) = self.made_labels
        return (images > 0.5).cpu().numpy().astype(np.uint8) * np.uint8(value)

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``val_dice``: mean Dice at 0.5 within the field of view; 1 where both masks are empty."""
        scores = []
        for index in range(len(validation)):
            tensors = self.example(validation.item(index))
            found = (self.sample(tensors["input"][None], [0])[0].cpu() > 0.5) * tensors["inside"]
            true = tensors["target"] * tensors["inside"]
            total = float(found.sum() + true.sum())
            scores.append(2 * float((found * true).sum()) / total if total else 1.0)
        return {self.metric_name: float(np.mean(scores))}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """A row an item: image, its label mask, predicted probability."""
        rows = []
        for item in items:
            probability = self.sample(self.condition(item)[None], [0])[0].cpu().numpy()
            true = self.target(self.mask(item.masks, "label")).numpy()
            rows.append(np.stack([self.picture(item.image), panel(true, 0, 1), panel(probability, 0, 1)]))
        return np.stack(rows)
