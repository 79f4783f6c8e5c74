"""Medical Segmentation Decathlon Task01, brain tumours (Antonelli et al., Nature Communications 13, 2022).

484 examinations of BraTS 2016 and 2017 under new numbers, the four sequences of each in one 4D file, with
label codes of their own: 1 oedema, 2 non-enhancing core, 3 enhancing tumour.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mirage.config.datasets import MsdBrainSource
from mirage.data.tumour_labels import LABELS, map_labels
from mirage.errors import DataError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.layout import namespace_of, no_items, require_directories, visible_names

OBTAIN = "http://medicaldecathlon.com (Task01_BrainTumour.tar)"
ORDER = ("flair", "t1", "t1ce", "t2")
"""Sequences of a file, in the order of its fourth axis; dataset.json calls them FLAIR, T1w, t1gd, T2w."""


class MsdBrain(Source):
    """Reader of Task01's labelled part; `imagesTs` has no labels and is not read."""

    modality = "brain MRI"

    def __init__(self, options: MsdBrainSource, folder: Path | None = None) -> None:
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = list(options.sequences)
        self.labels = dict(LABELS)
        self.mask_channels = ["label"]
        self._namespace = namespace_of("msd_brain", folder)

    @property
    def namespace(self) -> str:
        """``msd_brain``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for images and labels."""
        require_directories(self.root, ["imagesTr", "labelsTr"], "MSD Task01", OBTAIN)

    def items(self) -> Iterator[SourceItem]:
        """Examinations by number; every NIfTI file in imagesTr is one."""
        found = False
        for name in visible_names(self.root / "imagesTr"):
            if name.lower().endswith((".nii.gz", ".nii")):
                found = True
                stem = name.split(".nii")[0]
                yield SourceItem(
                    item_id=stem,
                    subject_id=stem,
                    attributes={"file": f"imagesTr/{name}"},
                    load=partial(self._load, name),
                )
        if not found:
            raise no_items("MSD Task01", self.root, "imagesTr/BRATS_001.nii.gz")

    def _load(self, name: str) -> RawImage:
        from mirage.sources.images import check_same_grid, read_volume

        path, label_path = self.root / "imagesTr" / name, self.root / "labelsTr" / name
        raw, label = read_volume(path, channels=len(ORDER)), read_volume(label_path)
        check_same_grid(label, label_path, raw, path)
        try:
            raw.masks["label"] = map_labels(label.image[0], "msd")
        except DataError as error:
            raise DataError(f"{label_path}: {error}") from error
        if tuple(self.channel_names) != ORDER:
            raw.image = np.stack([raw.image[ORDER.index(name)] for name in self.channel_names])
        return raw
