"""Volumes in pictures: how they were prepared, mixed and drawn, and files of a few to open in a viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mirage.data import Dataset
from mirage.data.tumour_labels import LABELS, SCHEMES
from mirage.preprocess.nifti import ORIGINS
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import count, evenly, listing, words
from mirage.report.images import Tile
from mirage.report.nifti import Written
from mirage.report.numbers import DASH, TIMES, setting
from mirage.report.tumours import source_of
from mirage.report.volumes import (
    PLANES,
    Place,
    centre_of,
    cut,
    fullest_slice,
    has_label,
    in_proportion,
    is_volume,
    label_tile,
    legend_of,
    painted,
    pixel_mm,
    rgb_of,
    sequence_tile,
    slice_words,
)

SAMPLES, MONTAGES, MIXED = 9, 2, 2
A_ROW = 6
"""Volumes side by side where each is one picture."""
CANDIDATES = 12
"""Items among which those are sought of which mixing has cut off the most."""
REMOVED = "#D55E00"
OLD_SCHEME = "brats2018"


def _nothing(dataset: Dataset) -> np.ndarray:
    """A mask (D, H, W) without foreground."""
    return np.zeros(dataset.info.image_shape[1:], np.uint8)


def _mask(dataset: Dataset, index: int) -> np.ndarray:
    return dataset.mask(index) if has_label(dataset, index) else _nothing(dataset)


def _spacing_words(dataset: Dataset, index: int) -> str:
    spacing = dataset.spacing_mm(index)
    if spacing is None:
        return "spacing unknown"
    return f"{TIMES.join(f'{setting(side, 3)}' for side in spacing)} mm"


def preparation(data: Mapping[str, Dataset], book: Book) -> Exhibit | None:
    """One subject in every dataset of volumes that was not made: as stored, and in true proportions.

    Args:
        data: datasets that were not made.
        book: gets the figure.
    """
    views = {name: dataset.select("train") for name, dataset in data.items() if is_volume(dataset.info)}
    views = {name: view for name, view in views.items() if len(view)}
    if not views:
        return None
    subject = next(iter(views.values())).items["subject_id"].iat[0]
    rows: list[list[Tile | None]] = []
    names, records = [], []
    labelled = all("label" in view.info.mask_channels for view in views.values())
    for name, view in views.items():
        own = np.flatnonzero(view.items["subject_id"] == subject)
        index = int(own[0]) if len(own) else 0
        at, spacing = centre_of(_mask(view, index)), view.spacing_mm(index)
        even = spacing is None or np.allclose(spacing, spacing[0], rtol=0.02)
        for true in [False] if even else [False, True]:
            rows.append([sequence_tile(view, index, 0, plane, at, true=true) for plane in PLANES])
            names.append(f"{words(name)}, {'true proportions' if true else 'a voxel a pixel'}")
        stored = TIMES.join(map(str, view.info.image_shape[1:]))
        records.append(
            {
                "dataset": name,
                "item_id": view.items["item_id"].iat[index],
                "stored_dhw": stored,
                "spacing_dhw": _spacing_words(view, index),
            }
        )
    told = "; ".join(
        f"{words(r['dataset'])}: {r['stored_dhw']} voxels of {r['spacing_dhw']}, {_cuts(views[r['dataset']])}"
        for r in records
    )
    channel = next(iter(views.values())).info.channel_names[0]
    caption = (
        f"What preparation made of a training subject, {channel}, the same one of every dataset that has it, "
        f"in three planes through {'what is labelled' if labelled else 'its middle'}: as the networks see it "
        f"and, where voxels are not cubes, in true proportions. {told}."
    )
    return book.plate(
        "preparation", rows, columns=PLANES, names=names, data=pd.DataFrame(records), caption=caption
    )


def _cuts(dataset: Dataset) -> str:
    """What preparation did, from the options that made the dataset."""
    options = (dataset.info.provenance.get("config") or {}).get("prepare") or {}
    done = []
    low, high = options.get("drop_slices") or (0, 0)
    if low or high:
        done.append(f"{low} lower and {high} upper slices cut off")
    if options.get("crop") == "brain":
        done.append("cut to the brain")
    if options.get("fit") == "stretch":
        how = "nearest neighbour" if options.get("interpolation") == "nearest" else "linear interpolation"
        done.append(f"stretched or squeezed to the stored size by {how}")
    return listing(done) if done else "nothing cut off"


def gallery(name: str, dataset: Dataset, told: str, book: Book) -> Exhibit:
    """Axial slices of synthetic volumes, a row a volume and a column a channel, labels last."""
    info = dataset.info
    picks = evenly(len(dataset), SAMPLES)
    labelled = "label" in info.mask_channels
    rows: list[list[Tile | None]] = []
    for index in picks:
        mask = _mask(dataset, index)
        at = (fullest_slice(mask), 0, 0)
        row: list[Tile | None] = [
            sequence_tile(dataset, index, c, "axial", at) for c in range(len(info.channel_names))
        ]
        if labelled:
            row.append(label_tile(dataset, index, mask, "axial", at) if has_label(dataset, index) else None)
        rows.append(row)
    alone = len(rows[0]) == 1
    if alone:  # volumes stand side by side where each is one picture
        tiles = [tile for row in rows for tile in row]
        rows = [tiles[start : start + A_ROW] for start in range(0, len(tiles), A_ROW)]
    shown = dataset.items.iloc[picks][["item_id", "origin", "mask_origin"]]
    caption = (
        f"Volumes of {words(name)}, {len(picks)} of {count(len(dataset), 'volume')}: "
        f"{slice_words(labelled)}, anterior up, the patient's right on the left"
        f"{'' if alone else ', in every channel'}. {told}"
    )
    return book.plate(
        f"gallery/{name}",
        rows,
        columns=[] if alone else [*info.channel_names, *(["labels"] if labelled else [])],
        names=[] if alone else list(shown["item_id"]),
        data=pd.DataFrame(shown),
        caption=caption,
        side=128,
        legend=legend_of(info.labels) if labelled else (),
    )


def montage(name: str, dataset: Dataset, book: Book) -> Exhibit:
    """Three planes through the tumour's centre of a few volumes, labels painted over every channel's pair."""
    info = dataset.info
    picks = evenly(len(dataset), MONTAGES)
    labelled = "label" in info.mask_channels
    alone = len(info.channel_names) == 1 and not labelled
    rows: list[list[Tile | None]] = []
    names, records = [], []
    for index in picks:
        mask, item = _mask(dataset, index), dataset.items["item_id"].iat[index]
        at = centre_of(mask)
        if alone:
            rows.append([sequence_tile(dataset, index, 0, plane, at) for plane in PLANES])
            names.append(str(item))
        else:
            rows += _by_plane(dataset, index, mask, at)
            names += [f"{item}, {plane}" for plane in PLANES]
        records.append({"item_id": item, "d": at[0], "h": at[1], "w": at[2]})
    overlay = f"The last column has the labels over {info.channel_names[0]}." if labelled else ""
    centre = "the tumour" if labelled else "the volume"
    caption = (
        f"Three planes through the centre of {centre}, {len(picks)} of {count(len(dataset), 'volume')} of "
        f"{words(name)}, in true proportions ({_spacing_words(dataset, picks[0])} a voxel, "
        f"D{TIMES}H{TIMES}W); superior or anterior up, the patient's right on the left in axial and coronal "
        f"planes, anterior on the left in sagittal ones. {overlay}".strip()
    )
    return book.plate(
        f"montage/{name}",
        rows,
        columns=PLANES if alone else [*info.channel_names, *(["labels"] if labelled else [])],
        names=names,
        data=pd.DataFrame(records),
        caption=caption,
        side=150,
        legend=legend_of(info.labels) if labelled else (),
    )


def _by_plane(dataset: Dataset, index: int, mask: np.ndarray, at: Place) -> list[list[Tile | None]]:
    """A row a plane through a voxel, a column a channel, labels last."""
    rows: list[list[Tile | None]] = []
    for plane in PLANES:
        channels = range(len(dataset.info.channel_names))
        row: list[Tile | None] = [sequence_tile(dataset, index, c, plane, at) for c in channels]
        if "label" in dataset.info.mask_channels:
            row.append(label_tile(dataset, index, mask, plane, at) if has_label(dataset, index) else None)
        rows.append(row)
    return rows


def mixing(name: str, dataset: Dataset, data: Mapping[str, Dataset], book: Book) -> Exhibit | None:
    """Tumour of A, brain of B, what of the tumour is cut off, and the volume made; None without donors."""
    source = source_of(dataset, data)
    if source is None or not {"label", "brain"} <= set(dataset.info.mask_channels):
        return None
    donors = data[source].select("train").labelled()
    pairs = [
        pair
        for index in evenly(len(dataset), CANDIDATES)
        for pair in [_pair(dataset, index, donors)]
        if pair is not None
    ]
    if not pairs:
        return None
    placed = all(pair.cut_off is not None for pair in pairs)
    chosen = sorted(pairs, key=lambda pair: -(pair.cut_off or 0))[:MIXED] if placed else pairs[:MIXED]
    names = donors.items["subject_id"]
    records = [
        {
            "item_id": dataset.items["item_id"].iat[pair.index],
            "tumour_of": names.iat[pair.a],
            "brain_of": names.iat[pair.b],
            "voxels_cut_off": pair.cut_off,
        }
        for pair in chosen
    ]
    channel = dataset.info.channel_names[0]
    which = "those that lost most" if placed else "the first"
    middle = (
        "the brain mask of B; A's labels on it, in dark orange what lies outside; the label map without that"
        if placed
        else f"{channel} of B with its own labels; the label map made of the two"
    )
    caption = (
        f"How volumes of {words(name)} come about, axial slices: {channel} of A with the labels of its "
        f"tumour; {middle}; {channel} of the volume made, n = {len(chosen)}, {which} of "
        f"{count(len(pairs), 'volume')} at even steps."
    )
    columns = ["A: tumour", "B: brain", "A on B", "labels", "volume made"]
    return book.plate(
        f"mixing/{name}",
        [_mixing_row(dataset, donors, pair, placed) for pair in chosen],
        columns=columns if placed else ["A", "B", "labels", "volume made"],
        names=[str(record["item_id"]) for record in records],
        data=pd.DataFrame(records),
        caption=caption,
        side=158,
        legend=[*legend_of(dataset.info.labels), *([("cut off", REMOVED)] if placed else [])],
    )


@dataclass(frozen=True)
class _Pair:
    """A mixed volume with its donors' numbers, and how many voxels of A's tumour lay outside B's brain.

    ``cut_off`` is None where A's tumour was moved, or B's stayed, so that nobody can tell.
    """

    index: int
    a: int
    b: int
    cut_off: int | None


def _pair(dataset: Dataset, index: int, donors: Dataset) -> _Pair | None:
    """None where the donors are not two of those given."""
    places = [
        np.flatnonzero(donors.info.namespace + "/" + donors.items["subject_id"] == donor)
        for donor in dataset.items["donor_subject_ids"].iat[index]
    ]
    if len(places) != 2 or not all(len(place) for place in places):
        return None
    a, b = (int(place[0]) for place in places)
    outside = _cut_off(dataset.mask(index), donors.mask(a), donors.mask(b, "brain") > 0)
    return _Pair(index, a, b, None if outside is None else int(np.count_nonzero(outside)))


def _cut_off(made: np.ndarray, label: np.ndarray, brain: np.ndarray) -> np.ndarray | None:
    """Voxels of a tumour outside a brain; None where the made label is not the rest of the tumour."""
    if label.shape != brain.shape or not np.array_equal(np.where(brain, label, 0), made):
        return None
    return (label > 0) & ~brain


def _mixing_row(dataset: Dataset, donors: Dataset, pair: _Pair, placed: bool) -> list[Tile | None]:
    index, a, b = pair.index, pair.a, pair.b
    made, own, brain = dataset.mask(index), donors.mask(a), donors.mask(b, "brain")
    name_a, name_b = (donors.items["subject_id"].iat[number] for number in (a, b))
    item = dataset.items["item_id"].iat[index]
    outside = _cut_off(made, own, brain > 0) if placed else None
    at: Place = (fullest_slice(outside if outside is not None and outside.any() else made), 0, 0)
    inside = dataset.mask(index, "brain")
    ends = [
        _flat_tile(dataset, index, inside, made, None, at, f"labels of {item}"),
        sequence_tile(dataset, index, 0, "axial", at),
    ]
    if outside is None:
        a_at, b_at = ((fullest_slice(donors.mask(number)), 0, 0) for number in (a, b))
        return [
            label_tile(donors, a, own, "axial", a_at, name_a, f"tumour of {name_a}"),
            label_tile(donors, b, donors.mask(b), "axial", b_at, name_b, f"tumour of {name_b}"),
            *ends,
        ]
    return [
        label_tile(donors, a, own, "axial", at, name_a, f"tumour of {name_a}"),
        _flat_tile(donors, b, brain, _nothing(donors), None, at, f"brain of {name_b}", name_b),
        _flat_tile(donors, b, brain, own, outside, at, f"tumour of {name_a} on {name_b}"),
        *ends,
    ]


def _flat_tile(
    dataset: Dataset,
    index: int,
    brain: np.ndarray,
    label: np.ndarray,
    outside: np.ndarray | None,
    at: Place,
    alt: str,
    note: str = "",
) -> Tile:
    """A brain mask in grey with labels over it, and in another colour what of them is outside."""
    inside = cut(brain, "axial", at) > 0
    rgb = np.repeat(np.where(inside, np.uint8(120), np.uint8(0))[..., None], 3, axis=2)
    rgb = painted(rgb, cut(label, "axial", at), dataset.info.labels, opacity=1.0)
    if outside is not None:
        rgb[cut(outside, "axial", at)] = rgb_of(REMOVED)
    pixel = pixel_mm(dataset.spacing_mm(index), "axial")
    return Tile(in_proportion(rgb, pixel, smooth=False), alt, note)


def exports(written: Sequence[Written], data: Mapping[str, Dataset], book: Book) -> list[Exhibit]:
    """Table of the exported files, and of the codes in their label maps; empty without files."""
    if not written:
        return []
    rows, records = [], []
    for one in written:
        donors = " / ".join(donor.rpartition("/")[2] for donor in one.donors) or DASH
        rows.append(
            [
                Cell(one.item_id, note=words(one.dataset)),
                Cell(donors),
                Cell(" ".join(one.files), links=[(part, path) for part, path in one.files.items()]),
                Cell("of the brain's donor" if one.placed else "unknown"),
            ]
        )
        records += [
            {"dataset": one.dataset, "item_id": one.item_id, "part": part, "file": path}
            for part, path in one.files.items()
        ]
    caption = (
        f"Synthetic volumes as NIfTI files, n = {len(written)}, at even steps through each dataset that a "
        f"generator has drawn. The description in their headers says “{ORIGINS['synthetic']}”. Values are "
        "as stored, in no physical unit, 0 is background; “seg” has the stored codes of the next table, not "
        "those of BraTS 2017 to 2022. Datasets made without a generator hold voxels of real subjects and are "
        "not exported."
    )
    head = ["volume", "tumour / brain of", "files", "space"]
    shown = [book.table("volumes", head, rows, caption=caption, data=pd.DataFrame(records))]
    labels = {v: n for one in written for v, n in data[one.dataset].info.labels.items()}
    if labels:
        shown.append(_codes(labels, book))
    return shown


def _codes(labels: Mapping[int, str], book: Book) -> Exhibit:
    old = {stored: code for code, stored in SCHEMES[OLD_SCHEME].items()}
    table = pd.DataFrame(
        [
            {
                "code": value,
                "label": name,
                "brats_2018": old.get(value) if LABELS.get(value) == name else None,
            }
            for value, name in sorted(labels.items())
        ]
    )
    rows = [
        [
            Cell(str(row.code)),
            Cell(str(row.label)),
            Cell(DASH if pd.isna(row.brats_2018) else f"{int(row.brats_2018)}"),
        ]
        for row in table.itertuples()
    ]
    caption = f"Codes of the label maps, n = {len(labels)}; 0 is background."
    head = ["code in “seg”", "label", "code in BraTS 2017 to 2022"]
    return book.table("label_codes", head, rows, caption=caption, data=table)
