"""JSON schema and reference page, generated from the config models; a test fails when either is stale."""

from __future__ import annotations

import json
from typing import Any

from mirage.config.model import Config

SECTIONS = {
    "datasets": "DatasetConfig DriveSource ChaseDB1Source MessidorSource BubilSource FolderSource "
    "SimulateOptions PrepareOptions Intensity SplitOptions",
    "generators": "DCGANConfig DCGANOptions Pix2PixConfig Pix2PixOptions SegmenterConfig SegmenterOptions "
    "TrainingOptions Augment",
    "recipes": "UnconditionalRecipe MaskThenImageRecipe PseudoLabelRecipe ModelRef",
    "evaluations": "SegmentationEvaluation Arm TrainingSet FidelityEvaluation",
    "studies": "StudyConfig",
    "every entry": "Runtime",
}


def schema_text() -> str:
    """JSON schema of a study file or of config.yaml: all keys of the top level are optional there."""
    schema = Config.model_json_schema()
    schema.pop("required")
    schema["title"] = "Mirage configuration"
    return json.dumps(schema, indent=1) + "\n"


def reference() -> str:
    """Markdown page that lists every key with its type, default and meaning."""
    definitions = Config.model_json_schema()["$defs"]
    lines = [
        "# Configuration",
        "",
        "Made by `mirage schema` from the config models. Every entry of a registry also takes `runtime`",
        "(resources; never remakes anything) and `demo` (keys that `scale: demo` replaces).",
    ]
    for section, names in SECTIONS.items():
        lines += ["", f"## {section}"]
        for name in names.split():
            lines += ["", f"### {name}", "", definitions[name].get("description", ""), ""]
            lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
            required = definitions[name].get("required", [])
            for key, field in definitions[name]["properties"].items():
                if key in ("runtime", "demo"):
                    continue
                default = "required" if key in required else f"`{json.dumps(field.get('default'))}`"
                if "default" not in field and key not in required:
                    default = "see there"
                meaning = field.get("description", "").replace("|", "\\|")
                lines.append(f"| `{key}` | {_type(field)} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


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
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {_type(field['additionalProperties'])}"
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
