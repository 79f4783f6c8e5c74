"""The tidy history of a training: step, metric, value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mirage.errors import MirageError


class TrainingDivergedError(MirageError):
    """A loss became infinite or not a number."""


class History:
    """Rows of (step, metric, value); losses are means over the steps since the row before.

    Losses stay on the device until they are needed, so that a GPU does not wait in every step.

    Args:
        average: mean of a vector over the ranks.
        told: hears of every row as it is appended: step, and values by metric.
    """

    def __init__(
        self,
        average: Callable[[Tensor], Tensor] = Tensor.cpu,
        told: Callable[[int, dict[str, float]], None] = lambda step, values: None,
    ) -> None:
        self._average, self._told = average, told
        self.rows: list[tuple[int, str, float]] = []
        self._window: list[tuple[str, float]] = []
        self._pending: list[tuple[int, str, str, Tensor]] = []

    def record(self, step: int, phase: str, losses: dict[str, Tensor]) -> None:
        """Note the losses of a phase, without reading them."""
        self._pending += [(step, phase, name, value.detach()) for name, value in losses.items()]

    def _read(self) -> None:
        if not self._pending:
            return
        values = self._average(torch.stack([value.float() for *_, value in self._pending])).tolist()
        for (step, phase, name, _), value in zip(self._pending, values, strict=True):
            if not math.isfinite(value):
                raise TrainingDivergedError(
                    f"step {step}, phase {phase!r}: loss {name!r} is {value}. Lower that network's learning "
                    "rate, raise the batch size, or train with `precision: 32-true`"
                )
            self._window.append((name, value))
        self._pending.clear()

    def close_window(self, step: int) -> dict[str, float]:
        """Append a row for every loss, its mean since the last rows, and return them.

        Raises:
            TrainingDivergedError: a loss is not finite.
        """
        self._read()
        means = {}
        for name in dict.fromkeys(name for name, _ in self._window):
            values = [value for other, value in self._window if other == name]
            means[name] = sum(values) / len(values)
        self._window.clear()
        self.append(step, means)
        return means

    def append(self, step: int, metrics: dict[str, float]) -> None:
        """Append one row a metric."""
        self.rows += [(step, name, value) for name, value in metrics.items()]
        self._told(step, metrics)

    def state_dict(self) -> dict[str, Any]:
        """Everything so far.

        Raises:
            TrainingDivergedError: a loss is not finite.
        """
        self._read()
        return {"rows": list(self.rows), "window": list(self._window)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        self.rows = [tuple(row) for row in state["rows"]]
        self._window = [tuple(value) for value in state["window"]]
