"""Charts of readers: accuracies with the band of guessing, histograms of ratings, ROC curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mirage.report.figures import INK, MARKERS, PALETTE, WIDTH, style
from mirage.report.numbers import number

KINDS = {"real": PALETTE[0], "synthetic": PALETTE[1]}
STEPS = 10
COLUMNS = 3


def accuracies(readers: pd.DataFrame, margin: float) -> Figure:
    """One line a reader, with its interval; guessing as a line and a band.

    Args:
        readers: columns ``reader, accuracy, accuracy_low, accuracy_high``, shares.
        margin: half of the band, share.
    """
    with style():
        figure = Figure(figsize=(WIDTH * 0.62, 0.9 + 0.34 * len(readers)), layout="constrained")
        axis = figure.subplots()
        axis.axvspan(0.5 - margin, 0.5 + margin, color=PALETTE[5], alpha=0.22, linewidth=0)
        axis.axvline(0.5, color=INK, linewidth=1)
        for place, row in enumerate(readers.itertuples()):
            axis.plot([row.accuracy_low, row.accuracy_high], [place, place], color=PALETTE[0])
            axis.plot(row.accuracy, place, MARKERS[0], color=PALETTE[0], markersize=6)
        axis.set_yticks(range(len(readers)), [str(name) for name in readers["reader"]])
        axis.set_ylim(len(readers) - 0.5, -0.5)
        axis.set_xlim(0, 1)
        axis.set_xlabel("share of right answers")
    return figure


def ratings(rated: pd.DataFrame, roc: pd.DataFrame, areas: Mapping[str, float]) -> Figure:
    """Histograms of each reader's ratings by truth, and all ROC curves in one panel.

    Args:
        rated: columns ``reader, truth, rating``.
        roc: columns ``reader, fpr, tpr``.
        areas: reader -> area under the curve.
    """
    names = list(dict.fromkeys(rated["reader"]))
    panels = len(names) + 1
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    with style():
        figure = Figure(figsize=(WIDTH * columns / COLUMNS, 2.9 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        edges = _edges(rated["rating"].to_numpy(float))
        for axis, name in zip(axes, names, strict=False):
            own = rated[rated["reader"] == name]
            for place, (truth, colour) in enumerate(KINDS.items()):
                counts, _ = np.histogram(own["rating"][own["truth"] == truth], edges)
                dash = ("-", (0, (4, 1.5)))[place]
                axis.stairs(counts, edges, color=colour, linewidth=1.6, linestyle=dash, label=truth)
                axis.stairs(counts, edges, color=colour, fill=True, alpha=0.14)
            axis.set_title(name)
            axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            axis.set_xlabel("rating")
            axis.set_ylabel("cases")
        axes[0].legend()
        last = axes[len(names)]
        last.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.6)
        for place, name in enumerate(areas):
            own = roc[roc["reader"] == name]
            last.plot(
                own["fpr"],
                own["tpr"],
                color=PALETTE[place % len(PALETTE)],
                marker=MARKERS[place % len(MARKERS)],
                markersize=4,
                label=f"{name} ({number(areas[name], 2)})",
            )
        last.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title="ROC (area)")
        last.set_xlabel("real called synthetic (share)")
        last.set_ylabel("synthetic called synthetic (share)")
        last.legend(loc="lower right")
        for spare in axes[panels:]:
            spare.set_visible(False)
    return figure


def _edges(values: np.ndarray) -> np.ndarray:
    """A bin for every step of a short scale, ten of a long one."""
    low, high = float(values.min()), float(values.max())
    if high - low < STEPS and np.all(values % 1 == 0):
        return np.arange(low - 0.5, high + 1)
    return np.linspace(min(low, 0.0), max(high, 100.0), STEPS + 1)
