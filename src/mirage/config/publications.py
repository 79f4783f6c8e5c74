"""What was published and which study regenerates it: the catalogue of figures and tables."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mirage.config.base import Options

State = Literal["regenerated", "needs_data", "diagram", "not_yet"]
STATES: dict[State, str] = {
    "regenerated": "regenerated",
    "needs_data": "needs data",
    "diagram": "diagram",
    "not_yet": "not yet",
}
"""State -> how it is printed."""


class PublishedItem(Options):
    """One figure, table or number of a publication."""

    shows: str = Field(description="what it shows, in a few words")
    state: State = Field(
        "regenerated",
        description="regenerated: by the exhibits under `by`; needs_data: could be, of data that cannot be "
        "had freely; diagram: of a method, holds no result; not_yet: nothing here makes it",
    )
    by: dict[str, str] = Field(
        default_factory=dict,
        description="study -> id of its report's exhibit that shows the same (ids stand in the report's list "
        "of figures)",
        examples=[{"retina": "intensity/retina_fidelity"}],
    )
    note: str = Field("", description="how the exhibit differs, which data are needed, or what is missing")

    @model_validator(mode="after")
    def _state_is_founded(self) -> Self:
        if self.state == "regenerated" and not self.by:
            raise ValueError("regenerated, but `by` names no exhibit; name one, or give another state")
        if self.state == "not_yet" and self.by:
            raise ValueError("not_yet, but `by` names an exhibit; give the state regenerated or diagram")
        if self.state in ("needs_data", "not_yet") and not self.note:
            raise ValueError(f"{self.state} needs a `note`: which data, or what is missing")
        return self


class Publication(Options):
    """A publication and all of its figures and tables."""

    reference: str = Field(description="authors, title, where and when")
    items: dict[str, PublishedItem] = Field(
        min_length=1, description="figure, table or number, as the publication calls it -> what becomes of it"
    )
