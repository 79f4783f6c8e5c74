"""What the study is made of: the pipeline drawing, the data table, failed items, example pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mirage.data import Dataset
from mirage.data.manifest import SPLITS
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, listing, words
from mirage.report.chapters.lesion_counts import lesion_counts
from mirage.report.chapters.volumes import preparation
from mirage.report.drawing import PLURALS, draw
from mirage.report.images import Tile, mask_to_rgb, outline, to_rgb
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH, TIMES, percent
from mirage.report.volumes import (
    fullest_slice,
    has_label,
    is_volume,
    label_tile,
    legend_of,
    sequence_tile,
    slice_words,
)

TRAINED = (
    "Splits are by subject and were fixed before anything was trained. Generators and judges learn from "
    "training subjects only, checkpoints are chosen on validation subjects, and everything reported "
    "below under utility is measured on test subjects."
)
UNTRAINED = (
    "This study trains no generator and no judge. The training images are those that the generator of the "
    "synthetic images has learnt from, as far as it was told; held-out images are of other subjects, none of "
    "which it has seen. Encoders of features are fitted on training images alone."
)
UNKNOWN = "unknown"
"""Modality of a dataset whose configuration names none; it is left out."""
EXAMPLES = 2
REASONS = 20


def pipeline_chapter(inputs: ReportInputs, book: Book) -> Chapter | None:
    """The drawn graph of the study; None without one."""
    drawing = inputs.drawing
    if not drawing.nodes:
        return None
    chapter = Chapter("Pipeline", "pipeline")
    kinds = pd.Series([kind for _, kind in drawing.nodes]).value_counts()
    counted = listing(
        [
            count(int(kinds[kind]), many.removesuffix("s"), many)
            for kind, many in PLURALS.items()
            if kind in kinds
        ]
    )
    edges = pd.DataFrame(list(drawing.edges), columns=["from", "to"])
    alt = f"Directed graph of {counted}; arrows: " + "; ".join(f"{a} to {b}" for a, b in drawing.edges)
    caption = (
        f"The study's pipeline, drawn from its configuration ({counted}). An arrow runs from what is used to "
        "what uses it: data train generators, generators make synthetic data, evaluations compare them on "
        "held-out real images."
    )
    chapter.show(book.drawing("pipeline", draw(drawing, alt), edges, caption=caption, alt=alt))
    return chapter


def data_chapter(data: dict[str, Dataset], book: Book, *, trains: bool = True) -> Chapter:
    """Datasets, splits, failed items, and example pairs of the data that were not generated.

    Args:
        data: by name.
        book: gets the exhibits.
        trains: whether the study trains generators or judges.
    """
    chapter = Chapter("Data", "data")
    chapter.text(TRAINED if trains else UNTRAINED)
    chapter.show(_table(data, book))
    lesions = lesion_counts(data, book)
    if lesions is not None:
        chapter.show(lesions)
    failures = pd.concat(
        [dataset.failures.assign(dataset=name) for name, dataset in data.items()], ignore_index=True
    )
    if len(failures):
        chapter.show(_failures(failures, book))
    else:
        chapter.text("No item of any dataset failed.")
    shown = {
        name: dataset for name, dataset in data.items() if len(dataset) and origin(dataset) != "synthetic"
    }
    if shown:
        chapter.show(_examples(shown, book))
    prepared = preparation(shown, book)
    if prepared is not None:
        chapter.show(prepared)
    return chapter


def origin(dataset: Dataset) -> str:
    """``real``, ``simulated``, ``synthetic``, or ``mixed``."""
    found = set(dataset.items["origin"]) | set(dataset.failures["origin"])
    return found.pop() if len(found) == 1 else "mixed"


def known_modality(dataset: Dataset) -> list[str]:
    """What the images are, where that was said."""
    return [] if dataset.info.modality == UNKNOWN else [dataset.info.modality]


def made_by_recipes(data: Mapping[str, Dataset]) -> list[str]:
    """Names of the datasets that are neither real nor simulated."""
    return [name for name, dataset in data.items() if origin(dataset) not in ("real", "simulated")]


def _table(data: dict[str, Dataset], book: Book) -> Exhibit:
    records, rows = [], []
    for name, dataset in data.items():
        items, info = dataset.items, dataset.info
        subjects = [items[items["split"] == split]["subject_id"].nunique() for split in SPLITS]
        counts = [int((items["split"] == split).sum()) for split in SPLITS]
        mask = sorted(set(items["mask_origin"].dropna())) if "label" in info.mask_channels else []
        record = {
            "dataset": name,
            "origin": origin(dataset),
            "modality": info.modality,
            "image_shape": TIMES.join(str(side) for side in info.image_shape),
            "masks": " / ".join(mask) or "none",
            **{f"subjects_{split}": number for split, number in zip(SPLITS, subjects, strict=True)},
            **{f"items_{split}": number for split, number in zip(SPLITS, counts, strict=True)},
            "failed": info.failed,
            "fingerprint": info.fingerprint,
        }
        records.append(record)
        synthetic = record["origin"] == "synthetic"
        rows.append(
            [
                Cell(words(name), note=", ".join([str(record["origin"]), *known_modality(dataset)])),
                Cell(f"{record['image_shape']}", note=info.image_dtype),
                Cell(str(record["masks"])),
                Cell(DASH if synthetic else " / ".join(map(str, subjects)), number=True),
                Cell(" / ".join(map(str, counts)), number=True),
                Cell(str(info.failed), number=True),
            ]
        )
    head = [
        "dataset",
        _shape_heading(data),
        "label masks",
        "subjects train / val / test",
        "items train / val / test",
        "failed",
    ]
    total = sum(len(dataset) for dataset in data.values())
    caption = (
        f"Datasets of the study, {count(total, 'item')} in {count(len(data), 'dataset')}. Synthetic items "
        "have no subjects of their own. Failed items were left out and are listed with their reasons."
    )
    return book.table("data", head, rows, caption=caption, data=pd.DataFrame(records))


def _shape_heading(data: dict[str, Dataset]) -> str:
    """What the sides of the stored arrays are, for the datasets shown."""
    kinds = {is_volume(dataset.info) for dataset in data.values()}
    forms = {False: f"image (C{TIMES}H{TIMES}W, pixels)", True: f"volume (C{TIMES}D{TIMES}H{TIMES}W, voxels)"}
    return " or ".join(forms[kind] for kind in sorted(kinds))


def _failures(failures: pd.DataFrame, book: Book) -> Exhibit:
    grouped = (
        failures.groupby(["dataset", "reason"], dropna=False, sort=False)["item_id"]
        .agg(["size", "first"])
        .reset_index()
        .sort_values("size", ascending=False)
    )
    rows = [
        [
            Cell(words(row.dataset)),
            Cell(str(row.reason)),
            Cell(str(row.size_), number=True),
            Cell(str(row.first_)),
        ]
        for row in grouped.rename(columns={"size": "size_", "first": "first_"}).head(REASONS).itertuples()
    ]
    more = f" The {REASONS} commonest reasons of {len(grouped)}." if len(grouped) > REASONS else ""
    caption = f"Items that failed, n = {len(failures)}, by reason.{more}"
    data = failures[["dataset", "item_id", "subject_id", "reason"]]
    return book.table(
        "failed", ["dataset", "reason", "items", "first item"], rows, caption=caption, data=data
    )


def _examples(data: dict[str, Dataset], book: Book) -> Exhibit:
    rows, names, records = [], [], []
    masks = any("label" in dataset.info.mask_channels for dataset in data.values())
    for name, dataset in data.items():
        view = dataset.select("train") if len(dataset.select("train")) else dataset
        picks = sorted({round(i * (len(view) - 1) / max(EXAMPLES - 1, 1)) for i in range(EXAMPLES)})
        row: list[Tile | None] = []
        for index in picks:
            row += pair(view, index)[: 2 if masks else 1]
            records.append({"dataset": name, "item_id": view.items["item_id"].iat[index]})
        rows.append(row)
        names.append(_name(name, dataset))
    caption = (
        f"Examples of the images the study starts from{' and their label masks' if masks else ''}, "
        f"{EXAMPLES} items of each dataset, of training where it has any (first and last by id). "
        f"{'A gap means that there is no mask.' if masks else ''}"
    )
    volumes = [dataset.info for dataset in data.values() if is_volume(dataset.info)]
    if volumes:
        caption += (
            f" Of a volume {slice_words(masks)} is shown, anterior up, in the channel "
            f"{volumes[0].channel_names[0]}{', and labels are drawn over it' if masks else ''}."
        )
    columns = ["image", "mask"] * EXAMPLES if masks else []
    return book.plate(
        "examples",
        rows,
        columns=columns,
        names=names,
        data=pd.DataFrame(records),
        caption=caption.strip(),
        legend=legend_of({value: name for info in volumes for value, name in info.labels.items()}),
    )


def _name(name: str, dataset: Dataset) -> str:
    """A dataset's name, with a remark when a model and not a person drew its masks."""
    drawn = set(dataset.items["mask_origin"].dropna())
    return (
        f"{words(name)} (masks {' and '.join(sorted(drawn))})"
        if drawn - {"annotated", "simulated"}
        else words(name)
    )


