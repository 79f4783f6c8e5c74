"""Generators: trainable models of images and how they are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from mirage.config.base import DataName, Entry, Options, Part, Refers
from mirage.config.criteria import Criterion
from mirage.config.folds import Fold, Folds
from mirage.config.judges import DeepMedicOptions, Segmenter3DOptions

DCGAN_SIZES = (32, 64, 128, 256, 512)


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


class Augment(Options):
    """Random changes of training items, the same for image and mask."""

    hflip: bool = Field(False, description="mirror left-right: the last axis, also of a volume")
    vflip: bool = Field(
        False, description="mirror up-down: the second last axis, which is front-back in a volume of a head"
    )
    rotate_deg: float = Field(
        0, ge=0, le=180, description="rotation drawn from [-x, x] degrees, of a volume in the axial plane"
    )
    scale: float = Field(
        0, ge=0, lt=1, description="zoom drawn from [1 - x, 1 + x], of a volume in the axial plane"
    )
    gamma: float = Field(0, ge=0, lt=1, description="images only: gamma drawn from [1 - x, 1 + x]")
    brightness: float = Field(0, ge=0, lt=1, description="images only: factor drawn from [1 - x, 1 + x]")


class TrainingOptions(Options):
    """The one training loop; every key here changes the result."""

    steps: int = Field(
        10_000,
        ge=1,
        description="training steps; every network learns in each unless its options say",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        description="instead of steps: how often every training item is shown; the steps are epochs x items "
        "/ batch_size, rounded up",
    )
    batch_size: int = Field(16, ge=1, description="items a step, over all devices and micro-batches")
    accumulate: int = Field(
        1, ge=1, description="micro-batches a step, shared out among GPUs; divides batch_size"
    )
    precision: Precision = Field(
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
    select_window: int = Field(
        1,
        ge=1,
        description="values of the validation metric, the present one the last, whose mean chooses the "
        "weights; 1: each value by itself. Nothing is chosen before there are as many",
    )
    log_every: int = Field(10, ge=1, description="steps between two rows of the history")
    preview_every: int = Field(1000, ge=1, description="steps between two preview grids")

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> TrainingOptions:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> TrainingOptions:
        if self.epochs is None:
            self.check_window()
        elif self.steps != type(self).model_fields["steps"].default:
            raise ValueError(
                f"steps {self.steps} and epochs {self.epochs} are two ways to say how long; give one (in "
                "`demo`, write `epochs: null` beside `steps`)"
            )
        return self

    def check_window(self) -> None:
        """Refuse to average over more values of the validation metric than there will be.

        Raises:
            ValueError: says how many there are.
        """
        values = -(-self.steps // self.validate_every)
        if self.select == "best" and self.select_window > values:
            raise ValueError(
                f"select_window {self.select_window}: a training of {self.steps} steps has {values} value(s) "
                f"of the validation metric, one every {self.validate_every} steps; lower it, or "
                "validate_every"
            )

    def check_turn(self, critic_steps: int) -> None:
        """Refuse a training that ends before a generator that learns in every so many-th step only.

        Raises:
            ValueError: says how many steps it needs.
        """
        if self.epochs is None and self.steps < critic_steps:
            raise ValueError(
                f"training.steps: {self.steps} end before the generator's first update; critics have "
                f"options.critic_steps {critic_steps} to one of its"
            )

    def in_steps(self, items: int) -> Self:
        """The same with the steps that its epochs are for so many training items.

        Raises:
            ValueError: then fewer values of the validation metric than are averaged.
        """
        if self.epochs is None:
            return self
        steps = -(-self.epochs * items // self.batch_size)
        counted = self.model_copy(update={"steps": max(1, steps), "epochs": None})
        counted.check_window()
        return counted


class PairTraining(TrainingOptions):
    """The one training loop, for a generator that learns from pairs of subjects."""

    batch_size: int = Field(
        2,
        ge=2,
        description="subjects a step, over all devices and micro-batches: tumours of the one half on the "
        "brains of the other",
    )

    @model_validator(mode="after")
    def _whole_pairs(self) -> PairTraining:
        if self.batch_size // self.accumulate % 2:
            raise ValueError(
                f"batch_size {self.batch_size} in {self.accumulate} micro-batch(es) is no whole number of "
                f"pairs; use a multiple of {2 * self.accumulate}"
            )
        return self


class FrechetChoice(Options):
    """Fréchet distance of samples to held-out images in the features of an encoder."""

    encoder: Annotated[str, Refers("encoder")] = Field(
        "randconv", description="name under `encoders`; it is fitted on the training split of the same data"
    )
    images: int | None = Field(
        None, ge=2, description="validation images at most, evenly spread and always the same; none: all"
    )
    samples: int = Field(500, ge=2, description="samples, always of the same noise")


class NoiseTraining(TrainingOptions):
    """The one training loop, for a generator from noise."""

    frechet: FrechetChoice | None = Field(
        None,
        description="weights are chosen by this distance, or, with `select_window`, its moving average; "
        "none: by a cheap one of coarse pixels, `val_frechet`",
    )


class NoiseOptions(Options):
    """What generators from noise have in common; any power-of-two size from 32 to 512."""

    of: Literal["image", "mask"] = Field("image", description="what is generated")
    latent: int = Field(100, ge=1, description="length of the noise vector")
    features: int = Field(64, ge=2, description="channels of the layer before the output")
    max_features: int = Field(1024, ge=2, description="cap on channels of the small layers")
    lr_decay: float = Field(
        0.0, ge=0, le=1, description="last share of the steps in which the learning rates fall to zero"
    )


CriticKernel = Annotated[
    int,
    Field(
        ge=3,
        le=9,
        description="side of the kernels with which the discriminator halves an image; the generator's are "
        "4, and 6 is the mammography study's",
    ),
]


class DCGANOptions(NoiseOptions):
    """DCGAN (Radford 2015), any power-of-two size from 32 to 512."""

    critic_kernel: CriticKernel = 4
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
    mode_seeking: float = Field(
        0.0,
        ge=0,
        description="weight of the loss that keeps items of different noise, and the same conditions, apart "
        "(Mao 2019), 0: none; about "
        "0.4 keeps a generator of few training items from making one item over and over",
    )


ConditionValue = str | bool | int | float


def is_finite(value: ConditionValue) -> bool:
    """Whether a value is a finite number, and no truth value."""
    return not isinstance(value, str | bool) and math.isfinite(value)


class ConditionOptions(Options):
    """One attribute of the items that a generator is conditioned on."""

    kind: Literal["categorical", "numeric"] = Field(
        "categorical", description="categorical: levels without order; numeric: numbers, as z-scores"
    )
    levels: list[ConditionValue] | None = Field(
        None,
        min_length=2,
        description="categorical: its levels, any other value counts as unknown; none: all of the training "
        "split",
    )

    @model_validator(mode="after")
    def _levels_fit(self) -> ConditionOptions:
        if self.levels is not None and self.kind == "numeric":
            raise ValueError("numbers have no levels; leave out `levels`, or say `kind: categorical`")
        if self.levels is not None and len(set(self.levels)) < len(self.levels):
            raise ValueError(f"levels: {self.levels} names one twice")
        return self


class ConditionalDCGANOptions(DCGANOptions):
    """DCGAN conditioned on attributes of the items, its discriminator by projection (Miyato 2018)."""

    conditions: dict[str, ConditionOptions] = Field(
        min_length=1,
        description="attributes of the items, such as lesion_type, malignancy, density, vendor; by name, or "
        "a list of names",
    )
    unknown: Literal["level", "drop"] = Field(
        "level",
        description="items without a value of an attribute: level, it has an input of its own; drop, they "
        "are not learnt from",
    )
    embedding: int = Field(32, ge=1, description="length of what the generator is told beside the noise")

    @field_validator("conditions", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {name: {} for name in value} if isinstance(value, list) else value


class WGANGPOptions(NoiseOptions):
    """WGAN with gradient penalty (Gulrajani 2017) on the networks of DCGAN."""

    critic_kernel: CriticKernel = 4
    norm: Literal["layer", "instance", "none"] = Field(
        "layer",
        description="of the critic; none over a batch, since the penalty is each item's own. layer: over "
        "channels and places of an item, as the authors recommend",
    )
    critic_steps: int = Field(
        5,
        ge=1,
        description="updates of the critic to one of the generator; training steps count the critic's",
    )
    penalty_weight: float = Field(10.0, gt=0, description="weight of the critic's gradient penalty")
    lr: float = Field(1e-4, gt=0, description="Adam's learning rate, both networks")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's first momentum")
    beta2: float = Field(0.9, ge=0, lt=1, description="Adam's second momentum")


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


Order = Annotated[str, StringConstraints(pattern=r"^([gi]?c[rl]|c[gi][rl]|c[rl][gi])$")]
"""Order of a 3D block: c convolution, g group or i instance norm, r ReLU or l LeakyReLU(0.2)."""


class LabelToBrainOptions(Options):
    """3D label maps to MRI sequences: a 3D U-Net against 3D patch discriminators, least-squares loss.

    The defaults are the recommended design. The published one is coding scalar, matched
    false, local_crop 0, noise_channels 0, order and discriminator_order gcr, affine true, spectral_norm none
    or both, beta1 0.9.
    """

    f_maps: int = Field(64, ge=2, description="channels of the U-Net's first level, doubled a level")
    levels: int = Field(4, ge=2, le=6, description="U-Net levels; sizes must divide by 2**(levels - 1)")
    order: Order = Field(
        "cir",
        description="of the U-Net's blocks: c convolution, g group norm, i instance norm, r ReLU, "
        "l LeakyReLU(0.2)",
    )
    discriminator_f_maps: int = Field(64, ge=2, description="channels of a discriminator's first level")
    discriminator_levels: int = Field(4, ge=1, le=6, description="discriminator levels; 4 see 68 voxels")
    discriminator_order: Order = Field("cl", description="of the discriminators' blocks, as `order`")
    affine: bool = Field(False, description="norms have learnt scales and offsets")
    spectral_norm: Literal["none", "discriminator", "both"] = Field(
        "discriminator", description="networks whose 3x3x3 convolutions are spectrally normalised"
    )
    coding: Literal["one_hot", "scalar"] = Field(
        "one_hot",
        description="of the condition. one_hot: background, healthy brain and each label in a channel, in "
        "[-1, 1]; scalar: one channel of 0 background, 1 brain, 2 NCR, 3 ED, 5 ET, 4 RC",
    )
    noise_channels: int = Field(
        1, ge=0, le=16, description="channels of normal noise beside the condition; 0: one image a condition"
    )
    matched: bool = Field(
        True,
        description="discriminators compare real and generated images of the same condition, and L1 holds "
        "them together; false: real images with their own labels against images of mixed labels",
    )
    l1_weight: float = Field(
        100.0, ge=0, description="weight of the L1 loss inside the brain, where `matched`"
    )
    discriminate: Literal["whole", "crops"] = Field(
        "whole",
        description="what the discriminator sees: the whole volume; or a random crop, in half of the cases "
        "around the tumour, and by a second network the whole volume averaged 4 x 4 x 4",
    )
    crop: int = Field(96, ge=8, description="side of the random crop, voxels; cut to the volume's")
    local_crop: int = Field(
        64,
        ge=0,
        description="side of a crop around the tumour with a discriminator of its own, voxels; cut to the "
        "volume's; 0: none",
    )
    lr_generator: float = Field(1e-4, gt=0, description="Adam's learning rate, generator")
    lr_discriminator: float = Field(1e-4, gt=0, description="Adam's learning rate, discriminators")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first momentum")
    checkpointing: bool = Field(
        False,
        description="compute the full-resolution blocks again in the backward pass, and make one volume at a "
        "time: less memory, a fifth to a third more time",
    )

    def check_size(self, size: tuple[int, ...]) -> None:
        """Refuse volumes that the U-Net cannot halve.

        Raises:
            ValueError: says what is needed.
        """
        step = 2 ** (self.levels - 1)
        if any(side % step for side in size) or math.prod(size) == step**3:
            raise ValueError(
                f"label_to_brain with {self.levels} levels makes volumes whose sides are multiples of {step} "
                f"and not all {step}, its data have `prepare.size` {list(size)}"
            )


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


class Holes(Options):
    """How holes are drawn: the same in training, in validation and for conditions of stored items."""

    shape: Literal["box", "strokes", "both"] = Field(
        "box",
        description="a box; irregular brush strokes inside the box; or the box and strokes anywhere",
    )
    side: float = Field(0.5, gt=0, le=1, description="of the box, share of the image's side")
    place: Literal["centre", "random"] = Field("random", description="where the box lies")
    shrink: float = Field(
        0.125,
        ge=0,
        lt=0.5,
        description="each pair of opposite edges moves inwards by up to this share of the box's side",
    )
    strokes: int = Field(3, ge=1, description="brush strokes of a hole, at most")
    stroke_width: tuple[float, float] = Field(
        (0.05, 0.16), description="thinnest and widest stroke, shares of the image's side"
    )

    @model_validator(mode="after")
    def _widths_in_order(self) -> Holes:
        thin, wide = self.stroke_width
        if not 0 < thin <= wide <= 1:
            raise ValueError(
                f"stroke_width: [{thin}, {wide}] is no pair of shares of the side, thinnest first; give "
                "something like [0.05, 0.16]"
            )
        return self

    def box_side(self, side: int) -> int:
        """Side of the box in pixels, in an image of a side."""
        return max(1, round(self.side * side))


class InpainterOptions(Options):
    """What all inpainters have in common."""

    holes: Holes = Field(default_factory=Holes)
    features: int = Field(32, ge=2, description="channels of the first layer")
    critic_features: int = Field(64, ge=2, description="channels of a discriminator's first layer")
    lr: float = Field(1e-4, gt=0, description="Adam's learning rate, all networks")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first momentum")


class ContextualAttentionOptions(InpainterOptions):
    """Inpainting with contextual attention (Yu 2018): a coarse and a refinement network, two WGAN-GP critics.

    The discriminators look at the whole image and at the box of the hole. A training step is one update of
    the critics on a fresh batch; the generator learns in every `critic_steps`-th one.
    """

    critic_steps: int = Field(
        5,
        ge=1,
        description="updates of the critics, a training step each, to one of the generator",
    )
    l1_weight: float = Field(1.2, ge=0, description="weight of the spatially discounted L1 loss in the box")
    ae_weight: float = Field(
        1.2, ge=0, description="weight of the L1 loss on known pixels, divided by their share"
    )
    coarse_weight: float = Field(
        1.2, ge=0, description="factor of both L1 losses for the coarse network's result"
    )
    adversarial_weight: float = Field(1e-3, ge=0, description="weight of the critics' verdict")
    penalty_weight: float = Field(10.0, ge=0, description="weight of the gradient penalty, through the hole")
    discount: float = Field(
        0.9, gt=0, le=1, description="L1 weighs so much less with every pixel from the box's nearest edge"
    )
    attention_scale: float = Field(10.0, gt=0, description="scale of the attention's softmax")
    fuse: bool = Field(True, description="attention prefers neighbours of what its neighbours attend to")

    def check_size(self, side: int) -> None:
        """Refuse sides that the networks cannot halve.

        Raises:
            ValueError: says what is needed.
        """
        if side % 8 or side < 32:
            raise ValueError(
                "contextual_attention makes images whose side is a multiple of 8 and at least 32, its data "
                f"have the side {side}; change `prepare.size`, or the patches' side"
            )


class PerceptualOptions(Options):
    """Network whose features the perceptual and style losses compare."""

    network: Literal["randconv", "vgg19"] = Field(
        "randconv",
        description="vgg19: as published, with weights that the user has downloaded; randconv: the filters "
        "of the encoder `randconv`, which need no download",
    )
    weights: str | None = Field(
        None, description="vgg19: the downloaded file of PyTorch tensors; docs/inpainting.md says from where"
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="vgg19: of that file, as `sha256sum` prints it; another is refused",
    )

    @model_validator(mode="after")
    def _file_of_vgg19(self) -> PerceptualOptions:
        given = [value is not None for value in (self.weights, self.sha256)]
        if self.network == "vgg19" and not all(given):
            raise ValueError(
                "perceptual: vgg19 needs `weights` and `sha256` of the downloaded file; docs/inpainting.md "
                "says where it is to be had, and `network: randconv` needs none"
            )
        if self.network != "vgg19" and any(given):
            raise ValueError(
                f"perceptual: {self.network} has no file of weights; leave out `weights` and `sha256`, or "
                "say `network: vgg19`"
            )
        return self


class AOTGANOptions(InpainterOptions):
    """AOT-GAN (Zeng 2022): aggregated contextual transformations and a soft-mask patch discriminator."""

    features: int = Field(
        64, ge=2, description="channels of the first layer; the blocks have four times as many"
    )
    blocks: int = Field(8, ge=1, description="AOT blocks")
    rates: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 4, 8), min_length=1, description="dilations of a block's branches; divide its channels evenly"
    )
    perceptual: PerceptualOptions = Field(default_factory=PerceptualOptions)
    l1_weight: float = Field(1.0, ge=0, description="weight of the L1 loss, whole image")
    style_weight: float = Field(250.0, ge=0, description="weight of the style loss")
    perceptual_weight: float = Field(0.1, ge=0, description="weight of the perceptual loss")
    adversarial_weight: float = Field(0.01, ge=0, description="weight of the discriminator's verdict")
    soft_sigma: float = Field(
        10.0, gt=0, description="the discriminator's target is the hole blurred by so many pixels"
    )

    @model_validator(mode="after")
    def _even_branches(self) -> AOTGANOptions:
        if 4 * self.features % len(self.rates):
            raise ValueError(
                f"rates: {len(self.rates)} branches do not divide {4 * self.features} channels (4 x features)"
            )
        return self

    def check_size(self, side: int) -> None:
        """Refuse sides that the network cannot halve, or that are too small for its dilations.

        Raises:
            ValueError: says what is needed.
        """
        least = max(32, 4 * (max(self.rates) + 1))
        if side % 4 or side < least:
            raise ValueError(
                f"aot_gan with rates {list(self.rates)} makes images whose side is a multiple of 4 and at "
                f"least {least}, its data have the side {side}; change `prepare.size`, the patches' side or "
                "`options.rates`"
            )


class GeneratorEntry(Entry, Part):
    """A named generator, which learns from a training split or a part of it.

    ``needs`` is what it is conditioned on, None for nothing; ``volumes`` is whether it learns from volumes.
    """

    needs: ClassVar[Literal["image", "mask"] | None] = None
    volumes: ClassVar[bool] = False

    arch: str
    options: Options
    data: DataName = Field(description="dataset or recipe whose training split is learnt")
    only: Criterion | None = Field(
        None, description="learn only such items, such as {attribute: label, values: [positive]}; none: all"
    )
    folds: Folds | None = Field(
        None,
        description="one generator a fold, `<name>-fold-0` and so on, each of which sees its fold's training "
        "subjects only, whatever `split` says; recipes that sample it are made by fold too. For evaluations "
        "with the same `folds`",
    )
    fold: Fold | None = Field(
        None, description="the one fold whose training subjects it sees; `folds` writes this for each"
    )
    training: TrainingOptions = Field(default_factory=TrainingOptions)

    @property
    def choosing_encoder(self) -> str | None:
        """Name of the encoder by whose features weights are chosen; None where there is none."""
        return None

    @property
    def makes(self) -> Literal["image", "mask"]:
        """What a sample is."""
        return "image"

    def check_size(self, size: int | tuple[int, int, int]) -> None:
        """Refuse images of a side, or volumes of a size, that the architecture cannot make.

        Raises:
            ValueError: says which it can.
        """
        if isinstance(size, tuple) != self.volumes:
            wanted, found = ("volumes", "2D images") if self.volumes else ("2D images", "volumes")
            raise ValueError(
                f"{self.arch} is for {wanted}, its data are {found} of `prepare.size` "
                f"{list(size) if isinstance(size, tuple) else size}; choose another `arch`, or prepare "
                f"with `kind: {'volume' if self.volumes else 'image'}`"
            )


class NoiseEntry(GeneratorEntry):
    """Images or masks from noise."""

    options: NoiseOptions
    training: NoiseTraining = Field(default_factory=NoiseTraining)

    @model_validator(mode="after")
    def _features_of_images(self) -> Self:
        if self.training.frechet is not None and self.options.of == "mask":
            raise ValueError("training.frechet: encoders look at images, `options.of` is mask; leave it out")
        return self

    @property
    def choosing_encoder(self) -> str | None:
        """Name of the encoder by whose features weights are chosen."""
        return None if self.training.frechet is None else self.training.frechet.encoder

    @property
    def makes(self) -> Literal["image", "mask"]:
        return self.options.of

    def check_size(self, size: int | tuple[int, int, int]) -> None:
        super().check_size(size)
        if size not in DCGAN_SIZES:
            raise ValueError(
                f"{self.arch} makes images of side {DCGAN_SIZES}, its data have `prepare.size` {size}"
            )


class DCGANConfig(NoiseEntry):
    """Images or masks from noise, by a DCGAN."""

    arch: Literal["dcgan"]
    options: DCGANOptions = Field(default_factory=DCGANOptions)


class ConditionalDCGANConfig(NoiseEntry):
    """Images or masks from noise and attributes, by a DCGAN."""

    arch: Literal["conditional_dcgan"]
    options: ConditionalDCGANOptions

    def check_conditions(self, given: Mapping[str, ConditionValue | None]) -> None:
        """Refuse values that it will not have learnt, as far as the configuration tells.

        Raises:
            ValueError: says what it is conditioned on.
        """
        for name, value in given.items():
            known = self.options.conditions.get(name)
            if known is None:
                raise ValueError(
                    f"{name!r} is none of its conditions, which are {', '.join(self.options.conditions)}"
                )
            if value is None and self.options.unknown == "drop":
                raise ValueError(f"{name}: `unknown: drop` leaves nothing to learn of unknown ones")
            if value is not None and known.levels is not None and value not in known.levels:
                raise ValueError(f"{name}: {value!r} is none of its levels {known.levels}")
            if known.kind == "numeric" and not (value is None or is_finite(value)):
                raise ValueError(f"{name}: expected a finite number, found {value!r}")


class WGANGPConfig(NoiseEntry):
    """Images or masks from noise, by a WGAN with gradient penalty."""

    arch: Literal["wgan_gp"]
    options: WGANGPOptions = Field(default_factory=WGANGPOptions)

    @model_validator(mode="after")
    def _generator_learns(self) -> WGANGPConfig:
        self.training.check_turn(self.options.critic_steps)
        return self


class Pix2PixConfig(GeneratorEntry):
    """Images from label masks."""

    needs = "mask"

    arch: Literal["pix2pix"]
    options: Pix2PixOptions = Field(default_factory=Pix2PixOptions)


class LabelToBrainConfig(GeneratorEntry):
    """MRI volumes from label maps and brain masks."""

    needs = "mask"
    volumes = True

    def check_size(self, size: int | tuple[int, int, int]) -> None:
        super().check_size(size)
        if isinstance(size, tuple):
            self.options.check_size(size)

    arch: Literal["label_to_brain"]
    options: LabelToBrainOptions = Field(default_factory=LabelToBrainOptions)
    training: PairTraining = Field(default_factory=PairTraining)


class InpainterEntry(GeneratorEntry):
    """Images whose holes are filled, from images with holes."""

    needs = "image"

    options: ContextualAttentionOptions | AOTGANOptions

    def check_size(self, size: int | tuple[int, int, int]) -> None:
        super().check_size(size)
        if isinstance(size, int):
            self.options.check_size(size)


class ContextualAttentionConfig(InpainterEntry):
    """Fills holes, with contextual attention."""

    arch: Literal["contextual_attention"]
    options: ContextualAttentionOptions = Field(default_factory=ContextualAttentionOptions)

    @model_validator(mode="after")
    def _generator_learns(self) -> ContextualAttentionConfig:
        self.training.check_turn(self.options.critic_steps)
        return self


class AOTGANConfig(InpainterEntry):
    """Fills holes, by an AOT-GAN."""

    arch: Literal["aot_gan"]
    options: AOTGANOptions = Field(default_factory=AOTGANOptions)


class SegmenterConfig(GeneratorEntry):
    """Label masks from images."""

    needs = "image"

    @property
    def makes(self) -> Literal["image", "mask"]:
        return "mask"

    arch: Literal["segmenter"]
    options: SegmenterOptions = Field(default_factory=SegmenterOptions)


class VolumeSegmenterEntry(GeneratorEntry):
    """Label masks of volumes from volumes."""

    needs = "image"
    volumes = True

    options: DeepMedicOptions | Segmenter3DOptions

    @property
    def makes(self) -> Literal["image", "mask"]:
        return "mask"

    def check_size(self, size: int | tuple[int, int, int]) -> None:
        super().check_size(size)
        if isinstance(size, tuple):
            self.options.check_size(size)

    @model_validator(mode="after")
    def _own_augmentation(self) -> VolumeSegmenterEntry:
        if self.training.augment != Augment():
            raise ValueError(f"training.augment: {self.arch} changes its windows by `options.augment`")
        return self


class DeepMedicConfig(VolumeSegmenterEntry):
    """Label masks of volumes by DeepMedic."""

    arch: Literal["deepmedic"]
    options: DeepMedicOptions = Field(default_factory=DeepMedicOptions)


class Segmenter3DConfig(VolumeSegmenterEntry):
    """Label masks of volumes by a 3D U-Net or SegResNet."""

    arch: Literal["segmenter3d"]
    options: Segmenter3DOptions = Field(default_factory=Segmenter3DOptions)


GeneratorConfig = Annotated[
    DCGANConfig
    | ConditionalDCGANConfig
    | WGANGPConfig
    | Pix2PixConfig
    | LabelToBrainConfig
    | ContextualAttentionConfig
    | AOTGANConfig
    | SegmenterConfig
    | DeepMedicConfig
    | Segmenter3DConfig,
    Field(discriminator="arch"),
]
