"""DCGAN: images, or label masks, from noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from mirage.config.generators import Augment, DCGANOptions
from mirage.data import Item, Items
from mirage.errors import ConfigError
from mirage.generators.base import Generator, ImageSpec, adam, mean_logits, noise_generators, square_side
from mirage.generators.labels import LabelCode
from mirage.metrics.distances import frechet_distance
from mirage.networks.dcgan import SIZES, DCGANDiscriminator, DCGANGenerator
from mirage.networks.pix2pix import PatchCritic
from mirage.training.losses import fake_loss, generator_loss, r1_penalty, real_loss
from mirage.training.previews import panel

R1_SHARE = 0.25
"""Share of steps with the gradient penalty, weighted up in turn: nearly as good as always, and cheaper."""
PATCH_LEVELS = 2
"""Patches of 34 pixels: larger ones know the whole layout and repeat one that they like."""
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


class DCGAN(Generator):
    """DCGAN (Radford 2015) with the non-saturating loss and one-sided label smoothing.

    Where asked for, a PatchGAN (Isola 2017) judges patches of 34 pixels beside the discriminator: it sees
    many of every item, so local structure is learnt from few items, and the discriminator orders the whole.

    Args:
        options: ``of`` chooses between the image and the mask channel ``label``.
        spec: square images of a power-of-two side from 32 to 512.

    Raises:
        ConfigError: another side, or ``max_features`` below ``features``.
        DataError: masks asked for, but the data have no labels.
    """

    arch = "dcgan"
    options_class = DCGANOptions
    phases: tuple[str, ...] = ("generator", "discriminator")
    sampling_modules = ("generator",)
    channels_last = True
    metric_name = "val_frechet"
    metric_mode = "min"

    def __init__(self, options: DCGANOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        self.size = square_side(self.arch, spec)
        if self.size not in SIZES:
            raise ConfigError(f"prepare.size: dcgan makes images of side {SIZES}, the data have {self.size}")
        if options.max_features < options.features:
            raise ConfigError(
                f"options.max_features: {options.max_features} is below features {options.features}"
            )
        self._space: PixelSpace | None = None
        self.code = LabelCode(self.labels) if options.of == "mask" else None
        self.channels = self.code.channels if self.code else self.image_shape[0]
        widths = (options.features, options.max_features)
        self.generator = DCGANGenerator(self.size, self.channels, options.latent, *widths)
        self.discriminator = DCGANDiscriminator(self.size, self.channels, *widths)
        if options.patch_weight:
            self.patch_discriminator = PatchCritic(self.channels, options.features, levels=PATCH_LEVELS)
            self.phases = (*self.phases, "patch_discriminator")

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

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        """Generator first; each critic then sees its images and the real ones in separate batches."""
        if phase == "generator":
            noise = torch.randn(len(batch["real"]), self.options.latent, device=batch["real"].device)
            fake = self.generator(noise)
            batch["fake"] = fake.detach()
            losses = {"generator": generator_loss(self.discriminator(self._noisy(fake)))}
            if self.options.patch_weight:
                logits = self.patch_discriminator(self._noisy(fake))
                losses["patches"] = self.options.patch_weight * generator_loss(logits)
            return losses
        critic, real = self.get_submodule(phase), batch["real"]
        penalised = phase == "discriminator" and self.options.r1_gamma and torch.rand(()).item() < R1_SHARE
        if penalised:
            real = real.detach().requires_grad_()
        logits = critic(self._noisy(real))
        losses = {
            "real": real_loss(logits, self.options.label_smoothing),
            "fake": fake_loss(critic(self._noisy(batch["fake"]))),
        }
        if penalised:
            losses["r1"] = self.options.r1_gamma / R1_SHARE * r1_penalty(logits, real)
        return losses

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        critics = (self.get_submodule(name) for name in self.discriminators)
        return torch.stack([mean_logits(critic(batch["real"])) for critic in critics]).sum(dim=0)

    def _noisy(self, images: Tensor) -> Tensor:
        """Images as the critics see them: with instance noise (Sønderby 2017) where asked for."""
        if not self.options.instance_noise:
            return images
        return images + self.options.instance_noise * torch.randn_like(images)

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """1, and in the last ``lr_decay`` of the steps down to 0 in a line."""
        decay: float = self.options.lr_decay
        return min(1.0, (1 - done) / decay) if decay else 1.0

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        lr = self.options.lr_generator if phase == "generator" else self.options.lr_discriminator
        return adam(list(parameters), lr, self.options.beta1)

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        noise = [torch.randn(self.options.latent, generator=item) for item in noise_generators(seeds)]
        made: Tensor = self.generator(torch.stack(noise).to(self.device))
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
        fakes = self.sample(None, range(int(np.clip(len(space.reference), *METRIC_SAMPLES))))
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
        """16 samples of fixed noise."""
        samples = self.sample(None, range(16)).cpu().numpy()
        if self.code and not self.code.binary:
            samples = samples.argmax(axis=1, keepdims=True) / (self.channels - 1) * 2 - 1
        panels = np.stack([panel(sample, -1, 1) for sample in samples])
        return panels.reshape(4, 4, *panels.shape[1:])


def _pooled(images: Tensor) -> np.ndarray:
    """Images (N, C, H, W) to (N, C * 16 * 16), float64, by area averages."""
    coarse = functional.adaptive_avg_pool2d(images.float(), METRIC_SIDE)
    return coarse.flatten(1).cpu().numpy().astype(np.float64)
