"""Recipe `extract_lesions`: annotated lesions cut out of radiographs by inpainting (after Guendel 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mirage import seeds
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.generators.inpainting import Inpainter
from mirage.preprocess.healthy_places import (
    Filled,
    beside_healthy,
    healthy_places,
    learn_bias,
)
from mirage.preprocess.lesions import Bias, Box, Lesion, Visibility, extract
from mirage.preprocess.lungs import derive_lungs, is_inverted
from mirage.recipes.base import Made, Recipe

CHANNELS = ["original", "inpainted"]
MASKS = ["lesion", "hole"]
LEAST_BOX = 3.0
"""Pixels below which a side of a box, cut to the image, is no annotation."""
LEAST_RING = 3
"""Pixels by which the hole reaches beyond the box at least, so that the noise around it is known."""

Fill = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Fills a hole: (image (1, P, P), hole (P, P) uint8, seed) to an image like the first."""


@dataclass(frozen=True)
class Painter:
    """An inpainter as extraction needs it: how it fills, side of its images, longest side of a hole."""

    fill: Fill
    side: int
    limit: int


@dataclass(frozen=True)
class Cut:
    """A lesion that was cut out, and what was learnt at healthy places of its radiograph.

    Attributes:
        filled: the window around the lesion, its hole filled.
        lesion, seen: in pixels of that window.
        bias: of the inpainter.
        beside_healthy: contrast in standard deviations of healthy places; None where these are too few.
    """

    filled: Filled
    lesion: Lesion
    seen: Visibility
    bias: Bias
    beside_healthy: float | None


class ExtractLesions(Recipe):
    """An item a box: a window of the inpainter's side around it, as it is and with the lesion filled in.

    Radiographs with dark bones are stored with bright ones, so that what a lesion adds is always positive.
    A window is moved, not padded, where a lesion lies at the border. Boxes that are larger than the holes
    which the inpainter has learnt, and boxes in which nothing is found, are failed items.
    """

    batch = 1

    @property
    def _data(self) -> Dataset:
        return self.datasets[self.options.data]

    @property
    def _inpainter(self) -> Inpainter:
        found = self.model(self.options.inpainter)
        if not isinstance(found, Inpainter):
            raise DataError(
                f"inpainter: {self.options.inpainter.generator} is a {found.arch}, which fills no holes; "
                "name a contextual_attention or aot_gan"
            )
        return found

    @cached_property
    def _donors(self) -> Dataset:
        """The donors."""
        return self._data.training_part(self.options)

    @cached_property
    def _found(self) -> list[tuple[int, int]]:
        """(training item, number of its box) of every box with a wanted label, in the manifest's order."""
        wanted = set(self.options.label)
        boxes = self._donors.items["boxes"]
        return [
            (item, number)
            for item, own in enumerate(boxes)
            for number, box in enumerate(own)
            if box["label"] in wanted
        ]

    @property
    def count(self) -> int:
        return len(self._found)

    @property
    def side(self) -> int:
        """Of the windows, pixels."""
        return self._inpainter.image_shape[-1]

    @property
    def spec(self) -> ImageSpec:
        return replace(
            ImageSpec.of(self._data.info),
            image_shape=(2, self.side, self.side),
            channel_names=CHANNELS,
            mask_channels=MASKS,
            labels={},
        )

    @property
    def mask_channels(self) -> list[str]:
        return MASKS

    def check(self) -> None:
        data, learnt = self._data.info, self._inpainter.spec
        for key in ("image_dtype", "value_range"):
            if getattr(data, key) != getattr(learnt, key):
                raise DataError(
                    f"{data.name} has {key} {getattr(data, key)}, {self.options.inpainter.generator} was "
                    f"trained on {getattr(learnt, key)}; prepare both alike"
                )
        if data.image_shape[0] != 1 or learnt.image_shape[0] != 1:
            raise DataError(
                f"lesions are cut out of grey radiographs; {data.name} has {data.image_shape[0]} channels, "
                f"the inpainter's images have {learnt.image_shape[0]}"
            )
        if min(data.image_shape[1:]) < self.side:
            raise DataError(
                f"{data.name} has images of {data.image_shape[2]} x {data.image_shape[1]} pixels, the "
                f"inpainter fills windows of {self.side}; raise `prepare.size`, or train it on less"
            )
        if not self._found:
            held = sorted({box["label"] for own in self._donors.items["boxes"] for box in own})
            raise DataError(
                f"{data.name}: no training image has a box labelled {' or '.join(self.options.label)}; its "
                f"training split has boxes labelled: {', '.join(held) or 'none'}. Check `label`, and `boxes` "
                "of its source"
            )

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        for index in indices:
            item, number = self._found[index]
            known = self._known(item, number)
            try:
                yield self._made(index, item, number, known)
            except DataError as error:
                yield Made(self.row(index, **{**known, "status": "failed", "reason": str(error)}))

    def _known(self, item: int, number: int) -> dict[str, Any]:
        """What a row says of its item, whether a lesion is found or not."""
        own = self._donors.items.iloc[item]
        name = f"{own['item_id']}-{number}"
        box = self._donors.item(item).boxes[number]
        return {
            "item_id": name,
            "subject_id": name,
            "donor_subject_ids": [f"{self._data.info.namespace}/{own['subject_id']}"],
            "mask_origin": "synthetic",
            "attributes": {"source_item": str(own["item_id"]), "label": str(box["label"])},
        }

    def _made(self, index: int, item: int, number: int, known: dict[str, Any]) -> Made:
        stored = self._donors.item(item)
        whole = stored.image[0]
        low, high = self._data.info.value_range
        if inverted := is_inverted(whole):
            whole = ((low + high) - whole.astype(np.float64)).astype(whole.dtype)
        given = Box(*(float(stored.boxes[number][key]) for key in ("x0", "y0", "x1", "y1")))
        box = given.clipped((whole.shape[0], whole.shape[1]))
        if min(box.size) < LEAST_BOX:
            raise DataError(
                f"the box {[round(value, 1) for value in given]} lies outside the image or is a line; "
                f"{LEAST_BOX:.0f} pixels are needed"
            )
        inpainter, options = self._inpainter, self.options
        cut = cut_out(
            whole,
            box,
            [Box(*(float(other[key]) for key in ("x0", "y0", "x1", "y1"))) for other in stored.boxes],
            Painter(inpainter.fill, self.side, inpainter.box_side),
            value_range=(low, high),
            context=options.context,
            places=options.healthy_places,
            seed=self.seed_of("inpaint", index),
        )
        attributes = {
            **known["attributes"],
            **_measured(cut, self._donors.spacing_mm(item)),
            "cut_by_border": box.size != given.size,
            "inverted": inverted,
            "proposed": "accept" if cut.seen.score >= options.min_visibility else "reject",
        }
        own = {**cut.lesion.box._asdict(), "label": known["attributes"]["label"]}
        row = self.row(index, **{**known, "attributes": attributes, "boxes": [own]})
        masks = {"lesion": cut.lesion.core.astype(np.uint8), "hole": cut.filled.hole}
        return Made(row, np.stack([cut.filled.original, cut.filled.inpainted]), masks)


