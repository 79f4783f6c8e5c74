"""Find metal on chest radiographs: pacemakers and their leads, cables, electrodes.

Metal is brighter than any tissue beside it, with sharp edges, and thin (a wire) or compact (a can, a button).
An image with dark bones, and metal darker still, is turned first. A white top-hat keeps what is brighter than
its surroundings and narrower than a window; of that, connected parts with steep edges all around are taken
for metal. It is a proposal: a person has to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirage.preprocess.lungs import is_inverted

SIDE = 512
"""Side at which images are searched, pixels."""
WINDOWS = {"wire": 0.02, "compact": 0.16}
"""Kind of metal -> width, share of the side, below which a structure is seen."""
HEIGHT = {"wire": 0.12, "compact": 0.22}
"""How much brighter than its surroundings metal is, share of the image's range."""
STEEP = 0.28
"""Median rise at a part's edge over one pixel, relative to its height."""
LONG = 0.12
"""Extent from which a wire counts, share of the side."""
LARGE = 0.0012
"""Area from which a compact part counts, share of the image's."""
CENTRE = (0.1, 0.13, 0.9, 0.95)
"""Left, top, right and lower edge of where metal on the patient lies; letters are outside."""


@dataclass(frozen=True)
class Metal:
    """What was found on an image.

    Attributes:
        score: share of the image, in per mille, that looks like metal, weighted by its height; 0 for none.
        reason: what it looks like and where, for a person to check.
    """

    score: float
    reason: str


def find_metal(image: np.ndarray) -> Metal:
    """Look for metal.

    Args:
        image: (H, W), any real type, bones bright or dark.
    """
    grey = _reduced(-image.astype(np.float32) if is_inverted(image) else image)
    found: list[tuple[float, str]] = []
    for kind, window in WINDOWS.items():
        found += _parts(grey, kind, max(3, round(window * SIDE)) | 1)
    if not found:
        return Metal(0.0, "")
    found.sort(reverse=True)
    score = sum(weight for weight, _ in found)
    return Metal(round(float(score), 3), "; ".join(text for _, text in found[:3]))


def _reduced(image: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float32, with the 1st and 99.5th percentile at 0 and 1."""
    from PIL import Image

    low, high = np.percentile(image[::4, ::4], [1, 99.5])
    scaled = (image.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6))
    picture = Image.fromarray(np.clip(scaled, 0, 1.5))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def _parts(grey: np.ndarray, kind: str, window: int) -> list[tuple[float, str]]:
    from scipy import ndimage

    height = grey - ndimage.grey_opening(grey, size=(window, window))
    labels, count = ndimage.label(height > HEIGHT[kind], structure=np.ones((3, 3)))
    if not count:
        return []
    slope = ndimage.gaussian_gradient_magnitude(grey, 0.7)
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[place] == number
        area, extent = int(part.sum()), max(part.shape) / SIDE
        x = (place[1].start + place[1].stop) / 2 / SIDE
        y = (place[0].start + place[0].stop) / 2 / SIDE
        if not (CENTRE[0] < x < CENTRE[2] and CENTRE[1] < y < CENTRE[3]):
            continue
        if (kind == "wire" and extent < LONG) or (kind == "compact" and area < LARGE * SIDE**2):
            continue
        edge = part & ~ndimage.binary_erosion(part)
        level = float(np.median(height[place][part]))
        if float(np.median(slope[place][edge])) < STEEP * level:
            continue
        found.append((1000 * area * level / SIDE**2, f"{kind} at x {x:.2f}, y {y:.2f}"))
    return found
