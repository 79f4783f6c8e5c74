"""Lesions of radiographs as what they add to a healthy picture: cut out, judged, turned, blended in.

A radiograph's grey values are, but for the display window, logarithms of what the tissue along each ray lets
through, so what a nodule attenuates is a sum: the picture with it minus the picture without it is the nodule,
and may be added to another picture. All functions work in float64 on planes (H, W) with bright bones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from mirage.errors import DataError
from mirage.preprocess.membrane import NEIGHBOURS, carried_on, dome, solve_poisson

NOISE_FLOOR = 0.002
"""Least noise, share of the value range, so that a perfect inpainter does not make rounding a lesion."""
THRESHOLD = 1.5
"""A lesion is where the smoothed residual exceeds so many standard deviations of that around it."""
SMOOTHING = 0.05
"""Standard deviation of the smoothing before the threshold, share of the box's mean side."""
CARRIED = 0.1
"""The same of the inpainter's error before it is carried on: finer parts of it do not reach far."""
RIM = 0.2
"""What adds less than this share of a lesion's peak is its rim: blended in, but not labelled."""
FEATHER = 0.15
"""Width of the soft edge, share of the box's mean side."""
HALF_VISIBLE = 2.0
"""Contrast-to-noise ratio at which a lesion that lies wholly inside its box is half visible."""
LEAST_CORE = 9
"""Pixels below which nothing was found."""


