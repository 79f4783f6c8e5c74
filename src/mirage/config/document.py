"""JSON schema and reference page, generated from the config models; a test fails when either is stale."""

from __future__ import annotations

import json
from typing import Any

from mirage.config.model import REGISTRIES, Config


def schema_text() -> str:
    """JSON schema of a study file or of config.yaml: all keys of the top level are optional there."""
    schema = Config.model_json_schema()
    schema.pop("required")
    schema["title"] = "Mirage configuration"
    return json.dumps(schema, indent=1) + "\n"


def reference() -> str:
    """Markdown page that lists every key with its type, default and meaning."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    lines = [
        "# Configuration",
        "",
        "Made by `mirage schema` from the config models. Every entry of a registry but studies and",
        "publications also takes `runtime` (resources; never remakes anything) and `demo` (keys that",
        "`scale: demo` replaces).",
    ]
    described = {"Runtime", "Cost", "Tracking"}
    for registry in REGISTRIES:
        lines += ["", f"## {registry}"]
        for name in _models_behind(schema["properties"][registry], definitions, described):
            lines += _section(name, definitions[name])
    for key, name in (("runtime", "Runtime"), ("cost", "Cost"), ("tracking", "Tracking")):
        lines += ["", f"## {key}", *_section(name, definitions[name])]
    return "\n".join(lines) + "\n"


def _models_behind(node: Any, definitions: dict[str, Any], described: set[str]) -> list[str]:
    """Models that a part of the schema refers to, each before those it refers to itself, once."""
    found: list[str] = []
    if isinstance(node, dict):
        name = str(node.get("$ref", "")).rsplit("/", 1)[-1]
        if name and name not in described:
            described.add(name)
            found = [name, *_models_behind(definitions[name], definitions, described)]
        parts = [value for key, value in node.items() if key not in ("discriminator", "default")]
    else:
        parts = node if isinstance(node, list) else []
    return found + [name for part in parts for name in _models_behind(part, definitions, described)]


def _section(name: str, model: dict[str, Any]) -> list[str]:
    """Heading, description and table of one model."""
    lines = ["", f"### {name}", "", model.get("description", ""), ""]
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    required = model.get("required", [])
    for key, field in model["properties"].items():
        if key in ("runtime", "demo"):
            continue
        default = "required" if key in required else "see there"
        if "default" in field:
            default = f"`{json.dumps(field['default'])}`"
        meaning = field.get("description", "").replace("|", "\\|")
        lines.append(f"| `{key}` | {_type(field)} | {default} | {meaning} |")
    return lines


def _type(field: dict[str, Any]) -> str:
    """Short type of a schema field, with its bounds."""
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[-1])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    for union in ("anyOf", "oneOf"):
        if union in field:
            return " or ".join(dict.fromkeys(_type(part) for part in field[union]))
    kind = field.get("type", "any")
    if kind == "array" and "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} {_type(field['prefixItems'][0])}"
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    values = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
    if kind == "object" and isinstance(values[0], dict):
        return f"mapping to {_type(values[0])}"
    bounds = [
        f"{sign} {field[key]}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in field
    ]
    return f"{'none' if kind == 'null' else kind} {' and '.join(bounds)}".strip()
