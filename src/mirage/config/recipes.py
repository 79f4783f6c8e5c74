"""Recipes: how a labelled synthetic dataset is made of datasets and trained generators."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mirage.config.base import DataName, Entry, ModelRef, Part, RealName

Wants = tuple[Literal["image", "mask"] | None, Literal["image", "mask"] | None]


class RecipeEntry(Entry):
    """A named recipe.

    ``wants`` says of each of its generators what it must make (None: anything) and what it must be
    conditioned on (None: nothing).
    """

    wants: ClassVar[dict[str, Wants]] = {}

    recipe: str
    seed: int = Field(0, ge=0, description="sampling seed")
    shards: int = Field(1, ge=1, le=9999, description="jobs and files the dataset is cut into")
    max_failed_fraction: float = Field(
        0.0, ge=0, le=1, description="share of failed items above which the dataset is refused"
    )


class UnconditionalRecipe(RecipeEntry):
    """Images (or masks) straight from noise."""

    volumes: ClassVar[bool | None] = False
    wants: ClassVar[dict[str, Wants]] = {"generator": (None, None)}

    recipe: Literal["unconditional"]
    generator: ModelRef
    count: int = Field(ge=1, description="items to make")


class MaskThenImageRecipe(RecipeEntry):
    """Stage I invents label masks, they are binarised and cleaned, stage II makes the image of each."""

    volumes: ClassVar[bool | None] = False
    wants: ClassVar[dict[str, Wants]] = {"masks": ("mask", None), "images": ("image", "mask")}

    recipe: Literal["mask_then_image"]
    masks: ModelRef = Field(description="generator of masks")
    images: ModelRef = Field(description="generator of images conditioned on masks")
    count: int = Field(ge=1, description="items to make")
    match_foreground: bool = Field(
        True,
        description="binarise where the masks have, on average, the training masks' share of foreground, so "
        "that thin structures are not lost; false: at the middle of the range. For one label only",
    )
    min_component: int = Field(
        0, ge=0, description="connected components of a mask smaller than this are removed, pixels"
    )
    min_foreground: float = Field(
        0.001, ge=0, lt=1, description="share of foreground pixels below which a mask is drawn again"
    )
    max_draws: int = Field(10, ge=1, description="draws of a mask before the item is recorded as failed")


class PseudoLabelRecipe(RecipeEntry):
    """Real images of an unlabelled dataset with the masks that a trained segmenter draws on them."""

    volumes: ClassVar[bool | None] = False
    wants: ClassVar[dict[str, Wants]] = {"segmenter": ("mask", "image")}

    recipe: Literal["pseudo_label"]
    images: DataName = Field(description="dataset or recipe whose images are labelled")
    segmenter: ModelRef
    threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a pixel is foreground")


class PlantCanariesRecipe(RecipeEntry):
    """A dataset with marked records, each in its training split if a coin says so: what an audit needs."""

    recipe: Literal["plant_canaries"]
    data: RealName = Field(description="dataset whose items are all kept as they are")
    canaries: int = Field(
        100,
        ge=20,
        description="records that are drawn: training images with a bright mark of their own; a coin plants "
        "each in the training split or leaves it out, as the control",
    )
    mark: float = Field(0.25, gt=0, le=1, description="side of the mark, share of the image's")


class DonorRecipe(RecipeEntry, Part):
    """One training subject's tumour on another's brain; only subjects of the part are donors."""

    volumes: ClassVar[bool | None] = True

    data: RealName = Field(description="dataset whose training subjects are the donors")
    count: int = Field(
        ge=1, description="items to make; every ordered pair of subjects comes once before one comes again"
    )


class MixLabelsRecipe(DonorRecipe):
    """The tumour of A on the brain mask of B, cut off at its edge, and the image that a generator draws."""

    wants: ClassVar[dict[str, Wants]] = {"generator": ("image", "mask")}

    recipe: Literal["mix_labels"]
    generator: ModelRef = Field(description="generator of volumes from labels on brain masks")
    mirror: bool = Field(False, description="half of the tumours change sides")
    scale: float = Field(0.0, ge=0, lt=1, description="size of the tumour, factor drawn from [1 - x, 1 + x]")
    shift: int = Field(
        0,
        ge=0,
        description="voxels along each axis, drawn from [-x, x] until the tumour lies in the brain",
    )


class CarveMixRecipe(DonorRecipe):
    """CarveMix (Zhang 2021): a region around A's tumour, smaller or larger than it, replaces that of B."""

    recipe: Literal["carve_mix"]
    harmonise: bool = Field(
        True, description="bring A's intensities to B's by mean and deviation of their healthy brains"
    )


class CopyPasteRecipe(DonorRecipe):
    """Copy-paste (TumorCP, Yang 2021): A's tumour, moved and with other intensities, pasted on B's brain."""

    recipe: Literal["copy_paste"]
    mirror: bool = Field(True, description="half of the tumours change sides")
    scale: float = Field(0.2, ge=0, lt=1, description="size of the tumour, factor drawn from [1 - x, 1 + x]")
    rotate_deg: float = Field(
        15.0, ge=0, le=180, description="rotation in the axial plane, drawn from [-x, x] degrees"
    )
    shift: int = Field(8, ge=0, description="voxels along each axis, drawn from [-x, x]")
    intensity: float = Field(
        0.1, ge=0, lt=1, description="values of the tumour, factor a channel drawn from [1 - x, 1 + x]"
    )
    blend: float = Field(
        1.0, ge=0, description="standard deviation of the Gaussian that softens the pasted edge, voxels"
    )
    harmonise: bool = Field(
        True, description="bring A's intensities to B's by mean and deviation of their healthy brains"
    )


RecipeConfig = Annotated[
    UnconditionalRecipe
    | MaskThenImageRecipe
    | PseudoLabelRecipe
    | PlantCanariesRecipe
    | MixLabelsRecipe
    | CarveMixRecipe
    | CopyPasteRecipe,
    Field(discriminator="recipe"),
]
