"""Scores of the segmentation of a volume against its truth, by region, over all and lesion by lesion.

Where nothing is there, the rules of BraTS hold: truth and prediction both empty is a Dice of 1 and a
distance of 0; just one of them empty is a Dice of 0 and a distance of ``PENALTY_MM``.

Lesion by lesion (BraTS 2023): the truth is dilated, and what then touches is one lesion, without the voxels
that the dilation added. All predicted components that touch a lesion's dilated voxels are its prediction; one
component may serve two lesions. Lesions of at most a certain volume are left out. Components that touch no
lesion at all, left out or not, are false positives of Dice 0 and the penalty's distance, whatever their size;
so is a lesion without a prediction. The score is the mean over lesions and false positives; with none of
either nothing was to be found and nothing was, which is a Dice of 1 and a distance of 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from mirage.errors import DataError

Array = np.ndarray
PENALTY_MM = 374.0
"""Distance where just one of truth and prediction is empty: the diagonal of BraTS's 240x240x155 mm."""
NEIGHBOURS = np.ones((3, 3, 3), bool)
"""A component is what hangs together by faces, edges or corners."""


@dataclass(frozen=True)
class LesionRules:
    """What a lesion is; the defaults are those of the BraTS 2023 adult glioma task.

    Attributes:
        dilation: steps by which the truth is dilated through faces and edges, voxels.
        min_volume_mm3: lesions of at most this volume are left out.
    """

    dilation: int = 3
    min_volume_mm3: float = 50.0


def volume_scores(
    truth: Array,
    prediction: Array,
    regions: Mapping[str, Collection[int]],
    by_lesion: Collection[str],
    spacing: Sequence[float],
    rules: LesionRules,
    penalty_mm: float = PENALTY_MM,
) -> list[tuple[str, str, float]]:
    """All scores of one volume.

    Args:
        truth, prediction: label masks (D, H, W), uint8.
        regions: name -> label values that belong to it.
        by_lesion: names of the regions that are also scored lesion by lesion.
        spacing: mm between voxels along D, H and W.
        rules: what a lesion is.
        penalty_mm: distance where just one of truth and prediction is empty.

    Returns:
        (region, metric, value); metrics are ``dice``, ``hd95_mm``, ``sensitivity`` (NaN without truth) and
        ``specificity`` over the whole volume, and ``lesion_dice`` and ``lesion_hd95_mm``.

    Raises:
        DataError: the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise DataError(f"truth is {truth.shape}, prediction {prediction.shape}; they must be one volume")
    box = ndimage.find_objects((truth | prediction) != 0, max_label=1)[0] or (slice(0),) * 3
    truth, prediction, total = truth[box], prediction[box], truth.size
    rows = []
    for name, values in regions.items():
        wanted = np.isin(np.arange(256), list(values))
        t, p = wanted[truth], wanted[prediction]
        found = region_scores(t, p, total, spacing, penalty_mm)
        if name in by_lesion:
            overlap, distance = lesion_scores(t, p, spacing, rules, penalty_mm)
            found |= {"lesion_dice": overlap, "lesion_hd95_mm": distance}
        rows += [(name, metric, value) for metric, value in found.items()]
    return rows


def region_scores(
    truth: Array, prediction: Array, total: int, spacing: Sequence[float], penalty_mm: float = PENALTY_MM
) -> dict[str, float]:
    """``dice``, ``hd95_mm``, ``sensitivity`` and ``specificity`` of two masks cut out of a volume.

    Args:
        truth, prediction: bool (d, h, w).
        total: voxels of the whole volume, all others being negative in both masks.
        spacing: mm between voxels.
        penalty_mm: distance where just one is empty.
    """
    t, p = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    both = int(np.count_nonzero(truth & prediction))
    return {
        "dice": _dice(t, p, both),
        "hd95_mm": hausdorff95(truth, prediction, spacing, penalty_mm),
        "sensitivity": both / t if t else float("nan"),
        "specificity": (total - t - p + both) / (total - t) if total > t else float("nan"),
    }


def dice(truth: Array, prediction: Array) -> float:
    """Dice of two masks of one shape, bool; 1 where both are empty."""
    t, p, both = (int(np.count_nonzero(mask)) for mask in (truth, prediction, truth & prediction))
    return _dice(t, p, both)


def _dice(truth: int, prediction: int, both: int) -> float:
    return 2 * both / (truth + prediction) if truth + prediction else 1.0


def hausdorff95(
    truth: Array, prediction: Array, spacing: Sequence[float], penalty_mm: float = PENALTY_MM
) -> float:
    """The larger of the two directed 95th percentiles of distances between surface voxels, mm.

    A surface voxel has a face neighbour outside its mask, or lies at the border of the array. Percentiles are
    of voxels, not weighted by the area that a voxel stands for.

    Args:
        truth, prediction: bool (d, h, w); where they are cut out of a volume they must be whole.
        spacing: mm between voxels.
        penalty_mm: distance where just one is empty; 0 where both are.
    """
    first, second = (surface_points(mask, spacing) for mask in (truth, prediction))
    if not len(first) or not len(second):
        return penalty_mm if len(first) or len(second) else 0.0
    there, back = cKDTree(second).query(first)[0], cKDTree(first).query(second)[0]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def surface_points(mask: Array, spacing: Sequence[float]) -> Array:
    """Positions of a mask's surface voxels (n, 3), float64, mm from the array's first voxel."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        low, high = _along(axis, slice(None, -1)), _along(axis, slice(1, None))
        inner[high] &= mask[low]
        inner[low] &= mask[high]
        inner[_along(axis, slice(0, 1))] = False
        inner[_along(axis, slice(-1, None))] = False
    points: Array = np.argwhere(mask & ~inner) * np.asarray(spacing, np.float64)
    return points


