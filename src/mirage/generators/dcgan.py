"""DCGAN: images, or label masks, from noise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mirage.config.generators import DCGANOptions
from mirage.generators.base import ImageSpec, adam, mean_logits
from mirage.generators.from_noise import FromNoise
from mirage.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from mirage.networks.pix2pix import PatchCritic
from mirage.training.losses import fake_loss, generator_loss, mode_seeking_loss, r1_penalty, real_loss

R1_SHARE = 0.25
"""Share of steps with the gradient penalty, weighted up in turn: nearly as good as always, and cheaper."""
PATCH_LEVELS = 2
"""Patches of 34 pixels: larger ones know the whole layout and repeat one that they like."""


class DCGAN(FromNoise):
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
    options_class: ClassVar[type[DCGANOptions]] = DCGANOptions
    phases: tuple[str, ...] = ("generator", "discriminator")

    def __init__(self, options: DCGANOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        self.generator, self.discriminator = self.networks(options)
        if options.patch_weight:
            self.patch_discriminator = PatchCritic(self.channels, options.features, levels=PATCH_LEVELS)
            self.phases = (*self.phases, "patch_discriminator")

    def networks(self, options: DCGANOptions) -> tuple[nn.Module, nn.Module]:
        """Generator and discriminator, with initial weights."""
        widths = (options.features, options.max_features)
        return (
            DCGANGenerator(self.size, self.channels, options.latent, *widths),
            DCGANDiscriminator(self.size, self.channels, *widths, kernel=options.critic_kernel),
        )

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        """Generator first; each critic then sees its images and the real ones in separate batches."""
        if phase == "generator":
            noise = self.noise(len(batch["real"]))
            fake = self.fakes(noise, batch)
            batch["fake"] = fake.detach()
            verdict = self.logits("discriminator", self._noisy(fake), batch)
            losses = {"generator": generator_loss(verdict)}
            if self.options.mode_seeking:
                modes = mode_seeking_loss(fake, noise, self.kinds(batch))
                losses["modes"] = self.options.mode_seeking * modes
            if self.options.patch_weight:
                logits = self.logits("patch_discriminator", self._noisy(fake), batch)
                losses["patches"] = self.options.patch_weight * generator_loss(logits)
            return losses
        real = batch["real"]
        penalised = phase == "discriminator" and self.options.r1_gamma and torch.rand(()).item() < R1_SHARE
        if penalised:
            real = real.detach().requires_grad_()
        logits = self.logits(phase, self._noisy(real), batch)
        losses = {
            "real": real_loss(logits, self.options.label_smoothing),
            "fake": fake_loss(self.logits(phase, self._noisy(batch["fake"]), batch)),
        }
        if penalised:
            losses["r1"] = self.options.r1_gamma / R1_SHARE * r1_penalty(logits, real)
        return losses

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        found = (self.logits(name, batch["real"], batch) for name in self.discriminators)
        return torch.stack([mean_logits(logits) for logits in found]).sum(dim=0)

    def fakes(self, noise: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of noise (N, latent), one for each of the batch's real ones."""
        made: Tensor = self.generator(noise)
        return made

    def kinds(self, batch: dict[str, Tensor]) -> Tensor:
        """A whole number an item, (N,), the same of items that noise alone tells apart."""
        return batch["real"].new_zeros(len(batch["real"]), dtype=torch.long)

    def logits(self, critic: str, images: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """What a discriminator says of images (N, C, H, W) that take the place of the batch's real ones."""
        told: Tensor = self.get_submodule(critic)(images)
        return told

    def _noisy(self, images: Tensor) -> Tensor:
        """Images as the critics see them: with instance noise (Sønderby 2017) where asked for."""
        if not self.options.instance_noise:
            return images
        return images + self.options.instance_noise * torch.randn_like(images)

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        lr = self.options.lr_generator if phase == "generator" else self.options.lr_discriminator
        return adam(list(parameters), lr, self.options.beta1)
