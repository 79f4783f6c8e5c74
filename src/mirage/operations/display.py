"""Answers on a screen of any width, or as JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import singledispatch
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mirage.amounts import duration, energy, several, size
from mirage.operations.changes import ABSENT
from mirage.operations.doctor import Diagnosis
from mirage.operations.plan import Amount, Plan
from mirage.operations.status import STATES, JobStatus, Status
from mirage.operations.trainings import Training
from mirage.operations.why import Explanation, Made

DASH = "\u2013"
STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
STATE_STYLES = {"running": "cyan", "failed": "bold red", "waiting": ""}


def show(answer: Any, as_json: bool, *, afresh: bool = False) -> None:
    """Print an answer of this package, or several.

    Args:
        answer: what a question returned, or a list of such.
        as_json: for machines; numbers that are not known are null.
        afresh: clear the screen first, where there is one.
    """
    if as_json:
        print(json.dumps(plain(answer), indent=2))
        return
    console = Console(highlight=False)
    if afresh and console.is_terminal:
        console.clear()
    for one in answer if isinstance(answer, list) else [answer]:
        for part in lines(one):
            console.print(part)


def plain(value: Any) -> Any:
    """Dataclasses as mappings, and what JSON does not know as null."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is ABSENT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


@singledispatch
def lines(answer: Any) -> Iterator[RenderableType]:
    """What is printed of an answer."""
    raise TypeError(f"no way to print {type(answer).__name__}")


@lines.register
def _(answer: Diagnosis) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 2))
    for fixed in (True, True, False):
        table.add_column(no_wrap=fixed, overflow="fold")
    for finding in answer.findings:
        told = Text(finding.found)
        if finding.mend:
            told.append(f"\n\u2192 {finding.mend}", style="italic")
        table.add_row(Text(finding.level, style=STYLES[finding.level]), Text(finding.topic), told)
    yield table
    bad = [level for level in ("problem", "warning") for found in answer.findings if found.level == level]
    summary = ", ".join(several(bad.count(level), level) for level in dict.fromkeys(bad))
    yield Text(f"\n{summary or 'Everything is in place.'}", style=STYLES[answer.worst])


@lines.register
def _(answer: Plan) -> Iterator[RenderableType]:
    if not answer.total.jobs:
        yield Text(f"Nothing to do: all {answer.total.of} jobs of {_names(answer)} are done.")
        return
    heads = ["", "jobs", "time", "GPU time", "memory", "disk"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head else "left", no_wrap=bool(head))
    for study in answer.studies:
        table.add_row(Text(study.study, style="bold"), *_cells(study.total))
        for stage, amount in study.stages.items():
            table.add_row(f"  {stage}", *_cells(amount))
        table.add_section()
    if len(answer.studies) > 1:
        table.add_row(Text("all, each job once", style="bold"), *_cells(answer.total))
    yield table
    yield Text()
    yield from _machine(answer)
    yield from _remarks(answer.total)


def _names(answer: Plan) -> str:
    return ", ".join(study.study for study in answer.studies)


def _cells(amount: Amount) -> list[str]:
    if not amount.jobs:
        return [f"0 of {amount.of}", *[DASH] * 4]
    sign = "\u2264 " if amount.hours_at_most else "~ " if amount.hours_by_rule else ""
    more = " + ?" if amount.hours_unknown else ""
    asked = f"\u2264 {size(amount.memory_asked_mb * 1e6)}" if amount.memory_asked_mb else DASH
    disk_more = " + ?" if amount.bytes_unknown else ""
    return [
        f"{amount.jobs} of {amount.of}",
        f"{sign}{duration(3600 * amount.hours)}{more}" if amount.hours or not more else "?",
        f"{sign}{duration(3600 * amount.gpu_hours)}" if amount.gpu_hours else DASH,
        asked if amount.memory_mb is None else size(amount.memory_mb * 1e6),
        f"{size(amount.bytes)}{disk_more}" if amount.bytes else "?" if disk_more else DASH,
    ]


def _machine(answer: Plan) -> Iterator[Text]:
    machine, sign = answer.machine, "at most " if answer.total.hours_at_most else "about "
    gpus = "" if machine.gpus is None else f" and {several(machine.gpus, 'GPU')}"
    yield Text(
        f"On {several(machine.cores, 'core')}{gpus}: {sign}{duration(3600 * machine.hours)}; on any number, "
        f"no less than {duration(3600 * machine.critical_path_hours)}, since jobs wait for one another."
    )
    if answer.kilowatt_hours is not None:
        yield Text(f"Energy: {sign}{energy(answer.kilowatt_hours)}.")
    if answer.money is not None:
        yield Text(f"Price: {sign}{answer.money:.2f} {answer.currency}.")


def _remarks(total: Amount) -> Iterator[Text]:
    if total.hours_at_most:
        jobs = several(total.hours_at_most, "job")
        yield Text(f"\u2264  nothing like {jobs} has run here yet: the time they ask for (runtime.minutes).")
    if total.hours_by_rule:
        jobs = several(total.hours_by_rule, "job")
        yield Text(f"~  {jobs} as the same rule took for other entries, which may be far off.")
    if total.hours_unknown or total.bytes_unknown:
        yield Text("?  not known before such a job has run.")


@lines.register
def _(answer: Status) -> Iterator[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("", *STATES):
        table.add_column(head, justify="right" if head else "left", no_wrap=bool(head))
    for study in answer.studies:
        together = {state: sum(counts[state] for counts in study.stages.values()) for state in STATES}
        table.add_row(Text(study.study, style="bold"), *_counts(together))
        for stage, counts in study.stages.items():
            table.add_row(f"  {stage}", *_counts(counts))
        table.add_section()
    yield table
    for state in ("running", "failed", "waiting"):
        jobs = [job for job in answer.jobs if job.state == state]
        if jobs:
            yield Text(f"\n{state}", style=f"bold {STATE_STYLES[state]}".strip())
        for job in jobs:
            yield _indented(2, job.job)
            yield from (_indented(4, line) for line in _told(job))
    yield Text()
    yield Text(_controller(answer))


def _counts(counts: Mapping[Any, int]) -> list[Text]:
    return [
        Text(str(counts[state]) if counts[state] else DASH, style=STATE_STYLES.get(state, ""))
        for state in STATES
    ]


def _told(job: JobStatus) -> Iterator[str]:
    if job.state == "running" and job.training is not None:
        yield from _progress(job.training)
    if job.note:
        yield job.note
    if job.log and job.state == "failed":
        yield f"log: {job.log}"


def _progress(training: Training) -> Iterator[str]:
    where = " on ".join(part for part in (training.device, training.host) if part)
    times = f" x {training.ranks}" if training.ranks > 1 else ""
    if training.step is None or training.steps is None:
        yield f"begins to train on {training.host}"
        return
    if training.step == training.steps:
        yield f"trained all {training.steps} steps; what follows has begun"
        return
    share = f"{training.step / training.steps:.0%}"
    left = "" if training.seconds_left is None else f", {duration(training.seconds_left)} left"
    part = f"{training.part}: " if training.part else ""
    yield f"{part}step {training.step} of {training.steps} ({share}){left}; {where}{times}"
    if training.losses:
        yield "  ".join(f"{name} {value:.4g}" for name, value in training.losses.items())


def _controller(answer: Status) -> str:
    here = answer.controller
    if here.processes:
        return f"Snakemake works here (process {here.processes[0]})."
    if here.locked:
        return "Locked by a Snakemake of another host, or by one that was killed (see mirage doctor)."
    open_jobs = any(
        counts["waiting"] + counts["failed"] for study in answer.studies for counts in study.stages.values()
    )
    return "No Snakemake works here." + (" Start one to go on." if open_jobs else "")


@lines.register
def _(answer: Explanation) -> Iterator[RenderableType]:
    yield Text(answer.target, style="bold")
    if not answer.jobs:
        all_there = all(made.there for made in answer.made_by)
        yield _indented(2, "nothing: it is up to date" if all_there else "nothing: no study needs it now")
        for made in answer.made_by:
            what = f"made by {made.job}{_when(made)}" if made.there else f"gone: what {made.job} makes"
            yield _indented(2, what + (f"; log {made.log}" if made.log else ""))
        return
    total = sum(answer.jobs.values())
    yield _indented(2, f"{several(total, 'job')} would run: {_rules(answer.jobs)}")
    for cause in answer.causes:
        yield Text()
        yield _indented(2, Text("because of ").append(cause.job, style="bold"))
        for reason in cause.reasons:
            yield _indented(4, reason)
        if cause.then:
            yield _indented(4, f"then: {_rules(cause.then)}")
    if answer.never_made:
        yield Text()
        yield _indented(2, f"never made yet: {_rules(answer.never_made)}")


def _indented(by: int, text: str | Text) -> Padding:
    """A paragraph all of whose lines are indented."""
    return Padding(text if isinstance(text, Text) else Text(text), (0, 0, 0, by), expand=False)


def _when(made: Made) -> str:
    if made.finished is None:
        return ""
    return f", {time.strftime('%Y-%m-%d %H:%M', time.localtime(made.finished))}"


def _rules(jobs: Mapping[str, int]) -> str:
    return ", ".join(f"{rule} ({number})" if number > 1 else rule for rule, number in jobs.items())
