"""The lung fields of a frontal chest radiograph: derived from its grey values, or two boxes.

Lungs are dark basins between bright ridges: the mediastinum and the two sides of the chest wall. A watershed
gives each lung its own basin, so that no threshold lets it run out into the air beside the patient; inside it
the threshold is chosen whose outline lies on the steepest edge and whose shape is a lung's. The heart, the
diaphragm and what is dense are bright and stay outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.segmentation import watershed

from mirage.errors import DataError
from mirage.preprocess.geometry import resize, whole

SIDE = 128
"""Height and width, pixels, at which lungs are looked for; the shares below were set at this resolution."""
FRAME = 0.12
"""A white or black frame of the film is looked for in this outer share of the image."""
RIB = 5
"""Height, pixels, of the bright horizontal structures (ribs, clavicles) that are taken off before."""
ROWS = 0.7
"""Share of each row's own brightness that is subtracted: breasts and abdomen brighten whole rows."""
CLOSING = 5
"""Radius, pixels, of the closing that takes vessels and the notches of ribs into a lung."""
THRESHOLDS = 34
LEAST = 0.008
"""Plausibility below which nothing is a lung; those of 78 lungs of real radiographs lie above 0.012."""
BOXES = ((0.12, 0.14, 0.42, 0.74), (0.58, 0.14, 0.88, 0.74))
"""Two lung boxes (x0, y0, x1, y1) in shares of the image, set by looking at radiographs as the study did."""

Fractions = tuple[float, float, float, float]


@dataclass(frozen=True)
class LungField:
    """Where the lungs are.

    Attributes:
        mask: uint8 (H, W): 0 outside, 1 the lung on the image's left side, 2 that on its right side.
        inverted: whether the radiograph is stored with dark bones.
    """

    mask: np.ndarray
    inverted: bool


def derive_lungs(image: np.ndarray) -> LungField:
    """Find both lungs of a frontal radiograph, PA or AP, by its grey values.

    Args:
        image: (H, W) or (1, H, W), any real type, bones bright or (then said so) dark.

    Raises:
        DataError: the image is blank, or one of the lungs is not found; says which.
    """
    image = image[0] if image.ndim == 3 else image
    if min(image.shape) < SIDE // 2:
        raise DataError(f"a radiograph of {image.shape[1]} x {image.shape[0]} pixels is too small for lungs")
    small = resize(image[None], whole(image.shape), (SIDE, SIDE))[0].astype(np.float64)
    inverted = is_inverted(small)
    small = -small if inverted else small
    top, bottom, left, right = _inside_frame(small)
    grey = small[top:bottom, left:right]
    low, high = np.percentile(grey, [1, 99])
    if high - low <= 1e-6 * max(1.0, abs(high)):
        raise DataError("the radiograph is blank")
    found = np.zeros((SIDE, SIDE), np.uint8)
    found[top:bottom, left:right] = _both_lungs(np.clip((grey - low) / (high - low), 0, 1))
    return LungField(_enlarged(found, image.shape), inverted)


def is_inverted(image: np.ndarray) -> bool:
    """Whether a frontal radiograph (H, W) has dark bones.

    With bright ones the columns of both lungs go further below the middle ones than any on both sides go
    above them; with dark ones it is the other way round.
    """
    height, width = image.shape
    columns = np.median(image[int(0.25 * height) : int(0.65 * height)], axis=0)
    middle = float(np.median(columns[int(0.45 * width) : int(0.55 * width)]))
    sides = [columns[int(a * width) : int(b * width)] for a, b in ((0.2, 0.45), (0.55, 0.8))]
    below = middle - max(float(side.min()) for side in sides)
    above = min(float(side.max()) for side in sides) - middle
    return above > below


def lung_boxes(shape: tuple[int, int], boxes: Sequence[Fractions] = BOXES) -> LungField:
    """The study's own lung field: two boxes for every image.

    Args:
        shape: height and width of the image.
        boxes: (x0, y0, x1, y1) of the left and the right one, in shares of width and height.
    """
    mask = np.zeros(shape, np.uint8)
    for value, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        rows = slice(round(y0 * shape[0]), round(y1 * shape[0]))
        mask[rows, round(x0 * shape[1]) : round(x1 * shape[1])] = value
    return LungField(mask, inverted=False)


def eroded(mask: np.ndarray, margin: float) -> np.ndarray:
    """Pixels (H, W), bool, of a mask that are more than ``margin`` pixels from its edge or the image's."""
    distance: np.ndarray = ndimage.distance_transform_edt(np.pad(mask > 0, 1))[1:-1, 1:-1]
    return distance > margin


