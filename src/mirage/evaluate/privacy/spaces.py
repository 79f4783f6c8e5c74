"""The spaces in which a synthetic set is searched for training items: patterns, masks, features.

- ``image``: patterns of the images (:mod:`mirage.metrics.patterns`), shrunk to 32 pixels (volumes to 16
  voxels) an axis, ``rms`` distance. Brightness and contrast do not matter, pixel noise little.
- ``mask``, ``brain``: label masks and brain masks that are not blank, shrunk to 128 pixels (32 voxels),
  ``dice`` distance.
- an encoder's name: its features, scaled as the encoder says, ``rms`` distance.

Blank items (:func:`mirage.data.shards.is_blank`) have no place in any of them: they are alike, and as
near as can be, whoever they are of.

Images and masks are compared over the eight flips and rotations, volumes over the eight flips.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mirage.data import Items
from mirage.data.shards import is_blank
from mirage.metrics.neighbours import Floats, Kind, image_vector, mask_vector
from mirage.metrics.patterns import pattern, template

IMAGE_SIDES = {3: 32, 4: 16}
"""Pixels or voxels an axis that images are shrunk to, by the dimensions of the stored array."""
MASK_SIDES = {3: 128, 4: 32}
MASKS = {"mask": "label", "brain": "brain"}
"""Space of masks -> their mask channel."""
COPIES = "copies"
"""Side of the copies that are injected."""
ARMS = {"synthetic": "synthetic", "heldout": "reference"}
"""Side that is searched -> arm of its rows."""


class Space(ABC):
    """A space in which items have distances.

    Attributes:
        name: the label of its rows.
        kind: the distance.
        sides: side -> its items.
    """

    name: str
    kind: Kind = "rms"
    sides: Mapping[str, Items]

    def known(self, side: str) -> list[int]:
        """Items of a side that have a place in the space."""
        return list(range(len(self.sides[side])))

    @abstractmethod
    def vectors(self, side: str, indices: Sequence[int]) -> Iterator[Floats]:
        """Places of some items, one after the other."""

    def table(self, side: str, indices: Sequence[int]) -> Floats:
        """Places of some items, all at once."""
        return np.stack(list(self.vectors(side, indices)))


class Shown:
    """Images that show something, found once for all spaces: called with a side, the numbers of its items
    that are not blank; of what was injected all."""

    def __init__(self, sides: Mapping[str, Items]) -> None:
        self._sides = sides
        self._found: dict[str, list[int]] = {}

    def __call__(self, side: str) -> list[int]:
        if side not in self._found:
            data = self._sides[side]
            everything = range(len(data))
            every = side == COPIES
            self._found[side] = [i for i in everything if every or not is_blank(data.image(i))]
        return self._found[side]


class Patterns(Space):
    """Images without brightness, contrast and what they all share.

    What they share is taken from all sides alike: a mean of one side would push that side's own items away
    from it, and so from all others.
    """

    name = "image"

    def __init__(self, sides: Mapping[str, Items], shown: Shown | None = None) -> None:
        self.sides, self._shown = sides, shown or Shown(sides)
        shapes = [data.info.image_shape for data in sides.values()]
        self.side = min(IMAGE_SIDES[len(shapes[0])], *(length for shape in shapes for length in shape[1:]))
        together = [side for side in ("training", "heldout", "synthetic") if side in sides]
        self.common = template(
            image for side in together for image in self._shrunk(side, range(len(sides[side])))
        )

    def known(self, side: str) -> list[int]:
        """Those that are not blank."""
        return self._shown(side)

    def _shrunk(self, side: str, indices: Sequence[int]) -> Iterator[Floats]:
        data = self.sides[side]
        for index in indices:
            yield image_vector(data.image(index), data.info.value_range, self.side)

    def vectors(self, side: str, indices: Sequence[int]) -> Iterator[Floats]:
        return (pattern(image, self.common) for image in self._shrunk(side, indices))


class Masks(Space):
    """Label masks or brain masks that are not blank: empty ones are alike without being anybody's."""

    kind = "dice"

    def __init__(self, name: str, sides: Mapping[str, Items]) -> None:
        self.name, self.sides = name, sides
        self._known: dict[str, list[int]] = {}
        shapes = [data.info.image_shape for data in sides.values()]
        self.side = min(MASK_SIDES[len(shapes[0])], *(length for shape in shapes for length in shape[1:]))

    def known(self, side: str) -> list[int]:
        """Those of :meth:`labelled` that are not blank."""
        if side not in self._known:
            masks = ((index, self.stored(side, index)[None]) for index in self.labelled(side))
            self._known[side] = [index for index, mask in masks if not is_blank(mask)]
        return self._known[side]

    def labelled(self, side: str) -> list[int]:
        """Those with a label mask; brain masks are of all."""
        if self.name == "brain":
            return super().known(side)
        return np.flatnonzero(self.sides[side].items["mask_origin"].notna()).tolist()

    def stored(self, side: str, index: int) -> np.ndarray:
        """The mask as it is stored, (H, W) or (D, H, W)."""
        return self.sides[side].mask(index, MASKS[self.name])

    def vectors(self, side: str, indices: Sequence[int]) -> Iterator[Floats]:
        values = [1] if self.name == "brain" else sorted(self.sides["training"].info.labels)
        return (mask_vector(self.stored(side, index), values, self.side) for index in indices)


class Features(Space):
    """Features of an encoder.

    Args:
        name: of the encoder.
        sides: side -> its items.
        values: side -> float32 (N, D); a side may be missing.
        shown: which images are not blank.
    """

    def __init__(
        self, name: str, sides: Mapping[str, Items], values: Mapping[str, Floats], shown: Shown
    ) -> None:
        self.name, self.sides, self.values, self._shown = name, sides, values, shown

    def known(self, side: str) -> list[int]:
        """Those with features whose images are not blank."""
        return self._shown(side) if side in self.values else []

    def vectors(self, side: str, indices: Sequence[int]) -> Iterator[Floats]:
        return iter(self.values[side][list(indices)])
