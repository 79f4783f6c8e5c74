"""Read, merge and validate the configuration files; errors name file, key, value and the nearest spelling."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from mirage.config.base import Options
from mirage.config.detectors import DETECTOR_JUDGES, DetectorJudge
from mirage.config.encoders import BUILT_IN
from mirage.config.model import REGISTRIES, Config
from mirage.errors import ConfigError

OF_THE_RUN = ("run", "scale", "cost", "tracking")
"""Keys of config.yaml alone, beside the registries."""
MERGE = "tag:yaml.org,2002:merge"
"""Tag of the key ``<<``, whose mapping's keys stand behind a mapping's own."""


class _StrictLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which a key given twice is an error instead of a silent overwrite."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == MERGE:
            continue
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            mark = key_node.start_mark
            raise ConfigError(f"{mark.name}, line {mark.line + 1}: key {key!r} is given twice; remove one")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """One YAML file as a mapping.

    Raises:
        ConfigError: not there, not YAML, no mapping at the top, or a key given twice.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            value = yaml.load(handle, Loader=_StrictLoader)  # a subclass of the safe loader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping of keys at the top, found {type(value).__name__}")
    return value


def merge(base: Any, override: Any) -> Any:
    """Deep merge of mappings; anything else, lists included, is replaced."""
    if not (isinstance(base, Mapping) and isinstance(override, Mapping)):
        return override
    return {
        **base,
        **{key: merge(base[key], value) if key in base else value for key, value in override.items()},
    }


def load_config(overrides: Mapping[str, Any], folder: Path) -> Config:
    """The configuration: every file in ``folder/studies``, then ``overrides`` on top.

    Args:
        overrides: contents of ``config.yaml`` (and of ``--config``): ``run``, ``scale``, ``cost``,
            ``tracking``, and any key of any registry entry.
        folder: the ``config`` folder.

    Raises:
        ConfigError: see the module.
    """
    origin: dict[tuple[str, str], str] = {}
    merged: dict[str, Any] = {registry: {} for registry in REGISTRIES}
    merged["encoders"] = dict(BUILT_IN)
    for path in sorted((folder / "studies").glob("*.yaml")):
        content = read_yaml(path)
        _refuse_unknown(content, REGISTRIES, str(path))
        for registry, entries in content.items():
            for name, entry in _mapping_of(entries, f"{path}: {registry}").items():
                if (registry, name) in origin:
                    raise ConfigError(
                        f"{path}: {registry}.{name} is already defined in {origin[registry, name]}; "
                        "rename one, or override single keys in config.yaml"
                    )
                origin[registry, name] = str(path)
                merged[registry][name] = merge(merged[registry].get(name, {}), {} if entry is None else entry)
    _refuse_unknown(overrides, (*OF_THE_RUN, *REGISTRIES), "config.yaml")
    for registry in REGISTRIES:
        given = _mapping_of(overrides.get(registry), f"config.yaml: {registry}")
        merged[registry] = merge(merged[registry], given)
        for name, entry in merged[registry].items():
            _mapping_of(entry, f"{origin.get((registry, name), 'config.yaml')}: {registry}.{name}")
    merged |= {key: overrides[key] for key in OF_THE_RUN if key in overrides}
    if isinstance(merged.get("run"), str):  # `--config run=quickstart`
        merged["run"] = [name.strip() for name in merged["run"].split(",")]
    small = {key: _at_demo_scale(value) if key in REGISTRIES else value for key, value in merged.items()}
    try:  # both scales, so that a mistake under `demo` does not wait for the day it is used
        full_config, demo_config = Config.model_validate(merged), Config.model_validate(small)
    except ValidationError as error:
        raise ConfigError(_explain(error, overrides, origin)) from error
    return demo_config if full_config.scale == "demo" else full_config


def _refuse_unknown(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")


def _mapping_of(value: Any, where: str) -> Mapping[str, Any]:
    """The value, which must be a mapping; nothing written is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected a mapping of keys, found {value!r}")
    return value


def _at_demo_scale(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries with what stands under their `demo` key merged over them."""
    return {
        name: merge({k: v for k, v in (entry or {}).items() if k != "demo"}, (entry or {}).get("demo") or {})
        for name, entry in entries.items()
    }


def _explain(
    error: ValidationError, overrides: Mapping[str, Any], origin: Mapping[tuple[str, str], str]
) -> str:
    """All problems, each with file, key, value and expectation."""

    def file_of(keys: list[str]) -> str:
        value: Any = overrides
        for key in keys:
            if not (isinstance(value, Mapping) and key in value):
                return origin.get(tuple(keys[:2]), "config.yaml")  # type: ignore[arg-type]
            value = value[key]
        return "config.yaml"

    lines = []
    for problem in error.errors():
        keys, known = _walk(problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            close = get_close_matches(keys[-1], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
            message = f"unknown key; {hint}"
        elif problem["type"] == "missing":
            message = "this key is required"
        elif not isinstance(problem["input"], Mapping):
            message = f"{message} (found {problem['input']!r})"
        if not keys:  # a cross-reference error names its own key
            keys_text, _, message = message.partition(": ")
            keys = keys_text.split(".")
        lines.append(f"{file_of(keys)}: {'.'.join(keys)}: {message}")
    return "\n".join(lines)


def _walk(location: tuple[Any, ...]) -> tuple[list[str], list[str]]:
    """Keys of the file on the way to a problem, and the keys known where it is.

    Pydantic's location also holds the tag of each discriminated union, which is no key of the file.
    """
    keys: list[str] = []
    model: Any = Config
    known: list[str] = []
    for part in location:
        members = _members(model)
        tagged = [member for member in members if part in _tags(member)] if len(members) > 1 else []
        if tagged:
            model = tagged[0]
            continue
        keys.append(str(part))
        known = sorted({name for member in members if _is_options(member) for name in member.model_fields})
        model = next((found for member in members if (found := _child(member, part)) is not None), None)
    return keys, known


def _is_options(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, Options)


def _members(annotation: Any) -> list[Any]:
    """Alternatives of an annotation, without `Annotated`, `None` and field metadata; registered ones too."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    if annotation is DetectorJudge:
        return list(DETECTOR_JUDGES.values())
    return [] if annotation is type(None) or annotation is None else [annotation]


def _tags(model: Any) -> set[Any]:
    """Values of the literal fields by which a member of a union is chosen: those that have one value only."""
    if not _is_options(model):
        return set()
    return {
        value
        for field in model.model_fields.values()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
        for value in get_args(field.annotation)
    }


def _child(model: Any, part: Any) -> Any:
    """Annotation behind one step of a location: a field, or an item of a mapping or list."""
    if _is_options(model):
        field = model.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(model)
    return arguments[-1] if arguments else None
