"""What four MRI sequences show of a brain: tissue, lesions, coil, slices, noise and an arbitrary scale.

Levels are relative to white matter on T1 and to grey matter on FLAIR. They were chosen by eye, against two
TCGA-LGG patients in BraTS space and what is known of gliomas: oedema bright on FLAIR and T2 and darkish on
T1, a rim bright on T1ce, necrosis dark on T1 and T1ce and bright on T2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mirage.simulate.fields import Axes, noise

SEQUENCES = ("flair", "t1", "t1ce", "t2")
TISSUES = {  # CSF, grey matter, white matter
    "flair": (0.14, 1.00, 0.84),
    "t1": (0.26, 0.68, 1.00),
    "t1ce": (0.26, 0.72, 1.00),
    "t2": (2.10, 0.80, 0.58),
}
LESIONS = {  # NCR, ED, ET
    "flair": (0.85, 1.50, 1.32),
    "t1": (0.44, 0.68, 0.72),
    "t1ce": (0.46, 0.70, 1.55),
    "t2": (1.65, 1.20, 1.05),
}
SOLID = {"flair": 1.45, "t1": 0.52, "t1ce": 0.54, "t2": 1.60}
"""NCR of a low-grade tumour: solid tumour that does not enhance, rather than necrosis."""
TEXTURE = {"flair": -0.25, "t1": 1.0, "t1ce": 0.9, "t2": -0.9}
"""Answer to what the template's T1 shows beyond the three tissues, such as the paler deep grey matter."""
PATCHY = (0.10, 0.06, 0.16)
"""How uneven NCR, ED and ET are."""
TAKEN = 0.82
"""Share of a lesion's level in its voxels; the rest is what was there before."""


@dataclass(frozen=True)
class Grid:
    """Voxels to compute: a box of the volume around the head, each voxel cut into ``factor`` a side.

    Attributes:
        shape: of the volume, voxels.
        spacing: of the volume, mm.
        box: of the volume's voxels.
        factor: sub-voxels along a voxel's side.
        axes: positions of the sub-voxels, mm.
    """

    shape: tuple[int, int, int]
    spacing: float
    box: tuple[slice, slice, slice]
    factor: int
    axes: Axes

    @property
    def step(self) -> float:
        """Size of a sub-voxel, mm."""
        return self.spacing / self.factor

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Sub-voxels (x, y, z) to voxels of the box, float32."""
        f = self.factor
        for axis in range(3 if f > 1 else 0):
            turned = values.swapaxes(0, axis)
            values = np.asarray(sum(turned[part::f] for part in range(f)) / np.float32(f)).swapaxes(0, axis)
        return values

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Put the box into a volume of zeros."""
        volume = np.zeros(self.shape, values.dtype)
        volume[self.box] = values
        return volume


@dataclass(frozen=True)
class Anatomy:
    """What the sub-voxels inside a brain consist of; N is their number.

    Attributes:
        inside: bool grid.
        points: float32 (3, N) positions in the template, mm.
        csf: float32 (N,) fraction; with the next two, 1.
        grey: float32 (N,) fraction of grey matter.
        white: float32 (N,) fraction of white matter.
        texture: float32 (N,) of the template.
        ventricle: float32 (N,) distance to the lateral ventricles, mm.
        surface: float32 (N,), from 0.5 at the brain's surface to 1 a few mm below it.
    """

    inside: np.ndarray
    points: np.ndarray
    csf: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    texture: np.ndarray
    ventricle: np.ndarray
    surface: np.ndarray


@dataclass(frozen=True)
class Look:
    """What draws a subject's contrasts, coil and scale; ``solid`` is a core that is not necrotic."""

    rng: np.random.Generator
    solid: bool

    def levels(self, sequence: str) -> tuple[np.ndarray, np.ndarray]:
        """This subject's levels of CSF, grey and white matter, and of NCR, ED and ET, float32 (3,) each."""
        tissue = np.array(TISSUES[sequence]) * np.exp(self.rng.normal(0, (0.10, 0.04, 0.04)))
        lesion = np.array(LESIONS[sequence])
        if self.solid:
            lesion[0] = SOLID[sequence]
        lesion *= np.exp(self.rng.normal(0, (0.12, 0.07, 0.12)))
        return tissue.astype(np.float32), lesion.astype(np.float32)


