"""The projection of a healthy breast: outline, skin, fat, gland, strands, vessels and the pectoral muscle.

Lengths are millimetres: x from the chest wall, y from the upper edge of the image, so that a breast is the
same at every size. Drawn as a left one, whose chest wall is at the image's left; a right one is its mirror
image. Values are attenuation, about 0 (air) to 1 (dense gland), the logarithm of what a detector counts.

Glandular texture has a power spectrum that falls with the third power of the frequency, as that of real
mammograms does (Burgess et al., Med Phys 28:419-437, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

View = Literal["CC", "MLO"]
Density = Literal["A", "B", "C", "D"]
DENSITIES: tuple[Density, ...] = ("A", "B", "C", "D")
"""Classes of composition (BI-RADS): almost entirely fat, scattered, heterogeneously and extremely dense."""
SHARES = {"A": 0.07, "B": 0.25, "C": 0.55, "D": 0.85}
"""Class -> share of the gland's region that is gland."""
GRID = 512
"""Side at which textures are made, pixels."""
STEP = 0.5
"""Side of such a pixel, mm."""
FAT, GLAND, MUSCLE = 0.30, 0.74, 0.60
ROLL = 24.0
"""Width of the rim in which a compressed breast gets thinner, mm."""


@dataclass(frozen=True)
class Breast:
    """Measures of one breast in one view, mm unless said otherwise.

    Attributes:
        view: CC (from above) or MLO (oblique, with the pectoral muscle).
        density: class of composition.
        depth: from the chest wall to the skin at the nipple.
        nipple: y of the nipple.
        above, below: how far the breast reaches from there along the chest wall.
        axilla: share of ``depth`` that is left at the upper edge (MLO).
        fullness: exponent of the outline, about 2.
        muscle: width of the pectoral muscle at the upper edge, and how far it reaches down (MLO).
        thickness: of the compressed breast.
        nipple_size: radius of the nipple.
    """

    view: View
    density: Density
    depth: float
    nipple: float
    above: float
    below: float
    axilla: float
    fullness: float
    muscle: tuple[float, float]
    thickness: float
    nipple_size: float


@dataclass(frozen=True)
class Tissue:
    """A breast, drawn.

    Attributes:
        attenuation: float32 (H, W), 0 in air.
        breast: bool (H, W), muscle included.
        muscle: bool (H, W).
        inward: float32 (H, W), distance to the skin, mm; 0 in air.
        gland: float32 (H, W) in 0..1, share of gland.
        rim: float32 (H, W) in 0..1, thickness there, as a share of the greatest.
    """

    attenuation: np.ndarray
    breast: np.ndarray
    muscle: np.ndarray
    inward: np.ndarray
    gland: np.ndarray
    rim: np.ndarray


def draw_breast(
    rng: np.random.Generator, view: View, density: Density, height_mm: float, width_mm: float
) -> Breast:
    """Measures of a random breast that fits an image of this size."""
    depth = min(rng.uniform(85, 135), 0.86 * width_mm, 0.52 * height_mm)
    oblique = view == "MLO"
    nipple = height_mm * (rng.uniform(0.54, 0.62) if oblique else rng.uniform(0.46, 0.54))
    axilla = rng.uniform(0.45, 0.65)
    above, below = depth * rng.uniform(0.85, 1.1, 2)
    return Breast(
        view=view,
        density=density,
        depth=depth,
        nipple=nipple,
        above=min(above, 0.94 * nipple),
        below=min(below * (0.85 if oblique else 1.0), 0.93 * height_mm - nipple),
        axilla=axilla,
        fullness=rng.uniform(1.9, 2.4),
        muscle=(depth * axilla * rng.uniform(0.75, 0.9), height_mm * rng.uniform(0.5, 0.72)),
        thickness=rng.uniform(35, 75),
        nipple_size=rng.uniform(3.5, 5.5),
    )


def skin_at(breast: Breast, y: np.ndarray) -> np.ndarray:
    """Distance of the skin from the chest wall at each ``y``, mm; 0 where there is no breast."""
    power = breast.fullness
    down = np.clip((y - breast.nipple) / breast.below, 0, 1)
    lower = (1 - down**power) ** (1 / power)
    if breast.view == "CC":
        up = np.clip((breast.nipple - y) / breast.above, 0, 1)
        return np.where(y < breast.nipple, (1 - up**power) ** (1 / power), lower) * breast.depth
    up = np.clip((breast.nipple - y) / breast.nipple, 0, 1)
    upper = breast.axilla + (1 - breast.axilla) * (1 - up**1.7) ** 0.85
    belly = 0.14 * np.clip((y - breast.nipple - 0.97 * breast.below) / (0.3 * breast.below), 0, None) ** 0.7
    return np.where(y < breast.nipple, upper, np.maximum(lower, belly)) * breast.depth


