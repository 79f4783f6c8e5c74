"""Maps of the feature space: training, held-out and synthetic images as points of a plane, for the eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE, trustworthiness

from mirage.evaluate.fidelity.draws import Floats, Ints
from mirage.metrics.points import Array, PrincipalAxes

PERPLEXITY = 30
NEIGHBOURS = 10
"""Neighbours whose keeping trustworthiness looks at."""
FEWEST = 12
ITERATIONS = 500


def embed(
    values: Array, sides: list[str], item_ids: list[str], encoder: str, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Places of all items on the first two principal components and in a t-SNE map.

    Args:
        values: (N, D) features.
        sides: training, heldout or synthetic, of each.
        item_ids: of each.
        encoder: its name.
        seed: of t-SNE.

    Returns:
        encoder, method (pca or tsne), side, item_id, x, y; and method -> trustworthiness (of 10 neighbours),
        with the perplexity of t-SNE. Empty for fewer than 12 items.
    """
    columns = ["encoder", "method", "side", "item_id", "x", "y"]
    training: Ints = np.flatnonzero(np.array(sides) == "training")
    if len(values) < FEWEST or len(training) < 2:
        return pd.DataFrame(columns=columns), {}
    wide = values.astype(np.float64)
    perplexity = min(PERPLEXITY, (len(wide) - 1) / 3)
    planes = {"pca": _plane(wide, training)}
    if np.ptp(wide, axis=0).any():
        start = planes["pca"] / max(planes["pca"][:, 0].std(), 1e-12) * 1e-4
        planes["tsne"] = TSNE(
            perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=seed
        ).fit_transform(wide)
    near = min(NEIGHBOURS, len(wide) // 2 - 1)
    facts = {
        method: {"trustworthiness": float(trustworthiness(wide, places, n_neighbors=near))}
        for method, places in planes.items()
    }
    if "tsne" in facts:
        facts["tsne"] |= {"perplexity": float(perplexity), "seed": seed}
    tables = [
        pd.DataFrame({"side": sides, "item_id": item_ids, "x": places[:, 0], "y": places[:, 1]}).assign(
            encoder=encoder, method=method
        )
        for method, places in planes.items()
    ]
    return pd.concat(tables, ignore_index=True)[columns], facts


def _plane(values: Array, training: Ints) -> Floats:
    """First two principal components (N, 2) of the training items, the second 0 where there is none."""
    wanted = min(2, len(training) - 1, values.shape[1])
    scores = PrincipalAxes(values[training], wanted)(values)
    return np.pad(scores, ((0, 0), (0, 2 - wanted)))
