"""Free-response curves of detectors, with bands."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from mirage.metrics.detection import RATES
from mirage.report.figures import DASHES, PALETTE, WIDTH, style

LEAST = 1 / 16


def froc_curves(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """A panel a test column, a line an arm; false positives on a logarithmic axis.

    Args:
        panels: title -> {arm -> table of :func:`mirage.report.evaluators.detection_scores.band`}.
    """
    names = list(dict.fromkeys(name for own in panels.values() for name in own))
    with style():
        figure = Figure(figsize=(WIDTH * (0.34 + 0.33 * (len(panels) - 1)), 3.4), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True).ravel()
        for axis, (title, own) in zip(axes, panels.items(), strict=True):
            for name, table in own.items():
                number = names.index(name)
                colour = PALETTE[number % len(PALETTE)]
                shown = table[table["false_positives"] >= LEAST]
                x = shown["false_positives"]
                axis.fill_between(x, shown["low"], shown["high"], color=colour, alpha=0.13, linewidth=0)
                dashes = DASHES[number % len(DASHES)]
                label = name.replace("_", " ")
                axis.plot(x, shown["sensitivity"], color=colour, linestyle=dashes, label=label)
            axis.set(xscale="log", xlim=(LEAST, 16), ylim=(0, 1.02), title=title)
            axis.set_xticks(RATES, ["1/8", "1/4", "1/2", "1", "2", "4", "8"], minor=False)
            axis.minorticks_off()
            axis.set_xlabel("false positives an image")
        axes[0].set_ylabel("lesions found (share)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure
