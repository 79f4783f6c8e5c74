"""Lesions: how they were cut out of radiographs, which were accepted, and where and how they were "
"inserted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mirage.data import Dataset
from mirage.report import figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.boxes import LUNG, TRUTH, with_boxes
from mirage.report.chapters.base import Chapter, count, evenly, words
from mirage.report.images import Tile, outline, to_rgb
from mirage.report.numbers import DASH, number, significant

CHANNELS = ["original", "inpainted"]
"""Image channels of extracted lesions."""
EXTRACTED, SHEET, INSERTED = 4, 18, 3
"""Lesions in full panels, lesions on the contact sheet, radiographs with inserted ones."""
GREY = 128


@dataclass(frozen=True)
class Inserted:
    """A dataset of radiographs with inserted lesions, and what it was made of.

    Attributes:
        name: its name.
        data: it.
        options: of its recipe.
    """

    name: str
    data: Dataset
    options: Mapping[str, Any]


def lesion_chapter(data: Mapping[str, Dataset], book: Book) -> Chapter | None:
    """Extraction and insertion; None where no dataset holds extracted lesions.

    Args:
        data: all datasets of the study.
        book: gets the exhibits.
    """
    cut = {name: one for name, one in data.items() if one.info.channel_names == CHANNELS}
    if not cut:
        return None
    made = [
        Inserted(name, one, options)
        for name, one in data.items()
        if (options := _recipe(one)).get("recipe") == "extract_and_insert"
    ]
    chapter = Chapter("Extracted and inserted lesions", "synthesis")
    chapter.text(
        "A lesion is what is left of a radiograph after its place was filled with healthy tissue by an "
        "inpainter: the original minus the inpainted picture, cut off where it does not differ. The error "
        "that shows between box and hole is carried on into the box and taken off, and so is what the "
        "inpainter errs on average in the same hole at healthy places of the same radiograph. Whatever else "
        "it draws wrongly, a rib that ends or a vessel that is gone, is part of the lesion. Only patients of "
        "the training split are donors, and they are recorded with every image."
    )
    for name, dataset in cut.items():
        if len(cut) > 1:
            chapter.heading(words(name))
        chapter.show(_counts(name, dataset, book))
        if len(dataset):
            chapter.show(_extraction(name, dataset, book))
            chapter.show(_sheet(name, dataset, book))
        for one in made:
            if one.options.get("lesions") == name and len(one.data):
                chapter.show(_examples(one, data, book))
        own = [one for one in made if one.options.get("lesions") == name and len(one.data)]
        if own and len(dataset):
            chapter.show(_distributions(name, dataset, own, book))
            chapter.show(_likeness(name, dataset, own, book))
    return chapter


def _recipe(data: Dataset) -> Mapping[str, Any]:
    """Options of the recipe that made a dataset; empty where none did."""
    found = data.info.provenance.get("config")
    return found if isinstance(found, Mapping) else {}


def accepted(dataset: Dataset) -> pd.Series:
    """Whether each lesion is accepted (bool, by item id): in `curation.csv` beside it, else as proposed."""
    proposed = dataset.items.set_index("item_id")["proposed"] == "accept"
    path = dataset.folder / "curation.csv"
    if not path.is_file():
        return proposed
    table = pd.read_csv(path, dtype=str).set_index("item_id")["accept"].str.strip().str.lower()
    told = table.isin(["accept", "yes", "true", "1", "y"])
    return told.reindex(proposed.index).fillna(False).astype(bool)


def _counts(name: str, dataset: Dataset, book: Book) -> Exhibit:
    failed = dataset.failures
    yes = accepted(dataset) if len(dataset) else pd.Series(dtype=bool)
    donors = {donor for own in dataset.items["donor_subject_ids"] for donor in own}
    record = {
        "boxes": len(dataset) + len(failed),
        "extracted": len(dataset),
        "failed": len(failed),
        "accepted": int(yes.sum()),
        "rejected": int((~yes).sum()),
        "patients": len(donors),
    }
    reasons = failed["reason"].value_counts()
    rows = [[Cell(key), Cell(str(value), number=True)] for key, value in record.items()]
    rows += [[Cell(f"failed: {reason}"), Cell(str(times), number=True)] for reason, times in reasons.items()]
    caption = (
        f"Lesions of {words(name)}: boxes of the training images, what was cut out of them, and how many of "
        "these the curation accepts for insertion. Visibility is a score of contrast against noise; who "
        "edits "
        "curation.csv and names it as the recipe's key curation decides otherwise."
    )
    return book.table(f"lesions/{name}", ["", "number"], rows, caption=caption, data=pd.DataFrame([record]))


def _planes(dataset: Dataset, index: int) -> dict[str, np.ndarray]:
    """Original, masked, inpainted and lesion of an item, uint8 RGB."""
    image, hole = dataset.image(index), dataset.mask(index, "hole") > 0
    original, inpainted = (to_rgb(image[channel][None], dataset.info.value_range) for channel in (0, 1))
    masked = np.where(hole[..., None], np.uint8(GREY), original)
    residual = original[..., 0].astype(np.int16) - inpainted[..., 0]
    strongest = max(1, int(np.abs(residual).max()))
    shown = np.clip(GREY + residual * (127 / strongest), 0, 255).astype(np.uint8)
    return {
        "original": original,
        "masked": masked,
        "inpainted": inpainted,
        "lesion": np.repeat(shown[..., None], 3, axis=2),
    }


def _extraction(name: str, dataset: Dataset, book: Book) -> Exhibit:
    yes = accepted(dataset)
    order = dataset.items["visibility"].to_numpy(float).argsort(kind="stable")[::-1]
    picks = [int(order[place]) for place in evenly(len(order), EXTRACTED)]
    rows = []
    for index in picks:
        item = dataset.items.iloc[index]
        note = f"{'accepted' if yes[item['item_id']] else 'rejected'}, {number(float(item['visibility']), 2)}"
        edge = outline(dataset.mask(index, "lesion"))
        rows.append(
            [
                Tile(rgb, f"{item['item_id']}, {title}", note if title == "lesion" else "", edge)
                for title, rgb in _planes(dataset, index).items()
            ]
        )
    caption = (
        f"Lesions of {words(name)}, from the most to the least visible, {len(picks)} of {len(dataset)}: "
        "original, "
        "with the hole, inpainted, and the difference before the inpainter's error is taken off (grey: none; "
        "each on its own scale). Below it whether it is accepted, and its visibility. Outlines show "
        "what counts as the lesion."
    )
    data = dataset.items.iloc[picks][["item_id", "visibility", "contrast", "diameter_px", "proposed"]]
    columns = ["original", "masked", "inpainted", "lesion"]
    return book.plate(
        f"extraction/{name}", rows, columns=columns, data=pd.DataFrame(data), caption=caption, side=150
    )


def _sheet(name: str, dataset: Dataset, book: Book) -> Exhibit:
    yes = accepted(dataset)
    picks, tiles = evenly(len(dataset), SHEET), []
    for index in picks:
        item = dataset.items["item_id"].iat[index]
        word = "accepted" if yes[item] else "rejected"
        rgb = _planes(dataset, index)["original"]
        tiles.append(Tile(rgb, f"lesion {item}, {word}", word, outline(dataset.mask(index, "lesion"))))
    rows = [tiles[start : start + 6] for start in range(0, len(tiles), 6)]
    caption = (
        f"Contact sheet of {words(name)}: {len(picks)} of {count(len(dataset), 'lesion')} at even steps, "
        "with "
        "the curation's word. The whole sheet is contact-sheet.png beside the dataset."
    )
    data = pd.DataFrame({"item_id": dataset.items["item_id"].iloc[picks], "accepted": yes.iloc[picks].values})
    return book.plate(f"contact_sheet/{name}", rows, data=data, caption=caption, side=110)


def _examples(one: Inserted, data: Mapping[str, Dataset], book: Book) -> Exhibit:
    hosts = data.get(str(one.options.get("hosts")))
    ids = {} if hosts is None else {item: at for at, item in enumerate(hosts.items["item_id"])}
    picks, rows = evenly(len(one.data), INSERTED), []
    for index in picks:
        item = one.data.items.iloc[index]
        drawn = to_rgb(one.data.image(index), one.data.info.value_range)
        boxes = [(tuple(float(box[key]) for key in ("x0", "y0", "x1", "y1")), TRUTH) for box in item["boxes"]]
        place = ids.get(str(item.get("host_item")))
        row: list[Tile | None] = [None]
        if hosts is not None and place is not None:
            healthy = to_rgb(hosts.image(place), hosts.info.value_range)
            row = [Tile(healthy, f"healthy radiograph {item['host_item']}", str(item["host_item"]))]
        alt = f"radiograph {item['item_id']} with {count(len(boxes), 'inserted lesion')}"
        row.append(Tile(with_boxes(drawn, [*_lungs(one, drawn.shape), *boxes]), f"{alt}, in boxes"))
        row.append(Tile(drawn, alt, outline=outline(one.data.mask(index, "label"))))
        rows.append(row)
    where = {
        "boxes": "inside two boxes that are the same for all radiographs (yellow), as in the study",
        "derived": "inside lungs that were found by the grey values of each radiograph",
        "segmenter": "inside lungs that a trained segmenter drew",
    }[_kind(one)]
    caption = (
        f"Radiographs of {words(one.name)}, {len(picks)} of {len(one.data)} at even steps: healthy, with the "
        f"inserted lesion in a box, and without the box. Lesions were placed {where}, by "
        f"{one.options.get('blend', 'additive')} blending; every pixel outside the blend is the host's."
    )
    shown = pd.DataFrame(one.data.items.iloc[picks][["item_id"]])
    columns = ["healthy", "with boxes", "inserted"]
    return book.plate(f"inserted/{one.name}", rows, columns=columns, data=shown, caption=caption, side=216)


def _kind(one: Inserted) -> str:
    return str((one.options.get("lung") or {}).get("kind", "derived"))


def _lungs(one: Inserted, shape: Sequence[int]) -> list[tuple[tuple[float, ...], str]]:
    """Boxes of the lungs where the recipe has fixed ones."""
    if _kind(one) != "boxes":
        return []
    given = (one.options.get("lung") or {}).get("boxes", [(0.12, 0.14, 0.42, 0.74), (0.58, 0.14, 0.88, 0.74)])
    height, width = shape[:2]
    return [((x0 * width, y0 * height, x1 * width, y1 * height), LUNG) for x0, y0, x1, y1 in given]


def _measures(name: str, dataset: Dataset, made: Sequence[Inserted]) -> dict[str, dict[str, np.ndarray]]:
    """Measure -> {dataset -> values}: contrast, and diameter in pixels, extracted and inserted."""
    yes = accepted(dataset).to_numpy()
    columns = {"contrast": "lesion_contrast", "diameter_px": "lesion_diameter_px"}
    found = {}
    for own, other in columns.items():
        series = {f"{words(name)}, extracted": dataset.items[own].to_numpy(float)[yes]}
        for one in made:
            lists = one.data.items.get(other, [])
            values = [float(value) for values in lists for value in np.atleast_1d(values)]
            series[words(one.name)] = np.array(values)
        found[own] = {title: values[np.isfinite(values)] for title, values in series.items()}
    return found


TITLES = {"contrast": "contrast, share of the value range", "diameter_px": "diameter, pixels"}


def _distributions(name: str, dataset: Dataset, made: Sequence[Inserted], book: Book) -> Exhibit:
    panels = {TITLES[key]: own for key, own in _measures(name, dataset, made).items()}
    numbers = "; ".join(f"{title}: {len(values)}" for title, values in panels[TITLES["contrast"]].items())
    caption = (
        "Contrast and size of lesions as they were cut out of real radiographs (accepted ones of "
        f"{words(name)}) "
        f"and as they lie in the radiographs they were inserted into, as cumulative shares; n = {numbers}. "
        "Curves that run together mean alike lesions; inserted ones are scaled and may be clipped."
    )
    alt = "Cumulative distributions; medians: " + "; ".join(
        f"{measure}, {title} {significant(float(np.median(values)))}"
        for measure, own in panels.items()
        for title, values in own.items()
        if len(values)
    )
    frame = pd.DataFrame(
        [
            {"measure": measure, "dataset": title, "value": value}
            for measure, own in panels.items()
            for title, values in own.items()
            for value in values
        ]
    )
    figure = figures.volume_distributions(panels, "")
    return book.chart(f"residuals/{name}", figure, frame, caption=caption, alt=alt)


def _likeness(name: str, dataset: Dataset, made: Sequence[Inserted], book: Book) -> Exhibit:
    measures = _measures(name, dataset, made)
    titles = list(measures["contrast"])
    rows, records = [], []
    for title in titles:
        row = [Cell(title)]
        for key, own in measures.items():
            values = own[title]
            if not len(values):
                row.append(Cell(DASH, number=True))
                continue
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            told = f"[{significant(low)}, {significant(high)}], n = {len(values)}"
            row.append(Cell(significant(middle), number=True, note=told))
            record = {"dataset": title, "measure": key, "n": len(values)}
            records.append({**record, "median": middle, "q1": low, "q3": high})
        rows.append(row)
    caption = (
        f"The same in numbers for {words(name)}: medians, and quartiles in brackets. n counts lesions; "
        "inserted "
        "ones come from few donors and are not independent."
    )
    head = ["dataset", *(TITLES[key] for key in measures)]
    return book.table(f"residual_table/{name}", head, rows, caption=caption, data=pd.DataFrame(records))
