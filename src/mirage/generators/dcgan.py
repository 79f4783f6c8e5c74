"""DCGAN: images, or label masks, from noise."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mirage.config.generators import DCGANOptions
from mirage.generators.base import ImageSpec, adam, mean_logits
from mirage.generators.from_noise import FromNoise
from mirage.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from mirage.networks.pix2pix import PatchCritic
from mirage.training.losses import fake_loss, generator_loss, r1_penalty, real_loss

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
    options_class = DCGANOptions
    phases: tuple[str, ...] = ("generator", "discriminator")

    def __init__(self, options: DCGANOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        widths = (options.features, options.max_features)
        self.generator = DCGANGenerator(self.size, self.channels, options.latent, *widths)
        self.discriminator = DCGANDiscriminator(
            self.size, self.channels, *widths, kernel=options.critic_kernel
        )
        if options.patch_weight:
            self.patch_discriminator = PatchCritic(self.channels, options.features, levels=PATCH_LEVELS)
            self.phases = (*self.phases, "patch_discriminator")

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        """Generator first; each critic then sees its images and the real ones in separate batches."""
        if phase == "generator":
            fake = self.generator(self.noise(len(batch["real"])))
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

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        lr = self.options.lr_generator if phase == "generator" else self.options.lr_discriminator
        return adam(list(parameters), lr, self.options.beta1)