def lesion_scores(
    truth: Array,
    prediction: Array,
    spacing: Sequence[float],
    rules: LesionRules,
    penalty_mm: float = PENALTY_MM,
) -> tuple[float, float]:
    """Dice and HD95 (mm) averaged over lesions and false positives; see the module.

    Args:
        truth, prediction: bool (d, h, w); where they are cut out of a volume they must be whole.
        spacing: mm between voxels.
        rules: what a lesion is.
        penalty_mm: distance of what is missed, and of what is not there.
    """
    truth, prediction = (np.pad(mask, rules.dilation) for mask in (truth, prediction))
    footprints, _ = ndimage.label(dilated(truth, rules.dilation), NEIGHBOURS)
    components, count = ndimage.label(prediction, NEIGHBOURS)
    boxes = ndimage.find_objects(components)
    touched = np.zeros(count + 1, bool)
    scores = []
    for number, box in enumerate(ndimage.find_objects(footprints), start=1):
        footprint = footprints[box] == number
        own = np.unique(components[box][footprint])
        own = own[own > 0]
        touched[own] = True
        if np.count_nonzero(footprint & truth[box]) * np.prod(spacing) <= rules.min_volume_mm3:
            continue
        around = _union([box, *(boxes[component - 1] for component in own)])
        t = truth[around] & (footprints[around] == number)
        p = np.isin(components[around], own)
        scores.append((dice(t, p), hausdorff95(t, p, spacing, penalty_mm)))
    scores += [(0.0, penalty_mm)] * int(count - np.count_nonzero(touched))
    if not scores:
        return 1.0, 0.0
    mean_dice, mean_distance = np.mean(scores, axis=0)
    return float(mean_dice), float(mean_distance)


def dilated(mask: Array, steps: int) -> Array:
    """Dilation of a mask (d, h, w) through faces and edges, not through corners.

    One step is the union of the three planes' 3x3 squares, and a square is a line after a line; several
    times faster than a dilation by the structuring element.
    """
    for _ in range(steps):
        d, h = _line(mask, 0), _line(mask, 1)
        mask = _line(d, 1) | _line(d, 2) | _line(h, 2)
    return mask


def _line(mask: Array, axis: int) -> Array:
    """Dilation by one voxel to both sides along one axis."""
    low, high = _along(axis, slice(None, -1)), _along(axis, slice(1, None))
    made = mask.copy()
    made[high] |= mask[low]
    made[low] |= mask[high]
    return made


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    """Index of a part of one of three axes."""
    return tuple(part if other == axis else slice(None) for other in range(3))


def _union(boxes: Sequence[Any]) -> tuple[slice, ...]:
    """Smallest box around boxes."""
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*boxes, strict=True)
    )


def implausible_order(means: Mapping[str, float]) -> str | None:
    """A warning where the whole tumour is found worse than a part of it.

    The whole tumour is the easiest of the three regions: published tables in which its mean Dice is the
    lowest most likely hold labels (necrosis, oedema, enhancing tumour) under the names of regions.

    Args:
        means: region -> mean Dice over subjects; looked at for WT, TC and ET.

    Returns:
        One sentence; None where the order is plausible or regions are lacking.
    """
    whole = means.get("WT")
    above = {name: means[name] for name in ("TC", "ET") if name in means and whole is not None}
    worse = {name: value for name, value in above.items() if whole is not None and value > whole}
    if not worse or whole is None:
        return None
    found = ", ".join(f"{name} {value:.3f}" for name, value in worse.items())
    return (
        f"mean Dice of WT {whole:.3f} lies below {found}: the whole tumour is the easiest region, so either "
        "the regions are made of the wrong labels (look at the label codes of the source and at `regions`) "
        "or the judge has learnt too little"
    )
