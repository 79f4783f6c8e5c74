"""CHASE_DB1: fundus photographs of both eyes of 14 children, two observers (Fraz et al., IEEE TBME 59, 2012).

The two eyes of a child are one subject. There is no field-of-view mask and no official test set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mirage.config.datasets import ChaseDB1Source
from mirage.errors import DataError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.layout import namespace_of, no_items, require_directories, visible_names

OBTAIN = "https://researchdata.kingston.ac.uk/96"
NAME = re.compile(r"Image_(\d+)([LR])\.jpg")


class ChaseDB1(Source):
    """Reader of CHASE_DB1's native flat folder."""

    modality = "colour fundus photography"

    def __init__(self, options: ChaseDB1Source, folder: Path | None = None) -> None:
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = ["red", "green", "blue"]
        self.labels = {1: "vessel"}
        self.mask_channels = ["label", "observer2"]
        self._namespace = namespace_of("chasedb1", folder)

    @property
    def namespace(self) -> str:
        """``chasedb1``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for the flat folder."""
        require_directories(self.root, [], "CHASE_DB1", OBTAIN)

    def items(self) -> Iterator[SourceItem]:
        """Photographs by child and eye; every ``.jpg`` is one."""
        found = False
        for name in visible_names(self.root):
            if name.lower().endswith(".jpg"):
                found = True
                yield self._item(name)
        if not found:
            raise no_items("CHASE_DB1", self.root, "Image_01L.jpg")

    def _item(self, name: str) -> SourceItem:
        match, stem = NAME.fullmatch(name), Path(name).stem
        return SourceItem(
            item_id=stem,
            subject_id=match[1] if match else stem,
            attributes={"file": name, "eye": match[2] if match else None},
            load=partial(self._load, name, matched=match is not None),
        )

    def _load(self, name: str, *, matched: bool) -> RawImage:
        from mirage.sources.images import check_same_size, read_image, read_mask

        path = self.root / name
        if not matched:
            raise DataError(f"{path}: expected a name such as Image_01L.jpg")
        raw = read_image(path, "rgb")
        for channel, observer in (("label", "1stHO"), ("observer2", "2ndHO")):
            mask = path.with_name(f"{path.stem}_{observer}.png")
            if channel == "label" or mask.exists():
                raw.masks[channel] = check_same_size(read_mask(mask), raw.image, mask)
        return raw
