"""A pool of past fakes (Shrivastava 2017), which keeps a critic from forgetting."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Holds pairs of condition and fake; half of the time an older pair is shown instead of the new one.

    Args:
        size: pairs held; 0 hands every pair through.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def exchange(self, condition: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs to show for a batch of new ones; draws from torch's global random numbers.

        While the pool fills, new pairs are stored and shown. Pairs are kept on the CPU.
        """
        if self.size == 0:
            return condition, fake
        shown: list[tuple[Tensor, Tensor]] = []
        for new in zip(condition, fake, strict=True):
            if len(self.pairs) < self.size:
                self.pairs.append(_held(new))
                shown.append(new)
            elif torch.rand(()).item() < 0.5:
                place = int(torch.randint(self.size, ()))
                old, self.pairs[place] = self.pairs[place], _held(new)
                shown.append((old[0].to(condition.device), old[1].to(fake.device)))
            else:
                shown.append(new)
        return torch.stack([pair[0] for pair in shown]), torch.stack([pair[1] for pair in shown])


def _held(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Copies on the CPU: a view would keep, and save, the batch it comes from."""
    return pair[0].to("cpu", copy=True), pair[1].to("cpu", copy=True)
