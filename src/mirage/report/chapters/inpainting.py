"""Inpainters: how near they come to held-out healthy images, and what they draw into holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.chapters.training import preview_files, preview_step
from mirage.report.images import Tile
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH, number, setting, significant

MEASURES = {"hole_l1": "L1, share of the range", "hole_psnr": "PSNR, dB", "hole_ssim": "SSIM"}
PANELS = ("masked", "inpainted", "original", "difference")
"""Columns of an inpainter's previews, in their order."""
SHOWN = ("original", "masked", "inpainted", "difference")
GAP = 2
"""Grey pixels between the panels of a preview."""

Models = Mapping[str, Sequence[Mapping[str, Any]]]


def inpainting_chapter(models: Models, inputs: ReportInputs, book: Book) -> Chapter | None:
    """Scores and panels of every inpainter; None without one.

    Args:
        models: generator -> its runs, from :func:`mirage.report.chapters.training.read_model`.
        inputs: folders of results.
        book: gets the exhibits.
    """
    own = {name: runs for name, runs in models.items() if "hole_value" in (runs[0].get("notes") or {})}
    if not own:
        return None
    chapter = Chapter("Inpainting of held-out healthy images", "training")
    chapter.text(
        "Holes are cut into validation images, which no inpainter has learnt from, and filled. Scores are of "
        "the pixels of the holes alone: known pixels are handed through bit by bit and would flatter them. A "
        "good score says that filled places look like what was there, not that a lesion would be removed "
        "without a trace: the chapter on extracted lesions shows that."
    )
    chapter.show(_table(own, book))
    for name, runs in own.items():
        panels = _panels(name, runs[0], inputs, book)
        if panels is not None:
            chapter.show(panels)
    return chapter


def _table(models: Models, book: Book) -> Exhibit:
    records, rows = [], []
    for name, runs in models.items():
        for model in runs:
            history = model["history"]
            kept = history[history["step"] == model["step"]].groupby("metric")["value"].last()
            scores = {key: float(kept[key]) if key in kept else None for key in MEASURES}
            notes = model["notes"]
            features = str(notes.get("perceptual_features", "none used"))
            record = {"generator": name, "arch": model.get("arch"), "seed": model.get("seed")}
            records.append({**record, "step": model["step"], **scores, "perceptual_features": features})
            printed = [_printed(key, value) for key, value in scores.items()]
            rows.append(
                [
                    Cell(words(name), note=f"{words(str(model.get('arch')))}, seed {model.get('seed')}"),
                    *(Cell(text, number=True) for text in printed),
                    Cell(setting(float(notes["hole_value"])), number=True),
                    Cell(features),
                ]
            )
    caption = (
        f"Inpainters on holes in held-out healthy images, at the step whose weights were kept, "
        f"{count(len(records), 'training')}: mean over validation images with one hole each, of the hole's "
        "pixels alone. The value of missing pixels is on the scale from minus one to one. Perceptual and "
        "style losses "
        "look at images through the features named; scores of losses with other features cannot be compared."
    )
    head = ["generator", *MEASURES.values(), "hole value", "perceptual features"]
    return book.table("inpainting", head, rows, caption=caption, data=pd.DataFrame(records))


def _printed(metric: str, value: float | None) -> str:
    if value is None:
        return DASH
    return number(value, 1) if metric == "hole_psnr" else significant(value)


def _panels(name: str, model: Mapping[str, Any], inputs: ReportInputs, book: Book) -> Exhibit | None:
    """Original, masked, inpainted and difference of held-out images; None where no preview was left."""
    files = preview_files(inputs.models[name][0])
    if not files:
        return None
    with Image.open(files[-1]) as picture:
        cut = cut_grid(np.asarray(picture.convert("RGB")), int(model["spec"]["image_shape"][-1]))
    rows = []
    for number_of_item, panels in enumerate(cut, start=1):
        by_title = dict(zip(PANELS, panels, strict=True))
        tiles = [
            Tile(by_title[title], f"healthy image {number_of_item}, {title}, {words(name)}")
            for title in SHOWN
        ]
        rows.append(tiles)
    step = preview_step(files[-1])
    seen = "held-out" if set(MEASURES) & set(model["history"]["metric"]) else "training"
    caption = (
        f"What {words(name)} fills into holes of {count(len(rows), f'{seen} healthy image')} after step "
        f"{step}: "
        "the original, with its hole, inpainted, and the absolute difference (white: none; only the hole can "
        "differ). Look for blurred or repeated texture and for edges of the hole."
    )
    data = pd.DataFrame({"file": [files[-1].name], "step": [step]})
    return book.plate(f"inpainting/{name}", rows, columns=SHOWN, data=data, caption=caption, side=150)


def cut_grid(sheet: np.ndarray, side: int) -> list[list[np.ndarray]]:
    """Panels of a preview sheet (H, W, 3) of square panels, row by row."""
    step = side + GAP
    rows, columns = ((extent + GAP) // step for extent in sheet.shape[:2])
    return [
        [sheet[y * step : y * step + side, x * step : x * step + side] for x in range(columns)]
        for y in range(rows)
    ]