class Box(NamedTuple):
    """Pixels, half-open: x0 <= x < x1 across, y0 <= y < y1 down."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def centre(self) -> tuple[float, float]:
        """(y, x) of the middle, in coordinates in which pixel 0 covers 0 to 1."""
        return (self.y0 + self.y1) / 2, (self.x0 + self.x1) / 2

    @property
    def size(self) -> tuple[float, float]:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def side(self) -> float:
        """Mean of height and width."""
        return sum(self.size) / 2

    def moved(self, down: float, across: float) -> Box:
        """The box so many pixels further down and across."""
        return Box(self.x0 + across, self.y0 + down, self.x1 + across, self.y1 + down)

    def grown(self, by: float) -> Box:
        """The box with every edge so many pixels further out."""
        return Box(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)

    def clipped(self, shape: tuple[int, int]) -> Box:
        """The part inside an image (H, W)."""
        x0, x1 = (min(max(x, 0.0), float(shape[1])) for x in (self.x0, self.x1))
        y0, y1 = (min(max(y, 0.0), float(shape[0])) for y in (self.y0, self.y1))
        return Box(x0, y0, x1, y1)

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """Pixels, bool (H, W), of which any part lies in the box."""
        inside = np.zeros(shape, bool)
        box = self.clipped(shape)
        inside[math.floor(box.y0) : math.ceil(box.y1), math.floor(box.x0) : math.ceil(box.x1)] = True
        return inside


@dataclass(frozen=True)
class Lesion:
    """A lesion cut out of its picture.

    Attributes:
        residual: float64 (H, W): what it adds, in stored units; not yet weighted by ``support``.
        support: float64 (H, W) in [0, 1]: 1 on the lesion, falling to 0 across its soft edge.
        inner: float64 (H, W) in [0, 1], 1 on the part of the lesion that is not its faint rim.
        original: float64 (H, W): the picture with the lesion.
        box: the annotator's, in pixels of these arrays.
    """

    residual: np.ndarray
    support: np.ndarray
    inner: np.ndarray
    original: np.ndarray
    box: Box

    @property
    def core(self) -> np.ndarray:
        """The lesion itself, bool (H, W): what a reader would outline."""
        return self.inner >= 0.5

    @property
    def mass(self) -> float:
        """Sum of what it adds, stored units times pixels."""
        return float((self.residual * self.support).sum())


class Bias(NamedTuple):
    """How an inpainter errs in holes like a lesion's, learnt where the truth is known.

    Attributes:
        trust: share, 0 to 1, of what it draws in a box beyond the membrane that is found in the truth too.
        offset: stored units by which the truth is brighter than that, mean over the box.
        places: healthy places that both were learnt from; 0 where nothing is known and nothing is mended.
    """

    trust: float = 1.0
    offset: float = 0.0
    places: int = 0


UNKNOWN = Bias()


@dataclass(frozen=True)
class Visibility:
    """How well a lesion can be seen.

    Attributes:
        contrast: mean residual on the lesion, share of the value range.
        noise: standard deviation of the residual around it, share of the value range.
        cnr: contrast to noise.
        inside: share, 0 to 1, of all residual above the threshold that belongs to the lesion.
        score: 0 to 1: ``inside * cnr / (cnr + HALF_VISIBLE)``.
    """

    contrast: float
    noise: float
    cnr: float
    inside: float
    score: float


def extract(
    original: np.ndarray,
    inpainted: np.ndarray,
    box: Box,
    hole: np.ndarray,
    value_range: tuple[float, float],
    bias: Bias = UNKNOWN,
) -> tuple[Lesion, Visibility]:
    """The lesion in a box: the original minus the picture in which its place was filled with healthy tissue.

    The residual between box and hole is the inpainter's own error, whose spread is the noise. A rib that it
    drew too dark there goes on under the lesion, so the smoothed error is carried on into the box as a
    membrane (the harmonic function with these values around it) and taken off everywhere. Of what the
    inpainter drew in the box beyond its own membrane only the trusted share is taken off, and the offset with
    it: see :mod:`mirage.preprocess.healthy_places`. The lesion is the piece above the threshold that weighs
    most in the inner half of the box, with its holes filled.

    Args:
        original, inpainted: (H, W), stored values, bright bones.
        box: the annotator's.
        hole: (H, W), non-zero where ``inpainted`` was made; larger than the box.
        value_range: lowest and highest possible stored value.
        bias: of the inpainter in such holes.

    Raises:
        DataError: the hole does not reach beyond the box, or nothing above the noise is found in the box.
    """
    residual = original.astype(np.float64) - inpainted.astype(np.float64)
    span = value_range[1] - value_range[0]
    inner, ring = box_and_ring(box, hole)
    width = max(0.7, SMOOTHING * box.side)
    noise = max(_spread(ndimage.gaussian_filter(residual, width)[ring]), NOISE_FLOOR * span)
    around = max(_spread(residual[ring]), NOISE_FLOOR * span)
    residual = corrected(original, inpainted, box, hole, bias)
    smooth = ndimage.gaussian_filter(residual, width)
    above = (smooth > THRESHOLD * noise) & (hole > 0)
    piece = _with_rim(_central_piece(above, smooth, box), smooth, box)
    support = soft_edge(piece, max(1.0, FEATHER * box.side)) * (hole > 0)
    core = piece & (smooth > RIM * smooth[piece].max())
    contrast = float(residual[core].mean())
    inside = float(smooth[piece & inner].sum() / smooth[above | piece].clip(0).sum())
    cnr = contrast / around
    score = max(0.0, inside * cnr / (cnr + HALF_VISIBLE)) if cnr > 0 else 0.0
    seen = Visibility(contrast / span, around / span, cnr, inside, score)
    return Lesion(residual, support, core.astype(np.float64), original.astype(np.float64), box), seen


def box_and_ring(box: Box, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks, bool (H, W), of a box and of what a hole (H, W) has around it.

    Raises:
        DataError: the hole does not reach beyond the box.
    """
    inner = box.mask((hole.shape[0], hole.shape[1]))
    ring = (hole > 0) & ~inner
    if ring.sum() < LEAST_CORE:
        raise DataError("the hole does not reach beyond the box, so the noise around the lesion is unknown")
    return inner, ring


def details(plane: np.ndarray, box: Box, hole: np.ndarray) -> np.ndarray:
    """What a plane (H, W) has in a box beyond the membrane with the values of the ring of hole around it.

    In the ring itself it is what is finer than the smoothing of those values; elsewhere the plane.
    """
    inner, ring = box_and_ring(box, hole)
    values = plane.astype(np.float64)
    found: np.ndarray = values - carried_on(values, ring, inner, max(0.7, CARRIED * box.side))
    return found


def corrected(
    original: np.ndarray, inpainted: np.ndarray, box: Box, hole: np.ndarray, bias: Bias
) -> np.ndarray:
    """The residual (H, W) less the inpainter's error: carried on from the ring, and its bias in the box."""
    inner, _ = box_and_ring(box, hole)
    drawn = details(inpainted, box, hole)
    expected = np.where(inner, bias.trust * drawn + bias.offset * dome(inner), drawn)
    found: np.ndarray = details(original, box, hole) - expected
    return found


