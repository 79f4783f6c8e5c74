"""Recipe `project_and_insert`: nodules of CT, projected into the lungs of healthy radiographs.

The generation baseline of NODE21 as a rival of inpainted and extracted lesions: see
``mirage.preprocess.ct_projection``.
"""

from __future__ import annotations

import logging
import math
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from mirage.data import Dataset
from mirage.errors import DataError
from mirage.preprocess.ct_projection import CLIP_HU, matched, project
from mirage.preprocess.lesions import Blended, Lesion, insert, places, transformed
from mirage.preprocess.volumes import WINDOW
from mirage.recipes.extract_and_insert import TRIES, ExtractAndInsert, reach

logger = logging.getLogger(__name__)
DIAMETER = "diameter_mm"
"""Attribute of a CT nodule."""


class ProjectAndInsert(ExtractAndInsert):
    """Whole radiographs as of `extract_and_insert`, with projected nodules instead of extracted lesions.

    A nodule is drawn among those that need not be enlarged by more than ``max_zoom``, or twice that where
    there is none. Donors are the subjects of the host and of all CT nodules.
    """

    @property
    def _lesions(self) -> Dataset:
        return self.datasets[self.options.nodules].select("train").labelled()

    @cached_property
    def _nodules(self) -> Dataset:
        return self._lesions

    @cached_property
    def _usable(self) -> list[int]:
        """Numbers of those that the projection shows: some ground glass is thinner than all that it does."""
        usable = []
        for number in range(len(self._nodules)):
            hounsfield, mask = self._patch(number)
            if (hounsfield[mask] > CLIP_HU[0]).any():
                usable.append(number)
        left = len(self._nodules) - len(usable)
        if left:
            logger.warning("%s: %d nodules are too faint to be seen and left out", self.name, left)
        return usable

    @cached_property
    def _diameters(self) -> np.ndarray:
        """Of every nodule, mm."""
        return self._nodules.items[DIAMETER].to_numpy(dtype=float)

    @property
    def _labels(self) -> dict[int, str]:
        return {1: "Nodule"}

    def check(self) -> None:
        self.check_hosts()
        info, items = self._nodules.info, self._nodules.items
        if not len(items):
            raise DataError(f"{info.name}: its training split has no CT nodule with a label mask")
        missing = [name for name in (DIAMETER, *WINDOW) if name not in items or items[name].isna().any()]
        if missing or "nodule" not in items:
            raise DataError(
                f"{info.name}: its items are no CT nodules in a window of Hounsfield units (no attribute "
                f"{', '.join(missing) or 'nodule'}); read them with `lidc` and `items: nodules`, or with "
                "`node21_ct_nodules`, and prepare them with `intensity: {kind: window, ...}`"
            )
        unknown = [number for number in range(len(items)) if self._nodules.spacing_mm(number) is None]
        if unknown:
            raise DataError(
                f"{info.name}: the spacing of the voxels of {items['item_id'].iloc[unknown[0]]} is unknown"
            )

    def _inserted(
        self,
        image: np.ndarray,
        host: int,
        lung: np.ndarray,
        taken: np.ndarray,
        turn: int,
        used: set[int],
        rng: np.random.Generator,
    ) -> tuple[Blended, dict[str, Any]]:
        pixel, value_range = self._pixel_mm(host), self._hosts.info.value_range
        smallest = math.inf
        for _ in range(TRIES):
            low, high = self.options.diameter_mm
            diameter = float(np.exp(rng.uniform(math.log(low), math.log(high))))
            chosen = self._chosen(diameter, used, rng)
            angle = float(rng.uniform(-self.options.rotate_deg, self.options.rotate_deg))
            nodule = self._projected(chosen)
            lesion = transformed(nodule, angle, diameter / pixel / nodule.box.side)
            radius = max(max(lesion.box.size) / 2, reach(lesion))
            free = places(lung, radius, taken)
            smallest = min(smallest, radius)
            if not len(free):
                continue
            y, x = (int(value) for value in free[int(rng.integers(len(free)))])
            half = len(lesion.support) // 2
            under = lesion.box.moved(y - half, x - half).mask(image.shape)
            lesion, contrast = matched(lesion, image[under], value_range)
            blended = insert(image, lesion, (y, x), self.options.blend, value_range)
            used.add(chosen)
            row = self._nodules.items.iloc[chosen]
            return blended, {
                "label": "Nodule",
                "donor": f"{self._nodules.info.namespace}/{row['subject_id']}",
                "lesion_item": str(row["item_id"]),
                "lesion_angle_deg": angle,
                "lesion_scale": diameter / float(row[DIAMETER]),
                "lesion_y": y,
                "lesion_x": x,
                "lesion_contrast": blended.contrast,
                "lesion_projected_contrast": contrast,
                "lesion_diameter_px": diameter / pixel,
                "lesion_diameter_mm": diameter,
                "lesion_clipped": blended.clipped,
            }
        raise DataError(
            f"no place in the lungs for a nodule of {2 * smallest:.0f} pixels, the smallest of {TRIES} "
            "draws; lower `diameter_mm`, `per_image` or `lung.margin`"
        )

    def _chosen(self, diameter: float, used: set[int], rng: np.random.Generator) -> int:
        """Number of a nodule to be scaled to a diameter in mm; one that is not used yet, if there is any."""
        for zoom in (self.options.max_zoom, 2 * self.options.max_zoom, math.inf):
            fitting = [number for number in self._usable if self._diameters[number] * zoom >= diameter]
            fresh = [number for number in fitting if number not in used]
            if fitting:
                return int(rng.choice(fresh or fitting))
        raise DataError(f"{self._nodules.info.name}: none of its nodules is dense enough to be seen")

    def _patch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Hounsfield units and nodule of a patch, (D, H, W)."""
        item = self._nodules.item(number)
        low, high = (float(item.attributes[key]) for key in WINDOW)
        shares = item.image[0].astype(np.float32) / np.float32(self._nodules.info.value_range[1])
        return low + shares * (high - low), central(self._nodules.mask(number))

    def _projected(self, number: int) -> Lesion:
        """A CT nodule seen from the front."""
        spacing = self._nodules.spacing_mm(number)
        assert spacing is not None  # checked before anything is made
        return project(*self._patch(number), spacing)

    def _pixel_mm(self, host: int) -> float:
        spacing = self._hosts.spacing_mm(host)
        if spacing is not None:
            return math.sqrt(math.prod(spacing))
        if self.options.pixel_mm is None:
            raise DataError("the spacing of its pixels is unknown; say `pixel_mm` in the recipe")
        return float(self.options.pixel_mm)


def central(mask: np.ndarray) -> np.ndarray:
    """The piece of a mask (D, H, W) that comes nearest to the middle, where the nodule of a patch is."""
    pieces, count = ndimage.label(mask > 0, np.ones((3, 3, 3)))
    if count < 2:
        return mask > 0
    places = np.argwhere(pieces)
    distance = np.linalg.norm(places - (np.array(mask.shape) - 1) / 2, axis=1)
    nearest = pieces[tuple(places[int(distance.argmin())])]
    return np.asarray(pieces == nearest)
