"""Novelty: the synthetic items nearest to training items, beside held-out real ones asked the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.config.evaluations import PrivacyEvaluation
from mirage.data import Dataset
from mirage.files import read_json
from mirage.metrics.neighbours import flip, orient
from mirage.metrics.patterns import similarity
from mirage.report import figures
from mirage.report.book import Book, Exhibit
from mirage.report.chapters.base import Chapter, count, listing, words
from mirage.report.evaluators.privacy_tables import Column, columns_of, table_of
from mirage.report.images import Tile, mask_to_rgb, to_rgb
from mirage.report.inputs import Finished
from mirage.report.numbers import grouped, number, setting
from mirage.report.volumes import fullest_slice, is_volume

WORST = 10
EXAMPLE = 0.5
"""A pattern distance that the caption translates."""
DISTANCE = {
    "image": f"pattern distance (0 same image, {setting(np.sqrt(2), 3)} unrelated)",
    "mask": "Dice distance (0 same, 1 disjoint)",
    "brain": "Dice distance of brain masks (0 same, 1 disjoint)",
}
PLURAL = {"image": "images", "mask": "masks", "brain": "brain masks"}
OF_FEATURES = ("nearest", "authenticity", "c_t", "dcr_share", "fld", "fld_gap")
"""What the table shows of encoders; the CSV has all."""
SIDES = {"synthetic": "synthetic", "heldout": "held-out real"}
BOTH: list[Column] = [
    ("synthetic", "synthetic", "absolute"),
    ("held-out real", "reference", "absolute"),
    ("ratio", "synthetic", "ratio"),
]


def novelty_chapter(
    own: Mapping[str, Finished], data: Mapping[str, Dataset], summary: pd.DataFrame, book: Book
) -> Chapter:
    """Copies and duplicates of every privacy evaluation, and the controls of the copy detector."""
    chapter = Chapter("Novelty", "novelty")
    chapter.text(
        "For every synthetic item the nearest training item is sought, over all flips and rotations. Images "
        "are compared without their brightness, contrast and what all of them, real and synthetic, share. "
        "Held-out real items, which no generator has seen, are asked the same: they show how near new "
        "items come by chance. The nearest pairs are shown, not typical ones. These searches can reveal "
        "copies; they cannot show privacy."
    )
    for name, (config, (folder,)) in own.items():
        chapter.heading(words(name))
        rows = summary[summary["evaluation"] == name]
        neighbours = pd.read_parquet(folder / "details/neighbours.parquet")
        spaces = read_json(folder / "details/privacy.json")["spaces"]
        for kind in ("mask", "brain", "image"):
            part = neighbours[neighbours["kind"] == kind]
            if len(part):
                if config.real in data and config.synthetic in data:
                    chapter.show(_closest(name, config, kind, part, data, spaces, book))
                chapter.show(_distances(name, config, kind, part, spaces, book))
        chapter.show(_copies(name, config, rows, spaces, book))
        detector = _detector(name, config, rows, folder, spaces, book)
        if detector is not None:
            chapter.show(detector)
    return chapter


def searched(spaces: Mapping[str, Any], named: Iterable[str]) -> str:
    """``Searched: 48 of 48 synthetic and 12 of 12 held-out real items``, once where spaces agree."""
    texts = [
        listing(
            [
                f"{grouped(found[side]['searched'])} of {grouped(found[side]['of'])} {title}"
                for side, title in SIDES.items()
                if side in found
            ]
        )
        for found in (spaces[space]["searched"] for space in named)
    ]
    return f"Searched: {'; '.join(dict.fromkeys(texts))} items"


def _closest(
    name: str,
    config: PrivacyEvaluation,
    kind: str,
    neighbours: pd.DataFrame,
    data: Mapping[str, Dataset],
    spaces: Mapping[str, Any],
    book: Book,
) -> Exhibit:
    real, made = data[config.real], data[config.synthetic]
    sources = {"synthetic": made, "heldout": data[config.heldout] if config.heldout else real}
    rows: list[list[Tile | None]] = []
    names, shown = [], []
    for side, title in SIDES.items():
        worst = neighbours[neighbours["side"] == side].sort_values("rank").head(WORST)
        if worst.empty or (side == "heldout" and config.heldout and config.heldout not in data):
            continue
        own: list[Tile | None] = []
        other: list[Tile | None] = []
        for pair in worst.itertuples():
            note = number(pair.distance)
            place = _place(sources[side], pair.item_id)
            slice_ = _slice(sources[side], place, kind)
            alt = f"{title} {kind} {pair.item_id}"
            own.append(Tile(_picture(sources[side], place, kind, 0, slice_), alt, note))
            alt = f"nearest training {kind} {pair.neighbour_item_id} at distance {note}"
            place = _place(real, pair.neighbour_item_id)
            other.append(Tile(_picture(real, place, kind, pair.orientation, slice_), alt))
        rows += [own, other]
        names += [f"{title} {kind}", f"closest training {kind}"]
        shown.append(worst)
    plural = PLURAL[kind]
    through = " Volumes are shown by one axial slice." if is_volume(real.info) else ""
    similar = (
        f" A distance of {setting(EXAMPLE)} is a correlation of "
        f"{number(float(similarity(np.array(EXAMPLE))), 2)}."
        if kind == "image"
        else ""
    )
    caption = (
        f"The {plural} of {words(config.synthetic)} that lie nearest to a training {kind} of "
        f"{words(config.real)}, nearest first, above the training {kind}, turned to fit; below, held-out "
        f"real {plural} and theirs. {searched(spaces, [kind])}, the nearest {WORST} of each. Numbers: "
        f"{DISTANCE[kind]}.{similar}{through} Pairs that look the same are copies."
    )
    return book.plate(
        f"closest_{plural.replace(' ', '_')}/{name}",
        rows,
        names=names,
        data=pd.concat(shown),
        caption=caption,
        side=86,
    )


def _place(dataset: Dataset, item: str) -> int:
    return int(np.flatnonzero(dataset.items["item_id"].to_numpy() == item)[0])


def _slice(dataset: Dataset, index: int, kind: str) -> int | None:
    """The axial slice of a volume that is shown; None for an image."""
    if not is_volume(dataset.info):
        return None
    return fullest_slice(dataset.mask(index)) if kind == "mask" else dataset.info.image_shape[1] // 2


def _picture(dataset: Dataset, index: int, kind: str, orientation: int, slice_: int | None) -> np.ndarray:
    turn = orient if slice_ is None else flip
    if kind == "image":
        image = turn(dataset.image(index), orientation)
        return to_rgb(image if slice_ is None else image[:1, slice_], dataset.info.value_range)
    mask = turn(dataset.mask(index, "brain" if kind == "brain" else "label"), orientation)
    return mask_to_rgb(mask if slice_ is None else mask[slice_])


def _distances(
    name: str,
    config: PrivacyEvaluation,
    kind: str,
    neighbours: pd.DataFrame,
    spaces: Mapping[str, Any],
    book: Book,
) -> Exhibit:
    series = {
        title: part.to_numpy()
        for side, title in SIDES.items()
        if len(part := neighbours.loc[neighbours["side"] == side, "distance"])
    }
    plural = PLURAL[kind]
    caption = (
        f"Distance of the {plural} of {words(config.synthetic)} to the nearest training one of "
        f"{words(config.real)}, cumulative, beside held-out real {plural}. {searched(spaces, [kind])}. A "
        "curve that rises further left means that synthetic items lie nearer to training items than new "
        "real ones do."
    )
    alt = f"Cumulative distribution of {kind} distances to the nearest training {kind}: {', '.join(series)}"
    figure = figures.distance_distributions(series, DISTANCE[kind])
    id = f"nearest_{plural.replace(' ', '_')}/{name}"
    return book.chart(id, figure, neighbours, caption=caption, alt=alt)


def _copies(
    name: str, config: PrivacyEvaluation, rows: pd.DataFrame, spaces: Mapping[str, Any], book: Book
) -> Exhibit:
    wanted = rows[rows["protocol"].isin(("nearest", "novelty"))]
    shown = wanted[wanted["label"].isin(PLURAL) | wanted["metric"].isin(OF_FEATURES)]
    caption = (
        f"Distances, copies and duplicates among the items of {words(config.synthetic)}, in every space. "
        f"{searched(spaces, spaces)}; exact copies and exact duplicates are of all items but blank ones, "
        "which have one value only and are nobody's. A near copy is "
        f"closer than {setting(config.near)} times the median distance of held-out items. Authenticity: "
        "share that lies farther from its nearest training item than that lies from other patients'. C_T: z "
        "of synthetic against held-out distances, of all items, in standard errors by subject: chance alone "
        "stays within two of 0, copying lies far below. Nearer to training: share nearer to training than to "
        "as many held-out items, one half without copying. FLD gap: far below 0 where the set is "
        "overfitted. In brackets 95 % intervals by subject; shares have the exact binomial one where that "
        "is wider."
    )
    return table_of(f"copies/{name}", shown, BOTH, caption, book, wanted)


def _detector(
    name: str,
    config: PrivacyEvaluation,
    rows: pd.DataFrame,
    folder: Path,
    spaces: Mapping[str, Any],
    book: Book,
) -> Exhibit | None:
    shown = rows[(rows["protocol"] == "detector") | rows["protocol"].str.startswith("injected_")]
    if shown.empty:
        return None
    injected = read_json(folder / "details/privacy.json")["injected"]
    numbers = ", ".join(
        f"{setting(100 * share)} % ({count(copies, 'copy', 'copies')})"
        for share, copies in zip(config.control.shares, injected, strict=True)
    )
    caption = (
        "The copy detector and its controls. Flagged: items near to one training patient and to no other, "
        f"by a threshold that {setting(100 * config.false_positives)} % of held-out items pass. Negative "
        "control: held-out items, each half judged by the threshold of the other. Positive control: "
        f"training images injected as {numbers} of the items searched, turned, made brighter or darker by up "
        f"to {setting(100 * config.control.brightness)} % and noised (standard deviation "
        f"{setting(100 * config.control.noise)} % of the range): the share found, and the share whose "
        "original was named; all of them are searched. A detector that misses injected copies says nothing "
        f"by silence; the gate goes by the largest share. {searched(spaces, shown['label'])}. In brackets "
        "exact binomial 95 % intervals; that of synthetic items counts in the threshold's error."
    )
    return columns_of(
        f"detector/{name}",
        shown,
        [
            ("threshold", "threshold", "synthetic", "detector"),
            ("synthetic flagged", "flagged", "synthetic", "detector"),
            ("held-out flagged", "flagged", "reference", "detector"),
            *(
                (f"found of {setting(100 * share)} %", "recall", "control", f"injected_{setting(share)}")
                for share in config.control.shares
            ),
            ("original named", "named", "control", f"injected_{setting(max(config.control.shares))}"),
            ("training patients hit", "memorised", "synthetic", "detector"),
        ],
        caption,
        book,
    )
