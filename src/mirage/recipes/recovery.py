"""How much of a lesion's mass extraction gives back, on phantoms whose nodules are known exactly.

>>> table = recovered(model.fill, model.size, model.box_side, side=1024, subjects=20)
>>> table["ratio"].median()
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.errors import DataError
from mirage.preprocess.lesions import Box, extract
from mirage.recipes.extract_lesions import hole_around, window_corner
from mirage.simulate.chest import radiograph

Fill = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Fills a hole: (image (1, P, P) uint8, hole (P, P) uint8, seed) to an image like the first."""


def recovered(
    fill: Fill,
    window: int,
    limit: int,
    *,
    side: int,
    subjects: int,
    context: float = 0.35,
    seed: int = 0,
) -> pd.DataFrame:
    """Extract the nodules of phantoms that no training has seen, and compare their mass with the truth.

    Args:
        fill: ``Inpainter.fill``, or a rival.
        window: side of the images that it takes, pixels.
        limit: longest side of a hole that it has learnt, pixels.
        side: of the phantoms, pixels; as the inpainter's patches were cut from.
        subjects: phantoms, with two nodules each, one at a time.
        context: as of the recipe.
        seed: of the phantoms.

    Returns:
        A row a nodule: subject, nodule, diameter (pixels), contrast (share of the range), true and extracted
        mass (stored units), their ratio, visibility, and the reason where nothing was extracted (else "").
    """
    rows = []
    for subject in range(subjects):
        made = radiograph(seeds.rng(seed, "recovery", subject), side, 2, "AP" if subject % 4 == 3 else "PA")
        for number, nodule in enumerate(made.nodules):
            image = np.round((made.healthy + nodule.contribution).clip(0, 1) * 255).astype(np.uint8)
            box = Box(*(float(edge) for edge in nodule.box))
            top, left = window_corner(box, window, (side, side))
            part, own = image[top : top + window, left : left + window], box.moved(-top, -left)
            true = float(nodule.contribution.sum() * 255)
            row = {
                "subject": subject,
                "nodule": number,
                "diameter": nodule.shape.diameter * side,
                "contrast": nodule.shape.contrast,
                "true_mass": true,
            }
            try:
                hole = hole_around(own, window, limit, context)
                filled = fill(part[None], hole, seeds.integer(seed, "recovery/fill", subject, number))[0]
                lesion, seen = extract(part, filled, own, hole, (0.0, 255.0))
            except DataError as error:
                rows.append({**row, "mass": 0.0, "ratio": 0.0, "visibility": 0.0, "reason": str(error)})
                continue
            found = {"mass": lesion.mass, "ratio": lesion.mass / true, "visibility": seen.score}
            rows.append({**row, **found, "reason": ""})
    return pd.DataFrame(rows)
