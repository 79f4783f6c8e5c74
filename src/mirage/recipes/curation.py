"""Which extracted lesions are used: a table that a person edits, and the pictures to decide by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from mirage.data import Dataset
from mirage.errors import DataError
from mirage.files import atomic_path
from mirage.recipes.extract_lesions import lesion_of

COLUMNS = ["item_id", "visibility", "accept"]
TRUTH = dict.fromkeys(("1", "yes", "true", "accept"), True) | dict.fromkeys(
    ("0", "no", "false", "reject"), False
)
"""What may be written in the column `accept`, in any case."""
PICTURE = 160
"""Side of one picture of the sheet, pixels."""
BAR = 34
"""Height of the words below a row of pictures."""
ROWS = 40
"""Lesions above which the sheet gets a further column."""


def show_lesions(lesions: Dataset, curation: Path, sheet: Path) -> None:
    """Write the proposals as CSV and a contact sheet as PNG, atomically.

    A row of the sheet is a lesion: the original with its box, inpainted, the residual (grey: nothing, white:
    added) and the outline of what is labelled. Rows are in the order of the table: best visible first.

    Args:
        lesions: made by the recipe `extract_lesions`.
        curation: file to write with the columns of ``COLUMNS``; ``accept`` is 1 or 0 as proposed.
        sheet: file to write.
    """
    order = lesions.items.sort_values(["visibility", "item_id"], ascending=[False, True])
    proposals = pd.DataFrame(
        {
            "item_id": order["item_id"],
            "visibility": order["visibility"].round(3),
            "accept": (order["proposed"] == "accept").astype(int),
        }
    )
    with atomic_path(curation) as temporary:
        proposals.to_csv(temporary, index=False)
    with atomic_path(sheet) as temporary:
        _sheet(lesions, [int(index) for index in order.index]).save(temporary, "PNG")


def accepted(curation: Path, lesions: Dataset) -> list[int]:
    """Numbers of the lesions that a table accepts, in the dataset's order.

    Raises:
        DataError: a missing column, an id twice or unknown, a lesion without a line, an unreadable `accept`,
            or nothing accepted; names the file and the ids.
    """
    try:
        table = pd.read_csv(curation, dtype=str, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{curation}: not readable as CSV ({error})") from error
    missing = {"item_id", "accept"} - set(table.columns)
    if missing:
        raise DataError(
            f"{curation}: no column {', '.join(sorted(missing))}; it has {', '.join(table.columns)}. Start "
            "from the curation.csv beside the lesions"
        )
    ids = table["item_id"].fillna("").str.strip()
    known = lesions.items["item_id"]
    beside = f"those of {lesions.info.name} are in the curation.csv beside it"
    failed = set(lesions.failures["item_id"])
    problems = {
        "stand in it twice": ids[ids.duplicated()],
        "are no lesions": ids[~ids.isin(known) & ~ids.isin(failed)],
        "have no line": known[~known.isin(ids)],
    }
    for problem, names in problems.items():
        if len(names):
            raise DataError(f"{curation}: {_some(names)} {problem}; {beside}")
    words = table["accept"].fillna("").str.strip().str.lower()
    unclear = ~words.isin(TRUTH)
    if unclear.any():
        lines = [
            f"{name}: {word!r}" for name, word in zip(ids[unclear], table["accept"][unclear], strict=True)
        ]
        raise DataError(
            f"{curation}: `accept` must be 1 or 0 (or yes or no); found {_some(pd.Series(lines))}"
        )
    chosen = set(ids[words.map(TRUTH)])
    numbers = [number for number, name in enumerate(known) if name in chosen]
    if not numbers:
        raise DataError(
            f"{curation}: accepts none of the {len(known)} lesions of {lesions.info.name}; look at the "
            "contact-sheet.png beside it and set `accept` to 1 where a lesion is to be used"
        )
    return numbers


def _some(names: pd.Series, limit: int = 8) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def _sheet(lesions: Dataset, order: list[int]) -> Image.Image:
    columns = max(1, -(-len(order) // ROWS))
    rows = -(-len(order) // columns)
    sheet = Image.new("RGB", (columns * (4 * PICTURE + 8), rows * (PICTURE + BAR)), "white")
    for place, index in enumerate(order):
        left, top = place // rows * (4 * PICTURE + 8), place % rows * (PICTURE + BAR)
        for number, picture in enumerate(_pictures(lesions, index)):
            sheet.paste(picture, (left + number * PICTURE, top))
        item = lesions.items.iloc[index]
        size = "" if pd.isna(item["diameter_mm"]) else f", {item['diameter_mm']:.0f} mm"
        text = (
            f"{item['item_id']}  {item['label']}{size}\n"
            f"visibility {item['visibility']:.2f}, contrast to noise {item['cnr']:.1f}: {item['proposed']}"
        )
        draw = ImageDraw.Draw(sheet)
        draw.multiline_text(
            (left + 3, top + PICTURE + 2), text, "black", ImageFont.load_default(12), spacing=2
        )
    return sheet


def _pictures(lesions: Dataset, index: int) -> list[Image.Image]:
    """Original with box, inpainted, residual, label's outline, each ``PICTURE`` pixels wide and high."""
    item, lesion = lesions.item(index), lesion_of(lesions, index)
    low, high = np.percentile(item.image, [0.5, 99.5])
    grey = [np.clip((plane - low) / max(high - low, 1) * 255, 0, 255) for plane in item.image.astype(float)]
    reach = max(float(np.abs(lesion.residual * lesion.support).max()), 1.0)
    hole = lesions.mask(index, "hole") > 0
    added = 127.5 + 127.5 * np.clip(lesion.residual * hole / reach, -1, 1)
    shown = [_rgb(plane) for plane in (grey[0], grey[1], added, grey[0])]
    scale = PICTURE / len(grey[0])
    box = [value * scale for value in lesion.box]
    ImageDraw.Draw(shown[0]).rectangle(box, outline=(230, 60, 0))
    outline = np.asarray(Image.fromarray(lesion.core).resize((PICTURE, PICTURE), Image.Resampling.NEAREST))
    edge = outline & ~_shrunk(outline)
    pixels = np.asarray(shown[3]).copy()
    pixels[edge] = (255, 176, 0)
    shown[3] = Image.fromarray(pixels)
    return shown


def _shrunk(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    smaller: np.ndarray = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return smaller


def _rgb(plane: np.ndarray) -> Image.Image:
    picture = Image.fromarray(np.rint(plane).astype(np.uint8)).convert("RGB")
    return picture.resize((PICTURE, PICTURE), Image.Resampling.BILINEAR)
