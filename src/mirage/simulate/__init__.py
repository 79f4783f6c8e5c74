"""Phantoms with known ground truth, written in the very layouts that the readers of real data take."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from mirage.config.datasets import SimulateOptions
from mirage.errors import LayoutError
from mirage.files import write_json
from mirage.registry import resolve

__all__ = ["WRITERS", "simulate"]

WRITERS: dict[str, str] = {
    "drive": "mirage.simulate.native:write_drive",
    "chasedb1": "mirage.simulate.native:write_chasedb1",
    "messidor": "mirage.simulate.native:write_messidor",
    "bubil": "mirage.simulate.native:write_bubil",
    "folder": "mirage.simulate.native:write_folder",
    "brats": "mirage.simulate.volumes:write_brats",
    "msd_brain": "mirage.simulate.volumes:write_msd_brain",
    "lidc": "mirage.simulate.ct_scans:write_lidc",
    "node21_ct_nodules": "mirage.simulate.ct_scans:write_node21_ct_nodules",
    "nih_chest": "mirage.simulate.chest_archives:write_nih_chest",
    "chexpert": "mirage.simulate.chest_archives:write_chexpert",
    "jsrt": "mirage.simulate.nodule_sets:write_jsrt",
    "node21": "mirage.simulate.nodule_sets:write_node21",
    "optimam": "mirage.simulate.omidb:write_optimam",
    "mini_mias": "mirage.simulate.mammography_sets:write_mini_mias",
    "inbreast": "mirage.simulate.mammography_sets:write_inbreast",
    "bcdr": "mirage.simulate.mammography_sets:write_bcdr",
    "cbis_ddsm": "mirage.simulate.cbis_ddsm:write_cbis_ddsm",
}
"""Reader -> ``module:function`` that writes its native layout."""


def simulate(config: SimulateOptions, reader: str, folder: Path) -> None:
    """Write phantoms of one reader's native layout; the folder is whole or absent.

    Each subject depends on the seed and its own index only, so a smaller dataset is a part of a larger
    one. Native layouts also get `ground_truth.json`, which no reader looks at: image name -> positions of
    disc and fovea in pixels, vessel share, grade; of brains, examination -> volumes in ml, centre in mm,
    grade, foci; of chests, the shapes of the nodules and their boxes; of breasts,
    the lesions and their boxes. The plain folder holds its truth in masks and table.

    Args:
        config: number, size and seed. For microscopy and wide frames ``size`` is the image's height, for
            brains the side of a slice.
        reader: a key of ``WRITERS``.
        folder: a new directory.

    Raises:
        ConfigError: no such reader.
        LayoutError: the folder holds something already.
    """
    writer = resolve(WRITERS, reader, "reader with a simulator")
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
        truth = writer(config, temporary)
        if truth:
            write_json(temporary / "ground_truth.json", {**config.model_dump(), "images": truth})
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
