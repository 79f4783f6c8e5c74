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
Place = tuple[int, int, int, int]
"""Left, top, width and height of a picture on a sheet, pixels."""


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
    grows = side > max(rgb.shape[:2])
    resampling = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    return Image.fromarray(rgb).resize(fitted(rgb, side), resampling)


def fitted(rgb: np.ndarray, side: int) -> tuple[int, int]:
    """Width and height of a picture whose longer side becomes ``side``."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


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


class Sheet:
    """All tiles of a plate on one labelled sheet, at full size.

    Args:
        rows: tiles row by row; None leaves a gap.
        columns: heading of each column; empty for none.
        names: name of each row, written at its left; empty for none.
        side: side of a tile, pixels.
        legend: what colours mean, written below.
    """

    gap = 8

    def __init__(
        self,
        rows: Sequence[Sequence[Tile | None]],
        columns: Sequence[str],
        names: Sequence[str],
        *,
        side: int = 256,
        legend: Sequence[Key] = (),
    ) -> None:
        self.rows, self.columns, self.names, self.side, self.legend = rows, columns, names, side, legend
        self.font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), max(12, side // 16))
        self.line, gap = int(self.font.size * 1.5), self.gap
        self.left = gap + max((int(self.font.getlength(name)) + 2 * gap for name in names), default=0)
        self.top = gap + (self.line if any(columns) else 0)
        self.notes = self.line if any(tile is not None and tile.note for row in rows for tile in row) else 0
        self.height = self.top + len(rows) * (side + self.notes + gap)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Left and top of a tile's square."""
        return (
            self.left + column * (self.side + self.gap),
            self.top + row * (self.side + self.notes + self.gap),
        )

    def places(self) -> list[list[Place | None]]:
        """Where the tiles' pictures lie on the sheet, row by row."""
        return [
            [None if tile is None else self._place(tile, (y, x)) for x, tile in enumerate(row)]
            for y, row in enumerate(self.rows)
        ]

    def _place(self, tile: Tile, at: tuple[int, int]) -> Place:
        (left, top), (width, height) = self.corner(*at), fitted(tile.rgb, self.side)
        return left + (self.side - width) // 2, top + (self.side - height) // 2, width, height

    def draw(self, *, outlines: bool = False) -> Image.Image:
        """The sheet; with ``outlines``, drawn over the tiles that have one."""
        width = self.left + max((len(row) for row in self.rows), default=0) * (self.side + self.gap)
        below = self.line + self.gap if self.legend else 0
        sheet = Image.new("RGB", (width, self.height + below), "white")
        pen = ImageDraw.Draw(sheet)
        _write_legend(pen, self.font, self.legend, self.gap, self.height)
        for index, title in enumerate(self.columns):
            x = self.corner(0, index)[0] + self.side / 2
            pen.text((x, self.top - self.line / 2 - self.gap / 2), title, "black", self.font, anchor="mm")
        for index, name in enumerate(self.names[: len(self.rows)]):
            middle = self.corner(index, 0)[1] + self.side / 2
            pen.text((self.gap, middle), name, "black", self.font, anchor="lm")
        for y, row in enumerate(self.rows):
            for x, tile in enumerate(row):
                if tile is not None:
                    self._draw_tile(sheet, pen, tile, (y, x), outlines)
        return sheet

    def _draw_tile(
        self, sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], outlines: bool
    ) -> None:
        rgb = with_outline(tile.rgb, tile.outline) if outlines and tile.outline is not None else tile.rgb
        sheet.paste(fit(rgb, self.side), self._place(tile, at)[:2])
        if tile.note:
            left, top = self.corner(*at)
            below = (left + self.side / 2, top + self.side + self.line / 2)
            pen.text(below, tile.note, "#444444", self.font, anchor="mm")


def _write_legend(
    pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, legend: Sequence[Key], left: float, top: int
) -> None:
    side = int(font.size)
    for name, colour in legend:
        pen.rectangle((left, top, left + side, top + side), colour)
        pen.text((left + 1.4 * side, top + side / 2), name, "black", font, anchor="lm")
        left += 1.4 * side + font.getlength(name) + 1.5 * side
