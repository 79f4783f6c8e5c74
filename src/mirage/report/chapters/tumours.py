"""Tumours of synthetic volumes beside those of the real ones they were mixed from: how large, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from mirage.report import figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, listing, words
from mirage.report.numbers import DASH, number, significant
from mirage.report.tumours import AXES, BINS, Group, Measured
from mirage.report.volumes import PLANES, pixel_mm

VOLUME = "volume_"
DEPENDENT = (
    "Synthetic volumes borrow tumours and brains from the training subjects they are compared with, and one "
    "donor serves many of them: the items are not independent, neither of each other nor of the real ones. "
    "The p values (two-sample Kolmogorov-Smirnov test, two-sided, not adjusted for the number of "
    "comparisons) hold for independent items only; they describe the distributions and decide nothing."
)


def tumour_chapter(groups: Sequence[Group], book: Book) -> Chapter | None:
    """Volumes and places of tumours; None where there are no labelled volumes."""
    if not groups:
        return None
    chapter = Chapter("Tumours", "diversity")
    chapter.text(
        "Measured on the stored label masks. Of a dataset that was not made the training split is measured, "
        "for that is what recipes mix."
    )
    if any(group.made for group in groups):
        chapter.text(DEPENDENT)
    for group in groups:
        if len(groups) > 1:
            chapter.heading(words(group.name))
        chapter.show(_volume_figure(group, book))
        chapter.show(_volume_table(group, book))
        chapter.show(_place_figure(group, book))
        chapter.show(_place_table(group, book))
    return chapter


def compare(real: pd.Series, made: pd.Series) -> tuple[float, float]:
    """Kolmogorov-Smirnov statistic and two-sided p of two samples; NaN where one has no value."""
    a, b = real.dropna(), made.dropna()
    if a.empty or b.empty:
        return float("nan"), float("nan")
    found = stats.ks_2samp(a, b)
    return float(found.statistic), float(found.pvalue)


def statistics(group: Group, columns: Sequence[str]) -> pd.DataFrame:
    """Median, quartiles and comparison with the real dataset of every column, tidy.

    Returns:
        ``dataset, measure, n_items, n_subjects, median, q1, q3, ks, p``; ``n_subjects`` are those that the
        tumours come from.
    """
    records = []
    for found in group.all:
        for column in columns:
            values = found.table[column].dropna()
            q1, median, q3 = values.quantile([0.25, 0.5, 0.75]) if len(values) else [float("nan")] * 3
            against = group.real is not None and found is not group.real
            ks, p = compare(group.real.table[column], values) if against and group.real else (np.nan, np.nan)
            records.append(
                {
                    "dataset": found.name,
                    "measure": column.removeprefix(VOLUME),
                    "n_items": len(values),
                    "n_subjects": _subjects(found),
                    "median": median,
                    "q1": q1,
                    "q3": q3,
                    "ks": ks,
                    "p": p,
                }
            )
    return pd.DataFrame(records)


def _subjects(found: Measured) -> int:
    """Different subjects that the tumours come from."""
    donors = found.table["tumour_of"]
    return int(found.table["subject_id"].where(donors == "", donors).nunique())


def _title(found: Measured, group: Group) -> str:
    return f"{words(found.name)}{', training' if found is group.real else ''}"


def _numbers(group: Group) -> str:
    """``n = 12 items of 9 subjects (brats), 36 ...``."""
    parts = [
        f"{count(len(found.table), 'volume')}"
        f"{f' (of {found.total}, at even steps)' if len(found.table) < found.total else ''} with tumours of "
        f"{count(_subjects(found), 'subject')} in {words(found.name)}"
        for found in group.all
    ]
    return f"n = {listing(parts)}"


def _unit(group: Group) -> str:
    units = {found.unit for found in group.all}
    return units.pop() if len(units) == 1 else "ml, voxels where the spacing is unknown"


def _volume_columns(group: Group) -> list[str]:
    return [
        column
        for column in dict.fromkeys(column for found in group.all for column in found.table.columns)
        if column.startswith(VOLUME) and all(column in found.table.columns for found in group.all)
    ]


def _volume_figure(group: Group, book: Book) -> Exhibit:
    panels = {
        column.removeprefix(VOLUME): {
            _title(found, group): found.table[column].to_numpy(float) for found in group.all
        }
        for column in _volume_columns(group)
    }
    data = pd.concat([found.table for found in group.all], ignore_index=True)
    caption = (
        f"Volumes of tumours in {words(group.name)}{' and what was made of it' if group.made else ''}, by "
        f"region and label, as cumulative shares; {_numbers(group)}. Curves that run together mean alike "
        "volumes."
    )
    table = statistics(group, _volume_columns(group))
    alt = "Cumulative distributions of tumour volumes; medians: " + "; ".join(
        f"{row.measure} of {words(row.dataset)} {significant(row.median)} {_unit(group)}"
        for row in table.itertuples()
    )
    figure = figures.volume_distributions(panels, _unit(group))
    return book.chart(f"tumour_volumes/{group.name}", figure, data, caption=caption, alt=alt)


def _volume_table(group: Group, book: Book) -> Exhibit:
    columns = _volume_columns(group)
    caption = (
        f"Volumes of tumours of {words(group.name)}: median in {_unit(group)}, interquartile range in "
        "brackets, and statistic D and p of the comparison with the real training volumes; "
        f"{_numbers(group)}."
    )
    heads = {column: column.removeprefix(VOLUME) for column in columns}
    return _table(f"tumour_volume_table/{group.name}", group, heads, significant, caption, book)


def _place_table(group: Group, book: Book) -> Exhibit:
    caption = (
        f"Places of tumours of {words(group.name)}: centre of mass as a share of the box around "
        f"{group.all[0].boxed_by}, from 0 at the first to 1 at the second side named; median, interquartile "
        "range in brackets, and statistic D and p of the comparison with the real training volumes; "
        f"{_numbers(group)}."
    )
    return _table(f"tumour_place_table/{group.name}", group, AXES, number, caption, book)


def _table(
    id: str,
    group: Group,
    heads: Mapping[str, str],
    printed: Callable[[float], str],
    caption: str,
    book: Book,
) -> Exhibit:
    table = statistics(group, list(heads))
    rows = []
    for found in group.all:
        row = [Cell(_title(found, group), note=f"{len(found.table)} volumes, {_subjects(found)} subjects")]
        for one in table[table["dataset"] == found.name].itertuples():
            note = f"[{printed(one.q1)}, {printed(one.q3)}]" if one.n_items else ""
            if not np.isnan(one.ks):
                note += f"\nD {number(one.ks, 2)}, p {number(one.p)}"
            row.append(Cell(printed(one.median) if one.n_items else DASH, number=True, note=note))
        rows.append(row)
    return book.table(id, ["dataset", *heads.values()], rows, caption=caption, data=table)


def _place_figure(group: Group, book: Book) -> Exhibit:
    box = tuple(float(side) for side in np.mean([found.box for found in group.all], axis=0))
    data = pd.concat([_places(found) for found in group.all], ignore_index=True)
    caption = (
        f"Where tumours lie in {words(group.name)}{' and what was made of it' if group.made else ''}: the "
        f"frame is the box around {group.all[0].boxed_by}, the colour the share of tumour along the line of "
        "sight, mean over volumes, and the white line the outline of the brain in half of them; "
        f"{_numbers(group)}. R, L: the patient's right and left; A, P: anterior, posterior; S, I: superior, "
        "inferior."
    )
    table = statistics(group, list(AXES))
    alt = "Maps of tumour places in three planes; median centres: " + "; ".join(
        f"{words(row.dataset)} {AXES[row.measure]} {number(row.median, 2)}" for row in table.itertuples()
    )
    figure = figures.place_maps(
        {_title(found, group): found.maps for found in group.all},
        {_title(found, group): found.brain for found in group.all},
        {plane: pixel_mm(box, plane) for plane in PLANES},
    )
    return book.chart(f"tumour_places/{group.name}", figure, data, caption=caption, alt=alt)


def _places(found: Measured) -> pd.DataFrame:
    """The maps as a table: ``dataset, plane, row, column, share``; row 0 is superior or anterior."""
    rows, columns = (grid.ravel() for grid in np.indices((BINS, BINS)))
    return pd.concat(
        [
            pd.DataFrame(
                {"dataset": found.name, "plane": plane, "row": rows, "column": columns, "share": one.ravel()}
            )
            for plane, one in found.maps.items()
        ],
        ignore_index=True,
    )
