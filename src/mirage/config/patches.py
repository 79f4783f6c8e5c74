"""Squares that are cut from prepared images: at random places, around lesions, or of normal tissue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mirage.config.base import Options


class Patches(Options):
    """Squares cut from every prepared image at random places, each an item of its own."""

    kind: Literal["random"] = Field("random", description="anywhere in the image")
    count: int = Field(10, ge=1, le=1000, description="squares an image; a smaller count takes the first")
    side: int = Field(256, ge=16, description="side of a square, pixels of the prepared image")
    within: tuple[float, float, float, float] = Field(
        (0.0, 0.0, 1.0, 1.0),
        description="left, top, right and lower edge of the part of the image in which squares lie, shares "
        "of its side",
    )
    seed: int = Field(0, ge=0, description="seed of the places, beside the item's name")

    @field_validator("within")
    @classmethod
    def _within(cls, within: tuple[float, ...]) -> tuple[float, ...]:
        left, top, right, bottom = within
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"{list(within)} is no left < right and top < bottom within 0 to 1")
        return within

    def check_size(self, size: int) -> None:
        """Raise ValueError when squares do not fit into an image of side ``size``."""
        left, top, right, bottom = self.within
        room = int(min(right - left, bottom - top) * size + 1e-6)
        if self.side > room:
            raise ValueError(
                f"patches.side: {self.side} is more than the {room} pixels that `patches.within` "
                f"leaves of `size` {size}; make it smaller"
            )


class FieldPatches(Options):
    """What patches of lesions and of normal tissue share: how much of the image a patch shows."""

    side: int = Field(128, ge=16, description="side of a stored patch, pixels")
    field: str
    extent: float | None = Field(
        None,
        gt=0,
        description="side of what a patch shows, in the unit of `field`; it is scaled to `side`. Default, of "
        "pixels: `side`, so that nothing is scaled",
    )
    seed: int = Field(0, ge=0, description="seed of the places, beside the item's name")

    @model_validator(mode="after")
    def _extent_fits_field(self) -> Self:
        if self.field == "mm" and self.extent is None:
            raise ValueError("extent: `field: mm` needs it, millimetres, such as 35")
        if self.field == "lesion" and self.extent is not None:
            raise ValueError("extent: with `field: lesion` each lesion's own size decides; leave it out")
        return self

    def check_size(self, size: int) -> None:
        """Raise ValueError when what a patch shows is larger than an image of side ``size``."""
        extent = (self.extent or self.side) if self.field == "pixels" else 1
        if extent > size:
            raise ValueError(
                f"patches.extent: {extent:g} is more than the {size} pixels of `size`; make it smaller"
            )


class LesionPatches(FieldPatches):
    """Squares around every lesion that is boxed; an image without one gives none."""

    kind: Literal["lesions"]
    count: int = Field(
        1,
        ge=1,
        le=1000,
        description="patches a lesion: the first is centred on it, the others are moved; a smaller count "
        "takes the first",
    )
    field: Literal["pixels", "mm", "lesion"] = Field(
        "pixels",
        description="what `extent` is counted in: pixels of the prepared image, or mm; lesion: the lesion's "
        "longer side with `context` around it, so that all lesions look equally large",
    )
    context: float = Field(
        0.25, ge=0, description="margin around a lesion where it decides the extent, share of its longer side"
    )
    large: Literal["fit", "crop"] = Field(
        "fit",
        description="a lesion that is larger than what a patch shows: fit shows more, scaled down further; "
        "crop shows its middle",
    )
    jitter: float = Field(
        0.1, ge=0, lt=0.5, description="how far patches after the first are moved, at most, share of the side"
    )


class NormalPatches(FieldPatches):
    """Squares of healthy tissue: at random places in the field of view, away from every lesion."""

    kind: Literal["normal"]
    count: int = Field(
        10,
        ge=1,
        le=1000,
        description="patches an image, fewer where there is no room; a smaller count takes the first",
    )
    field: Literal["pixels", "mm"] = Field(
        "pixels", description="what `extent` is counted in: pixels of the prepared image, or mm"
    )
    extent_to: float | None = Field(
        None,
        gt=0,
        description="each patch shows an extent between `extent` and this one, drawn by its logarithm, as "
        "where lesions are scaled by their own size. Default: all show `extent`",
    )
    tissue: float = Field(
        0.9, gt=0, le=1, description="least share of a patch that lies in the field of view, the breast"
    )
    away: float = Field(
        0.25, ge=0, description="gap between a patch and the box of any lesion, at least, share of its side"
    )
    overlap: float = Field(
        0.5, ge=0, le=1, description="share of a patch that an earlier one of the image may cover, at most"
    )

    @model_validator(mode="after")
    def _extents_ascend(self) -> Self:
        if self.extent_to is not None and not (self.extent or self.side) < self.extent_to:
            raise ValueError(
                f"extent_to: {self.extent_to:g} must be more than {(self.extent or self.side):g}, `extent`"
            )
        return self


def _by_default(kind: str) -> BeforeValidator:
    """The kind of patches where a mapping does not say it."""
    return BeforeValidator(lambda given: {"kind": kind, **given} if isinstance(given, Mapping) else given)


class BothPatches(Options):
    """Patches around lesions and of normal tissue in one dataset, for classifiers and their generators."""

    kind: Literal["both"]
    lesions: Annotated[LesionPatches, _by_default("lesions")] = Field(description="those around lesions")
    normal: Annotated[NormalPatches, _by_default("normal")] = Field(description="those of normal tissue")

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.lesions.side != self.normal.side:
            raise ValueError(
                f"normal.side: {self.normal.side}, but lesions.side is {self.lesions.side}; a dataset has one"
            )
        return self

    @property
    def side(self) -> int:
        """Side of all patches, pixels."""
        return self.lesions.side

    @property
    def count(self) -> int:
        """Patches of an image with one lesion."""
        return self.lesions.count + self.normal.count

    def check_size(self, size: int) -> None:
        """Raise ValueError when what a patch shows is larger than an image of side ``size``."""
        self.lesions.check_size(size)
        self.normal.check_size(size)


AnyPatches = Annotated[
    Patches | LesionPatches | NormalPatches | BothPatches,
    Field(discriminator="kind"),
    _by_default("random"),
]
