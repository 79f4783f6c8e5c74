"""Pictures of the synthetic datasets, as they come."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mirage.data import Dataset
from mirage.report.book import Book, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.chapters.data import origin, pair
from mirage.report.images import Tile

PAIRS_A_ROW, ROWS = 3, 3
IMAGES_A_ROW = 6


def gallery_chapter(data: Mapping[str, Dataset], book: Book) -> Chapter | None:
    """A sheet of every dataset that a recipe made; None without one."""
    made = {
        name: dataset
        for name, dataset in data.items()
        if len(dataset) and origin(dataset) not in ("real", "simulated")
    }
    if not made:
        return None
    chapter = Chapter("Synthetic data")
    chapter.text(
        "Items are taken at even steps through each dataset, not picked by eye. Where a dataset has masks, "
        "switch their outlines on to see whether the image follows its mask."
    )
    for name, dataset in made.items():
        chapter.show(_gallery(name, dataset, book))
    return chapter


def evenly(total: int, wanted: int) -> list[int]:
    """At most ``wanted`` places at even steps through ``total`` items."""
    return (
        sorted({round(float(place)) for place in np.linspace(0, total - 1, min(wanted, total))})
        if total
        else []
    )


def _gallery(name: str, dataset: Dataset, book: Book) -> Exhibit:
    masked = "label" in dataset.info.mask_channels
    a_row = PAIRS_A_ROW if masked else IMAGES_A_ROW
    picks = evenly(len(dataset), a_row * ROWS)
    rows: list[list[Tile | None]] = []
    for start in range(0, len(picks), a_row):
        tiles = [pair(dataset, index)[: 2 if masked else 1] for index in picks[start : start + a_row]]
        rows.append([tile for item in tiles for tile in item])
    shown = dataset.items.iloc[picks][["item_id", "origin", "mask_origin"]]
    caption = (
        f"Items of {words(name)}, {len(picks)} of "
        f"{count(len(dataset), 'item')}{', image beside mask' if masked else ''}. {_origins(dataset)}"
    )
    columns = ["image", "mask"] * min(a_row, len(picks)) if masked else []
    return book.plate(
        f"gallery/{name}", rows, columns=columns, data=pd.DataFrame(shown), caption=caption, side=158
    )


def _origins(dataset: Dataset) -> str:
    images = " and ".join(sorted(set(dataset.items["origin"])))
    masks = " and ".join(sorted(set(dataset.items["mask_origin"].dropna())))
    text = f"The images are {images}"
    return f"{text}; the masks are {masks}." if masks else f"{text}; there are no masks."