def pair(dataset: Dataset, index: int, note: str = "") -> list[Tile | None]:
    """An item's image (with its mask's outline) and mask; None stands for a missing mask.

    Of a volume the first channel is shown, in the axial slice with the most labelled voxels.
    """
    info = dataset.info
    if is_volume(info):
        return _volume_pair(dataset, index, note)
    item = dataset.items["item_id"].iat[index]
    rgb = to_rgb(dataset.image(index), info.value_range)
    alt = " ".join([*known_modality(dataset), "image", item, "of", info.name])
    if "label" not in info.mask_channels:
        return [Tile(rgb, alt, note), None]
    mask = dataset.mask(index)
    return [
        Tile(rgb, alt, note, outline(mask)),
        Tile(mask_to_rgb(mask), f"label mask of {item}: {percent((mask > 0).mean())} foreground"),
    ]


def _volume_pair(dataset: Dataset, index: int, note: str) -> list[Tile | None]:
    labelled = has_label(dataset, index)
    mask = dataset.mask(index) if labelled else np.zeros(dataset.info.image_shape[1:], np.uint8)
    at = (fullest_slice(mask), 0, 0)
    image = sequence_tile(dataset, index, 0, "axial", at, note)
    return [image, label_tile(dataset, index, mask, "axial", at) if labelled else None]
