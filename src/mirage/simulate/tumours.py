"""Gliomas grown on the template: oedema that spreads along white matter, a core, and its enhancing rim.

Oedema is what a front reaches first that travels fast in white matter, slowly in grey matter and hardly
through CSF, so it has fingers, spares the ventricles and crosses the midline through the corpus callosum
only. The core is an irregular ball around the front's origin. Volumes follow BraTS 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mirage.simulate.fields import Axes, noise
from mirage.simulate.mri import Anatomy
from mirage.simulate.template import COARSE, Template, load_template

NCR, ED, ET = 1, 2, 3
"""Stored label codes: necrotic and non-enhancing core, oedema, enhancing tumour."""
LOW_GRADE = 76 / 369
"""Share of low-grade gliomas in BraTS 2020."""


@dataclass(frozen=True)
class Plan:
    """What one patient's tumour is to be.

    Attributes:
        low_grade: mostly without enhancement.
        whole_ml: volume of everything.
        core_ml: volume of core and enhancing tumour.
        enhancing_ml: volume of the enhancing tumour.
        centres: (foci, 3) origins in the template, mm; the first is the largest focus.
        lag: (foci,) factors >= 1 on the distance from each origin; a larger one makes a smaller focus.
        shape: (3, 3) stretches the distance from the core's origin.
        push: largest displacement of the surrounding tissue, mm.
        radius: distance from the first centre at which the push is largest, mm.
    """

    low_grade: bool
    whole_ml: float
    core_ml: float
    enhancing_ml: float
    centres: np.ndarray
    lag: np.ndarray
    shape: np.ndarray
    push: float
    radius: float


def plan_tumour(rng: np.random.Generator) -> Plan:
    """Draw grade, volumes and places."""
    low_grade = bool(rng.random() < LOW_GRADE)
    whole = float(np.clip(np.exp(rng.normal(np.log(92), 0.6)), 8, 280))
    if low_grade:
        core = whole * rng.beta(4.0, 2.5)
        share = 0.0 if rng.random() < 0.55 else float(rng.beta(1.5, 10))
    else:
        core = whole * rng.beta(2.4, 3.4)
        share = float(rng.beta(4.0, 3.0))
    solid = rng.random() < 0.5
    if not low_grade and core < 12 and solid:
        share = 1.0
    centres, lag = _places(rng, 2 if not low_grade and rng.random() < 0.15 else 1)
    radius = float(np.cbrt(3000 * (core + 0.25 * (whole - core)) / (4 * np.pi)))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    shape = turn @ np.diag(np.exp(rng.normal(0, 0.2, 3))) @ turn.T
    push = min(9.0, radius * rng.uniform(0.06, 0.2))
    return Plan(low_grade, whole, float(core), float(core * share), centres, lag, shape, push, radius)


def _places(rng: np.random.Generator, foci: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins in the hemispheres' white matter; a second one lies 30 to 60 mm away on the same side."""
    template = load_template(COARSE)
    points = template.positions().reshape(3, -1)
    weight = (template.white + 0.15 * template.grey).ravel() * (np.abs(points[0]) > 12)
    weight *= (template.depth.ravel() > 7) & (template.ventricle.ravel() > 4) & ~infratentorial(points)
    centres = [points[:, rng.choice(len(weight), p=weight / weight.sum())]]
    lag = [1.0]
    if foci > 1:
        away = np.linalg.norm(points - centres[0][:, None], axis=0)
        weight *= (away > 30) & (away < 60) & (points[0] * centres[0][0] > 0)
        centres.append(points[:, rng.choice(len(weight), p=weight / weight.sum())])
        lag.append(rng.uniform(1.3, 2.5))
    return np.array(centres, np.float64), np.array(lag)


def infratentorial(points: np.ndarray) -> np.ndarray:
    """Which (3, N) template positions lie in cerebellum or brain stem, roughly."""
    x, y, z = points
    cerebellum = (y < -32) & (z < -10 - 0.16 * np.maximum(np.abs(x) - 8, 0))
    return np.asarray(cerebellum | ((np.abs(x) < 18) & (y < -8) & (z < -8)))


