"""The one training loop."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from mirage import tracking
from mirage.config.base import Runtime
from mirage.config.generators import TrainingOptions
from mirage.data import Items
from mirage.errors import ConfigError, TimeBudgetReached
from mirage.training.batches import batches
from mirage.training.device import average, workers_of_rank
from mirage.training.fabric import launch
from mirage.training.history import History
from mirage.training.learner import Learner
from mirage.training.previews import write_grid
from mirage.training.progress import Progress
from mirage.training.selection import Selection
from mirage.training.state import TrainingState
from mirage.training.trainable import Criterion, Trainable

STATE_MINUTES = 5.0
"""Wall time between two saves of the resumable state."""
PREVIEW_ITEMS = 4
SECONDS_BETWEEN_AGREEMENTS = 5.0
"""Several ranks agree so often, or every 10 steps, whether to save or stop: asking makes a GPU wait."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training hands over, beside the weights that the model then holds.

    Attributes:
        step: steps behind the chosen weights.
        chosen_because: why these weights, in words.
        metric_name: validation metric, or moving average of it, that chooses.
        metric: its value with the chosen weights, or None.
        history: rows of (step, metric, value).
        seconds: wall time of this run, without earlier runs of a resumed training.
        window: values of the validation metric that are averaged.
        metric_mode: whether ``min`` or ``max`` of it is best.
        metric_words: what the metric is, where that is not the model's own.
    """

    step: int
    chosen_because: str
    metric_name: str
    metric: float | None
    history: list[tuple[int, str, float]]
    seconds: float
    window: int = 1
    metric_mode: Literal["min", "max"] = "min"
    metric_words: str = ""


def train(
    model: Trainable,
    data: Items,
    validation: Items | None,
    options: TrainingOptions,
    runtime: Runtime,
    *,
    seed: int,
    state_dir: Path,
    fingerprint: str,
    previews: Path | None = None,
    minutes: float | None = None,
    progress: bool = True,
    state_minutes: float = STATE_MINUTES,
    criterion: Criterion | None = None,
) -> TrainingResult:
    """Train from the model's present weights, or go on where a training of the same fingerprint stopped.

    Step k's batch, augmentation and noise are a pure function of (seed, k), so a resumed training needs no
    random state and, on a CPU, ends with the same bits as an uninterrupted one. Two ranks compute what one
    rank with twice the micro-batches computes.

    Args:
        model: trained in place; afterwards its sampling modules hold the chosen weights.
        data: training items.
        validation: items the validation metric is computed on; None or empty: the last weights are kept.
        options: what changes the result.
        runtime: device and workers.
        seed: the training seed, >= 0.
        state_dir: folder of the resumable state.
        fingerprint: digest of config, data and stage version; a state of another is moved aside.
        previews: folder for preview grids, or None.
        minutes: wall time of this run, or None for no limit.
        progress: show a bar, or log lines where there is no terminal.
        state_minutes: wall time between two saves of the state.
        criterion: what weights are chosen by; None: the model's own validation metric.

    Raises:
        TimeBudgetReached: stopped early, its state saved.
        TrainingDivergedError: a loss is no longer finite.
        CheckpointError: another process trains here, or the state is damaged.
        ConfigError: batch size, device and precision do not fit together.
        DataError: no training items, or of another shape than the model's.
    """
    began = time.monotonic()
    fabric = launch(runtime, options.precision)
    ranks, first = fabric.world_size, fabric.global_rank == 0
    try:
        options = options.in_steps(len(data))
    except ValueError as error:
        raise ConfigError(f"training: {error}") from error
    learner = Learner(fabric, model, options, seed)
    by = model.metric_name if criterion is None else criterion.name
    mode = model.metric_mode if criterion is None else criterion.mode
    measure = model.validation_metric if criterion is None else partial(criterion, model)
    selection = Selection(by, mode, options.select, options.select_window)
    history = History(lambda values: average(values, ranks), tracking.current().metrics)
    state, start = TrainingState(state_dir), 0
    held_out = validation if validation is not None and len(validation) else None

    with state.locked() if first else nullcontext(), stop_requests() as stop_requested:
        if first:
            state.claim(fingerprint)
        fabric.barrier()
        saved = state.load()
        if saved is None and previews is not None and first:
            shutil.rmtree(previews, ignore_errors=True)  # of an earlier training, with other settings
        if saved is not None:
            start = saved["step"]
            learner.load_state_dict(saved["learner"])
            selection.load_state_dict(saved["selection"])
            history.load_state_dict(saved["history"])
            del saved

        def save(step: int) -> None:
            contents = {
                "step": step,
                "learner": learner.state_dict(),
                "selection": selection.state_dict(),
                "history": history.state_dict(),
            }
            if first:
                state.save(contents, best=selection.step)

        last_save = step_began = time.monotonic()
        slowest, agree_at = 0.0, start + 1
        placed = {"rank": fabric.global_rank, "ranks": ranks, "pin_memory": fabric.device.type == "cuda"}
        stream = batches(model, data, options, seed, start, workers=workers_of_rank(runtime), **placed)
        told = state_dir if first else None
        with Progress(start, options.steps, progress and first, told, fabric.device, ranks) as shown:
            for step, micro_batches in stream:
                for phase, losses in learner.step(step, micro_batches).items():
                    history.record(step, phase, losses)
                done, last = step + 1, step + 1 == options.steps
                shown.step()

                if done % options.log_every == 0 or last:
                    shown.losses(done, history.close_window(done))

                if held_out is not None and (done % options.validate_every == 0 or last):
                    metrics = {}
                    if first:
                        metrics = _validate(learner, partial(measure, held_out, data), done, selection, state)
                    history.append(done, metrics)
                    shown.say(f"step {done}: {metrics}")

                if previews is not None and first and (done % options.preview_every == 0 or last):
                    items = data if held_out is None else held_out
                    _draw_preview(learner, items, previews / f"step-{done:07d}.png")

                now = time.monotonic()
                slowest, step_began = max(slowest, now - step_began), now
                if last or done < agree_at:
                    continue
                between = _steps_between(slowest) if ranks > 1 else 1
                kept = reserve(minutes, between * slowest) if minutes is not None else 0.0
                over = minutes is not None and now - began > 60 * minutes - kept
                due = now - last_save > 60 * state_minutes
                stop, due, agree_at = fabric.broadcast((over or stop_requested(), due, done + between))
                if stop or due:
                    save(done)
                    fabric.barrier()  # a rank that ended now would end the first one while it writes
                    last_save = time.monotonic()
                if stop:
                    why = "its time budget" if over else "SIGTERM"
                    raise TimeBudgetReached(
                        f"stopped by {why} after step {done} of {options.steps}; state saved"
                    )

        if start < options.steps:
            save(options.steps)
        selection = fabric.broadcast(selection)
        chosen, because = selection.choice(options.steps)
        kept_best = options.select == "best" and selection.step is not None
        learner.finish(state.load_best(chosen) if kept_best else None)
        fabric.barrier()

    values = [value for at, name, value in history.rows if (at, name) == (chosen, selection.name)]
    metric = values[-1] if values else None
    seconds = time.monotonic() - began
    return TrainingResult(
        chosen,
        because,
        selection.name,
        metric,
        history.rows,
        seconds,
        options.select_window,
        mode,
        criterion.words if criterion else "",
    )


def _validate(
    learner: Learner,
    measure: Callable[[], dict[str, float]],
    step: int,
    selection: Selection,
    state: TrainingState,
) -> dict[str, float]:
    """Metrics of the averaged weights after ``step`` steps, and the moving average of the one that chooses.

    The best weights are written.
    """
    with learner.averaged():
        metrics = measure()
        if selection.offer(step, metrics[selection.metric]) and selection.wanted == "best":
            state.save_best(step, learner.weights())
    average = selection.average()
    return metrics if selection.window == 1 or average is None else {**metrics, selection.name: average}


def _draw_preview(learner: Learner, items: Items, path: Path) -> None:
    shown = [items.item(index) for index in range(min(PREVIEW_ITEMS, len(items)))]
    with learner.averaged():
        write_grid(path, learner.model.preview(shown))


def _steps_between(slowest: float) -> int:
    """Steps until ranks agree again, where the slowest step took so many seconds."""
    return max(1, min(10, int(SECONDS_BETWEEN_AGREEMENTS / max(slowest, 1e-3))))


def reserve(minutes: float, slowest: float) -> float:
    """Seconds kept back from the budget for the next step (with validation) and for saving the state."""
    return min(60.0, 6 * minutes) + 1.5 * slowest


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM has come; outside the main thread it never does."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
