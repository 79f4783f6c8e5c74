"""Judges of volumes: the networks that downstream segmentation trains; they are generators of masks too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mirage.config.base import Options

ZSCORE = (
    "zscore: every channel has mean 0 and standard deviation 1 inside the brain; stored: the stored range to "
    "[-1, 1]"
)


class VolumeAugment(Options):
    """Random changes of training windows."""

    flip: bool = Field(True, description="mirror left-right in half of the windows")
    shift: float = Field(
        0.05, ge=0, description="standard deviation of an offset of each channel, in units of the input"
    )
    scale: float = Field(
        0.01, ge=0, description="standard deviation around 1 of a factor of each channel, after the offset"
    )


class DeepMedicOptions(Options):
    """DeepMedic (Kamnitsas 2017), trained on segments centred on every class equally often.

    Its learning rate is halved after 17, 22, 27, 30 and 33 thirty-fifths of the steps, and its augmentation
    is made for `normalise: zscore`: at the stored range it is far too strong.
    """

    variant: Literal["default", "wide", "dual"] = Field(
        "default",
        description="default: three pathways, 2.0 million weights; wide: 5.1 million; dual: two pathways, "
        "0.7 million",
    )
    width: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the variant's feature maps, below 1 rounded to multiples of 8; 0.3 is for CPUs",
    )
    normalise: Literal["zscore", "stored"] = Field("zscore", description=ZSCORE)
    segment: int = Field(
        37, ge=18, description="side of training segments, voxels; a core smaller by 16 is labelled"
    )
    tile: int | None = Field(
        None,
        ge=17,
        description="none: whole volumes in the largest tiles that fit, the same result for any tile; a side "
        "in voxels: the public program's own tiles (45 there), of whose places its results depend",
    )
    augment: VolumeAugment | None = Field(default_factory=VolumeAugment, description="null: none")
    lr: float = Field(1e-3, gt=0, description="learning rate of its RMSProp")
    momentum: float = Field(0.6, ge=0, lt=1, description="Nesterov momentum, not normalised")
    l1: float = Field(1e-6, ge=0, description="weight of the sum of absolute convolution weights")
    l2: float = Field(1e-4, ge=0, description="weight of the sum of squared convolution weights")

    def check_size(self, size: tuple[int, ...]) -> None:
        """Refuse volumes (D, H, W) that a training segment does not fit.

        Raises:
            ValueError: says what fits.
        """
        if self.segment - 16 > min(size):
            raise ValueError(
                f"segment {self.segment} labels {self.segment - 16} voxels an axis, its data have "
                f"`prepare.size` {list(size)}; at most {min(size) + 16} fits"
            )


class Segmenter3DOptions(Options):
    """A 3D network of MONAI on random patches, Dice loss plus cross entropy."""

    network: Literal["unet3d", "segresnet"] = Field(
        "unet3d", description="unet3d: BasicUNet with instance norm; segresnet: SegResNet with group norm"
    )
    features: int = Field(16, ge=4, description="channels of the first level; a multiple of 8 for segresnet")
    normalise: Literal["zscore", "stored"] = Field("zscore", description=ZSCORE)
    patch: tuple[int, int, int] = Field(
        (64, 64, 64), description="(D, H, W) of training patches and inference windows, multiples of 16"
    )
    foreground: float = Field(
        0.33, ge=0, le=1, description="share of patches centred on a labelled voxel, not on any of the brain"
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="overlap of inference windows")
    augment: VolumeAugment | None = Field(
        default_factory=lambda: VolumeAugment(shift=0.1, scale=0.1), description="null: none"
    )
    lr: float = Field(1e-3, gt=0, description="AdamW's learning rate, which falls as (1 - t)^0.9")
    weight_decay: float = Field(1e-5, ge=0, description="AdamW's weight decay")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of features dropped in training")

    @field_validator("patch")
    @classmethod
    def _multiples(cls, patch: tuple[int, int, int]) -> tuple[int, int, int]:
        if any(side < 16 or side % 16 for side in patch) or max(patch) < 32:
            raise ValueError(
                f"patch {list(patch)}: sides must be multiples of 16, at least one of them 32 or more"
            )
        return patch

    @model_validator(mode="after")
    def _groups(self) -> Segmenter3DOptions:
        if self.network == "segresnet" and self.features % 8:
            raise ValueError(f"features: segresnet needs a multiple of 8, found {self.features}")
        return self

    def check_size(self, size: tuple[int, ...]) -> None:
        """Refuse volumes (D, H, W) that a patch does not fit.

        Raises:
            ValueError: says what fits.
        """
        if any(side > extent for side, extent in zip(self.patch, size, strict=True)):
            raise ValueError(
                f"patch {list(self.patch)} is larger than its data's `prepare.size` {list(size)}"
            )


class DeepMedicJudge(DeepMedicOptions):
    """DeepMedic as the judge of an evaluation."""

    arch: Literal["deepmedic"]


class Segmenter3DJudge(Segmenter3DOptions):
    """A 3D network of MONAI as the judge of an evaluation."""

    arch: Literal["segmenter3d"]


Judge = Annotated[DeepMedicJudge | Segmenter3DJudge, Field(discriminator="arch")]
