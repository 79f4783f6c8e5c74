"""The study's pipeline as a layered drawing (Sugiyama 1981: layers, crossings, coordinates) in SVG."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
from scipy.optimize import isotonic_regression

from mirage.errors import DataError
from mirage.report.inputs import KINDS, Drawing

BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, LEGEND = 120.0, 54.0, 50.0, 20.0, 40.0
COLOURS = {
    "dataset": "#0072B2",
    "simulated": "#56B4E9",
    "generator": "#D55E00",
    "recipe": "#CC79A7",
    "evaluation": "#009E73",
    "study": "#7A7A7A",
}
TITLES = {
    "dataset": "real data",
    "simulated": "simulated data",
    "generator": "generator",
    "recipe": "synthetic data",
    "evaluation": "evaluation",
    "study": "report",
}
PLURALS = {
    "dataset": "real datasets",
    "simulated": "simulated datasets",
    "generator": "generators",
    "recipe": "synthetic datasets",
    "evaluation": "evaluations",
}
Edge = tuple[str, str]


@dataclass
class Layout:
    """Centres of the boxes and the points each arrow passes, in SVG units (1 unit = 1 CSS pixel)."""

    boxes: dict[str, tuple[float, float]]
    arrows: dict[Edge, list[tuple[float, float]]]
    width: float
    height: float


def layers(drawing: Drawing) -> dict[str, int]:
    """Layer of every node: after all it uses; what uses nothing stands just before its first user.

    Raises:
        DataError: an edge names no node, or the edges form a cycle.
    """
    names = [name for name, _ in drawing.nodes]
    parents: dict[str, set[str]] = {name: set() for name in names}
    children: dict[str, set[str]] = {name: set() for name in names}
    for start, end in drawing.edges:
        if start not in parents or end not in parents:
            raise DataError(f"graph: edge {start!r} -> {end!r} names a node that is not in {names}")
        parents[end].add(start)
        children[start].add(end)
    level: dict[str, int] = {}
    waiting = list(names)
    while waiting:
        ready = [name for name in waiting if parents[name] <= level.keys()]
        if not ready:
            raise DataError(f"graph: the edges among {waiting} form a cycle; a study is acyclic")
        for name in ready:
            level[name] = 1 + max((level[parent] for parent in parents[name]), default=-1)
        waiting = [name for name in waiting if name not in level]
    for name in names:
        if not parents[name] and children[name]:
            level[name] = min(level[child] for child in children[name]) - 1
    return level


def layout(drawing: Drawing) -> Layout:
    """Left-to-right layered layout with few crossings."""
    level = layers(drawing)
    chains = {edge: _chain(edge, level) for edge in dict.fromkeys(drawing.edges)}
    columns: dict[int, list[str]] = defaultdict(list)
    for name, _ in drawing.nodes:
        columns[level[name]].append(name)
    for (start, _), chain in chains.items():
        for step, name in enumerate(chain[1:-1], start=level[start] + 1):
            columns[step].append(name)
    links = [(a, b) for chain in chains.values() for a, b in pairwise(chain)]
    order = _fewest_crossings([columns[index] for index in sorted(columns)], links)
    y = _heights(order, links, set(level))
    x = {
        name: GAP_X / 2 + BOX_WIDTH / 2 + i * (BOX_WIDTH + GAP_X)
        for i, col in enumerate(order)
        for name in col
    }
    top = min(y.values(), default=0.0) - BOX_HEIGHT / 2 - 10
    y = {name: value - top for name, value in y.items()}
    return Layout(
        boxes={name: (x[name], y[name]) for name in level},
        arrows={edge: [(x[name], y[name]) for name in chain] for edge, chain in chains.items()},
        width=len(order) * (BOX_WIDTH + GAP_X),
        height=max(y.values(), default=0.0) + BOX_HEIGHT / 2 + 10,
    )


def _chain(edge: Edge, level: dict[str, int]) -> list[str]:
    """The edge's nodes with a bend point in every layer it crosses."""
    start, end = edge
    bends = [f"\0{start}\0{end}\0{step}" for step in range(level[start] + 1, level[end])]
    return [start, *bends, end]


