"""RetinaNet as a detector of lesions: anchors fitted to them, ATSS matching, focal loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.data.box_utils import clip_boxes_to_image, non_max_suppression
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from mirage.config.detectors import RetinaNetOptions
from mirage.detectors.base import Detector
from mirage.errors import ConfigError
from mirage.generators.base import ImageSpec
from mirage.metrics.hits import Floats, Marks
from mirage.networks.retinanet import RetinaNet, anchor_boxes

BETA = 1 / 9
"""Where the smooth L1 loss of box codes turns from a parabola into a line."""
CANDIDATES = 300
"""Anchors of the highest scores that non-maximum suppression looks at."""
CODES = (1.0, 1.0, 1.0, 1.0)


class RetinaNetDetector(Detector):
    """RetinaNet with one class.

    Args:
        options: with ``anchors``; :meth:`fitted` gives those of training boxes.
        spec, labels, most_boxes: as for :class:`Detector`.

    Raises:
        ConfigError: no anchors, or images that the pyramid does not fit.
    """

    arch = "retinanet"
    phases = ("net",)
    sampling_modules = ("net",)
    channels_last = "cpu"

    def __init__(
        self, options: RetinaNetOptions, spec: ImageSpec, labels: Sequence[str] | None, most_boxes: int
    ) -> None:
        super().__init__(options, spec, labels, most_boxes)
        try:
            options.check_size(self.size)
        except ValueError as error:
            raise ConfigError(f"judge: {error}") from error
        if options.anchors is None:
            raise ConfigError("judge.anchors: none are given; fit them to the training boxes first")
        self.net = RetinaNet(
            self.image_shape[0],
            options.backbone,
            options.width,
            options.fpn_channels,
            options.stem_stride,
            options.levels,
            len(options.anchors[0]) * len(options.ratios),
        )
        levels = anchor_boxes((self.size, self.size), options.stem_stride, options.anchors, options.ratios)
        self.per_place = len(options.anchors[0]) * len(options.ratios)
        self.places = [len(level) // self.per_place for level in levels]
        self.anchors: Tensor
        self.register_buffer("anchors", torch.cat(levels), persistent=False)
        # Centres need not lie in the box: a nodule may be smaller than a stride.
        self.matcher = ATSSMatcher(options.candidates, center_in_gt=False)
        self.coder = BoxCoder(CODES)

    @classmethod
    def fitted(cls, options: RetinaNetOptions, boxes: Floats) -> RetinaNetOptions:
        """The options with anchors: their own, else those that fit the training boxes."""
        if options.anchors is not None:
            return options
        anchors = fit_anchors(boxes, options.levels, options.anchors_per_level)
        return options.model_copy(update={"anchors": anchors})

    def assign(self, boxes: Tensor) -> Tensor:
        """Box of every anchor (A,), -1 for none; every box (M, 4) has at least its best anchor.

        ATSS (Zhang 2020) as MONAI has it takes candidates above mean plus one standard deviation of their
        overlaps, which may be none of them.
        """
        if not len(boxes):
            return torch.full((len(self.anchors),), -1, device=boxes.device)
        overlap, matches = self.matcher(boxes, self.anchors, self.places, self.per_place)
        matches = matches.clamp(min=-1)
        for number in range(len(boxes)):
            if not (matches == number).any():
                matches[overlap[number].argmax()] = number
        return matches

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        logits, codes = self.net(batch["image"])
        truths = [boxes[: int(count)] for boxes, count in zip(batch["boxes"], batch["count"], strict=True)]
        matches = torch.stack([self.assign(boxes) for boxes in truths])
        on_box = matches >= 0
        total = on_box.sum().clamp(min=1)
        focal = focal_loss(logits.float(), on_box.float(), self.options.focal_alpha, self.options.focal_gamma)
        losses = {"focal": focal.sum() / total}
        wanted = torch.cat([boxes[match[match >= 0]] for boxes, match in zip(truths, matches, strict=True)])
        anchors = self.anchors.expand(len(logits), -1, -1)[on_box]
        target = self.coder.encode_single(wanted, anchors) if len(wanted) else wanted
        distance = functional.smooth_l1_loss(codes[on_box].float(), target, beta=BETA, reduction="sum")
        losses["boxes"] = self.options.box_weight * distance / (4 * total)
        return losses

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        parameters = list(parameters)
        fused = parameters[0].device.type in ("cpu", "cuda")
        return torch.optim.AdamW(
            parameters, self.options.lr, weight_decay=self.options.weight_decay, fused=fused
        )

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """A linear rise over ``warmup``, then half a cosine to 0."""
        warmup = self.options.warmup
        if done < warmup:
            return max(done, 1e-3) / warmup
        return float(0.5 * (1 + np.cos(np.pi * (done - warmup) / (1 - warmup))))

    def detect(self, images: Tensor) -> list[Marks]:
        """Marks after non-maximum suppression, the highest first, boxes clipped to the image."""
        logits, codes = self.net(images)
        return [self._marks(*each) for each in zip(logits.float(), codes.float(), strict=True)]

    def _marks(self, logits: Tensor, codes: Tensor) -> Marks:
        scores = torch.sigmoid(logits)
        count = min(CANDIDATES, int((scores > self.options.min_score).sum()))
        scores, chosen = scores.topk(count)
        # Suppression goes box by box, which a GPU would be asked for one at a time.
        boxes, scores = self.coder.decode_single(codes[chosen], self.anchors[chosen]).cpu(), scores.cpu()
        clipped, kept = clip_boxes_to_image(boxes, [self.size, self.size], remove_empty=True)
        boxes, scores = torch.as_tensor(clipped), scores[torch.as_tensor(kept)]
        best = non_max_suppression(boxes, scores, self.options.nms_iou, self.options.marks)
        best = torch.as_tensor(best, dtype=torch.long)
        return Marks(boxes[best].double().numpy(), scores[best].double().numpy())


def focal_loss(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss of every element (Lin 2017), with weight ``alpha`` where ``target`` is 1."""
    plain = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = torch.exp(-plain)
    weight = alpha * target + (1 - alpha) * (1 - target)
    return weight * (1 - right) ** gamma * plain


def fit_anchors(boxes: Floats, levels: int, per_level: int) -> list[list[float]]:
    """Sides of square anchors for each level, evenly spaced in the logarithm over 90 % of the boxes.

    Args:
        boxes: (N, 4), at least one.
        levels, per_level: how many are wanted.

    Returns:
        Sides in pixels, to a tenth, the smallest on the finest level.
    """
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    low, high = np.quantile(sides, [0.05, 0.95])
    if high < 1.5 * low:  # all alike; augmentation zooms them
        middle = np.sqrt(low * high)
        low, high = middle / np.sqrt(1.5), middle * np.sqrt(1.5)
    count = levels * per_level
    spaced = np.geomspace(low, high, count) if count > 1 else np.array([np.sqrt(low * high)])
    return [[max(0.1, round(float(side), 1)) for side in own] for own in spaced.reshape(levels, per_level)]
