"""How much of a lesion's mass extraction gives back, on phantoms whose nodules are known exactly.

>>> table = recovered(model.fill, model.size, model.box_side, side=1024, subjects=20)
>>> table["ratio"].median()
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.errors import DataError
from mirage.preprocess.lesions import Box
from mirage.recipes.extract_lesions import Fill, Painter, cut_out
from mirage.simulate.chest import radiograph


def recovered(
    fill: Fill,
    window: int,
    limit: int,
    *,
    side: int,
    subjects: int,
    context: float = 0.35,
    places: int = 16,
    seed: int = 0,
) -> pd.DataFrame:
    """Extract the nodules of phantoms that no training has seen, and compare their mass with the truth.

    Args:
        fill: ``Inpainter.fill``, or a rival.
        window: side of the images that it takes, pixels.
        limit: longest side of a hole that it has learnt, pixels.
        side: of the phantoms, pixels; as the inpainter's patches were cut from.
        subjects: phantoms, with two nodules each, one at a time.
        context, places: as ``context`` and ``healthy_places`` of the recipe.
        seed: of the phantoms.

    Returns:
        A row a nodule: subject, nodule, diameter (pixels), contrast (share of the range), true and extracted
        mass (stored units), their ratio, visibility, healthy places, trust and offset that were learnt there,
        and the reason where nothing was extracted (else "").
    """
    rows = []
    for subject in range(subjects):
        made = radiograph(seeds.rng(seed, "recovery", subject), side, 2, "AP" if subject % 4 == 3 else "PA")
        for number, nodule in enumerate(made.nodules):
            image = np.round((made.healthy + nodule.contribution).clip(0, 1) * 255).astype(np.uint8)
            box = Box(*(float(edge) for edge in nodule.box))
            true = float(nodule.contribution.sum() * 255)
            row = {
                "subject": subject,
                "nodule": number,
                "diameter": nodule.shape.diameter * side,
                "contrast": nodule.shape.contrast,
                "true_mass": true,
            }
            try:
                cut = cut_out(
                    image,
                    box,
                    [],
                    Painter(fill, window, limit),
                    value_range=(0.0, 255.0),
                    context=context,
                    places=places,
                    seed=seeds.integer(seed, "recovery/fill", subject, number),
                )
            except DataError as error:
                rows.append({**row, "mass": 0.0, "ratio": 0.0, "visibility": 0.0, "reason": str(error)})
                continue
            found = {"mass": cut.lesion.mass, "ratio": cut.lesion.mass / true, "visibility": cut.seen.score}
            learnt = {"places": cut.bias.places, "trust": cut.bias.trust, "offset": cut.bias.offset}
            rows.append({**row, **found, **learnt, "beside_healthy": cut.beside_healthy, "reason": ""})
    return pd.DataFrame(rows)