def _fewest_crossings(columns: list[list[str]], links: list[Edge], sweeps: int = 24) -> list[list[str]]:
    """Barycentre sweeps, forth and back; the best order met is kept."""
    neighbours: dict[str, list[str]] = defaultdict(list)
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    best, fewest = [list(column) for column in columns], _crossings(columns, links)
    order = [list(column) for column in columns]
    for sweep in range(sweeps):
        indices = range(1, len(order)) if sweep % 2 == 0 else range(len(order) - 2, -1, -1)
        for index in indices:
            fixed = order[index - 1] if sweep % 2 == 0 else order[index + 1]
            place = {name: (rank + 0.5) / len(fixed) for rank, name in enumerate(fixed)}
            own = {name: (rank + 0.5) / len(order[index]) for rank, name in enumerate(order[index])}
            order[index].sort(
                key=lambda name: float(
                    np.mean([place[other] for other in neighbours[name] if other in place] or [own[name]])
                )
            )
        crossings = _crossings(order, links)
        if crossings < fewest:
            best, fewest = [list(column) for column in order], crossings
    return best


def _crossings(columns: list[list[str]], links: list[Edge]) -> int:
    rank = {name: (i, place) for i, column in enumerate(columns) for place, name in enumerate(column)}
    total = 0
    for i, (a, b) in enumerate(links):
        for c, d in links[i + 1 :]:
            if rank[a][0] == rank[c][0] and (rank[a][1] - rank[c][1]) * (rank[b][1] - rank[d][1]) < 0:
                total += 1
    return total


def _heights(
    columns: list[list[str]], links: list[Edge], real: set[str], rounds: int = 40
) -> dict[str, float]:
    """Heights that pull each node towards its neighbours while the order and the gaps hold."""
    neighbours: dict[str, list[str]] = defaultdict(list)
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    half = {
        name: (BOX_HEIGHT + GAP_Y) / 2 if name in real else GAP_Y / 2 for column in columns for name in column
    }
    offset: dict[str, float] = {}
    for column in columns:
        at = -sum(half[name] for name in column)
        for name in column:
            offset[name] = at + half[name]
            at += 2 * half[name]
    y = dict(offset)
    for _ in range(rounds):
        for column in columns:
            wanted = [
                float(np.mean([y[other] for other in neighbours[name]] or [y[name]])) for name in column
            ]
            slack = isotonic_regression([w - offset[name] for w, name in zip(wanted, column, strict=True)]).x
            y.update({name: offset[name] + float(s) for name, s in zip(column, slack, strict=True)})
    return y


def draw(drawing: Drawing, description: str) -> str:
    """The graph as a self-contained SVG that takes the page's text colour.

    Args:
        drawing: nodes and edges.
        description: read aloud in place of the picture.
    """
    plan = layout(drawing)
    height = plan.height + LEGEND
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {plan.width:.0f} {height:.0f}",
            "width": f"{plan.width:.0f}",
            "height": f"{height:.0f}",
            "role": "img",
            "aria-label": description,
            "font-family": "system-ui, 'Helvetica Neue', Arial, sans-serif",
            "color": "#1c1f23",
        },
    )
    _arrowhead(svg)
    for points in plan.arrows.values():
        _arrow(svg, points)
    kinds = dict(drawing.nodes)
    for name, (x, y) in plan.boxes.items():
        _box(svg, x, y, name.split(":", 1)[-1], kinds[name])
    _legend(svg, [kind for kind in KINDS if kind in set(kinds.values())], plan.height)
    return ET.tostring(svg, encoding="unicode")