def cut_out(
    whole: np.ndarray,
    box: Box,
    marked: Sequence[Box],
    painter: Painter,
    *,
    value_range: tuple[float, float],
    context: float,
    places: int,
    seed: int,
) -> Cut:
    """Cut a lesion out of a radiograph, with the inpainter's bias learnt at healthy places of its lungs.

    Where the lungs are not found, or have room for too few places, nothing is learnt.

    Args:
        whole: (H, W), stored type, bright bones.
        box: of the lesion, inside the image.
        marked: boxes of all lesions of the image.
        painter: the inpainter.
        value_range: lowest and highest possible stored value.
        context: how far the hole reaches beyond the box, share of the box's longer side.
        places: healthy places to fill, at most.
        seed: of places and noise.

    Raises:
        DataError: the box is too long, or nothing is found in it.
    """
    found = _filled(whole, box, painter, context, seed)
    healthy: list[Filled] = []
    if places:
        rng = seeds.rng(seed, "recipe/healthy_places")
        ring = ring_around(box, painter.limit, context)
        for number, place in enumerate(_places(whole, [box, *marked], box, ring, places, rng)):
            own = seeds.integer(seed, "recipe/healthy_place", number)
            healthy.append(_filled(whole, place, painter, context, own))
    bias = learn_bias(healthy)
    lesion, seen = extract(found.original, found.inpainted, found.box, found.hole, value_range, bias)
    return Cut(found, lesion, seen, bias, beside_healthy(lesion, healthy, bias))