def soft_edge(core: np.ndarray, width: float) -> np.ndarray:
    """Weights (H, W) of a mask: 1 on it, falling as a cosine to 0 at ``width`` pixels from it."""
    distance = ndimage.distance_transform_edt(~core)
    weights: np.ndarray = 0.5 * (1 + np.cos(np.pi * np.clip(distance / (width + 1), 0, 1)))
    return weights


def _spread(values: np.ndarray) -> float:
    """Standard deviation by the median absolute deviation: a rib that was drawn elsewhere is no noise."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _central_piece(above: np.ndarray, smooth: np.ndarray, box: Box) -> np.ndarray:
    """The piece of a mask that weighs most in the inner half of a box, its holes filled."""
    height, width = box.size
    middle = Box(box.x0 + width / 4, box.y0 + height / 4, box.x1 - width / 4, box.y1 - height / 4)
    pieces, count = ndimage.label(above)
    weights = np.bincount(
        pieces.ravel(), weights=(smooth * middle.mask(above.shape)).ravel(), minlength=count + 1
    )
    weights[0] = 0
    largest = int(weights.argmax())
    core = ndimage.binary_fill_holes(pieces == largest) if weights[largest] > 0 else np.zeros_like(above)
    core = core & box.grown(0.25 * box.side).mask(core.shape)
    if core.sum() < LEAST_CORE:
        raise DataError(
            "nothing brighter than the noise is left in the middle of the box when the inpainted picture is "
            "subtracted"
        )
    found: np.ndarray = core
    return found


def _with_rim(piece: np.ndarray, smooth: np.ndarray, box: Box) -> np.ndarray:
    """A piece and what hangs together with it in its box above the rim's level, where noise hid that."""
    rim = (smooth > RIM * smooth[piece].max()) & box.mask(piece.shape)
    pieces, _ = ndimage.label(rim | piece)
    kept = np.unique(pieces[piece])
    grown: np.ndarray = ndimage.binary_fill_holes(np.isin(pieces, kept))
    return grown


def transformed(lesion: Lesion, angle_deg: float, scale: float) -> Lesion:
    """A lesion turned about the centre of its box and scaled, on a square just large enough for it.

    What it adds to each pixel stays; its mass grows with the square of the scale. The box is that around the
    turned ellipse that fills the annotator's box: boxes around turned boxes would grow by up to 41 %.

    Args:
        lesion: to be turned.
        angle_deg: counter-clockwise as seen on a screen.
        scale: factor of both axes.
    """
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    turn = np.array([[cos, sin], [-sin, cos]]) / scale  # from the new (y, x) to the old one
    height, width = (scale * extent / 2 for extent in lesion.box.size)
    half_y, half_x = math.hypot(height * cos, width * sin), math.hypot(height * sin, width * cos)
    y, x = np.nonzero(lesion.support > 0)
    centre = np.array(lesion.box.centre)
    farthest = scale * float(np.hypot(y + 0.5 - centre[0], x + 0.5 - centre[1]).max())
    half = math.ceil(max(farthest, half_y, half_x)) + 2
    offset = centre - 0.5 - turn @ np.array([half - 0.5, half - 0.5])

    def moved(plane: np.ndarray, mode: str) -> np.ndarray:
        made: np.ndarray = ndimage.affine_transform(
            plane, turn, offset, (2 * half, 2 * half), order=1, mode=mode
        )
        return made

    box = Box(half - half_x, half - half_y, half + half_x, half + half_y)
    support, inner = (moved(plane, "constant").clip(0, 1) for plane in (lesion.support, lesion.inner))
    residual, original = (moved(plane, "nearest") for plane in (lesion.residual, lesion.original))
    return Lesion(residual, support, inner, original, box)


@dataclass(frozen=True)
class Blended:
    """A picture with a lesion in it.

    Attributes:
        image: (H, W), stored type.
        label: uint8 (H, W), 1 on the lesion.
        touched: bool (H, W), pixels that may have changed.
        box: around the lesion, pixels of the image, clipped to it.
        clipped: share of the touched pixels whose value lay outside the value range.
        contrast: mean change on the lesion, share of the value range.
    """

    image: np.ndarray
    label: np.ndarray
    touched: np.ndarray
    box: Box
    clipped: float
    contrast: float


def additive(host: np.ndarray, lesion: Lesion) -> np.ndarray:
    """The host plus what the lesion adds, weighted by its soft edge."""
    return host + lesion.support * lesion.residual


