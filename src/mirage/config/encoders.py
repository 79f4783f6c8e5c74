"""Encoders: what turns an image into the vector of features that sets of images are compared by."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mirage.config.base import Entry, Runtime
from mirage.config.generators import Augment, TrainingOptions


class EncoderEntry(Entry):
    """A named encoder. What of it is fitted is fitted on the training split of the real dataset alone."""

    volumes: ClassVar[bool | None] = None

    encoder: str

    @property
    def only_volumes(self) -> bool:
        """Whether 2D images cannot be encoded."""
        return False


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
        description="what is described: the field of view or brain, found in all images by one rule, where "
        "the real dataset stores one, else the whole image; the whole image; or what is labelled",
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


class ContrastTraining(TrainingOptions):
    """The one training loop, for an encoder that learns by contrast."""

    steps: int = Field(5000, ge=1, description="optimiser steps")
    batch_size: int = Field(
        64, ge=2, description="images a step, each contrasted with all others; at most all training images"
    )
    accumulate: Literal[1] = Field(1, description="a contrast needs its whole batch")
    augment: Augment = Field(
        default_factory=lambda: Augment(
            hflip=True, vflip=True, rotate_deg=20, scale=0.1, gamma=0.3, brightness=0.2
        ),
        description="what two views of an image may differ by, beside crops and quarter turns",
    )
    select: Literal["last"] = Field("last", description="held-out images choose nothing")


class SslEncoder(EncoderEntry):
    """A ResNet-18 that learns, without labels, to tell the real training images apart (SimCLR)."""

    encoder: Literal["ssl"]
    side: int = Field(
        128, ge=16, description="longest side to which larger images are shrunk, pixels; of volumes, too"
    )
    width: int = Field(64, ge=4, description="channels of the first stage; features are eight times as many")
    crop: float = Field(0.6, gt=0, le=1, description="views show at least this share of an image's sides")
    temperature: float = Field(0.2, gt=0, description="how hard the nearest other images are pushed away")
    lr: float = Field(1e-3, gt=0, description="AdamW's learning rate at its height")
    slices: int = Field(
        12, ge=1, description="of volumes: slices on each of the three planes, whose features are averaged"
    )
    seed: int = Field(0, ge=0, description="of the first weights and of the views")
    training: ContrastTraining = Field(default_factory=ContrastTraining)
    runtime: Runtime = Field(
        default_factory=lambda: Runtime(gpus=1, threads=4, workers=3, minutes=120, mem_mb=16000),
        description="resources; never remakes anything",
    )


class PretrainedEncoder(EncoderEntry):
    """A published network whose weights the user has downloaded; docs/encoders.md says from where."""

    encoder: Literal["pretrained"]
    network: Literal[
        "inception_fid",
        "dinov2_vits14",
        "dinov2_vitb14",
        "dinov2_vitl14",
        "radimagenet_resnet50",
        "medicalnet_resnet10",
        "medicalnet_resnet50",
    ] = Field(description="which; MedicalNet's are for volumes, of which the others see slices")
    weights: str = Field(description="the downloaded file of PyTorch tensors")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="of that file, as `sha256sum` prints it; another is refused"
    )
    side: int | None = Field(
        None, ge=16, description="longest side to which larger images are shrunk first; none: as stored"
    )
    slices: int = Field(
        12, ge=1, description="of volumes: slices on each of the three planes, whose features are averaged"
    )

    @property
    def only_volumes(self) -> bool:
        return self.network.startswith("medicalnet")


EncoderConfig = Annotated[
    PixelPcaEncoder | RandomConvEncoder | RadiomicsEncoder | SslEncoder | PretrainedEncoder,
    Field(discriminator="encoder"),
]

SMALL_SSL: dict[str, Any] = {
    "side": 64,
    "width": 8,
    "training": {"steps": 150, "batch_size": 24, "validate_every": 50, "preview_every": 150},
    "runtime": {"gpus": 0, "threads": 1, "workers": 0, "minutes": 60, "mem_mb": 4000},
}
"""About a minute on one core."""

BUILT_IN: dict[str, dict[str, Any]] = {
    **{name: {"encoder": name} for name in ("pixpca", "randconv", "radiomics")},
    "ssl": {"encoder": "ssl", "demo": SMALL_SSL},
}
"""Entries that are there unwritten; one of the same name in a file changes single keys of them."""
