"""Contextual attention: holes filled from patches around them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mirage.config.generators import ContextualAttentionOptions
from mirage.generators.base import ImageSpec
from mirage.generators.inpainting import Inpainter
from mirage.networks.contextual_attention import CoarseToFine, Critic
from mirage.training.losses import gradient_penalty, mean_inside, wasserstein_loss


class ContextualAttention(Inpainter):
    """Contextual attention (Yu 2018, version 1): a coarse and a refined guess, critics of image and box.

    Losses are of the raw predictions; critics see them composed with the known pixels. The local critic looks
    at the box, also where the hole in it is smaller. The critics are updated in every step, the generator in
    every ``critic_steps``-th one, always on a fresh batch.

    Args:
        options: widths, losses.
        spec: square images whose side is a multiple of 8.

    Raises:
        ConfigError: another side.
    """

    arch = "contextual_attention"
    options_class = ContextualAttentionOptions
    phases = ("generator", "critics")
    hole_value = 0.0

    def __init__(self, options: ContextualAttentionOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        channels, width = self.image_shape[0], options.critic_features
        self.generator = CoarseToFine(channels, options.features, options.attention_scale, options.fuse)
        self.critics = nn.ModuleDict(
            {"global": Critic(channels, self.size, width), "local": Critic(channels, self.box_side, width)}
        )
        self.weights: Tensor
        self.register_buffer("weights", discounts(self.box_side, options.discount), persistent=False)

    def interval(self, phase: str) -> int:
        return int(self.options.critic_steps) if phase == "generator" else 1

    def complete(self, masked: Tensor, hole: Tensor) -> Tensor:
        return self.generator(masked, hole)[1]

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        """The generator, where it is its turn, leaves its images to the critics."""
        return self._generator_step(batch) if phase == "generator" else self._critic_step(batch)

    def _generator_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        real, hole, corner, options = batch["real"], batch["hole"], batch["corner"], self.options
        coarse, refined = (made.float() for made in self.generator(self.masked(real, hole), hole))
        fake = self.composite(refined, real, hole)
        batch["fake"] = fake.detach()
        verdict = self._verdict(fake, corner)
        box, known = self._box(real, corner), hole == 0
        l1 = [((self._box(made, corner) - box).abs() * self.weights).mean() for made in (coarse, refined)]
        around = [mean_inside((made - real).abs(), known) for made in (coarse, refined)]
        return {
            "generator": -options.adversarial_weight * verdict.mean(),
            "l1": options.l1_weight * (options.coarse_weight * l1[0] + l1[1]),
            "ae": options.ae_weight * (options.coarse_weight * around[0] + around[1]),
        }

    def _critic_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Wasserstein losses with gradient penalty (Gulrajani 2017), its gradients those of the hole."""
        real, hole, corner = batch["real"], batch["hole"], batch["corner"]
        if "fake" not in batch:
            with torch.no_grad():
                made = self.complete(self.masked(real, hole), hole)
            batch["fake"] = self.composite(made.float(), real, hole)
        fake, losses = batch["fake"], {}
        for view, critic in self.critics.items():
            truth, guess, inside = (
                images if view == "global" else self._box(images, corner) for images in (real, fake, hole)
            )
            judged = critic(torch.cat([truth, guess]))
            losses[f"wasserstein_{view}"] = wasserstein_loss(judged[: len(truth)], judged[len(truth) :])
            penalty = gradient_penalty(critic, truth, guess, inside)
            losses[f"penalty_{view}"] = self.options.penalty_weight * penalty
        return losses

    def _verdict(self, images: Tensor, corner: Tensor) -> Tensor:
        """What both critics together say of images (N, C, H, W): (N,)."""
        seen = {"global": images, "local": self._box(images, corner)}
        return torch.stack([critic(seen[view]).float() for view, critic in self.critics.items()]).sum(dim=0)

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        """The local critic looks at the box of the hole that belongs to an item's content."""
        return self._verdict(batch["real"], batch["corner"])

    def _box(self, images: Tensor, corner: Tensor) -> Tensor:
        """Each item's own box (N, C, box, box) out of images (N, C, H, W); corner (N, 2): top, left."""
        places = torch.arange(self.box_side, device=images.device)
        rows, columns = (corner[:, axis, None] + places for axis in range(2))
        channels = images.shape[1]
        rows = rows[:, None, :, None].expand(-1, channels, -1, images.shape[3])
        columns = columns[:, None, None, :].expand(-1, channels, self.box_side, -1)
        return images.gather(2, rows).gather(3, columns)


def discounts(side: int, base: float) -> Tensor:
    """Weights (side, side) of the L1 loss in the box: ``base`` to the power of the distance to its edge.

    As published: max(base^min(i, side - i), base^min(j, side - j)), so the first row and column weigh 1 and
    the last ones ``base``.
    """
    places = torch.arange(side)
    powers = base ** torch.minimum(places, side - places).float()
    return torch.maximum(powers[:, None], powers[None, :])
