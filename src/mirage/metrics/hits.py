"""Which marks of a detector hit which lesions: the rule by which free-response data are scored.

Marks are taken from the highest score down, and each takes, of the lesions that it hits and that no higher
mark has taken, the one that it hits best. A mark that only hits lesions which are taken already is an
*extra hit*. LUNA16 and CAMELYON16 ignore extra hits, COCO and the winner of NODE21 count them as false
positives; no choice is right, so it is configured and printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Outcome = Literal["hit", "false", "ignored"]
Kind = Literal["iou", "centre_in_box", "centre_distance"]
ExtraHits = Literal["ignored", "false_positive"]


@dataclass(frozen=True)
class HitRule:
    """When a mark has found a lesion.

    Attributes:
        kind: ``iou``: boxes overlap by at least ``limit`` (intersection over union); ``centre_in_box``: the
            mark's centre lies in the lesion's box; ``centre_distance``: the centres are at most ``limit``
            pixels apart.
        limit: of the overlap, or of the distance in pixels; without meaning for ``centre_in_box``.
        extra: what an extra hit counts as.
        strict: the overlap must exceed ``limit`` (NODE21) and not only reach it.
    """

    kind: Kind = "iou"
    limit: float = 0.2
    extra: ExtraHits = "ignored"
    strict: bool = False

    def words(self) -> str:
        """The rule as a caption states it."""
        sign = ">" if self.strict else "at least"
        rule = {
            "iou": f"overlap (IoU) {sign} {self.limit:g}",
            "centre_in_box": "the mark's centre lies in the lesion's box",
            "centre_distance": f"centres at most {self.limit:g} pixels apart",
        }[self.kind]
        extra = "are ignored" if self.extra == "ignored" else "count as false positives"
        return f"hit: {rule}; further marks on a found lesion {extra}"


NODE21 = HitRule("iou", 0.2, "false_positive", strict=True)
"""Rule of the NODE21 ranking, as two public re-implementations code it."""


@dataclass(frozen=True)
class Marks:
    """What a detector marked on one image.

    Attributes:
        boxes: (M, 4) x0, y0, x1, y1 in pixels of the stored image, half-open.
        scores: (M,) in [0, 1].
    """

    boxes: Floats
    scores: Floats


@dataclass(frozen=True)
class Matched:
    """What became of the M marks of one image.

    Attributes:
        lesion: (M,) lesion that a mark hits or hits again, -1 for none.
        outcome: (M,) ``hit``, ``false`` or ``ignored``; at most one ``hit`` a lesion.
    """

    lesion: Indices
    outcome: npt.NDArray[np.str_]


def overlaps(marks: Floats, lesions: Floats) -> Floats:
    """Intersection over union (M, L) of boxes (M, 4) and (L, 4), x0 y0 x1 y1, half-open."""
    low = np.maximum(marks[:, None, :2], lesions[None, :, :2])
    high = np.minimum(marks[:, None, 2:], lesions[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (marks, lesions)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def nearness(rule: HitRule, marks: Floats, lesions: Floats) -> Floats:
    """How well marks (M, 4) hit lesions (L, 4), larger is better; -inf (M, L) where one is no hit."""
    if rule.kind == "iou":
        near = overlaps(marks, lesions)
        hit = near > rule.limit if rule.strict else near >= max(rule.limit, np.finfo(float).tiny)
        return np.where(hit, near, -np.inf)
    centres = (marks[:, :2] + marks[:, 2:]) / 2
    middles = (lesions[:, :2] + lesions[:, 2:]) / 2
    distance = np.linalg.norm(centres[:, None] - middles[None], axis=2)
    if rule.kind == "centre_distance":
        return np.where(distance <= rule.limit, -distance, -np.inf)
    after = (centres[:, None] >= lesions[None, :, :2]).all(axis=2)
    before = (centres[:, None] < lesions[None, :, 2:]).all(axis=2)
    return np.where(after & before, -distance, -np.inf)


def match(rule: HitRule, marks: Floats, scores: Floats, lesions: Floats) -> Matched:
    """Match the marks of one image with its lesions, greedily by score; equal scores in their order.

    Args:
        rule: when a mark hits.
        marks: (M, 4) boxes x0, y0, x1, y1 in pixels, half-open.
        scores: (M,), higher is surer.
        lesions: (L, 4) boxes; none on a normal image.
    """
    count = len(marks)
    lesion, outcome = np.full(count, -1), np.full(count, "false", dtype="<U7")
    if not count or not len(lesions):
        return Matched(lesion, outcome)
    near = nearness(rule, marks.astype(np.float64), lesions.astype(np.float64))
    free = np.ones(len(lesions), bool)
    for mark in np.argsort(-scores, kind="stable"):
        best = np.where(free, near[mark], -np.inf)
        if best.max() > -np.inf:
            lesion[mark] = best.argmax()
            outcome[mark] = "hit"
            free[lesion[mark]] = False
        elif near[mark].max() > -np.inf and rule.extra == "ignored":
            lesion[mark] = near[mark].argmax()
            outcome[mark] = "ignored"
    return Matched(lesion, outcome)
