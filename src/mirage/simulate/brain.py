"""Brains with gliomas in four MRI contrasts, with exactly known labels.

A subject is the average head, deformed smoothly, with wider or narrower ventricles and sulci, a tumour that
pushes tissue aside, and a scanner with its own scale, coil and noise. Positions in a head are millimetres
from the centre of the first voxel of a BraTS volume of 1 mm: x to the left, y to the back, z up. All of it
but the noise is defined in millimetres, so a smaller size is the same head at a coarser spacing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirage import seeds
from mirage.simulate.fields import Axes, control_axis, noise, spline
from mirage.simulate.mri import SEQUENCES, Anatomy, Grid, Look, lesion_weights, render
from mirage.simulate.template import CENTRE, COARSE, HALF, load_template
from mirage.simulate.tumours import ED, ET, NCR, Plan, grow, label_tumour, plan_tumour, push_aside

__all__ = ["SEQUENCES", "Brain", "simulate_brain"]

SIDE, HEIGHT = 240, 155
"""Field of view of BraTS, mm."""
MIDDLE = (118.5, 131.0, 74.0)
"""Centre of the brain's bounding box in BraTS volumes, mm."""
EXTENT = (0.945, 0.93, 0.85)
"""Width, length and height of brains in BraTS volumes relative to the template."""
WARPS = ((48.0, 3.6), (20.0, 1.3), (9.0, 0.5))
"""Control spacing and standard deviation of the deformation's parts, mm."""
PUSH_SPACING = 6.0
"""Control spacing of the mass effect, mm."""
FINEST = 2.0
"""Voxels wider than this, mm, are computed as several and averaged."""


@dataclass(frozen=True)
class Brain:
    """A subject in the array order of BraTS files: x to the left, y to the back, z up.

    Attributes:
        images: int16 (4, X, Y, Z) in the order of ``SEQUENCES``; 0 outside the brain, at least 1 inside.
        labels: uint8 (X, Y, Z): 0, 1 NCR, 2 ED, 3 ET.
        spacing: voxel size, mm.
        low_grade: drawn as a low-grade glioma.
        foci: number of places the tumour began at.
    """

    images: np.ndarray
    labels: np.ndarray
    spacing: float
    low_grade: bool
    foci: int


def simulate_brain(seed: int, subject: int, size: int) -> Brain:
    """One subject.

    Args:
        seed: of the dataset.
        subject: index >= 0. Subjects do not depend on how many there are.
        size: in-plane side, voxels: 240 gives 240 x 240 x 155 at 1 mm, others 240 / size mm.
    """
    shape, tumour, edge, look, speckle = (
        seeds.rng(seed, f"simulate-brain-{part}", subject)
        for part in ("shape", "tumour", "edge", "look", "speckle")
    )
    plan = plan_tumour(tumour)
    scale = np.array(EXTENT) * np.exp(shape.normal(0, 0.03) + shape.normal(0, 0.02, 3))
    grid = head_grid(size, scale)
    anatomy = build_anatomy(shape, grid, scale, plan)
    reach = load_template(COARSE).between(grow(plan, tumour), anatomy.points)
    labels = np.zeros(anatomy.inside.shape, np.uint8)
    labels[anatomy.inside] = label_tumour(plan, edge, grid.axes, anatomy, reach, grid.step**3 / 1000)
    brain = grid.mean(anatomy.inside.astype(np.float32)) >= 0.5
    images = render(
        Look(look, solid=plan.low_grade),
        speckle,
        grid,
        anatomy,
        lesion_weights(labels, anatomy.inside),
        brain,
    )
    whole = grid.whole(_majority(grid, labels) * brain)
    return Brain(images, whole, grid.spacing, plan.low_grade, len(plan.centres))


def head_grid(size: int, scale: np.ndarray) -> Grid:
    """The voxels around a head.

    Args:
        size: in-plane side of the volume, voxels.
        scale: of the head relative to the template, along x, y, z.
    """
    spacing = SIDE / size
    shape = (size, size, round(HEIGHT / spacing))
    factor = int(np.ceil(spacing / FINEST - 1e-9))
    ranges = [
        (max(0, int((middle - reach) / spacing)), min(n, int((middle + reach) / spacing) + 2))
        for middle, reach, n in zip(MIDDLE, np.array(HALF) * scale + 14, shape, strict=True)
    ]
    step = spacing / factor
    x, y, z = (np.arange(low * factor, high * factor) * step + (step - 1) / 2 for low, high in ranges)
    box = (slice(*ranges[0]), slice(*ranges[1]), slice(*ranges[2]))
    return Grid(shape, spacing, box, factor, (x, y, z))


