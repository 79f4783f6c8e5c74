"""Which weights of a training are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass
class Selection:
    """The best value of a metric so far.

    Attributes:
        metric: name of the metric.
        mode: whether ``min`` or ``max`` is best.
        wanted: ``best`` or ``last`` weights.
        step: steps behind the best value; None before the first finite value.
        value: the best value.
    """

    metric: str
    mode: Literal["min", "max"]
    wanted: Literal["best", "last"]
    step: int | None = None
    value: float = math.nan

    def offer(self, step: int, value: float) -> bool:
        """Note a value; True if it is finite and better than all before."""
        if not math.isfinite(value):
            return False
        if self.step is not None and not (value < self.value if self.mode == "min" else value > self.value):
            return False
        self.step, self.value = step, value
        return True

    def choice(self, last: int) -> tuple[int, str]:
        """Step whose weights are kept, and why, in words."""
        if self.wanted == "last":
            return last, "last step, as configured"
        if self.step is None:
            return last, f"last step; no validation value of {self.metric} to choose by"
        extreme = "lowest" if self.mode == "min" else "highest"
        return self.step, f"{extreme} {self.metric} on the validation split ({self.value:.6g})"

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"step": self.step, "value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        self.step, self.value = state["step"], state["value"]
