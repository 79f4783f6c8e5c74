"""How much of the range of its type an image uses: 12 bits in a file of 16 use a sixteenth."""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

LEAST = 1 / 8
"""Share of its type's range below which an image of more than 8 bits was hardly meant to fill it."""
ENDS = (0.1, 99.9)
"""Percentiles that stand for the lowest and highest value: a hot pixel or a small burnt-in mark is none."""


def ends_of(image: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value of an image of any shape and type, but for the outermost 0.1 % at an end."""
    low, high = np.percentile(image, ENDS)
    return float(low), float(high)


def integer_window(low: float, high: float) -> tuple[float, float]:
    """Whole numbers that are likely meant as black and white: 0 and the next power of two, less one.

    Values that lie far from 0 are their own window.
    """
    if low < 0 or low > high / 2:
        return low, max(high, low + 1)
    return 0.0, float(2 ** max(1, math.ceil(high)).bit_length() - 1)


class GreyRange(BaseModel):
    """Grey values of an image, and what its file's type or header has room for."""

    model_config = ConfigDict(extra="forbid")

    low: float = Field(description="lowest value found, but for the outermost 0.1 %")
    high: float = Field(description="highest value found, but for the outermost 0.1 %")
    lowest: float = Field(description="lowest possible value")
    highest: float = Field(description="highest possible value")

    @property
    def share(self) -> float:
        """Used share of the possible range, 0 ... 1."""
        return (self.high - self.low) / (self.highest - self.lowest)

    @property
    def deep(self) -> bool:
        """Whether there is room for more than 8 bits."""
        return self.highest - self.lowest > 255

    @property
    def narrow(self) -> bool:
        """Whether so little of a deep type's range is used that scaling by it would make the image dark."""
        return self.deep and self.share < LEAST


def wider(first: GreyRange | None, second: GreyRange | None) -> GreyRange | None:
    """That of two images which uses more of its type's range; None where neither is known."""
    known = [one for one in (first, second) if one is not None]
    return max(known, key=lambda one: one.share, default=None)
