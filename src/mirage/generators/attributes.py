"""Attributes of items as conditions: their levels or scale, how they are coded, and which occur together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mirage import seeds
from mirage.config.generators import ConditionOptions, ConditionValue, is_finite
from mirage.data import Dataset
from mirage.errors import DataError

QUANTILES = 10
"""Groups of equal size into which numbers are cut where it is told which values occur together: a model says
no patient's own."""

Values = Mapping[str, ConditionValue | None]


@dataclass(frozen=True)
class Attribute:
    """One attribute that a generator is conditioned on.

    Attributes:
        name: in the manifest.
        levels: its values, each with an input of its own; None for numbers.
        centre, spread: mean and standard deviation of numbers over the training items that have one.
        unknown: whether there are training items without it, and so an input that says so.
    """

    name: str
    levels: tuple[ConditionValue, ...] | None
    centre: float
    spread: float
    unknown: bool

    @property
    def width(self) -> int:
        """Inputs of the networks that tell it."""
        return (1 if self.levels is None else len(self.levels)) + self.unknown

    def known(self, value: ConditionValue | None) -> ConditionValue | None:
        """A value as it was learnt; None for one that is unknown or no level."""
        if value is None or self.levels is None:
            return value
        return next((level for level in self.levels if level == value), None)

    def encode(self, value: ConditionValue | None) -> list[float]:
        """Inputs of a value: a 1 at its level, or its z-score; where some lack it, whether it is unknown."""
        known = self.known(value)
        if self.levels is None:
            told = [0.0 if known is None else (float(known) - self.centre) / self.spread]
        else:
            told = [float(known is not None and level == known) for level in self.levels]
        return told + [float(known is None)] * self.unknown

    def check(self, value: ConditionValue | None) -> None:
        """Refuse a value that was not learnt.

        Raises:
            DataError: says which were.
        """
        if value is None:
            if not self.unknown:
                raise DataError(f"conditions.{self.name}: every training item had one; give a value")
        elif self.levels is None:
            if not is_finite(value):
                raise DataError(f"conditions.{self.name}: expected a finite number, found {value!r}")
        elif self.known(value) is None:
            listed = ", ".join(str(level) for level in self.levels)
            raise DataError(f"conditions.{self.name}: {value!r} was not learnt; the levels are {listed}")


