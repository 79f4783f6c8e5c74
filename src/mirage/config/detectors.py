"""Detectors: the networks that downstream detection trains on boxes, and the registry of their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from mirage.config.base import Options

Side = Annotated[float, Field(gt=0)]


class RetinaNetOptions(Options):
    """RetinaNet (Lin 2017) on MONAI's ResNet, feature pyramid and heads; boxes matched by ATSS (Zhang 2020).

    One class: a lesion. The pyramid's first level has the stride `stem_stride`, so that small nodules have
    anchors and pixels of their own; the public code that the chest study used begins at stride 8 with
    anchors of 32 pixels.
    """

    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50"] = Field(
        "resnet18", description="residual network below the pyramid"
    )
    width: int = Field(
        64,
        ge=16,  # with 8, PyTorch's convolutions on a CPU crash in the backward pass
        multiple_of=8,
        description="channels of the network's first stage, doubled a stage; 64 is the usual",
    )
    fpn_channels: int = Field(
        64, ge=8, multiple_of=8, description="channels of the pyramid and of the heads; the paper has 256"
    )
    stem_stride: Literal[1, 2, 4] = Field(
        4,
        description="pixels between two places of the first level; 4 is the usual, 1 and 2 are for small "
        "boxes",
    )
    levels: int = Field(3, ge=1, le=4, description="levels of the pyramid, each of twice the stride")
    anchors: list[list[Side]] | None = Field(
        None,
        description="sides of the square anchors of each level, pixels of the stored image; none: fitted to "
        "the training boxes",
    )
    anchors_per_level: int = Field(1, ge=1, le=6, description="sides a level, where they are fitted")
    ratios: list[Side] = Field(
        [1.0],
        min_length=1,
        description="height to width of the anchors, at the same area; nodules are round, the paper has "
        "0.5, 1 and 2",
    )
    candidates: int = Field(
        9, ge=1, description="ATSS: nearest places of a level that a box can be assigned to"
    )
    focal_alpha: float = Field(
        0.25, gt=0, lt=1, description="focal loss: weight of anchors on boxes, 1 - x of the others"
    )
    focal_gamma: float = Field(2.0, ge=0, description="focal loss: how much sure anchors are played down")
    box_weight: float = Field(
        1.0, ge=0, description="weight of the boxes' smooth L1 loss beside the focal one"
    )
    lr: float = Field(1e-3, gt=0, description="AdamW's highest learning rate, which falls along a cosine")
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0"
    )
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's weight decay")
    min_score: float = Field(0.01, ge=0, lt=1, description="marks of a lower score are not made")
    nms_iou: float = Field(
        0.2, gt=0, le=1, description="of two marks that overlap by more than this, the higher is kept"
    )
    marks: int = Field(100, ge=1, description="marks of an image at most, the highest")

    @field_validator("anchors")
    @classmethod
    def _sides_on_every_level(cls, anchors: list[list[float]] | None) -> list[list[float]] | None:
        if anchors is not None and (
            not anchors or len({len(sides) for sides in anchors}) > 1 or not anchors[0]
        ):
            raise ValueError(
                f"anchors {anchors}: every level needs the same number of sides, at least one, such as "
                "[[8], [16], [32]]"
            )
        return anchors

    @model_validator(mode="after")
    def _a_level_each(self) -> RetinaNetOptions:
        if self.anchors is not None and len(self.anchors) != self.levels:
            raise ValueError(f"anchors: sides of {len(self.anchors)} levels, `levels` is {self.levels}")
        return self

    def check_size(self, side: int) -> None:
        """Refuse images that the pyramid cannot halve.

        Raises:
            ValueError: says what is needed.
        """
        step = self.stem_stride * 2 ** (self.levels - 1)
        if side % step or side < 2 * step:
            raise ValueError(
                f"a pyramid of {self.levels} levels from stride {self.stem_stride} needs sides that are "
                f"multiples of {step} and at least {2 * step}, its data have {side}"
            )


class DetectorJudge(Options):
    """What every detector of an evaluation has; a subclass names its ``arch`` by a literal."""

    arch: str

    @property
    def title(self) -> str:
        """What reports call it."""
        return self.arch

    def check_size(self, side: int) -> None:
        """Refuse images of a side, in pixels, that the network does not fit; it fits all unless it says so.

        Raises:
            ValueError: says what is needed.
        """


class RetinaNetJudge(RetinaNetOptions, DetectorJudge):
    """RetinaNet as the detector of an evaluation."""

    arch: Literal["retinanet"] = "retinanet"

    @property
    def title(self) -> str:
        """With its backbone."""
        return f"RetinaNet ({self.backbone})"


DETECTOR_JUDGES: dict[str, type[DetectorJudge]] = {"retinanet": RetinaNetJudge}
"""Architecture -> its options; its class stands under the same name in ``mirage.detectors.DETECTORS``."""
DEFAULT = "retinanet"
"""Architecture where none is named."""


class ByArchitecture:
    """Makes a field take the options of any registered detector, told apart by ``arch``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A union of the architectures' options, so that errors and the reference page name their own keys.

        Like any union of one it has no tag in an error's place while there is a single architecture.
        """
        options = {arch: handler.generate_schema(judge) for arch, judge in DETECTOR_JUDGES.items()}
        if len(options) == 1:
            return next(iter(options.values()))
        union = core_schema.tagged_union_schema(options, discriminator="arch")
        return core_schema.no_info_before_validator_function(_with_architecture, union)


def _with_architecture(judge: Any) -> Any:
    return {"arch": DEFAULT, **judge} if isinstance(judge, Mapping) else judge


AnyDetectorJudge = Annotated[DetectorJudge, ByArchitecture()]
