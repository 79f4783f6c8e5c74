"""The configuration's reference, generated from its models."""

from __future__ import annotations

from mirage.cli.app import app


@app.command()
def schema() -> None:
    """Write config/schema.json (completion in editors) and docs/configuration.md from the config models."""
    from mirage.config.document import reference, schema_text
    from mirage.files import atomic_path

    for path, text in (("config/schema.json", schema_text()), ("docs/configuration.md", reference())):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