def muscle_at(breast: Breast, y: np.ndarray) -> np.ndarray:
    """Width of the pectoral muscle at each ``y``, mm; 0 in CC views."""
    if breast.view == "CC":
        return np.zeros_like(y)
    width, reach = breast.muscle
    return width * (1 - np.clip(y / reach, 0, 1) ** 1.25)


def draw_tissue(breast: Breast, rng: np.random.Generator, size: tuple[int, int], spacing: float) -> Tissue:
    """A healthy breast.

    Args:
        breast: its measures.
        rng: decides the texture.
        size: (H, W) of the image, pixels.
        spacing: side of a pixel, mm.
    """
    y, x = ((np.arange(side, dtype=np.float32) + 0.5) * spacing for side in size)
    skin, edge = skin_at(breast, y).astype(np.float32), muscle_at(breast, y).astype(np.float32)
    inside = x[None] < skin[:, None]
    away = np.hypot(x[None] - breast.depth + 0.4 * breast.nipple_size, y[:, None] - breast.nipple)
    tip = away < breast.nipple_size
    inside |= tip
    inward = distance_to_edge(inside, spacing)
    rim = np.sqrt(1 - (1 - np.clip(inward / ROLL, 0, 1)) ** 2)
    textures = _Textures(rng, size, spacing)
    gland = _gland(breast, textures, x, y, inward)
    tissue = FAT + 0.045 * textures.next(3.0)
    tissue += (GLAND - FAT) * gland * (1 + 0.2 * textures.next(2.6))
    tissue += _strands(breast, textures, x, y, away) + _vessels(breast, rng, size, spacing)
    tissue *= 0.35 + 0.65 * rim
    tissue += 0.16 * np.exp(-((inward / 1.3) ** 2)) * inside
    tissue += 0.16 * np.exp(-((away / (0.9 * breast.nipple_size)) ** 2))
    muscle = np.clip((edge[:, None] - x[None]) / max(3.5, spacing) + 0.5, 0, 1) * (edge > 0)[:, None]
    fibres = 0.035 * textures.next(2.8) + 0.02 * np.sin((x[None] + 0.4 * y[:, None]) / 2.2)
    tissue += muscle * (MUSCLE - 0.75 * tissue + fibres)
    attenuation = np.clip(tissue, 0, None) * np.clip(inward / spacing, 0, 1)
    return Tissue(
        attenuation=attenuation.astype(np.float32),
        breast=inside,
        muscle=(muscle > 0.5) & inside,
        inward=inward,
        gland=gland,
        rim=rim,
    )


