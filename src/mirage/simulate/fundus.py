"""Phantom fundus photographs with exactly known vessels.

Colours follow scikit-image's bundled photograph of a healthy retina (`skimage.data.retina()`): medians fix
the hue, the spread of each channel fixes how strongly it answers to light, pigment and blood.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mirage import seeds
from mirage.simulate.vessels import Anatomy, Vessel, anatomy, grow

COVERED = 0.4
"""Share of a pixel that a vessel must cover to be marked: an observer marks what is just visible."""


@dataclass(frozen=True)
class Camera:
    """A fundus camera, as one public dataset used it.

    Attributes:
        aspect: width over height of the frame.
        field: angle of view, degrees.
        diameter: of the image circle, share of the frame's height; above 1 it is cut at top and bottom.
        disc_centred: aimed at the optic disc rather than at the fovea.
        calibre: factor on vessel widths; children's vessels are thinner.
        tint: factors on red, green and blue.
        contrast: factor on the spread of brightness.
        choroid: strength of the choroid's texture, which shows through little pigment.
        noise: standard deviation of the sensor's noise, grey levels.
    """

    aspect: float
    field: float
    diameter: float
    disc_centred: bool = False
    calibre: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    choroid: float = 0.5
    noise: float = 2.5


@dataclass(frozen=True)
class Colours:
    """Statistics of the field of view of a real photograph, per channel."""

    median: np.ndarray
    response: np.ndarray
    """Spread of the logarithm relative to green's."""
    spread: float
    """5th to 95th percentile of the logarithm of green."""
    disc: np.ndarray
    """The bright rim of the disc, relative to the median."""


@dataclass(frozen=True)
class Fundus:
    """A phantom and its truth.

    Attributes:
        image: uint8 (H, W, 3).
        vessels: uint8 (H, W), 1 on vessels inside the field of view.
        observer2: a second, less thorough observer's vessels.
        fov: uint8 (H, W), 1 in the field of view.
        truth: positions in pixels, and the grades.
    """

    image: np.ndarray
    vessels: np.ndarray
    observer2: np.ndarray
    fov: np.ndarray
    truth: dict[str, Any]


@cache
def real_colours() -> Colours:
    """Statistics of ``skimage.data.retina()``."""
    from skimage.data import retina

    photograph = retina()[::3, ::3].reshape(-1, 3).astype(np.float32)
    inside = photograph[photograph.max(axis=1) > 40]
    low, median, high, bright = np.percentile(inside, [5, 50, 95, 99], axis=0)
    spread = np.log(high / low)
    return Colours(median, spread / spread[1], float(spread[1]), bright / median)