def _arrowhead(svg: ET.Element) -> None:
    marker = ET.SubElement(
        ET.SubElement(svg, "defs"),
        "marker",
        {
            "id": "pipeline-arrow",
            "viewBox": "0 0 8 8",
            "refX": "7",
            "refY": "4",
            "markerWidth": "7",
            "markerHeight": "7",
            "orient": "auto",
        },
    )
    ET.SubElement(marker, "path", {"d": "M0 0.8 8 4 0 7.2z", "fill": "currentColor", "fill-opacity": "0.6"})


def _arrow(svg: ET.Element, points: list[tuple[float, float]]) -> None:
    half = BOX_WIDTH / 2
    (x, y), path = points[0], ""
    x += half
    path = f"M{x:.1f} {y:.1f}"
    for index, (next_x, next_y) in enumerate(points[1:], start=1):
        enter = next_x - half
        bend = (enter - x) / 2
        path += f"C{x + bend:.1f} {y:.1f} {enter - bend:.1f} {next_y:.1f} {enter:.1f} {next_y:.1f}"
        x, y = enter, next_y
        if index < len(points) - 1:
            x = next_x + half
            path += f"H{x:.1f}"
    attributes = {
        "d": path,
        "fill": "none",
        "stroke": "currentColor",
        "stroke-opacity": "0.5",
        "stroke-width": "1.3",
        "marker-end": "url(#pipeline-arrow)",
    }
    ET.SubElement(svg, "path", attributes)


def _box(svg: ET.Element, x: float, y: float, label: str, kind: str) -> None:
    colour = COLOURS[kind]
    rectangle = {
        "x": f"{x - BOX_WIDTH / 2:.1f}",
        "y": f"{y - BOX_HEIGHT / 2:.1f}",
        "width": f"{BOX_WIDTH:.0f}",
        "height": f"{BOX_HEIGHT:.0f}",
        "rx": "18" if kind == "generator" else "4",
        "fill": colour,
        "fill-opacity": "0.13",
        "stroke": colour,
        "stroke-width": "1.6",
    }
    if kind in ("recipe", "simulated"):
        rectangle["stroke-dasharray"] = "6 3"
    ET.SubElement(svg, "rect", rectangle)
    lines = _wrap(label)
    start = y - 6.5 * (len(lines) - 1) - 3
    for index, line in enumerate(lines):
        _text(svg, x, start + 13 * index, line, size=12, weight="600")
    _text(svg, x, start + 13 * len(lines) + 1, TITLES[kind], size=9.5, opacity="0.75")


def _wrap(label: str, width: int = 15) -> list[str]:
    """One or two lines, broken after an underscore; a name that is still too long ends in an ellipsis."""
    if len(label) <= width:
        return [label]
    breaks = [i + 1 for i, letter in enumerate(label) if letter in "_-" and i < width] or [width]
    at = min(breaks, key=lambda i: abs(2 * i - len(label)))
    first, rest = label[:at], label[at:]
    return [first, rest if len(rest) <= width else rest[: width - 1] + "…"]


def _text(
    svg: ET.Element,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    weight: str = "400",
    opacity: str = "1",
    anchor: str = "middle",
) -> None:
    attributes = {
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "font-size": f"{size:g}",
        "font-weight": weight,
        "text-anchor": anchor,
        "dominant-baseline": "middle",
        "fill": "currentColor",
        "fill-opacity": opacity,
    }
    ET.SubElement(svg, "text", attributes).text = text


def _legend(svg: ET.Element, kinds: list[str], top: float) -> None:
    x = GAP_X / 2
    for kind in kinds:
        swatch = {
            "x": f"{x:.1f}",
            "y": f"{top + 12:.1f}",
            "width": "18",
            "height": "12",
            "rx": "6" if kind == "generator" else "2",
            "fill": COLOURS[kind],
            "fill-opacity": "0.13",
            "stroke": COLOURS[kind],
        }
        if kind in ("recipe", "simulated"):
            swatch["stroke-dasharray"] = "4 2"
        ET.SubElement(svg, "rect", swatch)
        _text(svg, x + 24, top + 18.5, TITLES[kind], size=10.5, anchor="start")
        x += 24 + 6.0 * len(TITLES[kind]) + 22
