"""WGAN-GP: images, or label masks, from noise, taught by a critic of limited slope."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mirage.config.generators import WGANGPOptions
from mirage.generators.base import ImageSpec, adam
from mirage.generators.from_noise import FromNoise
from mirage.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from mirage.training.losses import gradient_penalty, wasserstein_loss


class WGANGP(FromNoise):
    """WGAN with gradient penalty (Gulrajani 2017) on the networks of DCGAN.

    The critic is updated in every step, the generator in every ``critic_steps``-th one. No norm of the critic
    looks across a batch: the penalty is on each item's own slope.

    Args:
        options: ``of`` chooses between the image and the mask channel ``label``.
        spec: square images of a power-of-two side from 32 to 512.

    Raises:
        ConfigError: another side, or ``max_features`` below ``features``.
        DataError: masks asked for, but the data have no labels.
    """

    arch = "wgan_gp"
    options_class = WGANGPOptions
    phases = ("generator", "critic")

    def __init__(self, options: WGANGPOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        widths = (options.features, options.max_features)
        self.generator = DCGANGenerator(self.size, self.channels, options.latent, *widths)
        self.critic = DCGANDiscriminator(
            self.size, self.channels, *widths, kernel=options.critic_kernel, norm=options.norm
        )

    def interval(self, phase: str) -> int:
        return int(self.options.critic_steps) if phase == "generator" else 1

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        """The generator, where it is its turn, leaves its images to the critic."""
        real = batch["real"]
        if phase == "generator":
            fake = self.generator(self.noise(len(real)))
            batch["fake"] = fake.detach()
            return {"generator": -self.critic(fake).float().mean()}
        if "fake" not in batch:
            with torch.no_grad():
                batch["fake"] = self.generator(self.noise(len(real)))
        fake = batch["fake"].float()
        penalty = gradient_penalty(self.critic, real, fake)
        return {
            "wasserstein": wasserstein_loss(self.critic(real), self.critic(fake)),
            "penalty": self.options.penalty_weight * penalty,
        }

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        verdict: Tensor = self.critic(batch["real"])
        return verdict

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        return adam(list(parameters), self.options.lr, self.options.beta1, self.options.beta2)
