"""Encoders: what turns an image into the vector of features that sets of images are compared by."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mirage.config.base import Entry


class EncoderEntry(Entry):
    """A named encoder. What of it is fitted is fitted on the training split of the real dataset alone."""

    volumes: ClassVar[bool | None] = None

    encoder: str


class PixelPcaEncoder(EncoderEntry):
    """Principal components of the pixels of small images: layout, brightness and colour."""

    encoder: Literal["pixpca"]
    side: int | None = Field(
        None,
        ge=4,
        description="longest side to which larger images are shrunk, pixels; none: 64, of volumes 32",
    )
    components: int = Field(
        64, ge=1, description="components at most; never more than a fifth of the training images"
    )
    seed: int = Field(0, ge=0, description="which training images are taken where there are too many")


class RandomConvEncoder(EncoderEntry):
    """Mean and spread of the responses of three layers of fixed random convolutions: textures."""

    encoder: Literal["randconv"]
    side: int | None = Field(
        None,
        ge=16,
        description="longest side to which larger images are shrunk, pixels; none: 128, of volumes 64",
    )
    seed: int = Field(0, ge=0, description="of the filters")


EncoderConfig = Annotated[PixelPcaEncoder | RandomConvEncoder, Field(discriminator="encoder")]

BUILT_IN: dict[str, dict[str, Any]] = {name: {"encoder": name} for name in ("pixpca", "randconv")}
"""Entries that are there unwritten; one of the same name in a file changes single keys of them."""
