"""Cleaning of binary masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

ABSENT = 255
"""Value that fills a mask channel of an item that does not have it, such as a second observer."""


def binarise(probability: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """uint8 1 where ``probability`` is at least ``threshold``, any shape."""
    return (probability >= threshold).astype(np.uint8)


def remove_small(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Drop components (8- or 26-connected) of fewer than ``pixels`` pixels; (H, W) or (D, H, W)."""
    labels, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    large = np.bincount(labels.ravel()) >= pixels
    large[0] = False
    return large[labels].astype(np.uint8)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Keep the largest component (8- or 26-connected); an empty mask stays empty."""
    labels, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if not count:
        return np.zeros_like(mask, dtype=np.uint8)
    return (labels == np.bincount(labels.ravel())[1:].argmax() + 1).astype(np.uint8)


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Fill background that is not connected to the border; uint8, any dimension."""
    return ndimage.binary_fill_holes(mask).astype(np.uint8)
