"""Charts: tables in, matplotlib figures out; nothing is computed here but smoothing and places on the page.

Colours are Okabe and Ito's (2008), told apart under every common colour blindness; shape or fill repeats
what colour says. Text and lines carry ``INK``, which the page swaps for its own text colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mirage.training.selection import average_name

INK = "#010203"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
WIDTH = 10.2
"""Width of a full chart, inches; the page shows it at 1:1."""


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings of every chart."""
    settings: Any = {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.18,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "mirage",
        "pdf.fonttype": 42,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        **dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "grid.color"), INK
        ),
        **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    }
    with matplotlib.rc_context(settings):
        yield


def _panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(
        figsize=(WIDTH * min(1.0, 0.34 + 0.33 * (columns - 1)), height * rows), layout="constrained"
    )
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving average over ``window`` values; at the ends over those there are."""
    frame = pd.Series(values).rolling(window, center=True, min_periods=1)
    return frame.mean().to_numpy()


def smoothing_window(rows: int) -> int:
    """Values a training curve is averaged over: a fiftieth of them, an odd number."""
    return max(1, rows // 50) | 1


def training_curves(
    histories: Mapping[int, pd.DataFrame], groups: Mapping[str, Sequence[str]], chosen: Mapping[int, int]
) -> Figure:
    """Training history, a panel a group of metrics; every seed a line, the chosen step a vertical mark.

    Args:
        histories: training seed -> (step, metric, value).
        groups: panel title -> metrics drawn in it.
        chosen: training seed -> step whose weights were kept.
    """
    with style():
        figure, axes = _panels(len(groups), 3, 2.5)
        for axis, (title, metrics) in zip(axes, groups.items(), strict=True):
            for (number, metric), history in (
                ((number, metric), history)
                for number, metric in enumerate(metrics)
                for history in histories.values()
            ):
                rows = history[history["metric"] == metric]
                colour = PALETTE[number % len(PALETTE)]
                own_average = average_name(metrics[0]) in metrics
                window = 1 if own_average else smoothing_window(len(rows))
                if window > 1:
                    axis.plot(rows["step"], rows["value"], color=colour, alpha=0.22, linewidth=0.7)
                few = len(rows) <= 12
                axis.plot(
                    rows["step"],
                    smooth(rows["value"].to_numpy(float), window),
                    color=colour,
                    marker=MARKERS[number % len(MARKERS)] if few else None,
                    markersize=4,
                )
            for step in sorted(set(chosen.values())):
                axis.axvline(step, color=INK, linestyle=(0, (4, 3)), linewidth=1)
            axis.set_title(title)
            axis.set_xlim(left=0)
            axis.set_xlabel("optimiser step")
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            if len(metrics) > 1:
                axis.legend(
                    handles=[
                        matplotlib.lines.Line2D([], [], color=PALETTE[i % len(PALETTE)], label=short(name))
                        for i, name in enumerate(metrics)
                    ]
                )
    return figure


def short(metric: str) -> str:
    """A metric's name without its group, underscores as blanks."""
    return metric.rsplit("/", 1)[-1].replace("_", " ")


def densities(curves: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], unit: str) -> Figure:
    """Intensity distributions, a panel a channel; the axis is cut above what the inner bins need.

    Args:
        curves: channel -> {series name -> (left and right bin edges (B + 1,), density (B,) per unit)}.
        unit: unit of the intensity, for the axis.
    """
    with style():
        figure, axes = _panels(len(curves), 4, 2.5)
        for axis, (channel, series) in zip(axes, curves.items(), strict=True):
            for number, (name, (edges, density)) in enumerate(series.items()):
                line = ("-", (0, (4, 1.5)))[number % 2]
                axis.stairs(density, edges, color=PALETTE[number], label=name, linewidth=1.4, linestyle=line)
                axis.stairs(density, edges, color=PALETTE[number], fill=True, alpha=0.12)
            top = max(float(density[1:-1].max(initial=0)) for _, density in series.values())
            axis.set_ylim(0, 1.1 * top if top > 0 else None)
            axis.set_title(channel)
            axis.set_xlabel(f"intensity ({unit})")
        axes[0].set_ylabel(f"density (1 / {unit})")
        axes[0].legend()
    return figure


