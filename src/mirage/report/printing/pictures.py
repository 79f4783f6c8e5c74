"""Figures as the print shows them: charts as they were drawn, plates cut into their pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from mirage.errors import DataError
from mirage.report.figures import INK
from mirage.report.printing.typeset import compiled

DPI = 300
POINTS, PIXELS = 72, 96
"""To the inch, in print and on the screen."""
GAP = 3.0
"""Points between the pictures of a plate; the template has the same."""
LETTER = 3.9
"""Points of width of a letter beside a plate, where row names stand."""
NAMES = 84.0
"""Points at most for the names of a plate's rows."""
CHART = 0.75
"""Size of a chart in print for its size as drawn, where the width allows."""
HEIGHT, LEAST, PAGE = 360.0, 64.0, 600.0
"""Points for the rows of a plate, so that it finds room on a page; for a row at least; for all at most."""
NOTE = 12.0
"""Points below a picture: its note and the gap to the next row."""


def place_chart(exhibit: Mapping[str, Any], report: Path, folder: Path, width: float) -> dict[str, Any]:
    """File and width (points) of a chart; a drawing without a PDF gets the fonts that the print has.

    Raises:
        DataError: its file is not there.
    """
    source = report / (exhibit["files"].get("pdf") or exhibit["files"].get("svg") or "")
    if not source.is_file():
        raise DataError(f"{source}: a figure of the report is missing; make the report again")
    content = _for_paper(source) if source.suffix == ".svg" else source.read_bytes()
    (folder / source.name).write_bytes(content)
    return {"file": source.name, "width": min(width, CHART * (_width(content) or width))}


def drawing_as_pdf(svg: Path) -> Any:
    """A drawing as a page of its own size."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "drawing.svg").write_bytes(_for_paper(svg))
        with as_file(files("mirage.report.printing") / "templates" / "drawing.typ") as template:
            copy(template, folder)
        return compiled(folder / "drawing.typ")


def _for_paper(svg: Path) -> bytes:
    """A drawing in ink, with letters that the print has."""
    drawing = re.sub(r'font-family="[^"]*"', 'font-family="DejaVu Sans"', svg.read_text(encoding="utf-8"))
    return drawing.replace("currentColor", INK).encode()


def _width(content: bytes) -> float | None:
    """Width of a PDF's page or of an SVG, points."""
    if box := re.search(rb"/MediaBox\s*\[\s*[\d.]+\s+[\d.]+\s+([\d.]+)", content):
        return float(box[1])
    found = re.search(rb'<svg[^>]*\swidth="([\d.]+)"', content)
    return float(found[1]) * POINTS / PIXELS if found else None


def place_plate(exhibit: Mapping[str, Any], report: Path, folder: Path, width: float) -> dict[str, Any]:
    """Pictures cut out of a plate's sheet at the resolution of print, and the widths of its columns, points.

    Raises:
        DataError: the sheet is not there.
    """
    sheet = report / exhibit["files"].get("png", "")
    if not sheet.is_file():
        raise DataError(f"{sheet}: a figure of the report is missing; make the report again")
    across = max(len(row) for row in exhibit["tiles"])
    left = min(NAMES, LETTER * max(map(len, exhibit["names"]), default=0))
    free = width - left - GAP * (across + bool(left))
    rows = len(exhibit["tiles"])
    high = min(max(HEIGHT / rows, LEAST), PAGE / rows) - NOTE
    side = min(free / across, high, exhibit["side"] * POINTS / PIXELS)
    with Image.open(sheet) as picture:
        tiles = [
            [
                tile and _cut(picture, tile, side, folder, f"{sheet.stem}-{y}-{x}")
                for x, tile in enumerate(row)
            ]
            for y, row in enumerate(exhibit["tiles"])
        ]
    return {"tiles": tiles, "across": across, "width": side, "left": left}


def _cut(sheet: Image.Image, tile: Mapping[str, Any], side: float, folder: Path, stem: str) -> dict[str, Any]:
    left, top, width, height = tile["place"]
    cut = sheet.crop((left, top, left + width, top + height))
    most = round(side / POINTS * DPI)
    if max(cut.size) > most:
        cut.thumbnail((most, most), Image.Resampling.LANCZOS)
    plain = cut.getcolors(64) is not None  # masks stay sharp
    name = f"{stem}.{'png' if plain else 'jpg'}"
    cut.save(folder / name, **({"optimize": True} if plain else {"quality": 90}))
    return {"file": name, "alt": tile["alt"], "note": tile["note"]}
