"""Lesions: how they were cut out of radiographs or projected from CT, which of them were accepted, and where
and how they were inserted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.data import Dataset
from mirage.recipes.curation import accepted
from mirage.recipes.extract_lesions import CHANNELS, lesion_of
from mirage.report import figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.boxes import LUNG, TRUTH, with_boxes
from mirage.report.chapters.base import Chapter, count, evenly, listing, words
from mirage.report.images import Tile, outline, to_rgb
from mirage.report.numbers import DASH, number, significant

INSERTING = {"extract_and_insert": "lesions", "project_and_insert": "nodules"}
"""Recipe -> its key that names what is inserted."""
EXTRACTED, SHEET, INSERTED = 4, 18, 3
"""Lesions in full panels, lesions on the contact sheet, radiographs with inserted ones."""
GREY = 128

Choices = Mapping[str, pd.Series]
"""Whether each lesion may be inserted, bool by item id, by the recipes that say so: one, for all, is ''."""


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

    @property
    def of(self) -> str:
        """Dataset of what is inserted."""
        return str(self.options[INSERTING[self.options["recipe"]]])


def lesion_chapter(data: Mapping[str, Dataset], curations: Mapping[str, Path], book: Book) -> Chapter | None:
    """Extraction, projection and insertion; None where no lesion was extracted and none inserted.

    Args:
        data: all datasets of the study.
        curations: recipe that inserts lesions -> the table that says which of them it may insert.
        book: gets the exhibits.

    Raises:
        DataError: a table and the lesions do not fit together.
    """
    cut = {name: one for name, one in data.items() if one.info.channel_names == CHANNELS}
    made = [
        Inserted(name, one, options)
        for name, one in data.items()
        if (options := _recipe(one)).get("recipe") in INSERTING
    ]
    projected = list(dict.fromkeys(one.of for one in made if one.of not in cut))
    if not cut and not projected:
        return None
    chapter = Chapter("Extracted and inserted lesions" if cut else "Inserted lesions", "synthesis")
    if cut:
        chapter.text(
            "A lesion is what is left of a radiograph after its place was filled with healthy tissue by an "
            "inpainter: the original minus the inpainted picture, cut off where it does not differ. The "
            "error that shows between box and hole is carried on into the box and taken off, and so is what "
            "the inpainter errs on average in the same hole at healthy places of the same radiograph. "
            "Whatever else it draws wrongly, a rib that ends or a vessel that is gone, is part of the "
            "lesion. Only patients of the training split are donors, and they are recorded with every image."
        )
    if projected:
        chapter.text(
            "A nodule of CT is projected from front to back, scaled to a size in mm, given a contrast by the "
            "lung that it is put into, and blended with the host, as the generation baseline of NODE21 does. "
            "Only patients of the training split are donors; those of the CT are recorded with every image."
        )
    for name in (*cut, *projected):
        if len(cut) + len(projected) > 1:
            chapter.heading(words(name))
        own = [one for one in made if one.of == name and len(one.data)]
        if name in cut:
            _show_extracted(name, cut[name], own, data, curations, chapter, book)
        else:
            _show_projected(name, own, data, chapter, book)
    return chapter


def _show_extracted(
    name: str,
    dataset: Dataset,
    own: Sequence[Inserted],
    data: Mapping[str, Dataset],
    curations: Mapping[str, Path],
    chapter: Chapter,
    book: Book,
) -> None:
    """Lesions that were cut out, and the radiographs that got them."""
    chosen = choices(dataset, [one.name for one in own], curations)
    chapter.show(_counts(name, dataset, chosen, book))
    if len(dataset):
        chapter.show(_extraction(name, dataset, chosen, book))
        chapter.show(_sheet(name, dataset, chosen, book))
    for one in own:
        chapter.show(_examples(one, data, book))
    if own and len(dataset):
        items = {
            f"{words(name)}, extracted{title and f', for {title}'}": dataset.items[yes.to_numpy()]
            for title, yes in chosen.items()
        }
        measures = _measures(items, own)
        told = f"as they were cut out of real radiographs (accepted ones of {words(name)})"
        chapter.show(_distributions(name, measures, told, book))
        chapter.show(_likeness(name, measures, book))


def _show_projected(
    name: str, own: Sequence[Inserted], data: Mapping[str, Dataset], chapter: Chapter, book: Book
) -> None:
    """Radiographs that got nodules of CT."""
    for one in own:
        chapter.show(_examples(one, data, book))
    if own:
        donors = {f"{words(name)}, in CT": data[name].select("train").items} if name in data else {}
        measures = _measures(donors, own)
        told = f"in CT (training patients of {words(name)}; they have a diameter alone)"
        chapter.show(_distributions(name, measures, told, book))
        chapter.show(_likeness(name, measures, book))


def _recipe(data: Dataset) -> Mapping[str, Any]:
    """Options of the recipe that made a dataset; empty where none did."""
    found = data.info.provenance.get("config")
    return found if isinstance(found, Mapping) else {}


def choices(dataset: Dataset, inserting: Sequence[str], curations: Mapping[str, Path]) -> Choices:
    """Which lesions may be inserted: by the table of each recipe that does so; as proposed where none does.

    Args:
        dataset: the lesions.
        inserting: names of the recipes that insert them.
        curations: recipe -> its table.

    Raises:
        DataError: a table and the lesions do not fit together.
    """
    if not len(dataset):
        return {"": pd.Series(dtype=bool)}
    tables: dict[Path, list[str]] = {}
    for name in inserting:
        if name in curations:
            tables.setdefault(curations[name], []).append(words(name))
    if not tables:
        return {"": dataset.items.set_index("item_id")["proposed"] == "accept"}
    found = {}
    for table, names in tables.items():
        numbers = np.isin(np.arange(len(dataset)), accepted(table, dataset))
        title = listing(names) if len(tables) > 1 else ""
        found[title] = pd.Series(numbers, index=dataset.items["item_id"])
    return found


def _word(chosen: Choices, item: str) -> str:
    """What is decided of a lesion, in a word where all agree."""
    yes = [title for title, own in chosen.items() if own[item]]
    if len(yes) == len(chosen):
        return "accepted"
    return f"accepted for {listing(yes)}" if yes else "rejected"


def _counts(name: str, dataset: Dataset, chosen: Choices, book: Book) -> Exhibit:
    failed = dataset.failures
    donors = {donor for own in dataset.items["donor_subject_ids"] for donor in own}
    decided = {
        f"{word}{title and f' for {title}'}": int(own.sum())
        for title, yes in chosen.items()
        for word, own in (("accepted", yes), ("rejected", ~yes))
    }
    record = {
        "boxes": len(dataset) + len(failed),
        "extracted": len(dataset),
        "failed": len(failed),
        **decided,
        "patients": len(donors),
    }
    reasons = failed["reason"].value_counts()
    rows = [[Cell(key), Cell(str(value), number=True)] for key, value in record.items()]
    rows += [[Cell(f"failed: {reason}"), Cell(str(times), number=True)] for reason, times in reasons.items()]
    caption = (
        f"Lesions of {words(name)}: boxes of the training images, what was cut out of them, and how many of "
        "these are accepted for insertion: by the table that a recipe names as its key curation, or as "
        "proposed by visibility, a score of contrast against noise."
    )
    return book.table(f"lesions/{name}", ["", "number"], rows, caption=caption, data=pd.DataFrame([record]))


def _original(dataset: Dataset, index: int) -> np.ndarray:
    """The window around a lesion, uint8 RGB."""
    return to_rgb(dataset.image(index)[0][None], dataset.info.value_range)


def _planes(dataset: Dataset, index: int) -> dict[str, np.ndarray]:
    """Original, masked, inpainted and lesion of an item, uint8 RGB; the lesion is what an insertion adds."""
    original, hole = _original(dataset, index), dataset.mask(index, "hole") > 0
    lesion = lesion_of(dataset, index)
    added = lesion.residual * lesion.support
    shown = np.rint(GREY + added * (127 / max(1.0, float(np.abs(added).max())))).astype(np.uint8)
    return {
        "original": original,
        "masked": np.where(hole[..., None], np.uint8(GREY), original),
        "inpainted": to_rgb(dataset.image(index)[1][None], dataset.info.value_range),
        "lesion": np.repeat(shown[..., None], 3, axis=2),
    }


def _extraction(name: str, dataset: Dataset, chosen: Choices, book: Book) -> Exhibit:
    order = dataset.items["visibility"].to_numpy(float).argsort(kind="stable")[::-1]
    picks = [int(order[place]) for place in evenly(len(order), EXTRACTED)]
    rows = []
    for index in picks:
        item = dataset.items.iloc[index]
        note = f"{_word(chosen, item['item_id'])}, {number(float(item['visibility']), 2)}"
        edge = outline(dataset.mask(index, "lesion"))
        rows.append(
            [
                Tile(rgb, f"{item['item_id']}, {title}", note if title == "lesion" else "", edge)
                for title, rgb in _planes(dataset, index).items()
            ]
        )
    caption = (
        f"Lesions of {words(name)}, from the most to the least visible, {len(picks)} of {len(dataset)}: "
        "original, with the hole, inpainted, and what is inserted of the lesion: the difference less the "
        "inpainter's error, within its soft edge (grey: nothing; each on its own scale). Below it whether it "
        "is accepted, and its visibility. Outlines show what counts as the lesion."
    )
    data = dataset.items.iloc[picks][["item_id", "visibility", "contrast", "diameter_px", "proposed"]]
    columns = ["original", "masked", "inpainted", "lesion"]
    return book.plate(
        f"extraction/{name}", rows, columns=columns, data=pd.DataFrame(data), caption=caption, side=150
    )


def _sheet(name: str, dataset: Dataset, chosen: Choices, book: Book) -> Exhibit:
    picks, tiles, told = evenly(len(dataset), SHEET), [], []
    for index in picks:
        item = dataset.items["item_id"].iat[index]
        word = _word(chosen, item)
        told.append(word)
        edge = outline(dataset.mask(index, "lesion"))
        tiles.append(Tile(_original(dataset, index), f"lesion {item}, {word}", word, edge))
    rows = [tiles[start : start + 6] for start in range(0, len(tiles), 6)]
    caption = (
        f"Contact sheet of {words(name)}: {len(picks)} of {count(len(dataset), 'lesion')} at even steps, "
        "with "
        "the curation's word. The whole sheet is contact-sheet.png beside the dataset."
    )
    data = pd.DataFrame({"item_id": dataset.items["item_id"].iloc[picks], "decided": told})
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


def _measures(
    items: Mapping[str, pd.DataFrame], made: Sequence[Inserted]
) -> dict[str, dict[str, np.ndarray]]:
    """Measure -> {dataset -> values}, of lesions before and after: contrast, diameters as far as known."""
    columns = {
        "contrast": "lesion_contrast",
        "diameter_px": "lesion_diameter_px",
        "diameter_mm": "lesion_diameter_mm",
    }
    found = {}
    for own, other in columns.items():
        before = {title: _finite(table, own) for title, table in items.items()}
        found[own] = {**before, **{words(one.name): _finite(one.data.items, other) for one in made}}
    return {key: series for key, series in found.items() if any(map(len, series.values()))}


def _finite(items: pd.DataFrame, column: str) -> np.ndarray:
    """Known numbers of a column of numbers or of lists of them; none where there is no such column."""
    lists = [np.atleast_1d(values).astype(float) for values in items.get(column, ())]
    values = np.concatenate([np.empty(0), *lists])
    return values[np.isfinite(values)]


TITLES = {
    "contrast": "contrast, share of the value range",
    "diameter_px": "diameter, pixels",
    "diameter_mm": "diameter, mm",
}


def _distributions(
    name: str, measures: Mapping[str, Mapping[str, np.ndarray]], before: str, book: Book
) -> Exhibit:
    panels = {TITLES[key]: own for key, own in measures.items()}
    sizes = {title: max(len(own[title]) for own in panels.values()) for title in next(iter(panels.values()))}
    numbers = "; ".join(f"{title}: {size}" for title, size in sizes.items())
    caption = (
        f"Contrast and size of lesions {before} and as they lie in the radiographs they were inserted into, "
        f"as cumulative shares; n = {numbers}. Curves that run together mean alike lesions; inserted ones "
        "are scaled and may be clipped."
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


def _likeness(name: str, measures: Mapping[str, Mapping[str, np.ndarray]], book: Book) -> Exhibit:
    rows, records = [], []
    for title in next(iter(measures.values())):
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