def render(
    look: Look,
    speckle: np.random.Generator,
    grid: Grid,
    anatomy: Anatomy,
    weights: list[np.ndarray],
    brain: np.ndarray,
) -> np.ndarray:
    """All sequences.

    Args:
        look: of the subject.
        speckle: the noise, the one thing that depends on the voxels.
        grid: where.
        anatomy: what the brain consists of.
        weights: of ``lesion_weights``.
        brain: bool box of voxels.

    Returns:
        int16 (4, X, Y, Z): 0 outside the brain, at least 1 inside.
    """
    rng, inside = look.rng, anatomy.inside
    details = _details(rng, grid, anatomy)
    grain, patches = (noise(rng, grid.axes, spacing)[inside] for spacing in (5.0, 14.0))
    coil = np.float32(0.07) * noise(rng, grid.axes, 90.0)
    level = np.exp(rng.uniform(np.log(90), np.log(1300)))
    volumes = []
    for sequence in SEQUENCES:
        tissue, lesion = look.levels(sequence)
        values = tissue[0] * anatomy.csf + tissue[1] * anatomy.grey + tissue[2] * anatomy.white
        values += np.float32(TEXTURE[sequence]) * anatomy.texture + details[sequence]
        values *= 1 + np.float32(0.015) * grain
        for weight, value, uneven in zip(weights, lesion, PATCHY, strict=True):
            shown = value * (1 + np.float32(uneven) * patches + np.float32(0.05) * grain)
            values += np.float32(TAKEN) * weight * (shown - values)
        volume = np.zeros(inside.shape, np.float32)
        volume[inside] = np.maximum(values, 0.02)
        volume = _slice_profile(volume, inside, rng.uniform(1.0, 4.0) / grid.step)
        bias = np.exp(coil + np.float32(0.06) * noise(rng, grid.axes, 70.0))
        signal = grid.mean(volume * bias * inside)[brain]
        deviation, scale = rng.uniform(0.012, 0.035), level * np.exp(rng.normal(0, 0.35))
        volumes.append(np.zeros(brain.shape, np.int16))
        volumes[-1][brain] = _measure(speckle, signal, deviation, scale)
    return np.stack([grid.whole(volume) for volume in volumes])


def lesion_weights(labels: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
    """Memberships of NCR, ED and ET, float32 (N,) each, blurred at the edges.

    Args:
        labels: uint8 grid of sub-voxels; not empty.
        inside: bool grid, the brain.
    """
    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    near = tuple(slice(max(0, side.start - 5), side.stop + 5) for side in box)
    found = []
    for code, blur in ((1, 0.8), (2, 1.2), (3, 0.7)):
        soft = np.zeros(labels.shape, np.float32)
        soft[near] = ndimage.gaussian_filter((labels[near] == code).astype(np.float32), blur)
        found.append(soft[inside])
    return found


def _details(rng: np.random.Generator, grid: Grid, anatomy: Anatomy) -> dict[str, np.ndarray]:
    """What stands out in healthy tissue, float32 (N,) by sequence.

    Vessels, meninges and choroid plexus take up contrast agent; old white matter is bright on FLAIR and T2
    around the ventricles and in spots.
    """
    one, two, patch = (noise(rng, grid.axes, spacing)[anatomy.inside] for spacing in (13.0, 13.0, 10.0))
    vessels = np.exp(-(one**2 + two**2) / np.float32(0.03)) * np.clip(3 * anatomy.csf, 0, 1)
    meninges = np.clip(1 - np.abs(anatomy.surface - 0.6) / 0.15, 0, 1) * np.clip(patch - 0.2, 0, 1)
    plexus = (anatomy.ventricle < -1) * np.clip(patch - 0.6, 0, 1)
    caps = np.exp(-np.maximum(anatomy.ventricle - 1, 0) / np.float32(2.5)) * np.clip(one + 0.4, 0, 2)
    spots = 1.5 * np.clip(two - 2.0, 0, 1)
    old = np.float32(rng.gamma(1.5, 0.18)) * np.clip(anatomy.white * (caps + spots), 0, 1.5)
    return {
        "flair": old,
        "t1": -0.15 * old,
        "t1ce": 0.9 * vessels + 0.6 * meninges + 0.9 * plexus - 0.15 * old,
        "t2": 0.45 * old - 0.3 * vessels,
    }


def _slice_profile(volume: np.ndarray, inside: np.ndarray, thickness: float) -> np.ndarray:
    """Blur along z as slices of a thickness in sub-voxels do; the brain's surface does not darken."""
    sigma = thickness / 2.355
    blurred = ndimage.gaussian_filter1d(volume, sigma, axis=2, truncate=2.5)
    share = ndimage.gaussian_filter1d(inside.astype(np.float32), sigma, axis=2, truncate=2.5)
    return np.asarray(blurred / np.maximum(share, 0.05))


def _measure(rng: np.random.Generator, signal: np.ndarray, deviation: float, scale: float) -> np.ndarray:
    """Rician magnitude of a complex signal, in a scanner's arbitrary integers, int16, at least 1."""
    real, imaginary = np.float32(deviation) * rng.standard_normal((2, len(signal)), dtype=np.float32)
    magnitude = np.hypot(signal + real, imaginary)
    return np.clip(np.rint(scale * magnitude), 1, np.iinfo(np.int16).max).astype(np.int16)
