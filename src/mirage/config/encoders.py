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


class RadiomicsEncoder(EncoderEntry):
    """First-order and texture features as the Image Biomarker Standardisation Initiative defines them."""

    encoder: Literal["radiomics"]
    region: Literal["foreground", "image", "label"] = Field(
        "foreground",
        description="what is described: the field of view or brain where the real dataset stores one, else "
        "the whole image; the whole image; or what is labelled",
    )
    side: int | None = Field(
        None,
        ge=8,
        description="longest side to which larger images are shrunk, pixels; none: 128, of volumes 64",
    )
    bins: int = Field(
        32, ge=2, le=256, description="grey levels, of equal width over the range of the training images"
    )
    log_sigmas: list[Annotated[float, Field(gt=0)]] = Field(
        default_factory=list,
        description="also of the image after a Laplacian of Gaussian of each of these widths, pixels",
    )
    wavelet: bool = Field(False, description="also of the bands of an undecimated Haar wavelet")
    seed: int = Field(0, ge=0, description="which training images tell the range where there are too many")


EncoderConfig = Annotated[
    PixelPcaEncoder | RandomConvEncoder | RadiomicsEncoder, Field(discriminator="encoder")
]

BUILT_IN: dict[str, dict[str, Any]] = {name: {"encoder": name} for name in ("pixpca", "randconv", "radiomics")}
"""Entries that are there unwritten; one of the same name in a file changes single keys of them."""
