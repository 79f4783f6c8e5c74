"""Preview grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mirage.files import atomic_path


def panel(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Picture (H, W, 3), uint8, of an array (C, H, W) whose values lie in [low, high].

    Three channels are shown as colours, otherwise the first channel as grey.
    """
    grey = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1) * 255
    shown = grey if len(grey) == 3 else np.repeat(grey[:1], 3, axis=0)
    return np.round(shown).astype(np.uint8).transpose(1, 2, 0)


def triplanar(volume: np.ndarray, centre: Sequence[int] | None = None) -> np.ndarray:
    """Axial, coronal and sagittal slice of a volume side by side, superior and anterior up or to the left.

    Args:
        volume: (C, D, H, W); D from inferior to superior, H from anterior to posterior.
        centre: voxel (d, h, w) that the slices cut; None: the middle.

    Returns:
        (C, max(H, D), 2 W + H), 0 below the lower ones.
    """
    channels, *extent = volume.shape
    d, h, w = centre or [side // 2 for side in extent]
    planes = (volume[:, d], volume[:, ::-1, h], volume[:, ::-1, :, w])
    sheet = np.zeros((channels, max(extent[:2]), sum(plane.shape[2] for plane in planes)), volume.dtype)
    left = 0
    for plane in planes:
        sheet[:, : plane.shape[1], left : left + plane.shape[2]] = plane
        left += plane.shape[2]
    return sheet


def write_grid(path: Path, panels: np.ndarray, gap: int = 2) -> None:
    """Write panels (rows, columns, H, W, 3), uint8, as one PNG, ``gap`` grey pixels between them."""
    padded = np.pad(panels, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=128)
    rows, columns, height, width, _ = padded.shape
    sheet = padded.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    with atomic_path(path) as temporary:
        Image.fromarray(sheet[:-gap, :-gap] if gap else sheet).save(temporary)
