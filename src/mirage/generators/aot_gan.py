"""AOT-GAN: holes filled by aggregated contextual transformations."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mirage.config.generators import AOTGANOptions
from mirage.generators.base import ImageSpec, mean_logits
from mirage.generators.inpainting import Inpainter
from mirage.generators.perceptual import feature_network, in_words, perceptual_and_style
from mirage.networks.aot import AOTGenerator, SoftMaskDiscriminator, soft_target
from mirage.training.losses import least_squares, mean_inside


class AOTGAN(Inpainter):
    """AOT-GAN (Zeng 2022) with the paper's polarity: 1 is real, and the generator is to be found real.

    L1, style and perceptual loss are of the raw prediction and the whole image; the discriminator sees it
    composed with the known pixels. Its target for that is 1 minus the blurred hole. (The released code trains
    the generator towards 1 where 1 is the target of what is made, so that both work together.)

    Args:
        options: widths, losses.
        spec: square images whose side is a multiple of 4.

    Raises:
        ConfigError: another side, or one too small for the dilations.
    """

    arch = "aot_gan"
    options_class = AOTGANOptions
    phases = ("generator", "discriminator")
    hole_value = 1.0

    def __init__(self, options: AOTGANOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        channels = self.image_shape[0]
        self.generator = AOTGenerator(channels, options.features, options.blocks, options.rates)
        self.discriminator = SoftMaskDiscriminator(channels, options.critic_features)

    @property
    def notes(self) -> dict[str, Any]:
        return {**super().notes, "perceptual_features": in_words(self.options.perceptual)}

    @cached_property
    def perceptual(self) -> nn.Module:
        """The fixed network of the losses: read when first needed, and no part of the model's weights."""
        return feature_network(self.options.perceptual, self.image_shape[0])

    def complete(self, masked: Tensor, hole: Tensor) -> Tensor:
        return self.generator(masked, hole)

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        return self._generator_step(batch) if phase == "generator" else self._discriminator_step(batch)

    def _generator_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        real, hole, options = batch["real"], batch["hole"], self.options
        made = self.complete(self.masked(real, hole), hole).float()
        fake = self.composite(made, real, hole)
        batch["fake"] = fake.detach()
        losses = {
            "generator": options.adversarial_weight * self.adversarial(fake, hole),
            "l1": options.l1_weight * functional.l1_loss(made, real),
        }
        if options.perceptual_weight or options.style_weight:
            perceptual, style = perceptual_and_style(self.perceptual.to(made.device), made, real)
            losses["perceptual"] = options.perceptual_weight * perceptual
            losses["style"] = options.style_weight * style
        return losses

    def adversarial(self, images: Tensor, hole: Tensor) -> Tensor:
        """Squared distance of the verdict from 1, real, averaged over the hole; small for real images."""
        return mean_inside((self._verdict(images) - 1).square(), hole > 0)

    def _discriminator_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        both = self._verdict(torch.cat([batch["real"], batch["fake"]]))
        real, fake = both.chunk(2)
        target = 1 - soft_target(batch["hole"], self.options.soft_sigma)
        return {"real": least_squares(real, 1), "fake": (fake - target).square().mean()}

    def _verdict(self, images: Tensor) -> Tensor:
        """The discriminator's map of images (N, C, H, W), brought to their size: (N, 1, H, W)."""
        logits = self.discriminator(images).float()
        return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=True)

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        return mean_logits(self.discriminator(batch["real"]))
