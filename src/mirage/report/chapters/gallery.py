"""Pictures of the synthetic datasets, as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from mirage.data import Dataset
from mirage.report.book import Book, Exhibit
from mirage.report.chapters import volumes
from mirage.report.chapters.base import Chapter, count, evenly, words
from mirage.report.chapters.data import made_by_recipes, pair
from mirage.report.images import Tile
from mirage.report.nifti import Written
from mirage.report.volumes import is_volume

PAIRS_A_ROW, ROWS = 3, 3
IMAGES_A_ROW = 6


def gallery_chapter(data: Mapping[str, Dataset], written: Sequence[Written], book: Book) -> Chapter | None:
    """Sheets of every dataset that a recipe made; None without one.

    Args:
        data: all datasets of the study.
        written: volumes that were exported.
        book: gets the sheets.
    """
    made = {name: data[name] for name in made_by_recipes(data) if len(data[name])}
    if not made:
        return None
    chapter = Chapter("Synthetic data", "synthesis")
    chapter.text(
        "Items are taken at even steps through each dataset, not picked by eye. Where a dataset has masks, "
        "compare them with the images: does each image follow its mask?"
    )
    for name, dataset in made.items():
        if is_volume(dataset.info):
            chapter.show(volumes.gallery(name, dataset, _origins(dataset), book))
            chapter.show(volumes.montage(name, dataset, book))
            mixed = volumes.mixing(name, dataset, data, book)
            if mixed is not None:
                chapter.show(mixed)
        else:
            chapter.show(_gallery(name, dataset, book))
    for exhibit in volumes.exports(written, data, book):
        chapter.show(exhibit)
    return chapter


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
