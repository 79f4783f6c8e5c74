"""PNG with 16 bits a channel and more than one channel, which Pillow reads with 8.

Follows the PNG specification (W3C, third edition), sections 9 (filtering) and 11.2 (chunks).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from mirage.errors import DataError

CHANNELS = {2: 3, 4: 2, 6: 4}
"""Colour type -> channels: colour, grey with alpha, colour with alpha."""


def read_png16(path: Path) -> np.ndarray:
    """Read a 16-bit PNG of colour type 2, 4 or 6 as uint16 (H, W, C), alpha last.

    Raises:
        DataError: interlaced, cut off, or another colour type.
    """
    header, compressed = _chunks(path.read_bytes())
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    if depth != 16 or colour not in CHANNELS or interlace:
        raise DataError(f"{path}: an interlaced 16-bit PNG; save it without interlacing")
    step = 2 * CHANNELS[colour]
    lines = np.frombuffer(zlib.decompress(compressed), np.uint8)
    if lines.size != height * (1 + width * step):
        raise DataError(f"{path}: the file is cut off")
    lines = lines.reshape(height, 1 + width * step)
    pixels = _unfilter(lines[:, 0], lines[:, 1:].reshape(height, width, step))
    return pixels.reshape(height, width * step).view(">u2").astype(np.uint16).reshape(height, width, -1)


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    header, compressed, at = b"", [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            compressed.append(body)
        at += 12 + length
    return header, b"".join(compressed)


def _unfilter(filters: np.ndarray, coded: np.ndarray) -> np.ndarray:
    """Undo the filters of all rows at once, along diagonals: a pixel needs its left, upper and upper left."""
    height, width, step = coded.shape
    pixels = np.zeros((height + 1, width + 1, step), np.int16)
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = pixels[y + 1, x], pixels[y, x + 1], pixels[y, x]
        guess = left + up - corner
        to_left, to_up, to_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
        paeth = np.where(
            (to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner)
        )
        predicted = np.choose(
            filters[y][:, None], [np.zeros_like(left), left, up, (left + up) >> 1, paeth], mode="raise"
        )
        pixels[y + 1, x + 1] = (coded[y, x] + predicted) & 255
    return np.ascontiguousarray(pixels[1:, 1:].astype(np.uint8))