def _places(
    whole: np.ndarray, marked: Sequence[Box], box: Box, ring: int, count: int, rng: np.random.Generator
) -> list[Box]:
    try:
        lungs = derive_lungs(whole).mask
    except DataError:
        return []  # what is no whole, frontal chest has no places, and its row says that there were 0
    return healthy_places(lungs, marked, box, ring, count, rng)


def _filled(whole: np.ndarray, box: Box, painter: Painter, context: float, seed: int) -> Filled:
    """The window around a box of a radiograph, its hole filled."""
    side = painter.side
    top, left = window_corner(box, side, (whole.shape[0], whole.shape[1]))
    window = np.ascontiguousarray(whole[top : top + side, left : left + side])
    own = box.moved(-top, -left)
    hole = hole_around(own, side, painter.limit, context)
    return Filled(window, painter.fill(window[None], hole, seed)[0], hole, own)


def ring_around(box: Box, limit: int, context: float) -> int:
    """Pixels by which a hole reaches beyond a box, as far as an inpainter has learnt.

    Args:
        box: in pixels.
        limit: longest side of a hole that the inpainter has learnt.
        context: how far it should reach beyond the box on every side, share of the box's longer side.

    Raises:
        DataError: the box is too long.
    """
    # Whole pixels: those of which the box covers a part are in the hole.
    longest = max(math.ceil(box.x1) - math.floor(box.x0), math.ceil(box.y1) - math.floor(box.y0))
    if longest + 2 * LEAST_RING > limit:
        raise DataError(
            f"the box is {longest} pixels long, the inpainter has learnt holes of {limit} and needs "
            f"{LEAST_RING} pixels on every side; train it on larger patches, or lower `prepare.size`"
        )
    return math.floor(min(max(context * longest, float(LEAST_RING)), (limit - longest) / 2))


def hole_around(box: Box, side: int, limit: int, context: float) -> np.ndarray:
    """Mask (side, side), uint8, of a box in pixels of a window and of the ring around it.

    Raises:
        DataError: the box is too long.
    """
    return box.grown(ring_around(box, limit, context)).mask((side, side)).astype(np.uint8)


def window_corner(box: Box, side: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Top and left of the window of a side that has a box in its middle, as far as it fits into the image."""
    (y, x), (height, width) = box.centre, shape
    return min(max(round(y - side / 2), 0), height - side), min(max(round(x - side / 2), 0), width - side)


def lesion_of(data: Dataset, index: int) -> Lesion:
    """The lesion of an item that this recipe has made, cut out again from what is stored of it.

    Raises:
        DataError: the item is none of this recipe's.
    """
    if data.info.channel_names != CHANNELS or data.info.mask_channels != MASKS:
        raise DataError(
            f"{data.info.name} has the channels {data.info.channel_names}, lesions {CHANNELS}; name a recipe "
            "`extract_lesions`"
        )
    item = data.item(index)
    box = Box(*(float(item.boxes[0][key]) for key in ("x0", "y0", "x1", "y1")))
    known = item.attributes
    bias = Bias(*(known[key] for key in ("inpainter_trust", "inpainter_offset", "healthy_places")))
    window, inpainted = item.image
    lesion, _ = extract(window, inpainted, box, data.mask(index, "hole"), data.info.value_range, bias)
    return lesion


def _measured(cut: Cut, spacing: Sequence[float] | None) -> dict[str, Any]:
    """Attributes of a lesion: sizes in pixels and mm, how well it is seen, how the inpainter errs."""
    lesion, seen = cut.lesion, cut.seen
    height, width = lesion.box.size
    diameter = 2 * math.sqrt(int(lesion.core.sum()) / math.pi)
    down, across = spacing if spacing else (math.nan, math.nan)
    in_mm = {
        "spacing_h_mm": down,
        "spacing_w_mm": across,
        "box_height_mm": height * down,
        "box_width_mm": width * across,
        "diameter_mm": diameter * math.sqrt(down * across),
    }
    return {
        "box_height_px": height,
        "box_width_px": width,
        "diameter_px": diameter,
        **{name: None if math.isnan(value) else value for name, value in in_mm.items()},
        "contrast": seen.contrast,
        "noise": seen.noise,
        "cnr": seen.cnr,
        "inside_box": seen.inside,
        "visibility": seen.score,
        "mass": lesion.mass,
        "healthy_places": cut.bias.places,
        "inpainter_trust": cut.bias.trust,
        "inpainter_offset": cut.bias.offset,
        "beside_healthy": cut.beside_healthy,
    }
