"""Fidelity and diversity: synthetic images beside real ones, and real ones beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset
from mirage.report import figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, evenly, words
from mirage.report.chapters.data import origin
from mirage.report.evaluators.fidelity_features import READING, feature_exhibits
from mirage.report.images import Tile, mask_to_rgb, outline, to_rgb
from mirage.report.inputs import Finished
from mirage.report.numbers import DASH, range_of, significant
from mirage.report.summary import row_key
from mirage.report.volumes import centre_of, has_label, is_volume, label_tile, sequence_tile

SAMPLES = 6
TITLES = {
    "js_robust": "Jensen-Shannon (nats, at most 0.693)",
    "kl_robust_synthetic_real": "KL(synthetic ‖ real) (nats)",
    "kl_robust_real_synthetic": "KL(real ‖ synthetic) (nats)",
    "wasserstein1_robust": "Wasserstein-1 distance (grey values)",
    "kl_published_synthetic_real": "KL(synthetic ‖ real) (nats)",
    "kl_published_real_synthetic": "KL(real ‖ synthetic) (nats)",
    "mask_foreground": "share of foreground",
    "mask_contrast": "distance of contrasts at the label (SD)",
}
Column = tuple[str, str, str, str]
"""Heading, arm, protocol, kind."""
HELDOUT: list[Column] = [
    ("all synthetic, all training", "synthetic", "all", "absolute"),
    ("equal numbers: synthetic", "synthetic", "heldout", "absolute"),
    ("equal numbers: held-out real", "reference", "heldout", "absolute"),
    ("ratio", "synthetic", "heldout", "ratio"),
]
HALVES: list[Column] = [
    ("all synthetic, all training", "synthetic", "all", "absolute"),
    ("half sets: synthetic", "synthetic", "halves", "absolute"),
    ("half sets: real", "reference", "halves", "absolute"),
    ("ratio", "synthetic", "halves", "ratio"),
]
MASKS = ("mask_foreground", "mask_contrast")
PIXELS: Column = ("real, split by pixel", "reference", "pixels", "absolute")


def fidelity_chapter(
    own: Mapping[str, Finished], data: Mapping[str, Dataset], summary: pd.DataFrame, book: Book
) -> Chapter:
    """Examples, intensity distributions and their distances."""
    chapter = Chapter("Fidelity", "fidelity")
    chapter.text(
        "A distance between synthetic and real images means little by itself: it also depends on how many "
        "images are compared. Each is therefore shown beside the same distance between real and real "
        "images, and as their ratio at equal numbers of images, where 1 means no farther from real images "
        "than other real images are. Images are compared as numbers that programs compute from them, their "
        "features; each program sees other things, so several are asked."
    )
    chapter.points(READING)
    for name, (config, (folder,)) in own.items():
        rows = summary[summary["evaluation"] == name]
        chapter.heading(words(name))
        if config.real in data and config.synthetic in data:
            chapter.show(_samples(name, config, data[config.real], data[config.synthetic], book))
        feature_exhibits(chapter, name, config, folder, rows, book)
        bars = pd.read_parquet(folder / "details/histogram.parquet")
        if len(bars):
            chapter.show(_intensity(name, config, bars, book))
        shape = _shape(name, config, rows, book)
        if shape is not None:
            chapter.show(shape)
        for exhibit in _tables(name, config, rows, book):
            chapter.show(exhibit)
    return chapter


def _samples(name: str, config: FidelityEvaluation, real: Dataset, synthetic: Dataset, book: Book) -> Exhibit:
    rows: list[list[Tile | None]] = []
    names, records = [], []
    for side, dataset in ((origin(real), real.select("train")), ("synthetic", synthetic)):
        picks = evenly(len(dataset), SAMPLES)
        records += [{"side": side, "item_id": dataset.items["item_id"].iat[index]} for index in picks]
        for what in ("image", "mask"):
            if config.compare in ("both", what) and (
                what == "image" or "label" in dataset.info.mask_channels
            ):
                rows.append([_tile(dataset, index, what, side) for index in picks])
                names.append(f"{side} {what}")
    caption = (
        f"{words(config.real).capitalize()} (above) and {words(config.synthetic)} (below), taken at even "
        f"steps through {len(real.select('train'))} training and {count(len(synthetic), 'synthetic item')}, "
        "not picked by eye."
    )
    return book.plate(
        f"samples/{name}", rows, names=names, data=pd.DataFrame(records), caption=caption, side=148
    )


def _tile(dataset: Dataset, index: int, what: str, side: str) -> Tile:
    item = dataset.items["item_id"].iat[index]
    if is_volume(dataset.info):
        label = dataset.mask(index) if has_label(dataset, index) else np.zeros(dataset.info.image_shape[1:])
        at = centre_of(label)
        if what == "mask":
            return label_tile(dataset, index, label, "axial", at)
        return sequence_tile(dataset, index, 0, "axial", at)
    if what == "mask":
        return Tile(mask_to_rgb(dataset.mask(index)), f"{side} mask {item}")
    edge = outline(dataset.mask(index)) if "label" in dataset.info.mask_channels else None
    return Tile(to_rgb(dataset.image(index), dataset.info.value_range), f"{side} image {item}", outline=edge)


def _intensity(name: str, config: FidelityEvaluation, bars: pd.DataFrame, book: Book) -> Exhibit:
    robust = bars[bars["profile"] == "robust"]
    curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for (channel, side), part in robust.groupby(["channel", "side"], sort=False):
        edges = np.append(part["bin_lo"].to_numpy(), part["bin_hi"].iat[-1])
        curves.setdefault(str(channel), {})[str(side)] = (edges, part["density"].to_numpy())
    caption = (
        f"Grey-value distributions of {words(config.real)} (training images, solid) and "
        f"{words(config.synthetic)} (broken) inside the field of view, {count(len(curves), 'channel')}, "
        f"{len(edges) - 1} bins between the 0.1 and 99.9 percentiles of the real pixels; values beyond count "
        "in the outermost bins, which the axis may cut. Look for shifted peaks and for values that only one "
        "side has."
    )
    alt = f"Histograms of real and synthetic grey values: {', '.join(curves)}"
    return book.chart(
        f"intensity/{name}", figures.densities(curves, "grey value"), bars, caption=caption, alt=alt
    )


def _shape(name: str, config: FidelityEvaluation, own: pd.DataFrame, book: Book) -> Exhibit | None:
    chosen = own[own["metric"].isin(MASKS)]
    if chosen.empty:
        return None
    caption = (
        f"Masks of {words(config.synthetic)} and of {words(config.real)}: mean share of foreground pixels, "
        "with the 95 % interval of a bootstrap by patient, and how far the contrast between inside and "
        "outside of the label is from that of real training images (Wasserstein-1 distance, in standard "
        "deviations of an image's grey values), for synthetic and for other real images. A mask that belongs "
        "to another image than its own has little contrast."
    )
    found = {(row.metric, row.arm, row.kind): row for row in chosen.itertuples()}
    columns = (("synthetic", "absolute"), ("reference", "absolute"), ("synthetic", "ratio"))
    rows = [
        [Cell(TITLES[metric]), *(_cell(found.get((metric, *column))) for column in columns)]
        for metric in MASKS
        if (metric, "synthetic", "absolute") in found
    ]
    head = ["measure", "synthetic", "real", "ratio"]
    return book.table(f"foreground/{name}", head, rows, caption=caption, data=chosen)


def _tables(name: str, config: FidelityEvaluation, own: pd.DataFrame, book: Book) -> list[Exhibit]:
    exhibits = []
    heldout = HELDOUT if (own["protocol"] == "heldout").any() else HALVES
    robust = own[own["metric"].str.contains("_robust")]
    if len(robust):
        caption = (
            f"Distances between the grey values of {words(config.synthetic)} and {words(config.real)} inside "
            f"the field of view, {_sizes(robust)}. In brackets 95 % intervals by patients: of a bootstrap, "
            "and at equal numbers of half samples. All distances of the first channel, Jensen-Shannon of "
            "the others; the CSV has all."
        )
        first = robust["label"].iat[0]
        shown = robust[(robust["label"] == first) | (robust["metric"] == "js_robust")]
        exhibits.append(table_of(f"distances/{name}", shown, heldout, caption, book, data=robust))
    published = own[own["metric"].str.startswith("kl_published")]
    if len(published):
        caption = (
            f"Kullback-Leibler divergence of pixel intensities of {words(config.synthetic)} and "
            f"{words(config.real)} as publications print it (whole image, 256 bins, 1e-8 added, natural "
            f"logarithm), reconstructed: {_sizes(published)}. Its value is set by empty bins, so read its "
            "order of magnitude only; a split of real data by pixel makes the reference arbitrarily small."
        )
        exhibits.append(table_of(f"published_distances/{name}", published, [*HALVES, PIXELS], caption, book))
    return exhibits


def _sizes(own: pd.DataFrame) -> str:
    synthetic = own[(own["arm"] == "synthetic") & (own["protocol"] == "all")]["n_items"].max()
    real = own[own["arm"] == "reference"][["n_items", "n_subjects"]].max()
    parts = [f"n = {int(synthetic)} synthetic items"] if pd.notna(synthetic) else []
    if pd.notna(real["n_subjects"]):
        parts.append(f"references from up to {int(real['n_subjects'])} real subjects")
    return ", ".join(parts)


def table_of(
    id: str,
    own: pd.DataFrame,
    columns: Sequence[Column],
    caption: str,
    book: Book,
    data: pd.DataFrame | None = None,
) -> Exhibit:
    """Rows of the summary as a table: metrics down, arms, protocols and kinds across. ``data`` is the CSV."""
    found = {(row.metric, row.label, row.arm, row.protocol, row.kind): row for row in own.itertuples()}
    rows = []
    for metric, label in dict.fromkeys(zip(own["metric"], own["label"], strict=True)):
        cells = [Cell(TITLES.get(metric, words(metric)), note=label if isinstance(label, str) else "")]
        cells += [_cell(found.get((metric, label, *column[1:]))) for column in columns]
        rows.append(cells)
    head = ["measure", *(column[0] for column in columns)]
    return book.table(id, head, rows, caption=caption, data=own if data is None else data)


def _cell(row: Any) -> Cell:
    if row is None:
        return Cell(DASH, number=True)
    note = "" if np.isnan(row.low) else range_of(row.low, row.high)
    return Cell(significant(row.estimate), True, key=row_key(row), note=note)
