"""Recipe `plant_canaries`: a real dataset with marked records, each planted or left out by a coin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mirage import seeds
from mirage.data import Dataset, ItemRow
from mirage.data.manifest import CORE
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.recipes.base import Made, Recipe

COLUMN = "canary"
"""Attribute of canaries, null for all other items."""
PLANTED, LEFT_OUT = "planted", "left_out"
CELLS = 4
"""Black or white cells of a mark along each axis: coarse enough to be seen in a small picture."""


class PlantCanaries(Recipe):
    """All items stay as they are; behind them come the canaries, subjects of their own.

    A canary is a training image, of another patient each as far as there are, in which a square or cube of
    its own noise, black and white, lies at a place of its own. The mark is drawn anew for each, so that no
    canary tells of another. A planted one is in the training split; one left out is in no split.
    """

    @property
    def _data(self) -> Dataset:
        return self.datasets[self.options.data]

    @property
    def namespace(self) -> str:
        return self._data.info.namespace

    @property
    def count(self) -> int:
        return len(self._data) + int(self.options.canaries)

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec.of(self._data.info)

    @property
    def mask_channels(self) -> list[str]:
        return list(self._data.info.mask_channels)

    def check(self) -> None:
        if not (self._data.items["split"] == "train").any():
            raise DataError(
                f"{self._data.info.name} has no training items to mark; canaries are planted in a training "
                "split, so give it one (`split`)"
            )

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        order = self._bases()
        for index in indices:
            number = index - len(self._data)
            base = index if number < 0 else int(order[number % len(order)])
            row = self._kept(base) if number < 0 else self._canary(number, base)
            image = self._data.image(base) if number < 0 else self._marked(number, base)
            masks = self._data.masks(base) if self.mask_channels else ()
            yield Made(row, image, dict(zip(self.mask_channels, masks, strict=True)) or None)

    def _bases(self) -> np.ndarray:
        """Training items in the order in which they are marked: one of each patient before a second."""
        training = np.flatnonzero(self._data.items["split"] == "train")
        drawn = seeds.rng(self.options.seed, "recipe/canaries").permutation(training)
        turn = self._data.items.iloc[drawn].groupby("subject_id").cumcount()
        return np.asarray(drawn[np.argsort(turn.to_numpy(), kind="stable")])

    def _kept(self, index: int) -> ItemRow:
        item, known = self._data.item(index), self._data.items.iloc[index]
        own = ("shard", "row", "content_hash", "boxes")
        kept = {name: known[name] for name in CORE.names if name not in own}
        texts = {name: _text(known[name]) for name in ("split", "mask_origin")}
        return ItemRow(**{**kept, **texts, "reason": None}, boxes=item.boxes, attributes=item.attributes)

    def _canary(self, number: int, base: int) -> ItemRow:
        known = self._data.items.iloc[base]
        name = f"canary_{number:06d}"
        planted = bool(seeds.rng(self.options.seed, "recipe/canary", number).integers(2))
        return ItemRow(
            name,
            name,
            origin=known["origin"],
            mask_origin=_text(known["mask_origin"]),
            split="train" if planted else None,
            donor_subject_ids=[f"{self.namespace}/{known['subject_id']}"],
            attributes={COLUMN: PLANTED if planted else LEFT_OUT},
        )

    def _marked(self, number: int, base: int) -> np.ndarray:
        """The base with a mark: coarse noise of the lowest and the highest value."""
        image = self._data.image(base).copy()
        rng = seeds.rng(self.options.seed, "recipe/mark", number)
        window, sides = [slice(None)], []
        for extent in image.shape[1:]:
            side = max(1, round(self.options.mark * extent))
            start = int(rng.integers(extent - side + 1))
            window.append(slice(start, start + side))
            sides.append(side)
        coarse = rng.integers(2, size=[CELLS] * len(sides))
        places = np.ix_(*(np.arange(side) * CELLS // side for side in sides))
        low, high = self._data.info.value_range
        image[tuple(window)] = np.where(coarse[places] == 1, high, low).astype(image.dtype)
        return image


def _text(value: object) -> str | None:
    """A value of the manifest that may be missing."""
    return value if isinstance(value, str) else None
