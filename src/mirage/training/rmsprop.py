"""RMSProp with Nesterov momentum as DeepMedic's public program 0.8.4 has it, which PyTorch has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class RMSProp(Optimizer):
    """RMSProp (Tieleman 2012) with epsilon inside the root and Nesterov momentum that is not normalised.

    With the running mean of squares a = rho a + (1 - rho) g^2 and u = lr g / sqrt(a + epsilon), the velocity
    is v = momentum v - u, and the weight moves by momentum v - u. The very first step is therefore
    (1 + momentum) lr g / sqrt((1 - rho) g^2 + epsilon) against the gradient.

    Args:
        parameters: what is optimised.
        lr: learning rate.
        momentum: in [0, 1).
        rho: decay of the mean of squares.
        epsilon: added to the mean of squares.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.6,
        rho: float = 0.9,
        epsilon: float = 1e-4,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "rho": rho, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._move([weight for weight in group["params"] if weight.grad is not None], group)
        return loss

    def _move(self, weights: list[torch.Tensor], group: dict[str, Any]) -> None:
        """One step of some weights, an operation for all of them at once as in PyTorch's own optimisers."""
        if not weights:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        squares = [self._state(weight, "squares") for weight in weights]
        velocities = [self._state(weight, "velocity") for weight in weights]
        torch._foreach_mul_(squares, group["rho"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["rho"])
        roots = torch._foreach_add(squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        updates = torch._foreach_div(gradients, roots)
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates, alpha=-group["lr"])
        torch._foreach_add_(weights, velocities, alpha=group["momentum"])
        torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _state(self, weight: torch.Tensor, name: str) -> torch.Tensor:
        """A tensor of the optimiser's state, zeros at first."""
        if name not in self.state[weight]:
            self.state[weight][name] = torch.zeros_like(weight)
        found: torch.Tensor = self.state[weight][name]
        return found
