"""What the page of an observer study shows and asks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from mirage.config.base import Options

SLIDER = 100
Finding = Annotated[str, StringConstraints(pattern=r"^[^,;\"\r\n]{1,60}$")]
Where = dict[str, list[str | int | float | bool]]


class ReaderPage(Options):
    """Images that readers tell apart, and how they answer."""

    mode: Literal["single", "2afc"] = Field(
        "single",
        description="single: one image at a time, real or synthetic; 2afc: a real and a synthetic one side "
        "by side, which is the synthetic one (two-alternative forced choice)",
    )
    n: int = Field(75, ge=2, description="real images, and as many synthetic ones")
    seed: int = Field(0, ge=0, description="of the choice of images; their order and ids need the images too")
    split: Literal["train", "val", "test", "all"] = Field(
        "test", description="of the real images: those that no generator has seen are in `test` and `val`"
    )
    real_where: Where = Field(
        default_factory=dict, description="attribute -> values that a real image must have one of"
    )
    synthetic_where: Where = Field(
        default_factory=dict, description="attribute -> values that a synthetic image must have one of"
    )
    scale: int = Field(
        6,
        description="steps from surely real to surely synthetic: 2 is a plain answer, 3 to 9 are buttons, "
        "100 is a slider from 0 to 100; unused in `2afc`",
    )
    plain_answer: bool | None = Field(
        None,
        description="also ask real or synthetic; none: where the scale has a middle, which decides nothing",
    )
    practice: int = Field(
        0,
        ge=0,
        description="images of either kind, not among the n, that come first and are followed by the truth",
    )
    findings: list[Finding] = Field(
        default_factory=list,
        max_length=4,
        description="findings whose plausibility is rated from 1 to 5, such as Lesion margin",
    )
    comments: bool = Field(False, description="offer a field for words on each case")
    break_every: int = Field(50, ge=0, description="cases after which a rest is offered; 0: never")
    own_order: bool = Field(True, description="every reader gets an order of their own; the CSV tells it")
    side: int | None = Field(
        None,
        ge=16,
        le=2048,
        description="longer side of all images, pixels; none: that of the smallest image, at most 1024",
    )
    bits: int | None = Field(
        None,
        ge=8,
        le=16,
        description="grey levels are 2 to the power of this; none: of the image with the fewest",
    )
    channels: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="auto: grey unless both kinds have colours"
    )
    crop: int = Field(0, ge=0, description="pixels cut off every edge, where a border would give a kind away")
    window: tuple[float, float] | None = Field(
        None,
        description="native values that become black and white, for images whose type has no range; none: "
        "the lowest and highest of both kinds",
    )
    title: str = Field("Real or synthetic?", description="heading of the page")
    instructions: str = Field("", description="what readers should know of the images, one paragraph")

    @property
    def asks_rating(self) -> bool:
        """Whether there is a rating beside or instead of a plain answer."""
        return self.mode == "single" and self.scale > 2

    @property
    def asks_answer(self) -> bool:
        """Whether a plain answer is asked for."""
        middle = self.scale % 2 == 1 or self.scale == SLIDER
        wanted = middle if self.plain_answer is None else self.plain_answer
        return self.mode == "2afc" or self.scale == 2 or wanted

    @field_validator("scale")
    @classmethod
    def _known_scale(cls, scale: int) -> int:
        if scale != SLIDER and not 2 <= scale <= 9:
            raise ValueError(f"a scale has 2 to 9 steps, or 100 for a slider; found {scale}")
        return scale

    @field_validator("window")
    @classmethod
    def _rising(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[0] < window[1]:
            raise ValueError(f"black must lie below white; found {window}")
        return window

    @model_validator(mode="after")
    def _decides(self) -> Self:
        middle = self.scale % 2 == 1 or self.scale == SLIDER
        if self.mode == "single" and self.plain_answer is False and middle:
            raise ValueError(
                f"a scale of {self.scale} has a middle that is neither real nor synthetic; leave out "
                "`plain_answer`, or take an even scale"
            )
        return self


def listed(value: Any) -> Any:
    """One name as a list of it."""
    return [value] if isinstance(value, str) else value
