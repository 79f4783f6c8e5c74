"""Pictures of volumes: the planes through a tumour, in true proportions, with its labels painted over them.

A stored volume runs from inferior to superior, anterior to posterior and from the patient's right to left, so
an axial slice is the right way up as it is; coronal and sagittal planes are turned over, superior up. Planes
are cut from the memory map: a picture costs no more memory than it shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from PIL import Image

from mirage.data import Dataset, DatasetInfo
from mirage.report.images import Key, Tile, outline, to_rgb

PLANES = ("axial", "coronal", "sagittal")
COLOURS = ("#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#F0E442", "#0072B2")
"""Colours of labels by the rank of their value (Okabe and Ito 2008): of a tumour NCR, ED, ET and RC."""
OPACITY = 0.62
Place = tuple[int, int, int]


def is_volume(info: DatasetInfo) -> bool:
    """Whether the images of a dataset are volumes."""
    return len(info.image_shape) == 4


def has_label(dataset: Dataset, index: int) -> bool:
    """Whether an item has a label mask."""
    return "label" in dataset.info.mask_channels and pd.notna(dataset.items["mask_origin"].iat[index])


def fullest_slice(mask: np.ndarray) -> int:
    """The axial slice of a mask (D, H, W) with the most foreground, the middle one where there is none."""
    counts = np.count_nonzero(mask, axis=(1, 2))
    return int(counts.argmax()) if counts.any() else len(mask) // 2


def slice_words(labelled: bool) -> str:
    """What :func:`fullest_slice` is of a volume with or without labels."""
    return "the axial slice with the most labelled voxels" if labelled else "the middle axial slice"


def centre_of(mask: np.ndarray) -> Place:
    """The foreground voxel (d, h, w) nearest to the centre of mass of a mask; the middle without any."""
    where = np.argwhere(mask)
    if not len(where):
        d, h, w = (side // 2 for side in mask.shape)
        return d, h, w
    nearest = ((where - where.mean(axis=0)) ** 2).sum(axis=1).argmin()
    d, h, w = (int(place) for place in where[nearest])
    return d, h, w


def cut(volume: np.ndarray, plane: str, at: Place) -> np.ndarray:
    """A plane of a volume (..., D, H, W) through a voxel, a view with superior or anterior up.

    Returns:
        axial (..., H, W), anterior up; coronal (..., D, W); sagittal (..., D, H), anterior to the left. The
        patient's right is on the left.
    """
    d, h, w = at
    if plane == "axial":
        return volume[..., d, :, :]
    return volume[..., ::-1, h, :] if plane == "coronal" else volume[..., ::-1, :, w]


def pixel_mm(spacing_mm: tuple[float, ...] | None, plane: str) -> tuple[float, float]:
    """Height and width of a pixel of a plane; 1 and 1 when unknown."""
    d, h, w = spacing_mm or (1.0, 1.0, 1.0)
    return {"axial": (h, w), "coronal": (d, w), "sagittal": (d, h)}[plane]


def in_proportion(picture: np.ndarray, pixel: tuple[float, float], *, smooth: bool) -> np.ndarray:
    """A picture with square pixels as large as the smaller side of its own.

    Args:
        picture: uint8 (H, W, 3), or a mask (H, W).
        pixel: height and width of its pixels, in the same unit.
        smooth: interpolate, which labels must not be.
    """
    small = min(pixel)
    height, width = (round(n * side / small) for n, side in zip(picture.shape[:2], pixel, strict=True))
    if (height, width) == picture.shape[:2]:
        return picture
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), how))


def colours_of(labels: Mapping[int, str]) -> dict[int, str]:
    """Colour of every label value."""
    return {value: COLOURS[rank % len(COLOURS)] for rank, value in enumerate(sorted(labels))}


def legend_of(labels: Mapping[int, str]) -> list[Key]:
    """Names of the labels and their colours."""
    return [(labels[value], colour) for value, colour in colours_of(labels).items()]


def rgb_of(colour: str) -> np.ndarray:
    """``#rrggbb`` as uint8 (3,)."""
    return np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8)


def painted(
    rgb: np.ndarray, mask: np.ndarray, labels: Mapping[int, str], opacity: float = OPACITY
) -> np.ndarray:
    """A picture with its label mask (H, W) in colour over it, uint8 (H, W, 3)."""
    drawn = rgb.astype(np.float32)
    for value, colour in colours_of(labels).items():
        here = mask == value
        drawn[here] += opacity * (rgb_of(colour) - drawn[here])
    return np.rint(drawn).astype(np.uint8)


def grey(dataset: Dataset, index: int, channel: int, plane: str, at: Place) -> np.ndarray:
    """A plane of one channel of a stored volume as uint8 (H, W, 3), a voxel a pixel."""
    shown = cut(dataset.image(index)[channel : channel + 1], plane, at)
    return to_rgb(shown, dataset.info.value_range)


def sequence_tile(
    dataset: Dataset, index: int, channel: int, plane: str, at: Place, note: str = "", *, true: bool = True
) -> Tile:
    """A plane of one channel of a volume, with the outline of its labels to switch on.

    Args:
        dataset: of the volume.
        index: of the volume.
        channel: of the image.
        plane: one of ``PLANES``.
        at: voxel (d, h, w) that the plane cuts.
        note: printed below.
        true: in true proportions; else a voxel is a pixel.
    """
    info = dataset.info
    pixel = pixel_mm(dataset.spacing_mm(index) if true else None, plane)
    rgb = in_proportion(grey(dataset, index, channel, plane, at), pixel, smooth=True)
    name, item = info.channel_names[channel], dataset.items["item_id"].iat[index]
    edge = None
    if has_label(dataset, index):
        edge = outline(in_proportion(cut(dataset.mask(index), plane, at), pixel, smooth=False))
    return Tile(rgb, f"{plane} plane of {name} of {item}, {info.modality}", note, edge)


def label_tile(
    dataset: Dataset, index: int, mask: np.ndarray, plane: str, at: Place, note: str = "", alt: str = ""
) -> Tile:
    """A mask (D, H, W) in colour over the first channel of a volume, in true proportions."""
    pixel = pixel_mm(dataset.spacing_mm(index), plane)
    rgb = in_proportion(grey(dataset, index, 0, plane, at), pixel, smooth=True)
    shown = painted(rgb, in_proportion(cut(mask, plane, at), pixel, smooth=False), dataset.info.labels)
    item = dataset.items["item_id"].iat[index]
    words = alt or f"labels of {item} over {dataset.info.channel_names[0]}, {plane} plane"
    return Tile(shown, words, note)