def _inside_frame(grey: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what lies inside a black or white frame."""
    low, high = grey.min(), grey.max()
    slack = 0.04 * (high - low)

    def depth(lines: np.ndarray) -> int:
        black = (lines <= low + slack).mean(axis=1) > 0.9
        white = (lines >= high - slack).mean(axis=1) > 0.6
        framed = (black | white)[: int(FRAME * len(lines))]
        return len(framed) if framed.all() else int(framed.argmin())

    height, width = grey.shape
    return depth(grey), height - depth(grey[::-1]), depth(grey.T), width - depth(grey.T[::-1])


def _both_lungs(grey: np.ndarray) -> np.ndarray:
    """Lung fields, uint8 0 to 2, of grey values in [0, 1] with bright bones."""
    height, width = grey.shape
    middle = _mediastinum(grey)
    plain = ndimage.gaussian_filter(ndimage.grey_opening(grey, size=(RIB, 1)), 0.8)
    central = plain[:, int(0.15 * width) : int(0.85 * width)]
    rows = ndimage.gaussian_filter1d(np.quantile(central, 0.8, axis=1), 0.06 * height)
    level = plain - ROWS * rows[:, None]
    basins = _basins(plain, level, middle)
    slope = np.gradient(ndimage.gaussian_filter(grey, 0.8))
    found = np.zeros(grey.shape, np.uint8)
    for side, part in ((1, slice(0, middle)), (2, slice(middle, width))):
        own = basins[:, part] == side
        mask = _best(level[:, part], own, [s[:, part] for s in slope], side, grey.shape)
        if mask is None:
            name = "left" if side == 1 else "right"
            raise DataError(f"no plausible lung on the {name} side of the image")
        found[:, part][_filled(_closed(mask, CLOSING)) & own] = side
    return found


def _mediastinum(grey: np.ndarray) -> int:
    """Column of the spine: the brightest of the middle ones."""
    height, width = grey.shape
    profile = ndimage.gaussian_filter1d(
        grey[int(0.2 * height) : int(0.6 * height)].mean(axis=0), 0.03 * width
    )
    first, last = int(0.36 * width), int(0.64 * width)
    return first + int(profile[first:last].argmax())


def _basins(plain: np.ndarray, level: np.ndarray, middle: int) -> np.ndarray:
    """Watershed basins: 1 and 2 of the lungs, 3 of the air around the patient, 4 of the middle."""
    height, width = plain.shape
    smooth = ndimage.gaussian_filter(plain, 3)
    markers = np.zeros(plain.shape, np.int32)
    darkest = 0.0
    for side, (near, far) in ((1, (-0.32, -0.09)), (2, (0.09, 0.32))):
        left, right = int(max(middle + near * width, 2)), int(min(middle + far * width, width - 2))
        top = int(0.22 * height)
        window = smooth[top : int(0.6 * height), left:right]
        y, x = np.unravel_index(window.argmin(), window.shape)
        markers[y + top - 1 : y + top + 2, x + left - 1 : x + left + 2] = side
        darkest = max(darkest, plain[y + top, x + left])
    edge = np.zeros(plain.shape, bool)
    edge[0] = edge[-1] = edge[: height // 2, [0, -1]] = True
    edge[-3:, :3] = edge[-3:, -3:] = True
    markers[edge & (plain < darkest + 0.05) & (markers == 0)] = 3
    markers[:, middle] = 4
    markers[-1, (markers[-1] == 0) & (plain[-1] > np.median(plain))] = 4
    found: np.ndarray = watershed(level, markers)
    return found


def _best(
    level: np.ndarray, own: np.ndarray, slope: Sequence[np.ndarray], side: int, shape: tuple[int, int]
) -> np.ndarray | None:
    """The most plausible dark piece of a basin over all thresholds; None where no piece could be a lung."""
    inside = np.where(own, level, np.inf)
    best, score = None, LEAST
    if not own.any():
        return None
    for threshold in np.quantile(level[own], np.linspace(0.1, 0.99, THRESHOLDS)):
        pieces, _ = ndimage.label(ndimage.binary_opening(inside < threshold))
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            tall = (box[0].stop - box[0].start) / shape[0]
            wide = (box[1].stop - box[1].start) / shape[1]
            if 0.25 < tall < 0.92 and 0.1 < wide < 0.48:
                mask = _filled(pieces == number)
                if (found := _plausibility(mask, slope, side, shape)) > score:
                    best, score = mask, found
    return best


def _plausibility(mask: np.ndarray, slope: Sequence[np.ndarray], side: int, shape: tuple[int, int]) -> float:
    """Steepness of the edge of a piece, less where it is ragged, small or cut by the image's border."""
    height, width = shape
    share = mask.sum() / (height * width)
    y, x = (where.mean() for where in np.nonzero(mask))
    aside = (mask.shape[1] - x if side == 1 else x) / width
    cut = (mask[0].sum() + mask[-1].sum() + mask[:, 0 if side == 1 else -1].sum()) / height
    if not (0.035 < share < 0.26 and 0.25 < y / height < 0.66 and 0.08 < aside < 0.36) or cut > 0.25:
        return 0.0
    edge = ndimage.binary_dilation(mask) & ~mask
    edge[:2] = edge[-2:] = edge[:, [0, -1]] = False
    inward = np.gradient(ndimage.gaussian_filter(mask.astype(np.float32), 1.0))
    length = np.hypot(*inward)[edge] + 1e-6
    steep = -(slope[0] * inward[0] + slope[1] * inward[1])[edge] / length
    steepness = float(np.clip(steep, -0.02, 0.05).mean())
    if steepness <= 0:
        return 0.0
    solidity = mask.sum() / ConvexHull(np.argwhere(edge)).volume
    return float(steepness * solidity**2 * min(1.0, share / 0.1) ** 0.5 * (1 - 2 * cut))


def _filled(mask: np.ndarray) -> np.ndarray:
    """Holes filled; by labels, which is much faster than ``binary_fill_holes``."""
    outside, _ = ndimage.label(~np.pad(mask, 1))
    filled: np.ndarray = (outside != outside[0, 0])[1:-1, 1:-1]
    return filled


def _closed(mask: np.ndarray, radius: float) -> np.ndarray:
    """Closing by a disc."""
    rim = int(radius) + 1
    grown = ndimage.distance_transform_edt(~np.pad(mask, rim)) <= radius
    closed: np.ndarray = (ndimage.distance_transform_edt(grown) > radius)[rim:-rim, rim:-rim]
    return closed


def _enlarged(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A field of the working size as one of ``shape``, with smooth outlines."""
    large = np.zeros(shape, np.uint8)
    for value in (1, 2):
        large[resize((field == value)[None], whole(field.shape), shape)[0] >= 0.5] = value
    return large