def distance_to_edge(inside: np.ndarray, spacing: float) -> np.ndarray:
    """Distance of every pixel of a mask (H, W) to the nearest one outside, mm, float32; 0 outside."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(inside, sampling=spacing), np.float32)


class _Textures:
    """Random textures of one image, one after the other; the same at every size."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], spacing: float) -> None:
        self.rng, self.size, self.spacing = rng, size, spacing

    def next(self, slope: float) -> np.ndarray:
        """Zero mean, unit variance, power falling with ``slope``; float32 (H, W)."""
        rows, columns = (
            (np.arange(side, dtype=np.float32) + 0.5) * (self.spacing / STEP) - 0.5 for side in self.size
        )
        return self.at(slope, np.broadcast_to(rows[:, None], self.size), np.broadcast_to(columns, self.size))

    def at(self, slope: float, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The same, at positions in pixels of the texture."""
        from scipy.ndimage import map_coordinates

        # What is finer than the image's pixels is left out, which is also faster.
        coarser = 1 << max(0, round(float(np.log2(self.spacing / STEP))))
        coarser = min(coarser, GRID // 16)
        at = np.stack([rows, columns]) / np.float32(coarser)
        texture = power_noise(self.rng, slope, coarser)
        return np.asarray(map_coordinates(texture, at, np.float32, order=1, mode="grid-wrap"))


def power_noise(rng: np.random.Generator, slope: float, coarser: int = 1) -> np.ndarray:
    """Normal noise whose power falls with the frequency's ``-slope``, zero mean, unit variance, periodic.

    Args:
        rng: decides it.
        slope: of the power spectrum.
        coarser: every so many pixels are kept, a power of 2; finer structure is left out.

    Returns:
        float32 (GRID / coarser, GRID / coarser).
    """
    from scipy import fft

    spectrum = rng.standard_normal((GRID, GRID // 2 + 1, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum *= _amplitude(slope)
    power = np.square(np.abs(spectrum))
    variance = 2 * power.sum() - power[:, 0].sum() - power[:, -1].sum()
    side = GRID // coarser
    if coarser > 1:
        kept = spectrum[:, : side // 2 + 1]
        spectrum = np.concatenate([kept[: side // 2], kept[-(side // 2) :]])
    noise = fft.irfft2(spectrum, (side, side))
    return np.asarray(noise * np.float32(side**2 / np.sqrt(variance)), np.float32)


@cache
def _amplitude(slope: float) -> np.ndarray:
    """Of each frequency, float32 (GRID, GRID // 2 + 1)."""
    across, down = np.fft.rfftfreq(GRID)[None], np.fft.fftfreq(GRID)[:, None]
    # Below a cycle in 60 mm the breast as a whole decides.
    frequency = np.sqrt(across**2 + down**2 + (STEP / 60) ** 2)
    amplitude = (frequency ** (-slope / 2)).astype(np.float32)
    amplitude[0, 0] = 0
    return amplitude


def gland_region(breast: Breast, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 in the middle of the gland, 0 at about its border, negative outside: (len(y), len(x))."""
    # The middle lies between nipple and chest wall, higher in oblique views.
    middle = breast.nipple - (0.22 * breast.above if breast.view == "MLO" else 0.0)
    across = (x[None] - 0.52 * breast.depth) / (0.46 * breast.depth)
    down = (y[:, None] - middle) / (0.31 * (breast.above + breast.below))
    return np.asarray(1 - np.sqrt(across**2 + down**2))


def _gland(
    breast: Breast, textures: _Textures, x: np.ndarray, y: np.ndarray, inward: np.ndarray
) -> np.ndarray:
    """Share of gland, float32 (H, W): islands behind the nipple, drawn out towards it."""
    dense = SHARES[breast.density]
    region = gland_region(breast, x, y)
    towards, turn = _around_nipple(breast, x, y)
    radial = textures.at(2.6, turn, 0.45 * towards)
    noise = 0.7 * textures.next(3.0) + 0.55 * radial
    level = noise + 2.2 * region + 2.6 * (dense - 0.62)
    gland = 1 / (1 + np.exp(-2.0 * level))
    # Under the skin, and before the muscle, there is fat.
    cover = np.clip((inward - 5 - 4 * (1 - dense)) / 8, 0, 1)
    cover = cover * np.clip((x[None] - 4 - muscle_at(breast, y)[:, None] * 0.9) / 14, 0, 1)
    reach = np.clip(region * 2.5 + 0.9, 0, 1)
    return np.asarray(gland * cover * reach, np.float32)


def _around_nipple(breast: Breast, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the nipple and arc about it, in pixels of the texture; float32 (H, W) each."""
    across, down = breast.depth + 12 - x[None], y[:, None] - breast.nipple
    far = np.hypot(across, down)
    return far / STEP, np.arctan2(down, across) * (45 / STEP)


def _strands(
    breast: Breast, textures: _Textures, x: np.ndarray, y: np.ndarray, away: np.ndarray
) -> np.ndarray:
    """Cooper's ligaments: thin bright curves where a noise changes its sign, float32 (H, W)."""
    # Smooth noises: the borders of rough ones are dust that could be taken for calcifications.
    towards, turn = _around_nipple(breast, x, y)
    strands = np.zeros(away.shape, np.float32)
    for noise, strength in ((textures.at(6.0, 1.6 * turn, 0.3 * towards), 1.0), (textures.next(6.0), 0.6)):
        down, across = np.gradient(noise, textures.spacing)
        far = np.abs(noise) / np.maximum(np.hypot(down, across), 0.01)  # mm from where the sign changes
        strands += strength * np.exp(-((far / max(0.7, 0.6 * textures.spacing)) ** 2))
    strands *= np.clip(0.35 + 0.7 * textures.next(3.5), 0, 1.3)
    # They are strongest where fat lies between gland and skin.
    fade = 0.55 + 0.45 * np.clip(away / breast.depth, 0, 1)
    return np.asarray(0.11 * strands * fade, np.float32)


def _vessels(breast: Breast, rng: np.random.Generator, size: tuple[int, int], spacing: float) -> np.ndarray:
    """A few vessels that wind through the fat, float32 (H, W)."""
    from PIL import Image, ImageDraw
    from scipy.ndimage import gaussian_filter

    canvas = Image.new("L", (size[1], size[0]))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(2, 6))):
        y = breast.nipple + rng.uniform(-0.75, 0.75) * (breast.above if rng.random() < 0.5 else breast.below)
        at = np.array([rng.uniform(0, 0.2) * breast.depth, y])
        angle, width = np.arctan2(breast.nipple - y, 1.3 * breast.depth), rng.uniform(1.0, 2.2)
        points = [at]
        for _ in range(int(rng.integers(12, 26))):
            angle += rng.normal(0, 0.16)
            at = at + 5.0 * np.array([np.cos(angle), np.sin(angle)])
            points.append(at)
        path = [tuple(point / spacing) for point in points]
        draw.line(path, fill=int(rng.uniform(90, 220)), width=max(1, round(width / spacing)), joint="curve")
    drawn = gaussian_filter(np.asarray(canvas, np.float32), max(0.5, 0.5 / spacing))
    return np.asarray(drawn * (0.10 / 255), np.float32)
