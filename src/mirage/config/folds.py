"""Cross-validation by subject: how many folds, and one of them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from mirage.config.base import Options


class Folds(Options):
    """Cross-validation by subject: every subject is tested on in one fold; a number alone is the count."""

    count: int = Field(ge=2, description="folds; 3 tests on a third of the subjects each")
    val: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of a fold's other subjects that is its validation set; 0.1 of three folds gives "
        "60 % training, 6.7 % validation and 33.3 % test",
    )
    seed: int = Field(0, ge=0, description="seed of the order of subjects")

    @model_validator(mode="before")
    @classmethod
    def _from_count(cls, value: Any) -> Any:
        return {"count": value} if isinstance(value, int) else value

    def at(self, index: int) -> Fold:
        """One of the folds."""
        return Fold(index=index, **self.model_dump())


class Fold(Folds):
    """One fold of a cross-validation."""

    index: int = Field(ge=0, description="which fold, from 0: that of its test subjects")

    @model_validator(mode="after")
    def _is_there(self) -> Fold:
        if self.index >= self.count:
            raise ValueError(f"index: {self.index} is none of {self.count} folds, which are counted from 0")
        return self
