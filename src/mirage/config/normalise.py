"""How grey values of one image are made comparable with those of others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mirage.config.base import Options, Refers

Percent = Annotated[float, Field(ge=0, le=100)]


class NormaliseEntry(Options):
    """What all methods' options have.

    ``fitted``: learnt from training images. ``ranged``: values are first scaled by ``intensity``.
    """

    fitted: ClassVar[bool] = False
    ranged: ClassVar[bool] = False

    method: str


class PercentileNormalise(NormaliseEntry):
    """Percentiles of the image itself, inside the field of view, become the lowest and highest value."""

    method: Literal["percentile"]
    low: Percent = Field(0.5, description="percentile that becomes the lowest stored value")
    high: Percent = Field(99.5, description="percentile that becomes the highest")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _ascending("low and high", [self.low, self.high])
        return self


class ClaheNormalise(NormaliseEntry):
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994), of each image by itself."""

    ranged = True

    method: Literal["clahe"]
    clip_limit: float = Field(0.01, gt=0, le=1, description="higher gives more contrast, and more noise")
    tiles: int = Field(8, ge=1, description="tiles along each side of the image")


class FittedNormalise(NormaliseEntry):
    """Options of methods that are fitted on training images, stored and applied to all."""

    fitted = True

    images: int = Field(200, ge=1, description="training images it is fitted on, at most, chosen by a hash")
    seed: int = Field(0, ge=0, description="seed of that choice")
    fitted_on: Annotated[str | None, Refers("dataset")] = Field(
        None,
        description="take the normaliser of this dataset, which has the same method and the same `split` by "
        "hash, so that patches and whole images share one. Default: fitted on this dataset's training images",
    )


class NyulNormalise(FittedNormalise):
    """Landmarks of the histogram to a standard scale (Nyul & Udupa, IEEE TMI 19, 2000)."""

    method: Literal["nyul"]
    low: Percent = Field(1.0, description="percentile inside the field of view where the scale begins")
    high: Percent = Field(99.0, description="percentile where it ends")
    landmarks: list[Percent] = Field(
        [10, 20, 30, 40, 50, 60, 70, 80, 90], min_length=1, description="percentiles between the two"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _ascending("low, landmarks and high", self.percents)
        return self

    @property
    def percents(self) -> list[float]:
        """All percentiles that are read, ascending."""
        return [self.low, *self.landmarks, self.high]


class MatchNormalise(FittedNormalise):
    """The whole histogram to a reference: the mean of the training images' quantile functions."""

    ranged = True

    method: Literal["match"]


def _ascending(what: str, values: Sequence[float]) -> None:
    if any(low >= high for low, high in pairwise(values)):
        raise ValueError(f"{what}: percentiles must ascend, found {', '.join(f'{v:g}' for v in values)}")


NormaliseOptions = Annotated[
    PercentileNormalise | ClaheNormalise | NyulNormalise | MatchNormalise, Field(discriminator="method")
]
