"""Recipes: how a labelled synthetic dataset is made of datasets and trained generators."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mirage.config.base import DataName, Entry, ModelRef

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

    wants: ClassVar[dict[str, Wants]] = {"generator": (None, None)}

    recipe: Literal["unconditional"]
    generator: ModelRef
    count: int = Field(ge=1, description="items to make")


class MaskThenImageRecipe(RecipeEntry):
    """Stage I invents label masks, they are binarised and cleaned, stage II makes the image of each."""

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

    wants: ClassVar[dict[str, Wants]] = {"segmenter": ("mask", "image")}

    recipe: Literal["pseudo_label"]
    images: DataName = Field(description="dataset or recipe whose images are labelled")
    segmenter: ModelRef
    threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a pixel is foreground")


RecipeConfig = Annotated[
    UnconditionalRecipe | MaskThenImageRecipe | PseudoLabelRecipe, Field(discriminator="recipe")
]
