"""Phantoms with known ground truth, written in the very layouts that the readers of real data take."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from mirage.config.datasets import SimulateOptions
from mirage.errors import LayoutError
from mirage.files import write_json

__all__ = ["simulate"]


def simulate(config: SimulateOptions, reader: str, folder: Path) -> None:
    """Write phantoms of one reader's native layout; the folder is whole or absent.

    Each subject depends on the seed and its own index only, so a smaller dataset is a part of a larger
    one. Native layouts also get `ground_truth.json`, which no reader looks at: image name -> positions of
    disc and fovea in pixels, vessel share, grade. The plain folder holds its truth in masks and table.

    Args:
        config: number, size and seed. For microscopy and wide frames ``size`` is the image's height.
        reader: ``drive``, ``chasedb1``, ``messidor``, ``bubil`` or ``folder``.
        folder: a new directory.

    Raises:
        LayoutError: no such reader, or the folder holds something already.
    """
    from mirage.simulate.native import WRITERS

    if reader not in WRITERS:
        raise LayoutError(f"there is no simulator for the reader {reader!r}; there are {', '.join(WRITERS)}")
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if folder.exists():
        raise LayoutError(
            f"{folder}: exists already; simulated data are written to a new folder. Delete it first"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        truth = WRITERS[reader](config, temporary)
        if truth:
            write_json(temporary / "ground_truth.json", {**config.model_dump(), "images": truth})
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
