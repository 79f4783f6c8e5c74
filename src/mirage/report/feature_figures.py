"""Charts of feature spaces: ratios to real images, and maps of images as points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from mirage.report.figures import INK, MARKERS, PALETTE, WIDTH, style
from mirage.report.numbers import setting

SIDES = {
    "training": ("real, training", PALETTE[0], "o"),
    "heldout": ("real, held out", PALETTE[2], "^"),
    "synthetic": ("synthetic", PALETTE[1], "s"),
}
"""Group of a map -> what it is called, its colour and its marker."""
CONTEXT = ((PALETTE[3], "D"), (PALETTE[4], "v"), (PALETTE[6], "X"))
"""Colours and markers of further groups, which are hollow: they are compared with nothing."""
MARKS = (
    *(10.0**power for size in range(9) for power in (size, -size)),
    *(digit * 10.0**power for digit in (2, 5) for power in range(-3, 4)),
    *(0.8, 1.25),
)
"""Where an axis of ratios may be marked, round numbers first."""
MOST_MARKS = 7


def ratios(panels: Mapping[str, pd.DataFrame], encoders: Sequence[str]) -> Figure:
    """Forest plot of ratios to real images on logarithmic axes, a panel a group of measures.

    Args:
        panels: title -> rows ``name`` (of the measure), ``encoder``, ``estimate``, ``low``, ``high``, in the
            order drawn from top to bottom. Points whose interval holds 1 are hollow.
        encoders: all of them, in the order of colours and markers.
    """
    lines = [sum(1 for _ in rows["name"].unique()) for rows in panels.values()]
    with style():
        height = 1.3 + 0.17 * max(len(encoders), 2) * max(lines)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(panels))).tolist()
        for axis, (title, rows) in zip(axes, panels.items(), strict=True):
            _ratio_panel(axis, rows, encoders)
            axis.set_title(title)
        handles = [
            Line2D([], [], color=PALETTE[i % len(PALETTE)], marker=MARKERS[i % len(MARKERS)], label=name)
            for i, name in enumerate(encoders)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    return figure


def _ratio_panel(axis: Axes, rows: pd.DataFrame, encoders: Sequence[str]) -> None:
    names = list(rows["name"].unique())
    step = 0.8 / max(len(encoders), 2)
    for row in rows.itertuples():
        at = list(encoders).index(row.encoder)
        y = names.index(row.name) + step * (at - (len(encoders) - 1) / 2)
        colour = PALETTE[at % len(PALETTE)]
        if np.isfinite(row.low) and np.isfinite(row.high):
            axis.plot([row.low, row.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
        decided = row.low > 1 or row.high < 1
        axis.plot(
            [row.estimate],
            [y],
            marker=MARKERS[at % len(MARKERS)],
            markersize=5,
            color=colour,
            markerfacecolor=colour if decided else "white",
            linestyle="none",
        )
    axis.set_xscale("log")
    axis.axvline(1, color=INK, linewidth=1)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    known = rows[["estimate", "low", "high"]].to_numpy(dtype=float)
    known = known[np.isfinite(known) & (known > 0)]
    low, high = min(0.8, known.min(initial=1.0) / 1.1), max(1.25, known.max(initial=1.0) * 1.1)
    axis.set_xlim(low, high)
    marks = _spread(low, high)
    axis.set_xticks(marks, [_mark(mark) for mark in marks])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("synthetic over real (95 % interval)")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _spread(low: float, high: float) -> list[float]:
    """Marks of a logarithmic axis with room for their labels between them, 1 among them."""
    room = math.log(high / low) / MOST_MARKS
    kept: list[float] = []
    for mark in MARKS:
        if low <= mark <= high and all(abs(math.log(mark / other)) >= room for other in kept):
            kept.append(mark)
    return sorted(kept)


def _mark(mark: float) -> str:
    return setting(mark) if 1e-3 <= mark <= 1e4 else f"$10^{{{round(math.log10(mark))}}}$"


def maps(
    places: pd.DataFrame, titles: Mapping[str, str], notes: Mapping[tuple[str, str], str] | None = None
) -> Figure:
    """Images as points of a plane, a row an encoder and a column a method.

    Args:
        places: encoder, method, side (training, heldout, synthetic or the name of a further group), x, y.
        titles: method -> title of its column.
        notes: (encoder, method) -> what stands below a map.
    """
    encoders = list(places["encoder"].unique())
    methods = [method for method in titles if (places["method"] == method).any()]
    looks = group_looks(places["side"])
    with style():
        size = (WIDTH * (0.1 + 0.3 * len(methods)), 0.4 + 3.1 * len(encoders))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(encoders), len(methods), squeeze=False)
        for line, encoder in enumerate(encoders):
            for column, method in enumerate(methods):
                axis = axes[line, column]
                _map(axis, places[(places["encoder"] == encoder) & (places["method"] == method)], looks)
                axis.set_title(f"{encoder.replace('_', ' ')}: {titles[method]}")
                axis.set_xlabel((notes or {}).get((encoder, method), ""), loc="left")
        handles = [Line2D([], [], label=told, **look) for told, look in looks.values()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handletextpad=0.2)
    return figure


def group_looks(groups: pd.Series) -> dict[str, tuple[str, dict[str, Any]]]:
    """Group -> what it is called and how its points look, of the groups that are there."""
    present = set(groups)
    further = [name for name in groups.unique() if name not in SIDES]
    looks: dict[str, tuple[str, dict[str, Any]]] = {}
    for side, (told, colour, marker) in SIDES.items():
        if side in present:
            looks[side] = told, {"color": colour, "marker": marker, "markeredgewidth": 0}
    if "synthetic" in looks:  # stands out without its colour too
        looks["synthetic"][1].update(markeredgecolor=INK, markeredgewidth=0.6)
    for name, (colour, marker) in zip(further, CONTEXT, strict=False):
        hollow = {"color": colour, "marker": marker, "markerfacecolor": "none", "markeredgewidth": 0.8}
        looks[name] = f"real, {name.replace('_', ' ')}", hollow
    shared = {"linestyle": "none", "markersize": 3.8}
    return {name: (told, {**look, **shared}) for name, (told, look) in looks.items()}


def _map(axis: Axes, places: pd.DataFrame, looks: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
    """Points of all groups, further ones behind those that are compared."""
    for order, (group, (_, look)) in enumerate(looks.items()):
        own = places[places["side"] == group]
        height = 3 + order if group in SIDES else 2
        axis.plot(own["x"], own["y"], alpha=0.7, zorder=height, **look)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(True)
