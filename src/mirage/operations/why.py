"""`mirage why`: for what reason a result would be made again, from the root cause on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mirage.config.model import Config, suggest
from mirage.dry_run import PlannedJob
from mirage.errors import ConfigError
from mirage.operations.changes import Change, changed_keys
from mirage.operations.work import Work, configuration, entry_of, label, overrides

Kind = Literal["options", "code", "input", "inputs", "environment", "broken off", "missing"]


@dataclass(frozen=True)
class Cause:
    """Something that makes a job run again of itself, not because of another job.

    Attributes:
        job: its rule and what it works on.
        kind: ``options`` of the configuration or the version of a stage's code changed; ``code`` of the rule
            or its script was edited; an ``input`` is newer; the set of ``inputs`` is another; the software
            ``environment`` is defined anew; an earlier run was ``broken off``; an output is ``missing``.
        reasons: sentences.
        changes: the keys behind ``options``.
        then: rules of the jobs that follow from it, in order, with how many.
    """

    job: str
    kind: Kind
    reasons: list[str]
    changes: list[Change] = field(default_factory=list)
    then: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """Why a target would be made again.

    Attributes:
        target: as it was asked for.
        jobs: how many jobs would run for it, by rule; empty: it is up to date.
        causes: what starts them.
        never_made: jobs that would run because what they make has never been made, by rule; they follow
            from no change.
        made_by: of a target that is up to date: its jobs, each with when it was made and its log.
    """

    target: str
    jobs: dict[str, int]
    causes: list[Cause]
    never_made: dict[str, int]
    made_by: list[Made]


@dataclass(frozen=True)
class Made:
    """A result that need not be made again.

    Attributes:
        job: what made it.
        finished: when, seconds since 1970; None: that was not recorded.
        log: the log that it left.
        there: False: it is gone, and what was made from it is up to date without it.
    """

    job: str
    finished: float | None
    log: str | None
    there: bool


def why(target: str, scale: str | None = None) -> Explanation:
    """Why a file, a rule's outputs, an entry's or a study would be made again.

    Args:
        target: path of an output, or name of a rule, an entry of the configuration or a study.
        scale: ``demo`` or ``full``; None: as configured.

    Raises:
        ConfigError: nothing is called so, or the configuration is wrong.
    """
    config = configuration(overrides((), scale))
    target = os.path.normpath(target)
    targets, studies = _where(target, config)
    return explain(target, Work.planned(overrides(studies, scale), targets))


def _where(target: str, config: Config) -> tuple[list[str], list[str]]:
    """(files to plan, studies to plan): where the jobs of a target are found."""
    if "/" in target or Path(target).exists():
        return [target], []
    if target in config.studies:
        return [], [target]
    using = [study for study in config.studies if target in _entries(config, study)]
    return [], [study for study in using if study in config.run] or using[:1]


def _entries(config: Config, study: str) -> set[str]:
    """Names of every entry that a study needs."""
    models = {name for name, _ in config.study_models(study)}
    return config.study_data(study) | models | set(config.studies[study].evaluations)


def explain(target: str, work: Work) -> Explanation:
    """Why what ``target`` names among the jobs would be made again.

    Raises:
        ConfigError: none of the jobs has to do with it.
    """
    asked = _asked(target, work)
    jobs = [job for job in work.behind(asked) if job.needed]
    causes = [cause for job in jobs if (cause := _cause(job, jobs, work))]
    new = [job for job in jobs if _never_made(job)]
    made = [] if jobs else [_made(job) for job in asked]
    return Explanation(target, _by_rule(jobs), causes, _by_rule(new), made)


def _made(job: PlannedJob) -> Made:
    there = all(Path(path).exists() for path in job.outputs)
    return Made(label(job), getattr(job.recorded, "endtime", None), job.log, there)


def _asked(target: str, work: Work) -> list[PlannedJob]:
    if target in work.makers:
        return [work.makers[target]]
    if target in work.config.run:
        return [work.makers[work.graph.report(target)]]
    found = [job for job in work.jobs if target in (job.rule, entry_of(job))]
    if not found:
        named = {name for job in work.jobs for name in (job.rule, entry_of(job)) if name}
        known = sorted({*work.config.studies, *named})
        raise ConfigError(
            f"{target!r} is no output, no rule and no entry of the configuration{suggest(target, known)}"
        )
    return found


def _never_made(job: PlannedJob) -> bool:
    return job.recorded is None and bool(job.reason.missing_output)


def _by_rule(jobs: Sequence[PlannedJob]) -> dict[str, int]:
    return dict(Counter(job.rule for job in jobs))


def _cause(job: PlannedJob, jobs: Sequence[PlannedJob], work: Work) -> Cause | None:
    """What makes a job run of itself; None: it follows from others, or has never been made."""
    found = _own_reason(job, work)
    if found is None:
        return None
    kind, reasons, changes = found
    follow = {job}
    for other in jobs:  # each after those it depends on
        if any(one in follow for one in work.needs(other)):
            follow.add(other)
    then = [other for other in jobs if other in follow and other is not job]
    return Cause(label(job), kind, reasons, changes, _by_rule(then))


def _own_reason(job: PlannedJob, work: Work) -> tuple[Kind, list[str], list[Change]] | None:
    reason = job.reason
    if reason.forced:
        return "broken off", ["an earlier run of it was broken off; what it left is not trusted"], []
    if reason.params_changed:
        changes = changed_keys(job, work.config)
        return "options", [in_words(change) for change in changes], changes
    if reason.input_changed:
        return "inputs", _inputs_changed(job.recorded.input or [], job.inputs), []
    if newer := reason.updated_input - reason.updated_input_run:
        return "input", [_newer(path, work) for path in sorted(map(str, newer))], []
    if reason.code_changed:
        return "code", [f"rule {job.rule} or its script was edited (workflow/rules, workflow/scripts)"], []
    if reason.software_stack_changed:
        return "environment", ["the definition of its software environment (envs/) changed"], []
    gone = [] if job.recorded is None else sorted(map(str, reason.missing_output))
    return ("missing", [f"{path} was made before and is gone" for path in gone], []) if gone else None


def _newer(path: str, work: Work) -> str:
    maker = work.makers.get(path)
    made = f", which {label(maker)} has made," if maker else ""
    return f"its input {path}{made} has changed since"


def _inputs_changed(before: Sequence[str], now: Sequence[str]) -> list[str]:
    more = [f"it reads {path} too now" for path in sorted(set(now) - set(before))]
    return more + [f"it no longer reads {path}" for path in sorted(set(before) - set(now))]


def in_words(change: Change) -> str:
    """``recipes.eyes.count: 48 -> 49``."""
    if change.key.startswith("version of"):
        return f"the code's {change.key} went from {change.old} to {change.new}"
    old, new = _shown(change.old, change.old_is_default), _shown(change.new, change.new_is_default)
    return f"{change.key}: {old} \u2192 {new}"


def _shown(value: Any, default: bool) -> str:
    text = "none" if value in (None, {}) else str(value)
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{short} (the default)" if default and short != "the default" else short
