"""What a person watching a training sees: a bar on a terminal, log lines elsewhere, a record from afar."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from types import TracebackType

import torch
from tqdm import tqdm

from mirage.files import write_json
from mirage.training.signs import PROGRESS

LOG = logging.getLogger("mirage.training")
SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows steps, losses and the time left.

    Args:
        start: step at which this run begins.
        steps: step at which it ends.
        shown: False shows nothing.
        state: folder in which ``progress.json`` keeps what was last shown, or None.
        device: where it trains.
        ranks: processes that train together.
    """

    def __init__(
        self,
        start: int,
        steps: int,
        shown: bool,
        state: Path | None = None,
        device: torch.device | None = None,
        ranks: int = 1,
    ) -> None:
        self._start, self._steps = start, steps
        self._began = self._spoke = time.monotonic()
        self._record = None if state is None else state / PROGRESS
        self._place = {"device": _name(device), "ranks": ranks}
        bar = shown and sys.stderr.isatty()
        self._lines = shown and not bar
        self._bar = tqdm(initial=start, total=steps, unit="step", disable=not bar, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        self._note(self._start, None, {})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def step(self) -> None:
        """One step more is done."""
        self._bar.update()

    def losses(self, step: int, values: dict[str, float]) -> None:
        """Show means since the last call, after ``step`` steps; lines and records keep 10 s between them."""
        self._bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        now = time.monotonic()
        if now - self._spoke < SECONDS_BETWEEN_LINES and step < self._steps:
            return
        self._spoke = now
        each = (now - self._began) / max(step - self._start, 1)
        self._note(step, each, values)
        if not self._lines:
            return
        left = time.strftime("%H:%M:%S", time.gmtime(each * (self._steps - step)))
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        LOG.info("step %d/%d  %s  %.0f ms/step  %s left", step, self._steps, shown, 1000 * each, left)

    def say(self, text: str) -> None:
        """Show a sentence, above the bar where there is one."""
        if self._lines:
            LOG.info(text)
        elif not self._bar.disable:
            self._bar.write(text, file=sys.stderr)

    def _note(self, step: int, seconds: float | None, losses: dict[str, float]) -> None:
        """Tell other processes how far the training is; a full disk does not end it."""
        if self._record is None:
            return
        reached = {"step": step, "steps": self._steps, "seconds_per_step": seconds, "losses": losses}
        try:
            write_json(self._record, {**reached, **self._place})
        except OSError as error:
            LOG.warning("%s: not written (%s)", self._record, error)


def _name(device: torch.device | None) -> str:
    """``cpu``, or a GPU with its number and model."""
    if device is not None and device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device or "cpu")
