"""What generators from noise share: the noise, one way out, and a metric that chooses between steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mirage.config.generators import Augment, NoiseOptions
from mirage.data import Item, Items
from mirage.errors import ConfigError
from mirage.generators.base import Generator, ImageSpec, noise_generators, square_side
from mirage.generators.labels import LabelCode
from mirage.metrics.distances import frechet_distance
from mirage.networks.dcgan import SIZES
from mirage.training.previews import panel

METRIC_SIDE = 16
METRIC_ITEMS = 25
METRIC_DIMENSIONS = 32
METRIC_SAMPLES = (64, 512)
METRIC_REFERENCE = 2048


@dataclass(frozen=True)
class PixelSpace:
    """What the validation metric compares with, for one pair of splits.

    ``centre`` (D,) and ``axes`` (D, K) take coarse pixels into the space, where ``reference`` (N, K) lies.
    """

    validation: Items
    training: Items
    centre: np.ndarray
    axes: np.ndarray
    reference: np.ndarray


class FromNoise(Generator):
    """A generator of images, or of the mask channel ``label``, from normal noise.

    Subclasses build the network ``generator``, of (N, latent) to (N, C, H, W) in [-1, 1].

    Args:
        options: ``of`` chooses between the image and the mask channel ``label``.
        spec: square images of a power-of-two side from 32 to 512.

    Raises:
        ConfigError: another side, or ``max_features`` below ``features``.
        DataError: masks asked for, but the data have no labels.
    """

    sampling_modules = ("generator",)
    channels_last = True
    metric_name = "val_frechet"
    metric_mode = "min"
    generator: nn.Module

    def __init__(self, options: NoiseOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        self.size = square_side(self.arch, spec)
        if self.size not in SIZES:
            raise ConfigError(
                f"prepare.size: {self.arch} makes images of side {SIZES}, the data have {self.size}"
            )
        if options.max_features < options.features:
            raise ConfigError(
                f"options.max_features: {options.max_features} is below features {options.features}"
            )
        self._space: PixelSpace | None = None
        self.code = LabelCode(self.labels) if options.of == "mask" else None
        self.channels = self.code.channels if self.code else self.image_shape[0]

    @property
    def made_labels(self) -> dict[int, str]:
        return self.labels if self.code else {}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.channels, self.size, self.size)

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``real``: image or label mask in [-1, 1], (C, H, W)."""
        unit, masks = self.augmented(item, rng, augment)
        if self.code:
            return {"real": self.code.encode(self.mask(masks, "label"))}
        return {"real": self.to_model_range(unit)}

    def noise(self, count: int) -> Tensor:
        """Noise (count, latent) of a training step, on the device of the weights."""
        return torch.randn(count, self.options.latent, device=self.device)

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """1, and in the last ``lr_decay`` of the steps down to 0 in a line."""
        decay: float = self.options.lr_decay
        return min(1.0, (1 - done) / decay) if decay else 1.0

    def noise_of(self, seeds: Sequence[int]) -> Tensor:
        """Noise (N, latent) of samples, one a seed, on the device of the weights."""
        noise = [torch.randn(self.options.latent, generator=item) for item in noise_generators(seeds)]
        return torch.stack(noise).to(self.device)

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        made: Tensor = self.generator(self.noise_of(seeds))
        return made

    def decode(self, images: Tensor) -> np.ndarray:
        return self.code.decode(images) if self.code else self.denormalise(images)

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``val_frechet``: Fréchet distance of samples to real items in a PCA space of coarse pixels.

        Pixels are averaged to 16 x 16; the space is spanned by the principal components of the training
        items, at most one for every 5 reference items and at most 32. The reference is the validation split,
        or both splits together where validation has fewer than 25 items and its covariance would be noise.
        It chooses between steps of one training and is no measure of fidelity.
        """
        space = self._space
        if space is None or space.validation is not validation or space.training is not training:
            space = self._space = self._fit_space(validation, training)
        fakes = self.sample_freely(range(int(np.clip(len(space.reference), *METRIC_SAMPLES))))
        if self.code:
            fakes = torch.stack([self.code.encode(mask[0]) for mask in self.code.decode(fakes)])
        points = (_pooled(fakes) - space.centre) @ space.axes
        return {self.metric_name: frechet_distance(space.reference, points)}

    def _fit_space(self, validation: Items, training: Items) -> PixelSpace:
        known, held_out = self._coarse(training), self._coarse(validation)
        reference = held_out if len(held_out) >= METRIC_ITEMS else np.concatenate([held_out, known])
        centre = known.mean(axis=0)
        components = np.linalg.svd(known - centre, full_matrices=False)[2]
        kept = max(1, min(METRIC_DIMENSIONS, len(reference) // 5, len(known) - 1))
        axes = components[:kept].T
        return PixelSpace(validation, training, centre, axes, (reference - centre) @ axes)

    def _coarse(self, data: Items) -> np.ndarray:
        """Coarse pixels of the items, or of 2,048 evenly spaced ones, (N, D)."""
        count = min(len(data), METRIC_REFERENCE)
        indices = np.linspace(0, len(data) - 1, count).round().astype(int).tolist()
        return np.concatenate([_pooled(self.example(data.item(index))["real"][None]) for index in indices])

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """16 samples of fixed noise; conditioned ones in rows of one condition, from the same noise."""
        given = self.preview_conditions()
        noise = range(16) if given is None else [place % 4 for place in range(16)]
        samples = self.sample(given, noise).cpu().numpy()
        if self.code and not self.code.binary:
            samples = samples.argmax(axis=1, keepdims=True) / (self.channels - 1) * 2 - 1
        panels = np.stack([panel(sample, -1, 1) for sample in samples])
        return panels.reshape(4, 4, *panels.shape[1:])

    def preview_conditions(self) -> Tensor | None:
        """Conditions of the 16 samples of a preview; None where nothing is conditioned."""
        return None


def _pooled(images: Tensor) -> np.ndarray:
    """Images (N, C, H, W) to (N, C * 16 * 16), float64, by area averages."""
    coarse = functional.adaptive_avg_pool2d(images.float(), METRIC_SIDE)
    return coarse.flatten(1).cpu().numpy().astype(np.float64)
