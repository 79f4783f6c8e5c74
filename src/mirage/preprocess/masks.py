"""Cleaning of binary masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def remove_small(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Drop components (8- or 26-connected) of fewer than ``pixels`` pixels; (H, W) or (D, H, W)."""
    labels, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    large = np.bincount(labels.ravel()) >= pixels
    large[0] = False
    return large[labels].astype(np.uint8)
