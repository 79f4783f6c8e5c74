"""The average head that simulated ones deform: the MNI152 template (ICBM 2009a, bundled with nilearn).

Positions are MNI millimetres: x to the right, y to the front, z up.
Fonov et al., NeuroImage 54:313-327, 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

T1_LEVELS = (0.27, 0.665, 0.885)
"""Medians of the template's T1 where CSF, grey or white matter has a probability above 0.9."""
COARSE = 3
"""Voxel size of the maps on which tumours grow, mm."""
CENTRE = (0.0, -17.0, 5.0)
"""Centre of the brain's bounding box, mm."""
HALF = (73.0, 91.0, 78.0)
"""Half the sides of that box, mm."""
MARGIN = 4
"""Empty voxels around the brain."""
FAR = 15.0
"""Greatest distance from the ventricles that is told apart, mm."""
VENTRICLE_BOX = ((-52, 53), (-75, 48), (-21, 47))
"""Where the lateral ventricles lie, with a margin of ``FAR``, mm."""


@dataclass(frozen=True)
class Template:
    """Maps on a grid of cubic voxels; all float32 (X, Y, Z).

    Attributes:
        step: voxel size, mm.
        origin: position of voxel (0, 0, 0), mm.
        inside: the brain mask, smoothed by 1 mm.
        grey: fraction of grey matter.
        white: fraction of white matter; what is neither, inside the brain, is CSF.
        texture: T1 of the template minus what the three fractions explain.
        ventricle: signed distance to the lateral ventricles' wall, mm, negative within, at most ``FAR``.
        depth: distance to the brain's surface, mm, to the nearest ``COARSE``.
    """

    step: float
    origin: np.ndarray
    inside: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    texture: np.ndarray
    ventricle: np.ndarray
    depth: np.ndarray

    def at(self, name: str, points: np.ndarray) -> np.ndarray:
        """A map's values between voxels.

        Args:
            name: of the attribute.
            points: (3, N) positions, mm; those outside the grid get the nearest voxel's value.
        """
        return self.between(getattr(self, name), points)

    def between(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Values (X, Y, Z) of this grid at (3, N) positions in mm, linearly interpolated, float32."""
        index = (points - self.origin[:, None].astype(np.float32)) / np.float32(self.step)
        return np.asarray(ndimage.map_coordinates(values, index, output=np.float32, order=1, mode="nearest"))

    def positions(self) -> np.ndarray:
        """(3, X, Y, Z) positions of the voxels, mm, float32."""
        index = np.indices(self.inside.shape, dtype=np.float32)
        return np.asarray(index * np.float32(self.step) + self.origin.reshape(3, 1, 1, 1).astype(np.float32))


@cache
def load_template(step: int) -> Template:
    """The template at a voxel size of 1, 2 or 3 mm; read once per process."""
    if step != 1:
        return _coarser(load_template(1), step)
    # Imported here because it takes seconds, and only simulations of brains need it.
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    loaders = (load_mni152_template, load_mni152_gm_template, load_mni152_wm_template)
    images = [load(resolution=1) for load in loaders]
    t1, grey, white = (np.asarray(image.dataobj, dtype=np.float32) for image in images)
    box = ndimage.find_objects((t1 > 0).astype(np.uint8))[0]
    origin = images[0].affine[:3, 3] + [side.start - MARGIN for side in box]
    t1, grey, white = (np.pad(values[box], MARGIN) for values in (t1, grey, white))
    brain = t1 > 0
    csf = np.clip(brain - grey - white, 0, 1)
    depth = _depth(brain)
    explained = sum(level * part for level, part in zip(T1_LEVELS, (csf, grey, white), strict=True))
    return Template(
        step=1.0,
        origin=origin,
        inside=ndimage.gaussian_filter(brain.astype(np.float32), 1.0),
        grey=grey,
        white=white,
        texture=np.where(depth > 2, t1 - explained, np.float32(0)),
        ventricle=_ventricle_distance(csf, depth, origin),
        depth=depth,
    )


def _depth(brain: np.ndarray) -> np.ndarray:
    """Distance to the surface of a mask of 1 mm voxels, in steps of ``COARSE`` mm."""
    coarse = ndimage.distance_transform_edt(brain[1::COARSE, 1::COARSE, 1::COARSE], sampling=COARSE)
    for axis, size in enumerate(brain.shape):
        coarse = coarse.repeat(COARSE, axis=axis).take(np.arange(size), axis=axis, mode="clip")
    return np.asarray(coarse, np.float32)


def _ventricle_distance(csf: np.ndarray, depth: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The lateral ventricles are the large pools of CSF deep on both sides of the midline."""
    found = np.full(csf.shape, FAR, np.float32)
    box = tuple(
        slice(int(low - start), int(high - start))
        for (low, high), start in zip(VENTRICLE_BOX, origin, strict=True)
    )
    pools = (csf[box] > 0.5) & (depth[box] > 20)
    x, y = (np.arange(*limits) for limits in VENTRICLE_BOX[:2])
    # Neither the septum nor the cistern behind the midbrain belongs to them.
    pools[(np.abs(x) < 2)[:, None] | ((np.abs(x) < 14)[:, None] & (y < -30))] = False
    core = tuple(slice(int(FAR), -int(FAR)) for _ in range(3))
    inner = np.zeros_like(pools)
    inner[core] = pools[core]
    labels, _ = ndimage.label(inner)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    ventricles = (sizes > 2000)[labels]
    signed = ndimage.distance_transform_edt(~ventricles) - ndimage.distance_transform_edt(ventricles)
    found[box] = np.minimum(signed, FAR)
    return np.asarray(ndimage.gaussian_filter(found, 0.7))


def _coarser(fine: Template, step: int) -> Template:
    """Means over blocks of ``step`` voxels a side; what is left over at the far ends is margin."""

    def mean(values: np.ndarray) -> np.ndarray:
        whole = [n // step for n in values.shape]
        cut = values[tuple(slice(0, n * step) for n in whole)]
        blocks = cut.reshape(whole[0], step, whole[1], step, whole[2], step)
        return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))

    names = ("inside", "grey", "white", "texture", "ventricle", "depth")
    maps = {name: mean(getattr(fine, name)) for name in names}
    return Template(float(step), fine.origin + (step - 1) / 2, **maps)
