"""Readers of public datasets' native layouts, and `folder` for any images.

A source yields items lazily and knows nothing of pipelines. Importing this package is cheap; image
libraries are imported when the first pixel is read.
"""

from __future__ import annotations

from pathlib import Path

from mirage.config.datasets import SourceOptions
from mirage.registry import resolve
from mirage.sources.base import RawImage, Source, SourceItem

__all__ = ["READERS", "RawImage", "Source", "SourceItem", "open_source"]

READERS: dict[str, str] = {
    "drive": "mirage.sources.drive:Drive",
    "chasedb1": "mirage.sources.chasedb1:ChaseDB1",
    "messidor": "mirage.sources.messidor:Messidor",
    "bubil": "mirage.sources.bubil:Bubil",
    "folder": "mirage.sources.folder:Folder",
    "brats": "mirage.sources.brats:Brats",
    "msd_brain": "mirage.sources.msd_brain:MsdBrain",
    "lidc": "mirage.sources.lidc:Lidc",
    "node21_ct_nodules": "mirage.sources.node21_ct_nodules:Node21CtNodules",
    "nih_chest": "mirage.sources.nih_chest:NihChest",
    "chexpert": "mirage.sources.chexpert:Chexpert",
    "jsrt": "mirage.sources.jsrt:Jsrt",
    "node21": "mirage.sources.node21:Node21",
    "optimam": "mirage.sources.optimam:Optimam",
    "mini_mias": "mirage.sources.mini_mias:MiniMias",
    "inbreast": "mirage.sources.inbreast:Inbreast",
    "cbis_ddsm": "mirage.sources.cbis_ddsm:CbisDdsm",
    "bcdr": "mirage.sources.bcdr:Bcdr",
}
"""Config key ``reader`` -> ``module:class``; the module is imported only when it is used."""


def open_source(options: SourceOptions, folder: Path | None = None) -> Source:
    """The source of one ``source:`` entry; reads nothing yet.

    Args:
        options: the reader's options.
        folder: read here instead of ``options.path``, for data simulated in the same layout. Subjects
            then have a namespace of their own, because phantoms are nobody's patients.
    """
    source: Source = resolve(READERS, options.reader, "reader")(options, folder)
    return source