def grow(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """How far from its origin the front must travel to reach each voxel of the coarse template.

    Returns:
        float32, mm of white matter; very large where it never arrives.
    """
    from skimage.graph import MCP_Geometric

    template = load_template(COARSE)
    points = template.positions()
    csf = np.clip(template.inside - template.grey - template.white, 0, 1)
    speed = template.white + 0.35 * template.grey + 0.05 * csf
    falx = (np.abs(points[0]) < 3.5) & (template.white < 0.6)
    below = infratentorial(points.reshape(3, -1)).reshape(falx.shape)
    speed *= np.where(template.ventricle < 0, 0.05, 1) * np.where(falx, 0.2, 1) * np.where(below, 0.15, 1)
    for blur in (1.2, 3.0):
        rough = ndimage.gaussian_filter(rng.standard_normal(speed.shape, dtype=np.float32), blur)
        speed *= np.exp(0.35 / rough.std() * rough)
    cost = np.where(template.inside > 0.5, COARSE / np.maximum(speed, 0.02), -1.0)
    reach = np.full(speed.shape, np.inf)
    for centre, lag in zip(plan.centres, plan.lag, strict=True):
        start = np.rint((centre - template.origin) / COARSE).astype(int)
        arrival, _ = MCP_Geometric(cost).find_costs([tuple(start)])
        reach = np.minimum(reach, lag * arrival)
    finite = np.isfinite(reach)
    reach[~finite] = reach[finite].max() + 100
    return reach.astype(np.float32)


def push_aside(plan: Plan, points: np.ndarray, template: Template) -> np.ndarray:
    """Mass effect: where the tissue now at template positions (3, N) came from, minus where it is, mm.

    The push fades towards the skull, which does not give way.
    """
    away = points - plan.centres[0].astype(np.float32)[:, None]
    distance = np.maximum(np.linalg.norm(away, axis=0), 1e-3)
    profile = distance / plan.radius * np.exp(1 - distance / plan.radius)
    fade = np.clip(template.at("depth", points) / 12, 0, 1)
    return np.asarray(-away / distance * (plan.push * profile * fade))


def label_tumour(
    plan: Plan, rng: np.random.Generator, axes: Axes, anatomy: Anatomy, reach: np.ndarray, voxel_ml: float
) -> np.ndarray:
    """Label the voxels of a brain.

    Args:
        plan: volumes and shape.
        rng: for the edges.
        axes: of the head's grid.
        anatomy: of its N voxels inside the brain.
        reach: (N,) of ``grow`` at their template positions.
        voxel_ml: volume of a voxel.

    Returns:
        uint8 (N,): 0, NCR, ED or ET, with the plan's volumes to a voxel.
    """
    coarse, fine, rim = (noise(rng, axes, spacing)[anatomy.inside] for spacing in (16.0, 6.0, 11.0))
    labels = np.zeros(len(reach), np.uint8)
    spread = reach + 12 * anatomy.csf + 6 * anatomy.grey + 1.6 * fine + 2.5 * rim
    whole = _smallest(spread, round(plan.whole_ml / voxel_ml))
    labels[whole] = ED
    # The core is round, and keeps to where the oedema is oldest.
    distance = _core_distance(plan, anatomy.points[:, whole])
    ball = distance * (1 + 0.2 * coarse[whole]) + 1.2 * fine[whole] + 0.25 * spread[whole]
    order = _smallest(ball, round(plan.core_ml / voxel_ml))
    core = whole[order]
    labels[core] = NCR
    # Enhancement lies near the core's edge: a rim, thick, thin or broken where the noise says so.
    within = ball[order].max(initial=0) - ball[order]
    thin = within * np.exp(-0.7 * rim[core]) + 7 * np.maximum(-rim[core] - 0.9, 0) + fine[core]
    labels[core[_smallest(thin, round(plan.enhancing_ml / voxel_ml))]] = ET
    return labels


def _core_distance(plan: Plan, points: np.ndarray) -> np.ndarray:
    """Distance of template positions (3, N) from the nearest origin, in the core's stretched space."""
    distances = [
        np.float32(lag)
        * np.linalg.norm(
            plan.shape.astype(np.float32) @ (points - centre[:, None].astype(np.float32)), axis=0
        )
        for centre, lag in zip(plan.centres, plan.lag, strict=True)
    ]
    return np.asarray(np.min(distances, axis=0))


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` smallest values."""
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, count)[:count]
