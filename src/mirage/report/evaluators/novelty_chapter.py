"""Novelty: the synthetic items nearest to training items, beside held-out real ones asked the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset
from mirage.metrics.neighbours import orient
from mirage.report import figures
from mirage.report.book import Book, Exhibit
from mirage.report.chapters.base import Chapter, words
from mirage.report.evaluators.fidelity_chapter import Column, table_of
from mirage.report.images import Tile, mask_to_rgb, to_rgb
from mirage.report.inputs import Finished
from mirage.report.numbers import number, setting

What = Literal["image", "mask"]
WORST = 10
COLUMNS: list[Column] = [
    ("synthetic", "synthetic", "nearest", "absolute"),
    ("held-out real", "reference", "nearest", "absolute"),
    ("ratio", "synthetic", "nearest", "ratio"),
]
DISTANCE = {
    "image": "RMS difference (share of the value range)",
    "mask": "Dice distance (0 same, 1 disjoint)",
}
SIDES = {"synthetic": "synthetic", "heldout": "held-out real"}


def novelty_chapter(
    own: Mapping[str, Finished], data: Mapping[str, Dataset], summary: pd.DataFrame, book: Book
) -> Chapter:
    """Copies and duplicates of every fidelity evaluation."""
    chapter = Chapter("Novelty", "novelty")
    chapter.text(
        "For every synthetic item the nearest training item is sought, over the eight flips and rotations. "
        "Held-out real items, which no generator has seen, are asked the same: they show how near new items "
        "come by chance. The nearest pairs are shown, not typical ones. These searches can reveal copies; "
        "they cannot show privacy."
    )
    for name, (config, (folder,)) in own.items():
        chapter.heading(words(name))
        rows = summary[(summary["evaluation"] == name) & (summary["protocol"] == "nearest")]
        neighbours = pd.read_parquet(folder / "details/neighbours.parquet")
        for what in ("mask", "image"):
            part = neighbours[neighbours["kind"] == what]
            if len(part):
                for exhibit in _exhibits(name, config, what, part, rows, data, book):
                    chapter.show(exhibit)
    return chapter


def _exhibits(
    name: str,
    config: FidelityEvaluation,
    what: What,
    neighbours: pd.DataFrame,
    own: pd.DataFrame,
    data: Mapping[str, Dataset],
    book: Book,
) -> list[Exhibit]:
    exhibits = []
    if config.real in data and config.synthetic in data:
        exhibits.append(_closest(name, config, what, neighbours, data, book))
    exhibits.append(_distances(name, config, what, neighbours, book))
    rows = own[own["metric"].str.startswith(f"{what}_")]
    if len(rows):
        caption = (
            f"Copies and duplicates among the {what}s of {words(config.synthetic)}, {_sizes(neighbours)}. "
            f"Distance: {DISTANCE[what]}, median. A near copy is closer than {setting(config.near)} times "
            "the median distance of held-out items. In brackets 95 % intervals of a bootstrap by subject."
        )
        exhibits.append(table_of(f"copies_{what}/{name}", rows, COLUMNS, caption, book))
    return exhibits


def _sizes(neighbours: pd.DataFrame) -> str:
    counts = neighbours["side"].value_counts()
    return ", ".join(f"n = {counts[side]} {title}" for side, title in SIDES.items() if side in counts)


def _closest(
    name: str,
    config: FidelityEvaluation,
    what: What,
    neighbours: pd.DataFrame,
    data: Mapping[str, Dataset],
    book: Book,
) -> Exhibit:
    real, synthetic = data[config.real], data[config.synthetic]
    places = {key: _places(dataset) for key, dataset in (("real", real), ("synthetic", synthetic))}
    rows: list[list[Tile | None]] = []
    names, shown = [], []
    for side, title in SIDES.items():
        worst = neighbours[neighbours["side"] == side].sort_values("rank").head(WORST)
        if worst.empty:
            continue
        dataset, place = (synthetic, places["synthetic"]) if side == "synthetic" else (real, places["real"])
        own: list[Tile | None] = []
        other: list[Tile | None] = []
        for pair in worst.itertuples():
            distance = number(pair.distance)
            own.append(
                _tile(dataset, place[pair.item_id], what, 0, f"{title} {what} {pair.item_id}", distance)
            )
            alt = f"nearest training {what} {pair.neighbour_item_id} at distance {distance}"
            other.append(_tile(real, places["real"][pair.neighbour_item_id], what, pair.orientation, alt, ""))
        rows += [own, other]
        names += [f"{title} {what}", f"closest training {what}"]
        shown.append(worst)
    caption = (
        f"The {what}s of {words(config.synthetic)} that lie nearest to a training {what} of "
        f"{words(config.real)}, nearest first, above the training {what}, turned to fit; below, held-out "
        f"real {what}s and theirs. {_sizes(neighbours)}, the nearest {WORST} of each. Numbers: "
        f"{DISTANCE[what]}. Pairs that look the same are copies."
    )
    return book.plate(
        f"closest_{what}s/{name}", rows, names=names, data=pd.concat(shown), caption=caption, side=86
    )


def _places(dataset: Dataset) -> dict[str, int]:
    return {item: index for index, item in enumerate(dataset.items["item_id"])}


def _tile(dataset: Dataset, index: int, what: What, orientation: int, alt: str, note: str) -> Tile:
    if what == "mask":
        return Tile(mask_to_rgb(orient(dataset.mask(index), orientation)), alt, note)
    return Tile(to_rgb(orient(dataset.image(index), orientation), dataset.info.value_range), alt, note)


def _distances(
    name: str, config: FidelityEvaluation, what: What, neighbours: pd.DataFrame, book: Book
) -> Exhibit:
    series = {
        title: part.to_numpy()
        for side, title in SIDES.items()
        if len(part := neighbours.loc[neighbours["side"] == side, "distance"])
    }
    caption = (
        f"Distance of every {what} of {words(config.synthetic)} to its nearest training {what} of "
        f"{words(config.real)}, cumulative, beside held-out real {what}s, {_sizes(neighbours)}. A curve that "
        "rises further left means that synthetic items lie nearer to training items than new real ones do."
    )
    alt = f"Cumulative distribution of {what} distances to the nearest training {what}: {', '.join(series)}"
    figure = figures.distance_distributions(series, DISTANCE[what])
    return book.chart(f"nearest_{what}s/{name}", figure, neighbours, caption=caption, alt=alt)
