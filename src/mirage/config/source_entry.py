"""What the options of all readers have."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from mirage.config.base import Options

Kind = Literal["image", "volume"]
COLOURS = ("red", "green", "blue")


class SourceEntry(Options):
    """What all readers' options have; ``kinds`` is what their items can be."""

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    reader: str
    path: str

    @model_validator(mode="after")
    def _path_is_no_pattern(self) -> Self:
        if re.search("[{}]", self.path):
            raise ValueError(
                f"path: {self.path!r} holds a brace, which Snakemake takes for a wildcard; rename the "
                "folder, or link to it under another name"
            )
        return self

    @property
    def label_table(self) -> dict[int, str] | None:
        """Stored value -> name of the labels; empty where there are none, None if only the reader knows."""
        return None

    @property
    def channels_stored(self) -> list[str]:
        """Names of the stored images' channels."""
        return ["grey"]

    @property
    def beside(self) -> dict[str, str]:
        """Files outside ``path`` that decide what is read: what each is -> its path."""
        return {}

    def simulated(self) -> Self:
        """The options without those that describe the real data only; simulated data have one layout."""
        field = type(self).model_fields["path"]
        return self.model_copy(update={"path": "" if field.is_required() else field.default})