@dataclass(frozen=True)
class _View:
    """How degrees of a right eye's frame become pixels."""

    height: int
    width: int
    pixels_per_degree: float
    axis: tuple[float, float]
    mirrored: bool

    def to_pixels(self, points: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """(N, 2) degrees to x, y in pixels; pixel edges are whole numbers."""
        offset = (points - np.asarray(self.axis, np.float32)) * (self.pixels_per_degree * scale)
        if self.mirrored:
            offset = offset * np.array([-1, 1], np.float32)
        return offset + np.array([self.width / 2, self.height / 2], np.float32) * scale

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x (1, W) and y (H, 1) of the pixel centres, degrees."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.pixels_per_degree
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.pixels_per_degree
        return (-x if self.mirrored else x)[None] + self.axis[0], y[:, None] + self.axis[1]


def simulate_fundus(seed: int, subject: int, eye: int, camera: Camera, height: int, grade: int = 0) -> Fundus:
    """Photograph one eye of one simulated subject.

    Args:
        seed: of the dataset.
        subject: index >= 0. Subjects do not depend on how many there are.
        eye: 0 right, 1 left; both share anatomy, mirrored, and colour.
        camera: field, aim and colour.
        height: of the image, pixels.
        grade: diabetic retinopathy, 0 none to 3: microaneurysms, haemorrhages, exudates.
    """
    person, own = seeds.rng(seed, "simulate", subject), seeds.rng(seed, "simulate", subject, 1 + eye)
    shape, complexion = anatomy(person, camera.calibre), _complexion(person, camera)
    view = _view(camera, shape, height, own, mirrored=eye == 1)
    radius = camera.field / 2
    vessels = grow(shape, own, view.axis, radius * 1.15)
    fov = _field_of_view(view, camera)
    runs = _runs(vessels, view)
    depth = _depth(runs, view)
    light = _light(view, shape, camera, complexion, own)
    lesions = _lesions(own, grade, shape, view, radius)
    image = _expose(light, depth, lesions, view, shape, complexion, own)
    image = _sensor(image, fov, camera, height, own)
    inside = fov >= 0.5
    second = _runs(_second_look(vessels, view, own), view)
    marked = [(_coverage(part, view) >= COVERED) & inside for part in (runs, second)]
    return Fundus(
        image=image,
        vessels=marked[0].astype(np.uint8),
        observer2=marked[1].astype(np.uint8),
        fov=inside.astype(np.uint8),
        truth=_truth(view, shape, eye, grade, marked[0], inside),
    )


def _truth(
    view: _View, shape: Anatomy, eye: int, grade: int, vessels: np.ndarray, inside: np.ndarray
) -> dict[str, Any]:
    disc, fovea = view.to_pixels(np.array([shape.disc, (0.0, 0.0)], np.float32)).round(1).tolist()
    return {
        "eye": "RL"[eye],
        "disc_xy": disc,
        "disc_half_axes": [round(half * view.pixels_per_degree, 1) for half in shape.disc_size],
        "fovea_xy": fovea,
        "pixels_per_degree": round(view.pixels_per_degree, 3),
        "vessel_share_of_fov": round(float(vessels.sum() / max(1, inside.sum())), 4),
        "retinopathy_grade": grade,
    }


@dataclass(frozen=True)
class _Complexion:
    gain: np.ndarray
    choroid: float
    contrast: float


def _complexion(rng: np.random.Generator, camera: Camera) -> _Complexion:
    exposure = rng.normal(0, 0.10)
    gain = np.asarray(camera.tint) * np.exp(exposure + rng.normal(0, [0.05, 0.10, 0.12]))
    return _Complexion(gain, camera.choroid * rng.uniform(0.5, 1.5), camera.contrast * rng.uniform(0.85, 1.2))


def _view(camera: Camera, shape: Anatomy, height: int, rng: np.random.Generator, *, mirrored: bool) -> _View:
    aim = np.asarray(shape.disc) if camera.disc_centred else np.array([1.5, 0.0])
    axis = aim + rng.normal(0, 0.6, 2)
    return _View(
        height,
        round(height * camera.aspect),
        height * camera.diameter / camera.field,
        (float(axis[0]), float(axis[1])),
        mirrored,
    )


def _field_of_view(view: _View, camera: Camera) -> np.ndarray:
    """Share of each pixel that lies in the image circle, float32 (H, W)."""
    x = np.arange(view.width, dtype=np.float32)[None] + 0.5 - view.width / 2
    y = np.arange(view.height, dtype=np.float32)[:, None] + 0.5 - view.height / 2
    return np.clip(view.height * camera.diameter / 2 - np.sqrt(x * x + y * y) + 0.5, 0, 1)


@dataclass(frozen=True)
class _Run:
    """Part of a vessel that is drawn as one line, on a canvas."""

    way: list[float]
    """x0, y0, x1, y1 ..."""
    line: int
    """Line width, canvas pixels."""
    degrees: float
    artery: bool


def _runs(vessels: list[Vessel], view: _View) -> list[_Run]:
    """Cut vessels where their line width changes; neighbours share a point."""
    scale = _factor(view)
    points = view.to_pixels(np.concatenate([vessel.points for vessel in vessels]), scale)
    degrees = np.concatenate([vessel.widths for vessel in vessels])
    lines = np.maximum(1, np.rint(degrees * (view.pixels_per_degree * scale))).astype(int)
    lengths = [len(vessel.points) for vessel in vessels]
    owner = np.repeat(np.arange(len(vessels)), lengths)
    cuts = np.flatnonzero((np.diff(lines) != 0) | (np.diff(owner) != 0)) + 1
    starts, stops = np.append(0, cuts), np.append(cuts, len(lines))
    owners = np.append(owner, -1)
    stops = stops + (owners[stops] == owner[starts])
    flat = points.astype(np.float64).ravel().tolist()
    runs = zip(starts.tolist(), stops.tolist(), lines[starts].tolist(), degrees[starts].tolist(), strict=True)
    return [
        _Run(flat[2 * start : 2 * stop], line, degree, vessels[owner[start]].artery)
        for start, stop, line, degree in runs
        if stop - start > 1
    ]


def _factor(view: _View) -> int:
    """Canvas pixels per image pixel: vessels are drawn finer than the image and averaged down."""
    return 4 if view.height < 300 else 2


def _canvas(view: _View) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    factor = _factor(view)
    canvas = Image.new("L", (view.width * factor, view.height * factor))
    return canvas, ImageDraw.Draw(canvas), factor


def _reduce(canvas: Image.Image, factor: int) -> np.ndarray:
    return np.asarray(canvas.reduce(factor), dtype=np.float32) * np.float32(1 / 255)


def _coverage(runs: list[_Run], view: _View) -> np.ndarray:
    """Share of each pixel that vessels cover, float32 (H, W)."""
    canvas, draw, factor = _canvas(view)
    for run in runs:
        draw.line(run.way, fill=255, width=run.line)
    return _reduce(canvas, factor)


def _depth(runs: list[_Run], view: _View) -> np.ndarray:
    """Absorption by blood, 0 to 1, float32 (H, W): veins more than arteries, thin vessels less than wide."""
    canvas, draw, factor = _canvas(view)
    for run in sorted(runs, key=lambda run: run.degrees):
        strength = (0.66 if run.artery else 1.0) * min(1.0, 0.42 + 1.5 * run.degrees)
        draw.line(run.way, fill=int(255 * strength), width=run.line)
        if run.artery and run.line >= 3 * factor:  # the reflex of light on an artery's wall
            draw.line(run.way, fill=int(150 * strength), width=max(1, run.line // 4))
    blurred = canvas.reduce(factor).filter(ImageFilter.BoxBlur(0.045 * view.pixels_per_degree))
    return _reduce(blurred, 1)


def _second_look(vessels: list[Vessel], view: _View, rng: np.random.Generator) -> list[Vessel]:
    """What another observer draws: some thin vessels missed or cut short, the others up to a pixel aside."""
    jitter = 0.6 * min(1.0, view.height / 512) / view.pixels_per_degree
    last = np.cumsum([len(vessel.points) for vessel in vessels])
    shift = rng.normal(0, jitter, (last[-1] // 4 + 2, 2))
    at, knots = np.arange(last[-1]) / 4, np.arange(len(shift))
    moved = np.stack([np.interp(at, knots, shift[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)
    chance, length, calibre = rng.uniform((0, 0.75, 0.85), (1, 1, 1.2), (len(vessels), 3)).T
    seen = []
    for number, vessel in enumerate(vessels):
        width = vessel.widths[0]
        thin = width < 0.16
        if chance[number] >= (0.45 if thin else 0.05 * (width < 0.25)):
            points = vessel.points + moved[last[number] - len(vessel.points) : last[number]]
            kept = max(3, round(len(points) * (length[number] if thin else 1.0)))
            widths = vessel.widths[:kept] * np.float32(calibre[number])
            seen.append(Vessel(points[:kept], widths, vessel.artery))
    return seen


def _smooth(rng: np.random.Generator, cells: int, view: _View) -> np.ndarray:
    """Smooth noise of about unit variance with ``cells`` waves across the frame's height, float32 (H, W)."""
    coarse = rng.standard_normal((cells + 3, round(cells * view.width / view.height) + 3), dtype=np.float32)
    size = (view.width, view.height)
    field = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(field)


def _light(
    view: _View, shape: Anatomy, camera: Camera, complexion: _Complexion, rng: np.random.Generator
) -> np.ndarray:
    """Logarithm of brightness before vessels and disc, about 0 in the median, float32 (H, W)."""
    x, y = view.grid()
    half = camera.field / 2
    lamp = np.asarray(view.axis) + rng.normal(0, 0.22 * half, 2)
    light = -0.42 * (((x - np.float32(lamp[0])) / half) ** 2 + ((y - np.float32(lamp[1])) / half) ** 2)
    light += 0.10 * _smooth(rng, 3, view)
    pigment = np.abs(_smooth(rng, 13, view)) - 0.8
    light -= complexion.choroid * 0.10 * pigment
    light += (0.02 + 0.05 * complexion.choroid) * _smooth(rng, 30, view)
    light += 0.025 * _smooth(rng, 90, view)
    fovea = x * x + y * y
    light -= 0.30 * np.exp(-fovea / 2.3**2) + 0.22 * np.exp(-fovea / 0.8**2) + 0.10 * np.exp(-fovea / 5.0**2)
    dx, dy = x - np.float32(shape.disc[0]), y - np.float32(shape.disc[1])
    light += 0.12 * np.exp(-(dx * dx + 0.5 * dy * dy) / 4.5**2)  # nerve fibres are thickest here
    light = np.asarray(light - np.float32(np.median(light[::8, ::8])))
    return light * np.float32(complexion.contrast * real_colours().spread / 0.68)


def _lesions(
    rng: np.random.Generator, grade: int, shape: Anatomy, view: _View, radius: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Dark (blood) and bright (exudate) lesions of a grade, each float32 (H, W) in 0 to 1."""
    if grade == 0:
        return None
    factor = _factor(view)
    layers = []
    for count, sizes in (
        (int(rng.integers(2, 6)) * grade**2, (0.06, 0.12 + 0.1 * (grade > 1))),
        (int(rng.integers(6, 16)) * max(0, grade - 1), (0.08, 0.28)),
    ):
        canvas, draw, _ = _canvas(view)
        places = rng.normal(0, 0.42 * radius, (count, 2)).astype(np.float32)
        far = np.hypot(*(places - np.asarray(shape.disc, np.float32)).T) > 4
        places = view.to_pixels(places[far], factor)
        for (x, y), r in zip(places, rng.uniform(*sizes, len(places)), strict=True):
            half = max(1.0, r * view.pixels_per_degree * factor)
            draw.ellipse((x - half, y - half, x + half, y + half * rng.uniform(0.7, 1.1)), fill=255)
        layers.append(
            _reduce(canvas.filter(ImageFilter.BoxBlur(0.04 * view.pixels_per_degree * factor)), factor)
        )
    return layers[0], layers[1]


BLOOD = np.array([0.30, 0.62, 0.48], np.float32)
"""How much the logarithm of each channel falls under a wide vein."""
NOISE = np.array([1.0, 0.8, 1.3], np.float32)
"""Noise of the channels, relative to the camera's."""
EXUDATE = (1.12, 2.0, 1.7)
"""Exudates relative to the fundus, per channel."""


def _expose(
    light: np.ndarray,
    depth: np.ndarray,
    lesions: tuple[np.ndarray, np.ndarray] | None,
    view: _View,
    shape: Anatomy,
    complexion: _Complexion,
    rng: np.random.Generator,
) -> np.ndarray:
    """Colours in grey levels, float32 (3, H, W), not yet limited to 255."""
    colours = real_colours()
    blood = depth if lesions is None else np.maximum(depth, 0.95 * lesions[0])
    rim, cup = _disc(view, shape, rng)
    hue = 0.02 * _smooth(rng, 4, view)
    shade = 0.6 * light
    image = np.empty((3, *light.shape), np.float32)
    for channel in range(3):
        median = float(colours.median[channel] * complexion.gain[channel])
        response = np.float32(colours.response[channel])
        tone = response * light + (hue if channel else -hue)
        plane = np.float32(median) * np.exp(tone)
        disc = np.float32(1.08 * median * colours.disc[channel])
        disc_plane = disc * (1 + np.float32(0.28 * response) * cup) * (1 + 0.3 * shade)
        plane += rim * (disc_plane - plane)
        if lesions is not None:
            plane *= 1 + np.float32(EXUDATE[channel] - 1) * lesions[1]
        image[channel] = plane * np.exp(-BLOOD[channel] * blood)
    return image


def _disc(view: _View, shape: Anatomy, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The optic disc with a soft, uneven edge, and the cup inside it; float32 (H, W) in 0 to 1."""
    x, y = view.grid()
    dx = (x - np.float32(shape.disc[0])) / np.float32(shape.disc_size[0])
    dy = (y - np.float32(shape.disc[1])) / np.float32(shape.disc_size[1])
    radius = np.sqrt(dx * dx + dy * dy) + np.float32(0.03) * _smooth(rng, 14, view)
    temporal = np.sqrt((dx + np.float32(0.12)) ** 2 + dy * dy)
    width = np.float32(rng.uniform(0.03, 0.06))
    rim = 1 / (1 + np.exp(np.clip((radius - 1) / width, -30, 30)))
    cup = np.exp(-((temporal / np.float32(rng.uniform(0.4, 0.55))) ** 2))
    return rim * np.float32(rng.uniform(0.9, 0.98)), cup


def _sensor(
    image: np.ndarray, fov: np.ndarray, camera: Camera, height: int, rng: np.random.Generator
) -> np.ndarray:
    """Limit, blur and sample: uint8 (H, W, 3)."""
    # A film's shoulder instead of a hard limit keeps bright discs from turning into flat patches.
    bright = image > 200
    image[bright] = 200 + 55 * np.tanh((image[bright] - 200) / 55)
    image *= fov
    image += 3.0
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.uint8))
    if height >= 200:
        picture = picture.filter(ImageFilter.BoxBlur(0.9 * height / 584))
    noise = rng.standard_normal(fov.shape, dtype=np.float32)
    noise *= np.float32(camera.noise) * (0.3 + 0.7 * fov)
    sampled = np.asarray(picture) + noise[..., None] * NOISE
    return np.clip(np.rint(sampled, out=sampled), 0, 255, out=sampled).astype(np.uint8)