def paste(host: np.ndarray, lesion: Lesion) -> np.ndarray:
    """The lesion's own pixels, faded into the host across the soft edge."""
    return host + lesion.support * (lesion.original - host)


def poisson(host: np.ndarray, lesion: Lesion) -> np.ndarray:
    """Seamless cloning (Perez, Gangnet, Blake 2003): the lesion's gradients, the host's values around them.

    Solves the discrete Poisson equation on the pixels under the soft edge with SciPy's sparse solver; those
    on the host's own border are left alone, for they have no neighbours on all sides.
    """
    return _cloned(host, lesion, lambda own, _: own)


def mixed(host: np.ndarray, lesion: Lesion) -> np.ndarray:
    """Seamless cloning with the steeper gradient of the two at every pixel, averaged with the host.

    So ribs and vessels shine through. It is what the generation baseline of NODE21 does.
    """
    made = _cloned(host, lesion, lambda own, other: np.where(abs(other) > abs(own), other, own))
    return (host + made) / 2


def _cloned(
    host: np.ndarray, lesion: Lesion, steeper: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Solve for the picture whose differences between neighbours are chosen from the lesion's and host's."""
    inside = lesion.support > 0
    inside[[0, -1]] = inside[:, [0, -1]] = False
    drive = np.zeros_like(host)
    y, x = np.nonzero(inside)
    for down, across in NEIGHBOURS:
        to = (y + down, x + across)
        drive[y, x] += steeper(lesion.original[y, x] - lesion.original[to], host[y, x] - host[to])
    return solve_poisson(host, inside, drive)


BLENDS: dict[str, Callable[[np.ndarray, Lesion], np.ndarray]] = {
    "additive": additive,
    "paste": paste,
    "poisson": poisson,
    "mixed": mixed,
}


def insert(
    host: np.ndarray,
    lesion: Lesion,
    place: tuple[int, int],
    blend: str,
    value_range: tuple[float, float],
) -> Blended:
    """Blend a lesion into a picture; all pixels outside its soft edge stay the given bits.

    Args:
        host: (H, W), stored type, bright bones.
        lesion: from :func:`transformed`; the middle of its square comes to lie on ``place``.
        place: (y, x).
        blend: name in ``BLENDS``.
        value_range: lowest and highest possible stored value; what lies beyond is clipped and counted.

    Raises:
        DataError: nothing of the lesion lies in the picture.
    """
    half = len(lesion.support) // 2
    top, left = place[0] - half, place[1] - half
    rows, columns = _overlap(top, 2 * half, host.shape[0]), _overlap(left, 2 * half, host.shape[1])
    own = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    part = Lesion(
        lesion.residual[own], lesion.support[own], lesion.inner[own], lesion.original[own], lesion.box
    )
    if not part.core.any():
        raise DataError(f"nothing of the lesion lies in the picture when it is put at {place}")
    before = host[rows, columns].astype(np.float64)
    after = BLENDS[blend](before, part)
    touched = np.zeros(host.shape, bool)
    touched[rows, columns] = part.support > 0
    low, high = value_range
    changed = part.support > 0
    beyond = (after < low) | (after > high)
    stored = after.clip(low, high)
    if host.dtype.kind in "iu":
        stored = np.rint(stored)
    image = host.copy()
    image[rows, columns] = np.where(changed, stored, before).astype(host.dtype)
    if not np.array_equal(image[~touched], host[~touched]):
        raise AssertionError("blending changed pixels outside the lesion")
    label = np.zeros(host.shape, np.uint8)
    label[rows, columns] = part.core
    contrast = float((stored - before)[part.core].mean() / (high - low))
    box = lesion.box.moved(top, left).clipped(host.shape)
    return Blended(image, label, touched, box, float(beyond[changed].mean()), contrast)


def _overlap(start: int, length: int, limit: int) -> slice:
    return slice(max(start, 0), max(min(start + length, limit), max(start, 0)))


def places(lung: np.ndarray, radius: float, taken: np.ndarray | None = None) -> np.ndarray:
    """Pixels (N, 2), y and x, around which a disc lies in the lung and beside what is taken.

    Args:
        lung: (H, W), non-zero inside.
        radius: of the disc, pixels.
        taken: (H, W), non-zero where there is a lesion already; or None.
    """
    free = lung > 0 if taken is None else (lung > 0) & (taken == 0)
    distance = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1]
    return np.argwhere(distance > radius)
