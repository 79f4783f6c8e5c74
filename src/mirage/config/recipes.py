"""Recipes: how a labelled synthetic dataset is made of datasets and trained generators."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mirage.config.base import DataName, Entry, ModelRef, Options, Part, RealName
from mirage.config.generators import ConditionValue

Wants = tuple[Literal["image", "mask"] | None, Literal["image", "mask"] | None]


class RecipeEntry(Entry):
    """A named recipe.

    ``wants`` says of each of its generators what it must make (None: anything) and what it must be
    conditioned on (None: nothing). ``one_size`` is whether all that it reads must be stored alike, ``mixes``
    whether it reads both 2D images and volumes.
    """

    wants: ClassVar[dict[str, Wants]] = {}
    one_size: ClassVar[bool] = True
    mixes: ClassVar[bool] = False

    recipe: str
    seed: int = Field(0, ge=0, description="sampling seed")
    shards: int = Field(1, ge=1, le=9999, description="jobs and files the dataset is cut into")
    max_failed_fraction: float = Field(
        0.0, ge=0, le=1, description="share of failed items above which the dataset is refused"
    )


class UnconditionalRecipe(RecipeEntry):
    """Images (or masks) straight from noise, or from noise and attributes."""

    volumes: ClassVar[bool | None] = False
    wants: ClassVar[dict[str, Wants]] = {"generator": (None, None)}

    recipe: Literal["unconditional"]
    generator: ModelRef
    count: int = Field(ge=1, description="items to make")
    conditions: dict[str, ConditionValue | None] = Field(
        default_factory=dict,
        description="attributes of all items, where the generator is conditioned on them; null: unknown. "
        "Those not named are drawn for each item as the training items have them together",
    )
    attributes: dict[str, ConditionValue] = Field(
        default_factory=dict,
        description="attributes written to all items as they stand, such as {label: positive} where all that "
        "was learnt is of one class; none of the generator's conditions",
    )

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        both = sorted(self.conditions.keys() & self.attributes.keys())
        if both:
            raise ValueError(
                f"attributes.{both[0]}: is among `conditions`, which are written too; leave it out"
            )
        return self


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


class ExtractLesionsRecipe(RecipeEntry, Part):
    """Annotated lesions, cut out: the original minus the picture in which their place is filled with health.

    Only subjects of the part of the training split are donors.
    """

    volumes: ClassVar[bool | None] = False
    wants: ClassVar[dict[str, Wants]] = {"inpainter": ("image", "image")}
    one_size: ClassVar[bool] = False

    recipe: Literal["extract_lesions"]
    data: RealName = Field(description="dataset with boxes whose training subjects are the donors")
    inpainter: ModelRef = Field(description="generator that fills holes, trained on healthy patches")
    label: list[str] = Field(
        ["Nodule", "Mass"], min_length=1, description="labels of the boxes that are extracted"
    )
    context: float = Field(
        0.35,
        gt=0,
        description="how far the hole reaches beyond the box on every side, share of the box's longer side; "
        "less where the inpainter has learnt smaller holes",
    )
    healthy_places: int = Field(
        16,
        ge=0,
        description="the same hole is filled again at so many healthy places of the lungs, where the "
        "inpainter's own bias is learnt; 0: nowhere, and nothing is taken off for it",
    )
    min_visibility: float = Field(
        0.4, ge=0, le=1, description="visibility score from which a lesion is proposed to be accepted"
    )
    max_failed_fraction: float = Field(
        0.5, ge=0, le=1, description="share of boxes without a usable lesion above which it is refused"
    )


class LungOptions(Options):
    """Where in a radiograph the lungs are."""

    kind: Literal["derived", "boxes", "segmenter"] = Field(
        "derived",
        description="derived: from the grey values of each radiograph; boxes: the same for all, as in the "
        "study; segmenter: from masks that a trained one draws",
    )
    boxes: list[tuple[float, float, float, float]] = Field(
        [(0.12, 0.14, 0.42, 0.74), (0.58, 0.14, 0.88, 0.74)],
        min_length=1,
        description="x0, y0, x1, y1 of each box, shares of width and height",
    )
    segmenter: ModelRef | None = Field(None, description="of lungs; for `kind: segmenter`")
    margin: float = Field(
        0.01, ge=0, lt=0.25, description="rim of the lungs that is left free, share of the image's side"
    )

    @model_validator(mode="after")
    def _fits(self) -> LungOptions:
        if (self.kind == "segmenter") != (self.segmenter is not None):
            raise ValueError("`kind: segmenter` and the key `segmenter` go together; give both or neither")
        for box in self.boxes:
            if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
                raise ValueError(
                    f"boxes: {list(box)} is no x0, y0, x1, y1 in shares from 0 to 1; give e.g. "
                    "[0.12, 0.14, 0.42, 0.74]"
                )
        return self


class InsertionRecipe(RecipeEntry, Part):
    """What recipes have in common that put lesions into the lungs of healthy radiographs."""

    volumes: ClassVar[bool | None] = False
    wants: ClassVar[dict[str, Wants]] = {"lung_segmenter": ("mask", "image")}
    one_size: ClassVar[bool] = False

    hosts: RealName = Field(description="dataset of healthy radiographs whose training subjects are hosts")
    count: int = Field(ge=1, description="radiographs to make; every host comes once before one comes again")
    per_image: tuple[int, int] = Field((1, 1), description="fewest and most lesions of a radiograph")
    lung: LungOptions = Field(default_factory=LungOptions, description="where lesions may lie")
    max_failed_fraction: float = Field(
        0.2, ge=0, le=1, description="share of radiographs without a place for a lesion that is tolerated"
    )

    @property
    def lung_segmenter(self) -> ModelRef | None:
        """The trained segmenter of lungs, where one is used."""
        return self.lung.segmenter

    @model_validator(mode="after")
    def _count_in_order(self) -> Self:
        in_order("per_image", self.per_image, 1)
        return self


def in_order(key: str, ends: tuple[float, float], least: float) -> None:
    """Raise ValueError unless a range begins at ``least`` or above and does not end before it begins."""
    if not least <= ends[0] <= ends[1]:
        raise ValueError(f"{key}: [{ends[0]}, {ends[1]}] must be two numbers from {least}, smallest first")


class ExtractAndInsertRecipe(InsertionRecipe):
    """Extracted lesions in the lungs of healthy radiographs; only subjects of the part are hosts."""

    recipe: Literal["extract_and_insert"]
    lesions: DataName = Field(description="recipe `extract_lesions`")
    curation: str | None = Field(
        None,
        description="file with the columns item_id and accept that a person has edited; none: the proposals "
        "in `curation.csv` beside the lesions",
    )
    blend: Literal["additive", "paste", "poisson", "mixed"] = Field(
        "additive",
        description="additive: what the lesion adds is added; paste: its own pixels; poisson: its gradients; "
        "mixed: the steeper of its gradients and the host's, half by half with the host",
    )
    rotate_deg: float = Field(180.0, ge=0, le=180, description="rotation, drawn from [-x, x] degrees")
    scale: tuple[float, float] = Field((0.8, 1.25), description="smallest and largest factor of the size")
    match_spacing: bool = Field(
        True, description="keep sizes in mm where the spacing of both radiographs is known"
    )

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Self:
        in_order("scale", self.scale, 0.1)
        return self


class ProjectAndInsertRecipe(InsertionRecipe):
    """Nodules of CT, projected into the lungs of healthy radiographs as the baseline of NODE21 does."""

    volumes: ClassVar[bool | None] = None
    mixes: ClassVar[bool] = True

    recipe: Literal["project_and_insert"]
    nodules: RealName = Field(
        description="dataset of CT nodules (`lidc` with `items: nodules`, or `node21_ct_nodules`) as volumes "
        "in a window of Hounsfield units; those of its training subjects are used"
    )
    diameter_mm: tuple[float, float] = Field(
        (8.0, 30.0), description="smallest and largest diameter that a nodule is scaled to, mm"
    )
    max_zoom: float = Field(
        1.75,
        ge=1,
        description="a nodule is enlarged by no more than this, or twice that where none is large enough",
    )
    rotate_deg: float = Field(
        0.0, ge=0, le=180, description="rotation, drawn from [-x, x] degrees; the baseline has none"
    )
    blend: Literal["mixed", "additive"] = Field(
        "mixed",
        description="mixed: as the baseline, the steeper of both gradients, half by half with the host; "
        "additive: half of the nodule is added",
    )
    pixel_mm: float | None = Field(
        None, gt=0, description="side of the hosts' stored pixels, mm, where their spacing is unknown"
    )

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Self:
        in_order("diameter_mm", self.diameter_mm, 1)
        return self


RecipeConfig = Annotated[
    UnconditionalRecipe
    | MaskThenImageRecipe
    | PseudoLabelRecipe
    | PlantCanariesRecipe
    | MixLabelsRecipe
    | CarveMixRecipe
    | CopyPasteRecipe
    | ExtractLesionsRecipe
    | ExtractAndInsertRecipe
    | ProjectAndInsertRecipe,
    Field(discriminator="recipe"),
]
