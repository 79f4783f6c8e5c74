"""Scores against the number of training positives, with bands."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from mirage.report.figures import DASHES, MARKERS, PALETTE, WIDTH, style


def size_curves(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel a score, a line an arm.

    Args:
        panels: title -> table of :func:`mirage.report.evaluators.classification_scores.curves`.
    """
    names = list(dict.fromkeys(name for own in panels.values() for name in own["arm"]))
    with style():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False).ravel()
        for axis, (title, table) in zip(axes, panels.items(), strict=True):
            for number, name in enumerate(names):
                own = table[table["arm"] == name]
                colour = PALETTE[number % len(PALETTE)]
                axis.fill_between(own["k"], own["low"], own["high"], color=colour, alpha=0.1, linewidth=0)
                axis.plot(
                    own["k"],
                    own["estimate"],
                    color=colour,
                    linestyle=DASHES[number // len(PALETTE) % len(DASHES)],
                    marker=MARKERS[number % len(MARKERS)],
                    markersize=4,
                    label=name.replace("_", " "),
                )
            axis.set_title(title)
            axis.set_xlabel("real training positives, k")
            axis.set_xticks(sorted(set(table["k"])))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
    return figure
