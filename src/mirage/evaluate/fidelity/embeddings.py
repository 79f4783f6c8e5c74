"""Maps of the feature space, for the eye: images as points of a plane, by three methods from the same points.

Principal components are those of the training images and keep distances as far as a plane can. t-SNE and
UMAP keep neighbours together: there neither distances between groups nor the size of a cloud are evidence.
Trustworthiness says how far an image's neighbours on the map are its neighbours in truth.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from mirage import seeds
from mirage.config.maps import MapOptions
from mirage.evaluate.fidelity.draws import Floats, Ints
from mirage.metrics.points import Array, PrincipalAxes

NEIGHBOURS = 10
"""Neighbours whose keeping trustworthiness looks at."""
FEWEST = 12
ITERATIONS = 500


def embed(
    values: Array, groups: list[str], item_ids: list[str], encoder: str, options: MapOptions, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Places of all items on maps of every method asked for.

    t-SNE (van der Maaten and Hinton 2008) and UMAP (McInnes 2018) start from the principal components.

    Args:
        values: (N, D) features.
        groups: training, heldout, synthetic or the name of a further group, of each.
        item_ids: of each.
        encoder: its name.
        options: methods and their parameters.
        seed: of t-SNE and UMAP.

    Returns:
        encoder, method (pca, tsne or umap), side (the group), item_id, x, y; and method -> trustworthiness
        (of 10 neighbours, 0 to 1) with the parameters as they were used. Empty for fewer than 12 items.
        Where all items are the same there are principal components alone.
    """
    columns = ["encoder", "method", "side", "item_id", "x", "y"]
    training: Ints = np.flatnonzero(np.array(groups) == "training")
    if len(values) < FEWEST or len(training) < 2:
        return pd.DataFrame(columns=columns), {}
    wide = values.astype(np.float64)
    axes = _plane(wide, training)
    differ = bool(np.ptp(wide, axis=0).any())
    near = min(NEIGHBOURS, len(wide) // 2 - 1)
    tables: list[pd.DataFrame] = []
    facts: dict[str, Any] = {}
    for method in options.methods:
        told: dict[str, Any] = {}
        if method == "pca":
            places = axes
        elif not differ:
            continue
        else:
            found, told = (_tsne if method == "tsne" else _umap)(wide, axes, options, seed)
            places = found.astype(np.float64)
        kept = float(trustworthiness(wide, places, n_neighbors=near))
        facts[method] = {"trustworthiness": kept, "neighbours_looked_at": near, **told}
        table = {"side": groups, "item_id": item_ids, "x": places[:, 0], "y": places[:, 1]}
        tables.append(pd.DataFrame(table).assign(encoder=encoder, method=method)[columns])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns), facts


def _plane(values: Array, training: Ints) -> Floats:
    """First two principal components (N, 2) of the training items, the second 0 where there is none."""
    wanted = min(2, len(training) - 1, values.shape[1])
    scores = PrincipalAxes(values[training], wanted)(values)
    return np.pad(scores, ((0, 0), (0, 2 - wanted)))


def _tsne(values: Floats, axes: Floats, options: MapOptions, seed: int) -> tuple[Floats, dict[str, Any]]:
    perplexity = min(options.perplexity, (len(values) - 1) / 3)
    start = axes / max(axes[:, 0].std(), 1e-12) * 1e-4
    method = TSNE(perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=seed)
    return method.fit_transform(values), {"perplexity": float(perplexity), "seed": seed}


def _umap(values: Floats, axes: Floats, options: MapOptions, seed: int) -> tuple[Floats, dict[str, Any]]:
    """UMAP on one thread, as a seeded one has to be, from the exact nearest neighbours.

    Its own search for neighbours would be compiled first, which takes longer than all the rest.
    """
    noise = seeds.rng(seed, "fidelity/umap").standard_normal(axes.shape)
    start = np.where(np.ptp(axes, axis=0) > 0, axes, noise)  # it stretches every axis to one length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Tensorflow, and of new points, neither of which is wanted
        from umap import UMAP  # seconds of compiling, which nothing but a map should wait for

        count = min(options.neighbours, len(values) - 1)
        distances, indices = NearestNeighbors(n_neighbors=count).fit(values).kneighbors(values)
        method = UMAP(
            n_neighbors=count,
            min_dist=options.min_dist,
            init=start.astype(np.float32),
            precomputed_knn=(indices.astype(np.int32), distances.astype(np.float32)),
            random_state=seed,
            n_jobs=1,
        )
        places = method.fit_transform(values.astype(np.float32))
    return places, {"neighbours": count, "min_dist": options.min_dist, "seed": seed}
