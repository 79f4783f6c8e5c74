"""Which keys of the configuration differ between how a result was made and how it would be made now.

Snakemake records the parameters of a job without their names, each as Python writes it. Here they are
paired with those of now and compared key by key.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mirage.config.model import Config
from mirage.config.slices import normalise
from mirage.dry_run import PlannedJob
from mirage.operations.work import entry_of

REGISTRY_OF = {
    "dataset": "datasets",
    "generator": "generators",
    "recipe": "recipes",
    "evaluation": "evaluations",
    "study": "studies",
}
"""Wildcard -> the registry of the entry that it names."""
FOLLOWS_FROM_OPTIONS = ("plan", "digest")
"""Parameters that only repeat what others decide."""


class _Absent:
    """A key that was not given; slices leave defaults out."""

    def __repr__(self) -> str:
        return "the default"


ABSENT = _Absent()


@dataclass(frozen=True)
class Change:
    """One key that differs.

    Attributes:
        key: dotted, as in the configuration; ``version of <stage>`` for the code's own version.
        old, new: values; a default that was not written stands as itself where it is known.
        old_is_default, new_is_default: whether the key was left at its default.
    """

    key: str
    old: Any
    new: Any
    old_is_default: bool = False
    new_is_default: bool = False


def changed_keys(job: PlannedJob, config: Config) -> list[Change]:
    """What differs in the parameters of a job, in the words of the configuration; empty: nothing does."""
    if job.recorded is None:
        return []
    found = {
        name: [_named(change, name, old, job, config) for change in differences(old, new)]
        for name, old, new in paired(job.recorded.params or [], job.params)
    }
    told = [change for name, own in found.items() if name not in FOLLOWS_FROM_OPTIONS for change in own]
    return told or [change for own in found.values() for change in own]


def paired(recorded: Sequence[str], params: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, old value, new value) of every parameter that is no longer what was recorded."""
    left = [value for value in map(_value, recorded) if value not in list(params.values())]
    known = [repr(_value(text)) for text in recorded]
    for name, new in params.items():
        if repr(new) in known:
            continue
        alike = max(left, key=lambda old: _likeness(old, new), default=ABSENT)
        if alike is not ABSENT:
            left.remove(alike)
        yield name, alike, new


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _likeness(old: Any, new: Any) -> int:
    """How much an old value looks like the one that a parameter has now."""
    if isinstance(old, dict) and isinstance(new, dict):
        return 1 + len(old.keys() & new.keys())
    return int(type(old) is type(new))


def differences(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    """Keys below which two nested values differ, dotted; lists of one length are compared item by item."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            where = f"{key}.{name}" if key else str(name)
            yield from differences(old.get(name, ABSENT), new.get(name, ABSENT), where)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{key}[{index}]")
    elif old != new or type(old) is not type(new):
        yield Change(key, old, new, old is ABSENT, new is ABSENT)


def _named(change: Change, param: str, old: Any, job: PlannedJob, config: Config) -> Change:
    """A change with the key as it stands in the configuration, and the defaults that were left out."""
    key = _configured(change.key, param, job)
    return Change(
        key,
        _default(key, config) if change.old is ABSENT else change.old,
        _default(key, config) if change.new is ABSENT else change.new,
        change.old_is_default,
        change.new_is_default,
    )


def _configured(key: str, param: str, job: PlannedJob) -> str:
    """Dotted key of the configuration behind a key of a parameter; see :mod:`mirage.config.slices`."""
    if param != "options":
        return f"{param}.{key}" if key else param
    stage = job.params["options"]["stage"]
    if key == "version":
        return f"version of stage {stage}"
    path = key.removeprefix("options.")
    kind = next(kind for kind in REGISTRY_OF if kind in job.wildcards)
    entry = f"{REGISTRY_OF[kind]}.{entry_of(job)}"
    if stage == "report":
        return f"{entry}.{path.removeprefix('study.')}" if path.startswith("study.") else path
    if stage == "print":
        return f"{entry}.print.{path}"
    if stage == "simulate":
        return f"{entry}.source.reader" if path == "reader" else f"{entry}.simulate.{path}"
    if path.startswith("arm.") and "arm" in job.wildcards:
        return f"{entry}.arms.{job.wildcards['arm']}.{path.removeprefix('arm.')}"
    return f"{entry}.{path}"


def _default(key: str, config: Config) -> Any:
    """The default of a configuration key, or ``ABSENT`` where it has none to show."""
    at: Any = config
    *way, name = key.split(".")
    for part in way:
        at = at.get(part) if isinstance(at, dict) else getattr(at, part, None)
    field = type(at).model_fields.get(name) if isinstance(at, BaseModel) else None
    if field is None or field.is_required():
        return ABSENT
    default = field.get_default(call_default_factory=True)
    return normalise(default) if isinstance(default, BaseModel) else default