def headline(
    absolute: pd.DataFrame, difference: pd.DataFrame, metric: str, baseline: str, observer: float | None
) -> Figure:
    """Forest plot of one metric: arms' values at the left, differences to the baseline at the right.

    Args:
        absolute: arm, estimate, low, high, in the order drawn from top to bottom.
        difference: arm, estimate, low, high, verdict.
        metric: name for the axes.
        baseline: arm the differences are taken from.
        observer: value of the second human observer, drawn as a line, or None.
    """
    arms = list(absolute["arm"])
    with style():
        figure = Figure(figsize=(WIDTH, 1.0 + 0.34 * max(len(arms), 2)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _forest(left, absolute, arms, dict.fromkeys(arms, True))
        if observer is not None:
            left.axvline(observer, color=PALETTE[3], linestyle=(0, (5, 2)), linewidth=1.4)
            left.annotate(
                "second observer",
                (observer, -0.75),
                (4, 0),
                textcoords="offset points",
                va="center",
                color=PALETTE[3],
                fontsize=8.5,
            )
        left.set_yticks(range(len(arms)), [name.replace("_", " ") for name in arms])
        left.set_ylim(len(arms) - 0.4, -1.1)
        left.set_xlabel(f"{metric} (95 % interval)")
        _forest(right, difference, arms, _decided(difference))
        right.axvline(0, color=INK, linewidth=1)
        right.set_xlabel(f"difference in {metric} to “{baseline.replace('_', ' ')}” (95 % interval)")
    return figure


def _decided(table: pd.DataFrame) -> dict[str, bool]:
    """Arms whose interval excludes zero."""
    return {row.arm: bool(row.low > 0 or row.high < 0) for row in table.itertuples()}


def _forest(axis: Axes, table: pd.DataFrame, arms: Sequence[str], filled: Mapping[str, bool]) -> None:
    for row in table.itertuples():
        y, colour = list(arms).index(row.arm), PALETTE[0]
        if np.isfinite(row.low) and np.isfinite(row.high):
            axis.plot([row.low, row.high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
        axis.plot(
            [row.estimate],
            [y],
            marker="o",
            markersize=6.5,
            color=colour,
            linestyle="none",
            markerfacecolor=colour if filled.get(row.arm) else "white",
            markeredgewidth=1.5,
        )
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def per_subject(scores: pd.DataFrame, metric: str) -> Figure:
    """Every test subject's score in every arm, one thin line a subject.

    Args:
        scores: index subject, one column an arm, values averaged over seeds.
        metric: name for the axis.
    """
    with style():
        figure = Figure(figsize=(min(WIDTH, 2 + 1.15 * scores.shape[1]), 3.0), layout="constrained")
        axis = figure.subplots()
        places = np.arange(scores.shape[1])
        for _, row in scores.iterrows():
            axis.plot(places, row, color=INK, alpha=0.22, linewidth=0.8)
        for place, arm in enumerate(scores.columns):
            values = scores[arm].dropna()
            axis.plot(
                np.full(len(values), place),
                values,
                linestyle="none",
                marker=MARKERS[place % len(MARKERS)],
                markersize=5,
                color=PALETTE[place % len(PALETTE)],
                alpha=0.85,
            )
        titles = [str(name).replace("_", " ") for name in scores.columns]
        axis.set_xticks(places, ["\n".join(textwrap.wrap(title, 13)) for title in titles])
        axis.set_xlim(-0.4, scores.shape[1] - 0.6)
        axis.set_ylabel(metric)
        axis.grid(axis="x", visible=False)
    return figure


def distance_distributions(series: Mapping[str, np.ndarray], label: str) -> Figure:
    """Empirical cumulative distributions of nearest-training-image distances.

    Args:
        series: name -> distances, any order.
        label: what the distance is, with its unit.
    """
    with style():
        figure = Figure(figsize=(WIDTH * 0.6, 2.8), layout="constrained")
        axis = figure.subplots()
        _cumulative(axis, {f"{name} (n = {len(values)})": values for name, values in series.items()})
        axis.set_xlabel(label)
        axis.set_ylabel("share of items")
        axis.margins(x=0.06)
        axis.legend()
    return figure


def volume_distributions(panels: Mapping[str, Mapping[str, np.ndarray]], unit: str) -> Figure:
    """Empirical cumulative distributions of volumes, a panel a label or region.

    Args:
        panels: title -> {series -> volumes, any order}; the same series in every panel.
        unit: of the volumes; empty where the titles say what is measured, and in which unit.
    """
    with style():
        figure, axes = _panels(len(panels), 3, 2.4)
        for axis, (title, series) in zip(axes, panels.items(), strict=True):
            _cumulative(axis, series)
            axis.set_title(title)
            axis.set_xlabel(f"volume ({unit})" if unit else "")
            axis.set_xlim(left=0)
        axes[0].set_ylabel("share of items")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
    return figure


def _cumulative(axis: Axes, series: Mapping[str, np.ndarray]) -> None:
    for number, (name, values) in enumerate(series.items()):
        ordered = np.sort(values)
        axis.step(
            ordered[[0, *range(len(ordered))]] if len(ordered) else [],
            np.arange(len(ordered) + 1) / len(ordered) if len(ordered) else [],
            where="post",
            color=PALETTE[number % len(PALETTE)],
            linestyle=("-", (0, (4, 1.5)))[number % 2],
            label=name,
            zorder=2 + number % 2,  # a broken line over a full one shows both
        )
    axis.set_ylim(0, 1.02)


def _contour(axis: Axes, share: np.ndarray, height: float, width: float) -> None:
    """Line around where a map that fills a box exceeds one half, closed where it meets the box."""
    if not share.max() > 0.5:
        return
    rows, columns = (n + 2 for n in share.shape)
    y, x = ((np.arange(n) - 0.5) / (n - 2) for n in (rows, columns))
    axis.contour(x * width, y * height, np.pad(share, 1), levels=[0.5], colors=["white"], linewidths=0.9)


def place_maps(
    maps: Mapping[str, Mapping[str, np.ndarray]],
    outlines: Mapping[str, Mapping[str, np.ndarray]],
    extents: Mapping[str, tuple[float, float]],
) -> Figure:
    """Where something is in a box, a row a dataset and a column a plane, on one colour scale.

    Args:
        maps: dataset -> {plane -> (rows, columns), share in the line of sight}, superior or anterior up.
        outlines: the same of what encloses it; its contour at one half is drawn.
        extents: plane -> (height, width) of the box, any one unit.
    """
    edges = {"axial": ("R to L", "P to A"), "coronal": ("R to L", "I to S"), "sagittal": ("A to P", "I to S")}
    top = max((float(one.max()) for own in maps.values() for one in own.values()), default=0.0)
    with style():
        figure = Figure(figsize=(WIDTH * 0.78, 0.5 + 2.25 * len(maps)), layout="constrained")
        axes = figure.subplots(len(maps), len(extents), squeeze=False)
        drawn = None
        for row, (name, own) in zip(axes, maps.items(), strict=True):
            for axis, (plane, (height, width)) in zip(row, extents.items(), strict=True):
                drawn = axis.imshow(
                    own[plane], cmap="cividis", vmin=0, vmax=top or 1.0, extent=(0, width, height, 0)
                )
                _contour(axis, outlines[name][plane], height, width)
                axis.spines[:].set_visible(False)
                axis.set(xticks=[], yticks=[], xlabel=edges[plane][0], ylabel=edges[plane][1])
                axis.set_title(plane if axis is not row[0] else f"{name}: {plane}")
                axis.grid(visible=False)
        if drawn is not None:
            figure.colorbar(
                drawn, ax=axes, label="mean share of tumour in the line of sight", shrink=0.9, aspect=30
            )
    return figure
