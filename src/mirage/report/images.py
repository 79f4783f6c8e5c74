"""Pictures for people: stored arrays to RGB, outlines, thumbnails in data URIs, labelled plates."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from mirage.errors import DataError

THUMBNAIL_BYTES = 40_000
LABEL_COLOURS = np.array(
    [[0, 0, 0], [255, 255, 255], [230, 159, 0], [86, 180, 233], [0, 158, 115], [204, 121, 167], [213, 94, 0]],
    dtype=np.uint8,
)
OUTLINE = (255, 176, 0)
Key = tuple[str, str]
"""What a colour of a picture means, and the colour as ``#rrggbb``."""


@dataclass(frozen=True)
class Tile:
    """One picture of a plate.

    Attributes:
        rgb: uint8 (H, W, 3).
        alt: what a reader who cannot see it should know.
        note: short line under the picture, such as an id or a score.
        outline: bool (H, W), drawn over the picture when the reader asks for outlines; or None.
    """

    rgb: np.ndarray
    alt: str
    note: str = ""
    outline: np.ndarray | None = None


def to_rgb(image: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Stored image as uint8 (H, W, 3).

    Args:
        image: (C, H, W). One or two channels show the first as grey, three or more the first three as red,
            green and blue. Of a volume give a plane: see :mod:`mirage.report.volumes`.
        value_range: lowest and highest possible stored value, mapped to 0 and 255 for every image alike.
    """
    if image.ndim != 3:
        raise DataError(f"image of shape {image.shape}: a picture is drawn of (C, H, W)")
    channels = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    low, high = value_range
    scaled = (channels.astype(np.float32) - low) * (255.0 / (high - low))
    return np.ascontiguousarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def mask_to_rgb(mask: np.ndarray) -> np.ndarray:
    """Label mask (H, W) as uint8 (H, W, 3): background black, label 1 white, others coloured."""
    colours = np.where(mask == 0, 0, (mask.astype(int) - 1) % (len(LABEL_COLOURS) - 1) + 1)
    return LABEL_COLOURS[colours]


def outline(mask: np.ndarray) -> np.ndarray:
    """Boundary of a mask's foreground, bool (H, W): background pixels that touch it in 4 directions.

    Drawn outside the foreground, so that a vessel one pixel wide stays visible between its two lines.
    """
    inside = mask > 0
    padded = np.pad(inside, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return near & ~inside


def with_outline(rgb: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """``rgb`` with the pixels of ``edge`` (bool, same height and width) in the outline colour."""
    return np.where(edge[..., None], np.array(OUTLINE, np.uint8), rgb)


def difference_rgb(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Two bool masks (H, W) as uint8 RGB: both white, missed orange, false alarms blue, neither black."""
    rgb = np.zeros((*truth.shape, 3), np.uint8)
    rgb[truth & predicted] = (255, 255, 255)
    rgb[truth & ~predicted] = (230, 120, 0)
    rgb[~truth & predicted] = (60, 150, 255)
    return rgb


def fit(rgb: np.ndarray, side: int) -> Image.Image:
    """Picture resized so that its longer side is ``side``; small ones grow by whole pixels, unsmoothed."""
    picture = Image.fromarray(rgb)
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def thumbnail(rgb: np.ndarray, side: int = 168) -> str:
    """Data URI of a JPEG of at most ``THUMBNAIL_BYTES``."""
    picture = fit(rgb, side)
    for quality in (85, 75, 60, 45, 30):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES:
            return _uri("image/jpeg", buffer.getvalue())
    return thumbnail(rgb, side * 3 // 4)


def outline_layer(edge: np.ndarray, side: int = 168) -> str:
    """Data URI of a transparent one-colour PNG of ``edge`` (bool), resized like its picture."""
    grey = fit(np.repeat(np.where(edge, 255, 0).astype(np.uint8)[..., None], 3, axis=2), side).convert("L")
    picture = Image.new("P", grey.size)
    picture.putpalette([0, 0, 0, *OUTLINE])
    picture.paste(1, mask=grey.point(lambda value: 255 if value > 70 else 0))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0, bits=1, optimize=True)
    return _uri("image/png", buffer.getvalue())


def _uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def plate(
    rows: Sequence[Sequence[Tile | None]],
    columns: Sequence[str],
    names: Sequence[str],
    *,
    side: int = 256,
    outlines: bool = False,
    legend: Sequence[Key] = (),
) -> Image.Image:
    """All tiles on one labelled sheet, for print.

    Args:
        rows: tiles row by row; None leaves a gap.
        columns: heading of each column; empty for none.
        names: name of each row, written at its left; empty for none.
        side: side of a tile, pixels.
        outlines: draw the outlines of tiles that have one.
        legend: what colours mean, written below.
    """
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), max(12, side // 16))
    line, gap = int(font.size * 1.5), 8
    left = gap + max((int(font.getlength(name)) + 2 * gap for name in names), default=0)
    top = gap + (line if any(columns) else 0)
    notes = line if any(tile is not None and tile.note for row in rows for tile in row) else 0
    width = max((len(row) for row in rows), default=0)
    height = top + len(rows) * (side + notes + gap)
    size = (left + width * (side + gap), height + (line + gap if legend else 0))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    _write_legend(pen, font, legend, gap, height)
    for index, title in enumerate(columns):
        x = left + index * (side + gap) + side / 2
        pen.text((x, top - line / 2 - gap / 2), title, "black", font, anchor="mm")
    for y_index, row in enumerate(rows):
        y = top + y_index * (side + notes + gap)
        if y_index < len(names):
            pen.text((gap, y + side / 2), names[y_index], "black", font, anchor="lm")
        for x_index, tile in enumerate(row):
            if tile is None:
                continue
            x = left + x_index * (side + gap)
            drawn = (
                with_outline(tile.rgb, tile.outline) if outlines and tile.outline is not None else tile.rgb
            )
            picture = fit(drawn, side)
            sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
            if tile.note:
                pen.text((x + side / 2, y + side + line / 2), tile.note, "#444444", font, anchor="mm")
    return sheet


def _write_legend(
    pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, legend: Sequence[Key], left: float, top: int
) -> None:
    side = int(font.size)
    for name, colour in legend:
        pen.rectangle((left, top, left + side, top + side), colour)
        pen.text((left + 1.4 * side, top + side / 2), name, "black", font, anchor="lm")
        left += 1.4 * side + font.getlength(name) + 1.5 * side
