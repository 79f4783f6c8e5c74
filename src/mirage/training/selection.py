"""Which weights of a training are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal


def average_name(metric: str) -> str:
    """Name in the history of a metric's moving average."""
    return f"{metric}_average"


@dataclass
class Selection:
    """The best value of a metric, or of its moving average, so far.

    Attributes:
        metric: name of the metric.
        mode: whether ``min`` or ``max`` is best.
        wanted: ``best`` or ``last`` weights.
        window: values that are averaged, the present one the last; none counts before there are as many.
        step: steps behind the best value; None before the first finite value.
        value: the best value.
    """

    metric: str
    mode: Literal["min", "max"]
    wanted: Literal["best", "last"]
    window: int = 1
    step: int | None = None
    value: float = math.nan
    recent: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What is compared: the metric, or its moving average."""
        return self.metric if self.window == 1 else average_name(self.metric)

    def average(self) -> float | None:
        """Mean of the last ``window`` values; None before there are as many."""
        return sum(self.recent) / self.window if len(self.recent) == self.window else None

    def offer(self, step: int, value: float) -> bool:
        """Note a value; True if it, or the average that ends in it, is finite and better than all before."""
        self.recent = [*self.recent, value][-self.window :]
        mean = self.average()
        return mean is not None and self._compare(step, mean)

    def _compare(self, step: int, value: float) -> bool:
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
            return last, f"last step; no validation value of {self.name} to choose by"
        extreme = "lowest" if self.mode == "min" else "highest"
        over = "" if self.window == 1 else f", moving average over {self.window} values of {self.metric},"
        return self.step, f"{extreme} {self.name}{over} on the validation split ({self.value:.6g})"

    def state_dict(self) -> dict[str, Any]:
        """The best so far, and what the next average is made of."""
        return {"step": self.step, "value": self.value, "recent": self.recent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        self.step, self.value, self.recent = state["step"], state["value"], list(state["recent"])