@dataclass(frozen=True)
class AttributeTable:
    """The attributes that a generator is conditioned on, and which values its training items have together.

    Attributes:
        attributes: in the order of the networks' inputs.
        combinations: values, one an attribute or None, and how many training items have them. Numbers are
            the medians of ten groups.
    """

    attributes: tuple[Attribute, ...]
    combinations: tuple[tuple[tuple[ConditionValue | None, ...], int], ...]

    @classmethod
    def learn(cls, options: Mapping[str, ConditionOptions], training: Dataset) -> AttributeTable:
        """Levels, scales and joint distribution of the attributes of training items.

        Raises:
            DataError: an attribute is absent, constant, a list, or not the numbers it is said to be; or a
                level that the options name does not occur.
        """
        columns = {name: _column(training, name) for name in options}
        attributes = tuple(_learn(name, options[name], column) for name, column in columns.items())
        shown: list[Sequence[ConditionValue | None]] = [
            [attribute.known(value) for value in column] if attribute.levels else _grouped(column)
            for attribute, column in zip(attributes, columns.values(), strict=True)
        ]
        counted = Counter(zip(*shown, strict=True))
        return cls(attributes, tuple(sorted(counted.items(), key=lambda pair: (-pair[1], str(pair[0])))))

    @property
    def width(self) -> int:
        """Length of a condition."""
        return sum(attribute.width for attribute in self.attributes)

    def encode(self, values: Values) -> Tensor:
        """Condition (width,), float32, of an item's attributes; others than the table's are not looked at."""
        told = [number for one in self.attributes for number in one.encode(values.get(one.name))]
        return torch.tensor(told, dtype=torch.float32)

    def check(self, given: Values) -> None:
        """Refuse values that were not learnt.

        Raises:
            DataError: an attribute of another name, or see :meth:`Attribute.check`.
        """
        own = {attribute.name: attribute for attribute in self.attributes}
        for name, value in given.items():
            if name not in own:
                raise DataError(f"conditions.{name}: not learnt; the model's conditions are {', '.join(own)}")
            own[name].check(value)

    def draw(self, seed: int, given: Values) -> dict[str, ConditionValue | None]:
        """Values of one sample: those given, the others as training items with the given levels have them.

        Where no training item has all the given levels together, the others are drawn as if none were given.

        Args:
            seed: decides the draw.
            given: values of some attributes, by name; a number leaves the draw of the others as it is.
        """
        fixed = {
            place: given[one.name]
            for place, one in enumerate(self.attributes)
            if one.levels is not None and one.name in given
        }
        matching = [
            (values, count)
            for values, count in self.combinations
            if all(values[place] == value for place, value in fixed.items())
        ]
        rows = matching or list(self.combinations)
        shares = np.array([count for _, count in rows], float)
        chosen = rows[int(seeds.rng(seed, "attributes").choice(len(rows), p=shares / shares.sum()))][0]
        names = [attribute.name for attribute in self.attributes]
        return {**dict(zip(names, chosen, strict=True)), **given}

    @property
    def words(self) -> str:
        """The conditions, for a reader."""
        return "; ".join(_words(attribute) for attribute in self.attributes)

    def to_json(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AttributeTable:
        """Take back what ``to_json`` gave."""
        attributes = [
            Attribute(**{**one, "levels": None if one["levels"] is None else tuple(one["levels"])})
            for one in value["attributes"]
        ]
        combinations = [(tuple(values), count) for values, count in value["combinations"]]
        return cls(tuple(attributes), tuple(combinations))


def with_known(options: Mapping[str, ConditionOptions], items: Dataset) -> Dataset:
    """The items that have a value of every attribute, one of its levels where these are named.

    Raises:
        DataError: an attribute is absent.
    """
    whole = np.ones(len(items), bool)
    for name, one in options.items():
        found = _column(items, name)
        whole &= [value is not None and (one.levels is None or value in one.levels) for value in found]
    return items.of_items(set(items.items["item_id"][whole]))


def _column(items: Dataset, name: str) -> list[ConditionValue | None]:
    """Values of an attribute, None where unknown; whole numbers are such also beside unknown ones.

    Raises:
        DataError: there is no such attribute, or it holds lists.
    """
    if name not in items.items.columns:
        close = get_close_matches(name, [str(column) for column in items.items.columns], n=1)
        raise DataError(
            f"options.conditions: the items of {items.info.name} have no attribute {name!r}"
            + (f"; did you mean {close[0]!r}?" if close else f"; they have {', '.join(items.items.columns)}")
        )
    found: list[Any] = items.items[name].tolist()
    listed = [value for value in found if isinstance(value, list | tuple | np.ndarray | dict)]
    if listed:
        raise DataError(
            f"options.conditions.{name}: holds lists such as {list(listed[0])}, expected one value an item"
        )
    values = [None if value is None or value != value else value for value in found]
    if all(isinstance(value, float) and value.is_integer() for value in values if value is not None):
        return [None if value is None else int(value) for value in values]
    return values


def _learn(name: str, options: ConditionOptions, column: Sequence[ConditionValue | None]) -> Attribute:
    where, known = f"options.conditions.{name}", [value for value in column if value is not None]
    if options.kind == "numeric":
        if any(isinstance(value, str | bool) for value in known):
            raise DataError(f"{where}: holds words such as {known[0]!r}; say `kind: categorical`")
        numbers = np.array(known, float)
        if len(numbers) < 2 or not np.isfinite(numbers).all() or numbers.std() == 0:
            raise DataError(f"{where}: no two training items differ in it; leave it out")
        scale = float(numbers.mean()), float(numbers.std())
        return Attribute(name, None, *scale, unknown=len(known) < len(column))
    if options.levels is None:
        numbers_found = sorted({value for value in known if not isinstance(value, str)})
        words_found = sorted({value for value in known if isinstance(value, str)})
        levels: tuple[ConditionValue, ...] = (*numbers_found, *words_found)
    else:
        levels = tuple(options.levels)
        absent = [level for level in levels if level not in known]
        if absent:
            raise DataError(
                f"{where}.levels: no training item has {absent[0]!r}; found are "
                f"{', '.join(sorted({str(value) for value in known})) or 'none'}"
            )
    if len(levels) < 2:
        raise DataError(f"{where}: all training items have {levels or 'no value'}; leave it out")
    return Attribute(name, levels, 0.0, 1.0, unknown=any(value not in levels for value in column))


def _grouped(column: Sequence[ConditionValue | None]) -> list[float | None]:
    """Numbers as the medians of ten groups of equal size."""
    numbers = np.array([float(value) for value in column if value is not None])
    edges = np.quantile(numbers, np.linspace(0, 1, QUANTILES + 1)[1:-1])
    group = np.searchsorted(edges, numbers)
    medians = {int(one): float(np.median(numbers[group == one])) for one in set(group)}
    return [None if value is None else medians[int(np.searchsorted(edges, float(value)))] for value in column]


def _words(attribute: Attribute) -> str:
    if attribute.levels is None:
        told = f"numbers, mean {attribute.centre:.4g}, standard deviation {attribute.spread:.4g}"
    else:
        told = ", ".join(str(level) for level in attribute.levels)
    return f"{attribute.name}: {told}{' or unknown' if attribute.unknown else ''}"
