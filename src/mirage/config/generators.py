"""Generators: trainable models of images and how they are trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from mirage.config.base import DataName, Entry, Options

DCGAN_SIZES = (32, 64, 128, 256, 512)


class Augment(Options):
    """Random changes of training items, the same for image and mask."""

    hflip: bool = Field(False, description="mirror left-right")
    vflip: bool = Field(False, description="mirror up-down")
    rotate_deg: float = Field(0, ge=0, le=180, description="rotation drawn from [-x, x] degrees")
    scale: float = Field(0, ge=0, lt=1, description="zoom drawn from [1 - x, 1 + x]")
    gamma: float = Field(0, ge=0, lt=1, description="images only: gamma drawn from [1 - x, 1 + x]")
    brightness: float = Field(0, ge=0, lt=1, description="images only: factor drawn from [1 - x, 1 + x]")


class TrainingOptions(Options):
    """The one training loop; every key here changes the result."""

    steps: int = Field(10_000, ge=1, description="optimiser steps of each network")
    batch_size: int = Field(16, ge=1, description="items a step, over all devices and micro-batches")
    accumulate: int = Field(1, ge=1, description="micro-batches a step; divides batch_size")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="number format of the forward pass; weights stay 32 bit"
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay per step of the averaged weights that are kept; none: the raw ones",
    )
    augment: Augment = Field(default_factory=Augment)
    validate_every: int = Field(500, ge=1, description="steps between two values of the validation metric")
    select: Literal["best", "last"] = Field(
        "best", description="weights kept: best on the validation metric, or the last ones"
    )
    log_every: int = Field(10, ge=1, description="steps between two rows of the history")
    preview_every: int = Field(1000, ge=1, description="steps between two preview grids")

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> TrainingOptions:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        return self


class DCGANOptions(Options):
    """DCGAN (Radford 2015), any power-of-two size from 32 to 512."""

    of: Literal["image", "mask"] = Field("image", description="what is generated")
    latent: int = Field(100, ge=1, description="length of the noise vector")
    features: int = Field(64, ge=2, description="channels of the layer before the output")
    max_features: int = Field(1024, ge=2, description="cap on channels of the small layers")
    lr_generator: float = Field(2e-4, gt=0, description="Adam's learning rate, generator")
    lr_discriminator: float = Field(2e-4, gt=0, description="Adam's learning rate, discriminator")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first momentum")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="one-sided: real target is 1 - x")
    r1_gamma: float = Field(
        0.0,
        ge=0,
        description="weight of the gradient penalty on real items (Mescheder 2018), 0: none; about 2 keeps a "
        "discriminator of few training items from winning",
    )
    instance_noise: float = Field(
        0.0, ge=0, description="standard deviation of noise on what the discriminator sees, in [-1, 1] units"
    )
    patch_weight: float = Field(
        0.0,
        ge=0,
        description="weight of a second discriminator that judges overlapping patches of 34 pixels, 0: none; "
        "teaches thin structures such as vessels from few items",
    )
    lr_decay: float = Field(
        0.0, ge=0, le=1, description="last share of the steps in which the learning rates fall to zero"
    )


class Pix2PixOptions(Options):
    """pix2pix (Isola 2017): masks to images with a U-Net generator and a 70x70 PatchGAN."""

    features: int = Field(64, ge=2, description="channels of the generator's first layer")
    critic_features: int = Field(64, ge=2, description="channels of the PatchGAN's first layer")
    levels: int | None = Field(None, ge=3, le=9, description="U-Net levels; none: log2(size), at most 8")
    norm: Literal["instance", "batch"] = Field(
        "instance", description="affine; instance equals the published batch norm at batch size 1"
    )
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 loss beside the adversarial one")
    dropout: float = Field(
        0.5, ge=0, lt=1, description="in the three innermost up blocks, also at sampling: the noise"
    )
    pool: int = Field(0, ge=0, description="past fakes the discriminator is shown half of the time; 0: none")
    lr: float = Field(2e-4, gt=0, description="Adam's learning rate, both networks")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first momentum")


class SegmenterOptions(Options):
    """2D U-Net (MONAI's BasicUNet) that draws label masks on images, trained on patches."""

    label: str | None = Field(None, description="name of the label drawn; none: all foreground")
    features: int = Field(32, ge=4, description="channels of the first level; doubled three times, then kept")
    patch: int = Field(
        0, ge=0, description="side of training patches, pixels, a multiple of 16; 0: whole image"
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="overlap of inference windows")
    lr: float = Field(1e-3, gt=0, description="AdamW's learning rate")
    weight_decay: float = Field(1e-5, ge=0, description="AdamW's weight decay")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of features dropped in training")


class GeneratorEntry(Entry):
    """A named generator.

    ``needs`` is what it is conditioned on, None for nothing.
    """

    needs: ClassVar[Literal["image", "mask"] | None] = None

    arch: str
    options: Options
    data: DataName = Field(description="dataset or recipe whose training split is learnt")
    training: TrainingOptions = Field(default_factory=TrainingOptions)

    @property
    def makes(self) -> Literal["image", "mask"]:
        """What a sample is."""
        return "image"

    def check_size(self, size: int) -> None:
        """Refuse images of a side that the architecture cannot make.

        Raises:
            ValueError: says which sides it can.
        """


class DCGANConfig(GeneratorEntry):
    """Images or masks from noise."""

    @property
    def makes(self) -> Literal["image", "mask"]:
        return self.options.of

    def check_size(self, size: int) -> None:
        if size not in DCGAN_SIZES:
            raise ValueError(f"dcgan makes images of side {DCGAN_SIZES}, its data have `prepare.size` {size}")

    arch: Literal["dcgan"]
    options: DCGANOptions = Field(default_factory=DCGANOptions)


class Pix2PixConfig(GeneratorEntry):
    """Images from label masks."""

    needs = "mask"

    arch: Literal["pix2pix"]
    options: Pix2PixOptions = Field(default_factory=Pix2PixOptions)


class SegmenterConfig(GeneratorEntry):
    """Label masks from images."""

    needs = "image"

    @property
    def makes(self) -> Literal["image", "mask"]:
        return "mask"

    arch: Literal["segmenter"]
    options: SegmenterOptions = Field(default_factory=SegmenterOptions)


GeneratorConfig = Annotated[DCGANConfig | Pix2PixConfig | SegmenterConfig, Field(discriminator="arch")]
