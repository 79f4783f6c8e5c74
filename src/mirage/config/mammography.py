"""Sources of mammograms, which share how images are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mirage.config.archive import ArchiveSource

LESIONS = ("mass", "calcification", "distortion", "asymmetry", "other")
"""Kinds of lesions, whatever an archive calls them; a label of boxes."""
VIEWS = ("CC", "MLO", "ML", "LM", "LMO", "XCCL", "XCCM", "XCC", "FB", "SIO", "ISO", "CV", "AT", "TAN")
"""Views of a breast, after DICOM's code strings (PS3.16, CID 4014 and 4015)."""
Lesion = Literal["mass", "calcification", "distortion", "asymmetry", "other"]
Intent = Literal["FOR PRESENTATION", "FOR PROCESSING"]
PROCESSED: list[Intent] = ["FOR PRESENTATION"]


class MammographySource(ArchiveSource):
    """Options of every reader of mammograms: which images are taken, with which lesions."""

    known_views: ClassVar[tuple[str, ...]] = VIEWS
    box_key: ClassVar[str] = "lesions"

    lesions: list[Lesion] = Field(
        ["mass", "calcification"],
        min_length=1,
        description="kinds of lesions whose boxes are kept, under these names: mass, calcification, "
        "distortion (of architecture), asymmetry, other; further ones are dropped",
    )
    healthy_only: bool = Field(
        False,
        description="take images only that the archive gives no lesion of any kind, with or without a place",
    )
    laterality: Literal["L", "R"] | None = Field(
        None, description="take images of this breast only, L or R. Default: both"
    )

    @property
    def box_labels(self) -> Sequence[str]:
        """The kinds of lesions."""
        return self.lesions

    @model_validator(mode="after")
    def _boxed_or_healthy(self) -> Self:
        if self.boxed_only and self.healthy_only:
            raise ValueError("boxed_only and healthy_only leave no image; give one of the two")
        return self


class DigitalMammographySource(MammographySource):
    """Options of readers of mammograms whose headers say which machine took and processed them."""

    manufacturers: list[str] | None = Field(
        None,
        min_length=1,
        description="take images of these manufacturers: words of the header's Manufacturer, whatever their "
        "case, such as [Hologic] for `HOLOGIC, Inc.`. Default: all",
        examples=[["Hologic", "GE"]],
    )
    models: list[str] | None = Field(
        None,
        min_length=1,
        description="take images of these models: words of the header's ManufacturerModelName, whatever "
        "their case; [Selenia] takes `Lorad Selenia` and `Selenia Dimensions`. Default: all",
        examples=[["Lorad Selenia"]],
    )
    intents: list[Intent] | None = Field(
        PROCESSED,
        min_length=1,
        description="take images of these presentation intents: FOR PRESENTATION (processed), FOR PROCESSING "
        "(raw). null takes all, those too whose header does not say",
    )

    @model_validator(mode="after")
    def _words_say_something(self) -> Self:
        for key in ("manufacturers", "models"):
            for word in getattr(self, key) or []:
                if not any(letter.isalnum() for letter in word):
                    raise ValueError(f"{key}: {word!r} holds no letter or digit, so it would take any image")
        return self


class OptimamSource(DigitalMammographySource):
    """OPTIMAM / OMI-DB: `data/` with JSON files and `images/` with DICOM files, a folder a client in each."""

    reader: Literal["optimam"]
    path: str = Field("resources/optimam", description="folder that holds data/ and images/")
    table: str | None = Field(
        None,
        description="spreadsheet (.xlsx, .xls) or CSV of marks, relative to path; they then count instead of "
        "those of the JSON files: a row a mark, with the columns image_id, x1, y1, x2, y2, and any of "
        "client_id, study_id, mark_id, pathologies, malignancy, conspicuity, status, view, laterality, age, "
        "manufacturer, site",
        examples=["lesions.xlsx"],
    )
    statuses: list[Literal["Normal", "Benign", "Malignant", "Interval"]] | None = Field(
        None,
        min_length=1,
        description="take images of clients of these statuses, the worst that the screening service's record "
        "says; Interval: a cancer found between two screenings. Default: all",
    )
    swapped: str | None = Field(
        None,
        description="CSV of images whose marks have X and Y exchanged: a column `file` or `image`, as "
        "`exclude`",
    )
    pixels: Literal["display", "stored"] = Field(
        "display",
        description="display: as the header says that the image is shown (VOI LUT or window), 16 bits; "
        "stored: after rescale only",
    )

    @property
    def beside(self) -> dict[str, str]:
        """Both lists."""
        return {**super().beside, **({"swapped": self.swapped} if self.swapped else {})}

    def simulated(self) -> Self:
        """Phantoms are marked in JSON, the right way round."""
        return super().simulated().model_copy(update={"table": None, "swapped": None})