def build_anatomy(rng: np.random.Generator, grid: Grid, scale: np.ndarray, plan: Plan) -> Anatomy:
    """Deform the template.

    Args:
        rng: the subject's shape.
        grid: where to evaluate.
        scale: of the head relative to the template.
        plan: of the tumour, for its mass effect.
    """
    template = load_template(1 if grid.step < 1.5 else 2)
    everywhere = template_positions(rng, grid, scale, plan)
    surface = template.at("inside", everywhere.reshape(3, -1)).reshape(everywhere.shape[1:])
    inside = surface > 0.5
    points, surface = everywhere[:, inside], surface[inside]
    grey, white = template.at("grey", points), template.at("white", points)
    # Skull stripping takes more or less of the fluid at the surface with it.
    kept = surface - rng.uniform(0, 0.45) * np.clip(1 - grey - white, 0, 1) > 0.5
    points, surface, grey, white = points[:, kept], surface[kept], grey[kept], white[kept]
    inside[inside] = kept
    ventricle, texture = template.at("ventricle", points), template.at("texture", points)
    width = 0.35 * noise(rng, grid.axes, 28.0)[inside]
    fractions = _fractions(rng, grey, white, ventricle, width)
    return Anatomy(inside, points, *fractions, texture, ventricle, surface)


def _fractions(
    rng: np.random.Generator, grey: np.ndarray, white: np.ndarray, ventricle: np.ndarray, width: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CSF, grey and white matter, (N,) each: sharper than the mean of 152 people, with this subject's spaces.

    Args:
        rng: the subject's shape.
        grey: the template's fraction, (N,).
        white: the same.
        ventricle: distance to the ventricles, mm.
        width: logarithm of how much the width of the sulci differs from place to place.
    """
    csf = np.clip(1 - grey - white, 0, 1)
    csf, grey, white = np.exp(rng.normal(0.5, 0.35) + width) * csf**1.3, grey**1.3, white**1.3
    dilated = rng.gamma(2.0, 0.9) - 0.8
    outside = 1 / (1 + np.exp(np.clip((dilated - ventricle) / 0.5, -20, 20)))
    share = outside / (csf + grey + white + 1e-6)
    grey, white = (grey * share).astype(np.float32), (white * share).astype(np.float32)
    return 1 - grey - white, grey, white


def template_positions(rng: np.random.Generator, grid: Grid, scale: np.ndarray, plan: Plan) -> np.ndarray:
    """Where in the template each sub-voxel's tissue comes from, float32 (3, x, y, z), mm."""
    matrix = np.diag([-1, -1, 1] / scale) @ _rotation(np.deg2rad(rng.normal(0, 2.0, 3)))
    middle = np.array(MIDDLE) + rng.normal(0, 1.5, 3)
    warps = [_control_points(rng, spacing, deviation) for spacing, deviation in WARPS]

    def smooth(axes: Axes) -> np.ndarray:
        points = _affine(matrix, middle, axes)
        for (spacing, _), warp in zip(WARPS, warps, strict=True):
            for axis in range(3):
                points[axis] += spline(warp[axis], axes, spacing)
        return points

    control = np.clip(control_axis(PUSH_SPACING), 0, SIDE)
    coarse = smooth((control, control, control))
    push = push_aside(plan, coarse.reshape(3, -1), load_template(COARSE)).reshape(coarse.shape)
    points = smooth(grid.axes)
    for axis in range(3):
        points[axis] += spline(push[axis], grid.axes, PUSH_SPACING)
    return points


def _control_points(rng: np.random.Generator, spacing: float, deviation: float) -> np.ndarray:
    """(3, K, K, K) displacements of a deformation's control points; none so large that tissue folds."""
    count = len(control_axis(spacing))
    drawn = rng.standard_normal((3, count, count, count), dtype=np.float32)
    # A spline averages its control points, to about a third of their deviation.
    return np.asarray(np.clip(drawn, -2.5, 2.5) * np.float32(3 * deviation))


def _rotation(angles: np.ndarray) -> np.ndarray:
    """(3, 3) rotation about x, then y, then z, by angles in radians."""
    matrix = np.eye(3)
    for (i, j), angle in zip(((1, 2), (0, 2), (0, 1)), angles, strict=True):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def _affine(matrix: np.ndarray, middle: np.ndarray, axes: Axes) -> np.ndarray:
    """Template positions of a grid before any deformation, float32 (3, x, y, z)."""
    x, y, z = ((axis - centre).astype(np.float32) for axis, centre in zip(axes, middle, strict=True))
    rows = zip(matrix.astype(np.float32), CENTRE, strict=True)
    return np.stack(
        [a * x[:, None, None] + b * y[:, None] + (c * z + np.float32(start)) for (a, b, c), start in rows]
    )


def _majority(grid: Grid, labels: np.ndarray) -> np.ndarray:
    """The most frequent label among a voxel's sub-voxels, uint8; the lowest code wins a tie."""
    if grid.factor == 1:
        return labels
    shares = np.stack([grid.mean((labels == code).astype(np.float32)) for code in (0, NCR, ED, ET)])
    return shares.argmax(axis=0).astype(np.uint8)
