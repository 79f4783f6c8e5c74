"""What a person watching a training sees: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

LOG = logging.getLogger("mirage.training")
SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows steps, losses and the time left.

    Args:
        start: step at which this run begins.
        steps: step at which it ends.
        shown: False shows nothing.
    """

    def __init__(self, start: int, steps: int, shown: bool) -> None:
        self._start, self._steps = start, steps
        self._began = self._spoke = time.monotonic()
        bar = shown and sys.stderr.isatty()
        self._lines = shown and not bar
        self._bar = tqdm(initial=start, total=steps, unit="step", disable=not bar, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def step(self) -> None:
        """One step more is done."""
        self._bar.update()

    def losses(self, step: int, values: dict[str, float]) -> None:
        """Show means since the last call, after ``step`` steps; log lines keep 10 s between them."""
        self._bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        now = time.monotonic()
        if not self._lines or (now - self._spoke < SECONDS_BETWEEN_LINES and step < self._steps):
            return
        self._spoke = now
        each = (now - self._began) / max(step - self._start, 1)
        left = time.strftime("%H:%M:%S", time.gmtime(each * (self._steps - step)))
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        LOG.info("step %d/%d  %s  %.0f ms/step  %s left", step, self._steps, shown, 1000 * each, left)

    def say(self, text: str) -> None:
        """Show a sentence, above the bar where there is one."""
        if self._lines:
            LOG.info(text)
        elif not self._bar.disable:
            self._bar.write(text, file=sys.stderr)
