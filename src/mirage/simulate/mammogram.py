"""Phantom mammograms with lesions that are known exactly, as various machines show them.

A lesion adds to the attenuation before it is displayed, so that the same breast can be had raw, processed by
one vendor or another, or on film, with and without its lesions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mirage.simulate.breast import DENSITIES, Density, Tissue, View, draw_breast, draw_tissue
from mirage.simulate.breast_lesions import (
    DrawnLesion,
    LesionShape,
    bounding_box,
    draw_lesion,
    place,
    random_lesion,
)

Side = Literal["L", "R"]
FIELD_MM = 240.0
"""Height of the image in the plane of the detector."""
MIX = (0.12, 0.4, 0.38, 0.1)
"""Shares of the classes of density among women who are screened."""


@dataclass(frozen=True)
class Look:
    """How a machine shows attenuation.

    Attributes:
        gain, level: of the straight part of the grey-scale curve.
        gamma: of its bend; above 1 darkens fat.
        background: grey value of air.
        equalised: how much of the rim's thinness is made up for, 0..1.
        noise: standard deviation of the quantum noise.
        grain: width of the noise's grain, pixels of a fine image (2048 rows).
        raw: linear in the counts of the detector: air is bright, gland dark.
        film: digitised film: an uneven background, and letters burnt in.
        marker: lead letters such as LCC in the background.
    """

    gain: float = 1.15
    level: float = -0.10
    gamma: float = 1.0
    background: float = 0.0
    equalised: float = 0.7
    noise: float = 0.012
    grain: float = 1.0
    raw: bool = False
    film: bool = False
    marker: bool = False


LOOKS: dict[str, Look] = {
    "hologic": Look(gain=1.25, level=-0.14, gamma=1.1, equalised=0.75),
    "ge": Look(gain=1.05, level=-0.04, gamma=0.9, equalised=0.85, noise=0.009),
    "siemens": Look(gain=1.1, level=-0.12, gamma=1.25, equalised=0.6, noise=0.014),
    "philips": Look(gain=0.95, level=0.02, gamma=1.0, equalised=0.9, noise=0.016, grain=1.6),
    "film": Look(
        gain=1.2,
        level=-0.1,
        gamma=1.15,
        background=0.06,
        equalised=0.2,
        noise=0.02,
        grain=2.0,
        film=True,
        marker=True,
    ),
    "raw": Look(raw=True, noise=0.008, equalised=0.0),
}


@dataclass(frozen=True)
class Mammogram:
    """A phantom and its truth.

    Attributes:
        image: float32 (H, W) in 0..1 as its look shows it; ``raw`` ones are dark where others are bright.
        breast: bool (H, W), the pectoral muscle included.
        muscle: bool (H, W), the pectoral muscle; empty in CC views.
        lesions: in the order they were given or placed.
        side: L, chest wall at the image's left, or R, at its right.
        view: CC or MLO.
        density: class of composition, A to D.
        spacing_mm: side of a pixel.
        thickness_mm: of the compressed breast.
    """

    image: np.ndarray
    breast: np.ndarray
    muscle: np.ndarray
    lesions: list[DrawnLesion]
    side: Side
    view: View
    density: Density
    spacing_mm: float
    thickness_mm: float


def mammogram(
    rng: np.random.Generator,
    size: tuple[int, int],
    side: Side = "L",
    view: View = "CC",
    lesions: int | Sequence[LesionShape] = 0,
    *,
    density: Density | None = None,
    look: str | Look = "hologic",
    field_mm: float = FIELD_MM,
) -> Mammogram:
    """One phantom.

    The same generator state gives the same breast at every size, side and look, with any lesions.

    Args:
        rng: decides anatomy, texture, lesions and noise.
        size: (H, W) of the image, pixels.
        side: L or R.
        view: CC or MLO.
        lesions: how many random ones, or which; one at 0, 0 is put where there is room in the breast, and
            left out where there is none.
        density: class of composition; None: at random, as among women who are screened.
        look: a name of ``LOOKS``, or one of your own.
        field_mm: height of the image.
    """
    shown = LOOKS[look] if isinstance(look, str) else look
    spacing = field_mm / size[0]
    for_shape, for_texture, for_lesions, for_noise = rng.spawn(4)
    drawn = DENSITIES[int(for_shape.choice(4, p=MIX))]
    density = density or drawn
    breast = draw_breast(for_shape, view, density, field_mm, size[1] * spacing)
    tissue = draw_tissue(breast, for_texture, size, spacing)
    shapes = (
        [random_lesion(for_lesions) for _ in range(lesions)] if isinstance(lesions, int) else list(lesions)
    )
    placed = [shape for shape in shapes if (shape.x, shape.y) != (0, 0)]
    homeless = [shape for shape in shapes if (shape.x, shape.y) == (0, 0)]
    placed += place(for_lesions, homeless, breast, field_mm, size[1] * spacing)
    attenuation, found = tissue.attenuation, []
    for shape in placed:
        added, lesion = draw_lesion(shape, size, spacing)
        attenuation = attenuation + added * (tissue.inward > 0)
        found.append(lesion)
    image = _show(np.clip(attenuation, 0, None), tissue, shown, for_noise, breast.thickness)
    inside, muscle = tissue.breast, tissue.muscle
    if side == "R":
        image, inside, muscle = (np.ascontiguousarray(array[:, ::-1]) for array in (image, inside, muscle))
        found = [_mirrored(lesion) for lesion in found]
    if shown.marker:
        image = _marked(image, side, view, for_noise, shown.film)
    return Mammogram(image, inside, muscle, found, side, view, density, spacing, breast.thickness)


def _mirrored(lesion: DrawnLesion) -> DrawnLesion:
    mask = np.ascontiguousarray(lesion.mask[:, ::-1])
    outline = lesion.outline * [-1, 1] + [mask.shape[1], 0]
    return replace(lesion, outline=outline[::-1], mask=mask, box=bounding_box(mask), side="R")


def _show(
    attenuation: np.ndarray, tissue: Tissue, look: Look, rng: np.random.Generator, thickness: float
) -> np.ndarray:
    """The image of an attenuation, float32 (H, W) in 0..1."""
    noise = _noise(rng, attenuation.shape, look)
    if look.raw:
        # A thicker breast lets fewer photons through; noise is that of their number.
        counts = np.exp(-(2.2 + thickness / 50) * attenuation)
        return np.asarray(np.clip(0.97 * counts + noise * np.sqrt(counts), 0, 1), np.float32)
    lifted = attenuation / (0.35 + 0.65 * tissue.rim) ** (0.75 * look.equalised)
    shown = np.clip(look.gain * lifted + look.level, 0, None)
    # A shoulder instead of a cut, so that dense tissue keeps its structure.
    shown = np.where(shown > 0.75, 0.75 + 0.25 * np.tanh((shown - 0.75) / 0.25), shown) ** look.gamma
    edge = np.clip(tissue.inward / 1.0, 0, 1)
    image = look.background * (1 - edge) + np.maximum(shown, 0.04 + look.background) * edge
    noisy = image + noise * (0.4 + image) * (edge if not look.film else 1)
    if look.film:
        noisy = noisy + 0.05 * np.linspace(1, 0, len(noisy), dtype=np.float32)[:, None] * (1 - edge)
    return np.asarray(np.clip(noisy, 0, 1), np.float32)


def _noise(rng: np.random.Generator, size: tuple[int, ...], look: Look) -> np.ndarray:
    """Quantum noise, float32 (H, W): a large detector element collects more photons than a small one."""
    from scipy.ndimage import gaussian_filter

    fine = rng.standard_normal(size, dtype=np.float32)
    width = look.grain * size[0] / 2048
    if width > 0.3:
        fine = gaussian_filter(fine, width)
        fine /= fine.std()
    return np.asarray(fine * (look.noise * min(1.0, (size[0] / 1024) ** 0.5) * 1.5), np.float32)


def _marked(image: np.ndarray, side: Side, view: View, rng: np.random.Generator, film: bool) -> np.ndarray:
    """Letters such as LCC in the background; on film also a strip of tape and the film's border."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = image.shape
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    letters = height // 22
    text = f"{side}{view}"
    away = 0.97 * width - letters * 0.7 * len(text)
    at = (away if side == "L" else 0.03 * width, rng.uniform(0.03, 0.08) * height)
    draw.text(at, text, fill=235, font=ImageFont.load_default(max(8, letters)))
    if film and rng.random() < 0.6:
        left = 0.72 * width if side == "L" else 0.05 * width
        draw.rectangle([left, 0.9 * height, left + 0.22 * width, 0.95 * height], fill=150)
    drawn = np.asarray(canvas, np.float32) / 255
    if film:
        frame = max(1, height // 120)
        drawn = drawn.copy()
        drawn[:frame] = drawn[-frame:] = 0.8
    return np.asarray(np.maximum(image, drawn), np.float32)
