"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Averaged weights of some submodules.

    Parameters are averaged with decay ``min(decay, (1 + step) / (10 + step))``, so that short trainings
    are not dominated by the initial weights; buffers, such as batch norm statistics, are copied.

    Args:
        model: holds the submodules.
        names: the submodules.
        decay: per step, in (0, 1).
    """

    def __init__(self, model: nn.Module, names: Sequence[str], decay: float) -> None:
        self.decay = decay
        modules = {name: model.get_submodule(name) for name in names}
        self._parameters = _named(modules, nn.Module.named_parameters)
        stored = _named(modules, lambda module: module.state_dict().items())
        self._buffers = {
            key: value for key, value in _named(modules, nn.Module.named_buffers).items() if key in stored
        }
        self.average = {key: value.detach().clone() for key, value in self._live().items()}

    def _live(self) -> dict[str, Tensor]:
        return {**self._parameters, **self._buffers}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in self._parameters.items():
            self.average[key].lerp_(value, 1 - decay)
        for key, value in self._buffers.items():
            self.average[key].copy_(value)

    @torch.no_grad()
    def _swap(self) -> None:
        for key, value in self._live().items():
            raw = value.clone()
            value.copy_(self.average[key])
            self.average[key].copy_(raw)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model holds the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def load(self, average: dict[str, Tensor]) -> None:
        """Take back ``average`` of another instance, strictly."""
        if average.keys() != self.average.keys():
            raise ValueError("averaged weights belong to another model")
        for key, value in average.items():
            self.average[key].copy_(value)


def _named(modules: dict[str, nn.Module], members: object) -> dict[str, Tensor]:
    """Members of several modules under names such as ``generator.layers.0.weight``."""
    assert callable(members)
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in members(module)}
