"""Nodules of CT as they would look on a radiograph, after the generation baseline of NODE21.

The baseline (github.com/node21challenge/node21_generation_baseline; Litjens et al., SPIE 7624, 2010) clips
the Hounsfield units of a nodule, what is around it set to the lowest, averages their exponentials along the
line from front to back, scales the picture to the size that is asked for, gives it a contrast by the lung
that it is put into, and clones it seamlessly with mixed gradients, half by half with the picture. Here it is
computed in floating point on the stored picture, and nothing outside the nodule's soft edge changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from mirage.errors import DataError
from mirage.preprocess.lesions import FEATHER, RIM, Box, Lesion, soft_edge

CLIP_HU = (-500.0, 400.0)
OFFSET_HU = 1024.0
SCALE_HU = 0.85 / 1000
"""Hounsfield units ``h`` attenuate ``min(1, (h + OFFSET_HU) * SCALE_HU)``."""
LEAST_CONTRAST = 0.4
"""Lower ones made nodules invisible, says the baseline."""


def project(hounsfield: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, ...]) -> Lesion:
    """A nodule projected from front to back, in values 0 to 1 and pixels of the finer in-plane spacing.

    Args:
        hounsfield: (D, H, W): from feet to head, from front to back, from the patient's right to left.
        mask: (D, H, W), non-zero in the nodule.
        spacing_mm: along D, H, W.

    Returns:
        Upright, the patient's right on the left. ``original`` and ``residual`` are both the projection, 0
        outside the nodule's shadow; ``box`` is the square around the shadow.

    Raises:
        DataError: the mask is empty, or nothing in it is dense enough to be seen.
    """
    shadow = np.asarray((mask > 0).any(axis=1))
    if not shadow.any():
        raise DataError("the mask of the CT nodule is empty")
    alone = np.clip(np.where(mask > 0, hounsfield, CLIP_HU[0]), *CLIP_HU)
    attenuation = np.minimum(1.0, (alone + OFFSET_HU) * SCALE_HU)
    picture = np.exp(attenuation).mean(axis=1)[::-1]
    pixel = min(spacing_mm[0], spacing_mm[2])
    factors = (spacing_mm[0] / pixel, spacing_mm[2] / pixel)
    picture = ndimage.zoom(picture, factors, order=1, mode="nearest", grid_mode=True)
    inside = ndimage.zoom(shadow[::-1].astype(float), factors, order=1, mode="nearest", grid_mode=True) >= 0.5
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    y, x = (rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2
    box = Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    margin = int(np.ceil(FEATHER * side)) + 2
    picture, inside = np.pad(picture, margin, mode="edge"), np.pad(inside, margin)
    low, high = picture.min(), picture[inside].max()
    if high <= low:
        raise DataError(f"the CT nodule is nowhere denser than {CLIP_HU[0]:g} Hounsfield units")
    picture = np.where(inside, (picture - low) / (high - low), 0.0)
    core = inside & (picture > RIM * picture.max())
    support = soft_edge(inside, max(1.0, FEATHER * side))
    return Lesion(picture, support, core.astype(np.float64), picture, box.moved(margin, margin))


def matched(lesion: Lesion, lung: np.ndarray, value_range: tuple[float, float]) -> tuple[Lesion, float]:
    """A projected nodule with the contrast that the baseline gives it in a piece of lung.

    Args:
        lesion: from :func:`project`, or transformed.
        lung: stored values of the picture where it will lie, bright bones.
        value_range: lowest and highest possible stored value.

    Returns:
        The nodule in stored values, ``residual`` being the half of it that is added, and its contrast
        ``max(0.4, ln(nodule / lung))``, of mean values above the lowest possible one.
    """
    low, high = value_range
    own = float(lesion.original[lesion.core].mean())
    around = max((float(np.mean(lung)) - low) / (high - low), 1e-3)
    contrast = max(LEAST_CONTRAST, float(np.log(own / around)))
    shown = lesion.original * contrast * (high - low)
    return replace(lesion, original=low + shown, residual=shown / 2), contrast
