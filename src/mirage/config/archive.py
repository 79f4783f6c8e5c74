"""Sources whose tables list many images, of which some are taken: what their options share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar, Self

from pydantic import Field, model_validator

from mirage.config.source_entry import SourceEntry


class ArchiveSource(SourceEntry):
    """Options of every reader of an archive of radiographs: which images are taken, with which boxes."""

    known_views: ClassVar[tuple[str, ...]] = ()
    """Views that images can have; empty where any word can be one."""
    box_key: ClassVar[str] = "boxes"
    """The option that says which boxes are kept, for messages."""

    boxed_only: bool = Field(False, description="take images with at least one box that is kept only")
    views: list[str] | None = Field(
        None, min_length=1, description="take images of these views, such as [PA] or [CC]. Default: all"
    )
    exclude: str | None = Field(
        None,
        description="CSV of images to leave out (pacemakers, implants, cables ...): a column `file` or "
        "`image`, and any others such as `reason`; `mirage exclusions` proposes one for chests",
        examples=["config/exclude/nih_chest.csv"],
    )
    partial: bool = Field(
        False,
        description="only a part of the archive's images is there: leave out rows of its tables without an "
        "image. Otherwise each of them is a failed row",
    )

    @property
    def box_labels(self) -> Sequence[str]:
        """Labels whose boxes are kept."""
        return ()

    @property
    def label_table(self) -> dict[int, str]:
        """Boxes only, no masks."""
        return {}

    @property
    def beside(self) -> dict[str, str]:
        """The list of exclusions."""
        return {"exclude": self.exclude} if self.exclude else {}

    def simulated(self) -> Self:
        """A list of real images says nothing of phantoms, all of which are there."""
        return super().simulated().model_copy(update={"exclude": None, "partial": False})

    def words(self) -> Mapping[str, tuple[Sequence[str] | None, Sequence[str]]]:
        """Key -> the words it has been given, and those that the archive knows; empty: any."""
        return {"views": (self.views, self.known_views)}

    @model_validator(mode="after")
    def _words_are_known(self) -> Self:
        for key, (words, known) in self.words().items():
            for word in words or []:
                if known and word not in known:
                    near = get_close_matches(word, known, 1)
                    hint = f"did you mean {near[0]!r}? " if near else ""
                    raise ValueError(f"{key}: {word!r} is unknown; {hint}known are {', '.join(known)}")
        return self
