"""Losses shared by generators."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def generator_loss(logits: Tensor) -> Tensor:
    """Non-saturating loss -log D(fake) of a generator (Goodfellow 2014), from the critic's logits."""
    return functional.softplus(-logits.float()).mean()


def real_loss(logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy of real images' logits with target 1 - ``smoothing`` (one-sided, Salimans 2016)."""
    logits = logits.float()
    return (functional.softplus(-logits) + smoothing * logits).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """Cross entropy of fake images' logits with target 0."""
    return functional.softplus(logits.float()).mean()


def least_squares(logits: Tensor, target: float) -> Tensor:
    """Mean squared distance of logits to a target, 1 for real and 0 for fake (LSGAN, Mao 2017)."""
    return (logits.float() - target).square().mean()


def mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """Mean of (N, C, ...) over the voxels of a region (N, 1, ...), bool, of all items; 0 if it is empty."""
    total = (values.float() * inside).sum()
    return total / (inside.sum() * values.shape[1]).clamp(min=1)


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Half the squared gradient of the critic at real images, averaged over items (R1, Mescheder 2018).

    Args:
        logits: (N,), of ``images``.
        images: (N, ...), requiring gradients.
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1).mean() / 2


def mode_seeking_loss(made: Tensor, noise: Tensor, kinds: Tensor) -> Tensor:
    """How far noise lies apart for how far items of a kind made of it do (Mao 2019), mean over neighbours.

    It grows as a generator makes one item of all noise, up to 1e5; 0 where no two items are of one kind.

    Args:
        made: (N, C, ...), of ``noise``, in [-1, 1].
        noise: (N, D).
        kinds: (N,), whole numbers: items of different kinds, which lie apart anyway, are not compared.
    """
    order = kinds.argsort(stable=True)
    alike = kinds[order] == kinds[order].roll(1)
    if len(made) < 2 or not alike.any():
        return made.new_zeros(())
    apart, drawn = (
        (each[order] - each[order].roll(1, 0)).float().abs().flatten(1).mean(1)[alike]
        for each in (made, noise)
    )
    return 1 / ((apart / drawn).mean() + 1e-5)


def wasserstein_loss(real: Tensor, fake: Tensor) -> Tensor:
    """A critic's loss: how much more it finds in fake than in real items (Arjovsky 2017).

    Its negative estimates the Wasserstein distance where the critic's slope is 1 at most.

    Args:
        real: (N,), what it says of real items.
        fake: (M,), the same of fake ones.
    """
    return fake.float().mean() - real.float().mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, region: Tensor | None = None
) -> Tensor:
    """Mean squared distance of the critic's slope from 1 between real and fake items (Gulrajani 2017).

    In float32 also within autocast: gradients of single pixels are too small for half precision.

    Args:
        critic: images (N, C, ...) to (N,).
        real: (N, C, ...).
        fake: the same; between the two a point an item is drawn from torch's global random numbers.
        region: (N, 1, ...), 1 where the gradient counts: known pixels, alike in both, do not. None: all do.
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    real, fake = real.float(), fake.float()
    between = (real + share * (fake - real)).detach().requires_grad_()
    with torch.autocast(real.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    # The floor keeps the root's own gradient finite where the critic is flat.
    counted = gradient.float() if region is None else gradient.float() * region
    slope = (counted**2).flatten(1).sum(1).clamp(min=1e-12).sqrt()
    return (slope - 1).square().mean()


def dice_loss(logits: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """1 - soft Dice of each item within a region, averaged over items.

    Args:
        logits: (N, 1, ...), of images or volumes.
        target: (N, 1, ...), 0 or 1.
        inside: (N, 1, ...), 1 where the loss counts.
    """
    axes = tuple(range(1, logits.ndim))
    probability = torch.sigmoid(logits.float()) * inside
    target = target * inside
    overlap = (probability * target).sum(dim=axes)
    total = probability.sum(dim=axes) + target.sum(dim=axes)
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def cross_entropy(logits: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Binary cross entropy per pixel of the region, averaged over pixels, then over items.

    Arguments as for ``dice_loss``.
    """
    axes = tuple(range(1, logits.ndim))
    pixels = functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none") * inside
    return (pixels.sum(dim=axes) / inside.sum(dim=axes).clamp(min=1)).mean()
