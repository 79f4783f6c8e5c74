"""Small heads for the tests of volumes: arrays with a known place in space, and the files that hold them."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
from nibabel import orientations

SEQUENCES = ("flair", "t1", "t1ce", "t2")
SHAPE = (20, 24, 22)
"""(D, H, W) of a head."""
AFFINE = np.array([[-1.5, 0, 0, 14], [0, -1.5, 0, 20], [0, 0, 1.5, -9], [0, 0, 0, 1]], dtype=float)
"""Voxel (w, h, d) to RAS mm, in the stored order of axes."""


def head(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four sequences int16 (4, D, H, W), stored labels and brain mask (D, H, W), all without any symmetry."""
    rng = np.random.default_rng(seed)
    axes = np.indices(shape, dtype=float)
    centre, radius = (np.array([0.5, 0.45, 0.55]), np.array([0.36, 0.4, 0.3])) * np.array(shape)
    inside = sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radius, strict=True)) <= 1
    label = np.zeros(shape, np.uint8)
    d, h, w = (round(0.5 * n) for n in shape)
    label[d - 2 : d + 4, h - 4 : h + 1, w - 1 : w + 4] = 2
    label[d : d + 3, h - 3 : h, w : w + 3] = 3
    label[d + 1, h - 2, w + 1 : w + 2] = 1
    shade = 300 + 4 * axes[0] + 3 * axes[1] - 2 * axes[2] + 60 * label
    images = np.stack([(shade * (1 + 0.3 * c) + rng.normal(0, 5, shape)) * inside for c in range(4)])
    return images.astype(np.int16), label * inside, inside.astype(np.uint8)


def as_file(volume: np.ndarray, codes: str = "LPS", affine: np.ndarray = AFFINE) -> nibabel.Nifti1Image:
    """A volume (D, H, W) in the stored order as a NIfTI image whose axes run as ``codes`` says."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose()), affine)
    change = orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.axcodes2ornt(tuple(codes))
    )
    return image.as_reoriented(change)


def save(volume: np.ndarray, path: Path, codes: str = "LPS", affine: np.ndarray = AFFINE) -> Path:
    """Write a volume (D, H, W) as NIfTI, making folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(as_file(volume, codes, affine), path)
    return path


def every_orientation() -> list[str]:
    """The 48 ways in which a file's axes can run."""
    return [
        "".join(pair[side] for pair, side in zip(order, sides, strict=True))
        for order in permutations(("LR", "PA", "SI"))
        for sides in product((0, 1), repeat=3)
    ]


def write_brats(
    folder: Path, name: str, seed: int = 0, codes: dict[int, int] | None = None, **files: np.ndarray
) -> Path:
    """An examination in the layout of BraTS 2018 to 2021; ``files`` replace or (None) leave out some.

    Args:
        folder: of all examinations.
        name: of the examination.
        seed: of the head.
        codes: stored code -> code in the file; default as in 2018.
        files: sequence or ``seg`` -> (D, H, W).
    """
    images, label, _ = head(seed)
    table = np.zeros(256, np.uint8)
    for stored, code in (codes or {1: 1, 2: 2, 3: 4}).items():
        table[stored] = code
    volumes = {**dict(zip(SEQUENCES, images, strict=True)), "seg": table[label], **files}
    for key, volume in volumes.items():
        if volume is not None:
            save(volume, folder / name / f"{name}_{key}.nii.gz")
    return folder / name
