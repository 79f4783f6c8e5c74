"""Which items of a dataset are meant: by an attribute of the manifest, or by the labels of their boxes."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from mirage.config.base import Options


class Criterion(Options):
    """Items with one of some values of an attribute, or with a box of one of some labels."""

    attribute: str | None = Field(
        None,
        description="column of the manifest, such as `label`, `malignancy` or one of a table",
    )
    values: list[str] = Field(
        default_factory=list,
        description="values of the attribute that are meant, as text: `mass` meets `mass|calcification`, "
        "1 meets 1.0. An item of which it is not known is not meant",
    )
    boxes: list[str] = Field(
        default_factory=list, description="labels of boxes; an item with one of them is meant"
    )

    @field_validator("values", "boxes", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        return [str(value) for value in given] if isinstance(given, list) else given

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.attribute is None) != (not self.values) or (self.attribute is None) == (not self.boxes):
            raise ValueError(
                "name items in one way: by `attribute` and its `values`, or by `boxes`, such as "
                "{attribute: label, values: [positive]}"
            )
        return self

    def words(self) -> str:
        """In words: ``label positive``."""
        if self.attribute is None:
            return f"a box {' or '.join(self.boxes)}"
        return f"{self.attribute} {' or '.join(self.values)}"
