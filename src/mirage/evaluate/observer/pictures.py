"""All images of a study made alike: one size, one number of channels, one set of grey levels, one range.

Whatever tells real from synthetic and is not in the image itself has to go: the size of the file, its name,
its type, grey levels that only one kind can have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.transform import resize

from mirage.amounts import count
from mirage.config.observer import ReaderPage
from mirage.errors import DataError
from mirage.evaluate.observer.cases import Picture

LARGEST_SIDE = 1024
GRIDS = (8, 10, 12, 14, 16)
"""Bits of grey levels that scanners and files have."""
FEW_LEVELS = 16
"""An image of fewer grey levels says nothing of the grid that they lie on."""
OFF_LEVEL = 0.01
"""How far, in levels, a value may lie from its level by the rounding of 32-bit floats."""
ASPECT = 0.02
"""Difference of proportions that counts as none."""


@dataclass(frozen=True)
class Stack:
    """The images of a study.

    Attributes:
        pixels: (N, C, H, W), uint8 up to 8 bits, else uint16; in the order given, real before synthetic.
        bits: values are 0 ... 2**bits - 1.
        window: values that are shown black and white at first.
        remarks: how the kinds differed before, for the log and the report.
    """

    pixels: np.ndarray
    bits: int
    window: tuple[int, int]
    remarks: tuple[str, ...]


def make_alike(
    real: Sequence[Picture], synthetic: Sequence[Picture], page: ReaderPage, rng: np.random.Generator
) -> Stack:
    """Bring all images to one form.

    Grey values are rounded at random in proportion to where they lie between two levels, so that an image of
    more levels than are kept has no gaps or bands; values that lie on a level stay what they are.

    Args:
        real, synthetic: as stored.
        page: size, bits, channels, crop and window.
        rng: of the rounding.

    Raises:
        DataError: nothing is left after cropping.
    """
    kinds = {"real": list(real), "synthetic": list(synthetic)}
    remarks: list[str] = []
    scaled = _on_one_range(kinds, page, remarks)
    scaled = {kind: [_cropped(image, page.crop) for image in own] for kind, own in scaled.items()}
    bits = page.bits or _fewest_bits(scaled, remarks)
    coloured = _coloured(scaled, page, remarks)
    scaled = {kind: [_channels(image, coloured) for image in own] for kind, own in scaled.items()}
    images = _on_one_grid(scaled, page, remarks)
    top = 2**bits - 1
    noise = rng.random(images.shape, np.float32)
    # What lies on a level but for the error of the division must not be moved to the one below.
    levels = np.clip(images * top, 0, top)
    nearest = np.rint(levels)
    exact = np.abs(levels - nearest) < OFF_LEVEL
    pixels = np.where(exact, nearest, np.minimum(np.floor(levels + noise), top))
    window = (0, top)
    if bits > 8:
        low, high = np.quantile(pixels, [0.005, 0.995])
        window = (int(low), max(int(low) + 1, math.ceil(high)))
    return Stack(pixels.astype(np.uint8 if bits <= 8 else np.uint16), bits, window, tuple(remarks))


Images = dict[str, list[npt.NDArray[np.float32]]]


def _on_one_range(kinds: dict[str, list[Picture]], page: ReaderPage, remarks: list[str]) -> Images:
    """Values from 0 (black) to 1 (white)."""
    free = [picture.image for own in kinds.values() for picture in own if picture.limits is None]
    types = {kind: {_type(picture) for picture in own} for kind, own in kinds.items()}
    if types["real"] != types["synthetic"]:
        said = "; ".join(f"{kind} {', '.join(sorted(own))}" for kind, own in types.items())
        remarks.append(f"The kinds were stored differently ({said}); all have one form now.")
    limits = page.window
    if free and limits is None:
        limits = float(min(image.min() for image in free)), float(max(image.max() for image in free))
    known = (0.0, 1.0) if limits is None or limits[0] == limits[1] else limits
    return {
        kind: [_scaled(picture.image, picture.limits or known) for picture in own]
        for kind, own in kinds.items()
    }


def _type(picture: Picture) -> str:
    limits = "" if picture.limits is None else f" up to {picture.limits[1]:g}"
    return f"{picture.image.dtype}{limits}"


def _scaled(image: np.ndarray, limits: tuple[float, float]) -> npt.NDArray[np.float32]:
    low, high = limits
    return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def _cropped(image: npt.NDArray[np.float32], edge: int) -> npt.NDArray[np.float32]:
    height, width = image.shape[1:]
    if min(height, width) <= 2 * edge:
        raise DataError(f"crop: {edge} leaves nothing of an image of {width} x {height} (width x height)")
    return image[:, edge : height - edge, edge : width - edge]


def _fewest_bits(images: Images, remarks: list[str]) -> int:
    """Bits of the image with the fewest grey levels, of all that have some."""
    found = {kind: [bits for image in own if (bits := _grid(image))] for kind, own in images.items()}
    everywhere = [bits for own in found.values() for bits in own]
    fewest = min(everywhere, default=8)
    if max(everywhere, default=8) > fewest:
        said = "; ".join(f"{kind} {_spread(own)}" for kind, own in found.items() if own)
        remarks.append(f"Grey levels differed ({said} bits); all images have 2 to the power of {fewest} now.")
    return fewest


def _spread(bits: list[int]) -> str:
    return str(bits[0]) if min(bits) == max(bits) else f"{min(bits)} to {max(bits)}"


def _grid(image: npt.NDArray[np.float32]) -> int | None:
    """Bits of the coarsest grid of levels that all values lie on; None where there are too few to tell."""
    values = np.unique(image).astype(np.float64)
    if len(values) < FEW_LEVELS:
        return None
    for bits in GRIDS:
        levels = values * (2**bits - 1)
        # A value of b bits that was stored in 16 lies up to half a step of these away from its level.
        if np.abs(levels - np.rint(levels)).max() <= 2.0 ** (bits - 16) * 0.51 + 1e-4 * (bits < 16):
            return bits
    return GRIDS[-1]


def _coloured(images: Images, page: ReaderPage, remarks: list[str]) -> bool:
    with_colour = {
        kind: sum(len(image) == 3 and bool((image != image[:1]).any()) for image in own)
        for kind, own in images.items()
    }
    coloured = all(with_colour.values()) if page.channels == "auto" else page.channels == "rgb"
    if len({number / len(images[kind]) for kind, number in with_colour.items()}) > 1:
        said = " and ".join(f"{number} of {len(images[kind])} {kind}" for kind, number in with_colour.items())
        remarks.append(
            f"Colours are in {said} images and are shown, so they tell the kinds apart; set `channels: grey`."
            if coloured
            else f"Colours were in {said} images; all are grey now."
        )
    return coloured


def _channels(image: npt.NDArray[np.float32], coloured: bool) -> npt.NDArray[np.float32]:
    if coloured:
        return np.repeat(image, 3, axis=0) if len(image) == 1 else image
    if len(image) == 1:
        return image
    red, green, blue = image
    return (0.299 * red + 0.587 * green + 0.114 * blue)[None]  # ITU-R BT.601


def _on_one_grid(images: Images, page: ReaderPage, remarks: list[str]) -> npt.NDArray[np.float32]:
    """(N, C, H, W), real images first: all of the proportions and the size of the smallest."""
    shapes = {kind: {image.shape[1:] for image in own} for kind, own in images.items()}
    every = shapes["real"] | shapes["synthetic"]
    aspects = [width / height for height, width in every]
    alike = max(aspects) / min(aspects) <= 1 + ASPECT
    smallest = min((max(shape) if alike else min(shape)) for shape in every)
    side = page.side or min(smallest, LARGEST_SIDE)
    if not alike:
        remarks.append("Images of several proportions were cut to squares about their centres.")
    target = (side, side)
    if alike:
        height, width = min(every)
        target = (
            max(1, round(side * height / max(height, width))),
            max(1, round(side * width / max(height, width))),
        )
    if every != {target}:
        said = "; ".join(f"{kind} {_extents(own)}" for kind, own in shapes.items())
        remarks.append(f"Images were resampled to {target[1]} x {target[0]} pixels ({said}).")
        if shapes["real"] != shapes["synthetic"]:
            remarks.append(
                "The kinds were of different sizes: an image that was reduced is sharper than one that was "
                "not. Give images of one size, or a `side` well below both."
            )
    return np.stack([_fitted(image, target, alike) for own in images.values() for image in own])


def _extents(shapes: set[tuple[int, ...]]) -> str:
    listed = [f"{width} x {height}" for height, width in sorted(shapes)[:3]]
    return ", ".join(listed) + (f" and {count(len(shapes) - 3, 'other size')}" if len(shapes) > 3 else "")


def _fitted(image: npt.NDArray[np.float32], target: tuple[int, int], alike: bool) -> npt.NDArray[np.float32]:
    height, width = image.shape[1:]
    if not alike:
        edge = min(height, width)
        top, left = (height - edge) // 2, (width - edge) // 2
        image = image[:, top : top + edge, left : left + edge]
    if image.shape[1:] == target:
        return image
    shrinks = image.shape[1] > target[0] or image.shape[2] > target[1]
    made = resize(image, (len(image), *target), order=1, anti_aliasing=shrinks)
    return np.clip(made, 0, 1).astype(np.float32)
