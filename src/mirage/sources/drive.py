"""DRIVE: 40 colour fundus photographs with vessel masks (Staal et al., IEEE TMI 23(4):501-509, 2004).

`training/` holds images 21 to 40, `test/` 01 to 20, each of another patient. The test part has a second
observer. Some copies come without the labels of the test part; those items then have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mirage.config.datasets import DriveSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.layout import namespace_of, no_items, require_directories, visible_names

OBTAIN = "https://drive.grand-challenge.org (free registration)"
NAME = re.compile(r"(\d+)_(training|test)\.tif")


class Drive(Source):
    """Reader of DRIVE's native layout."""

    modality = "colour fundus photography"

    def __init__(self, options: DriveSource, folder: Path | None = None) -> None:
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = ["red", "green", "blue"]
        self.labels = {1: "vessel"}
        self.mask_channels = ["label", "observer2", "fov"]
        self._namespace = namespace_of("drive", folder)

    @property
    def namespace(self) -> str:
        """``drive``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for images and field-of-view masks of both parts, and the labels of the training part."""
        needed = ["training/images", "training/1st_manual", "training/mask", "test/images", "test/mask"]
        require_directories(self.root, needed, "DRIVE", OBTAIN)

    def check_test_labels(self) -> None:
        """Check the layout with the labels of the test part, which today's download lacks."""
        self.check_layout()
        folder = self.root / "test/1st_manual"
        if not folder.is_dir():
            raise LayoutError(
                f"DRIVE: {folder} is missing, so nothing can be scored on the test part; the download of "
                "drive.grand-challenge.org comes without these labels. Put the folder of a full copy there, "
                "or split the labelled training part: on this dataset set `split: {by: random}`, "
                "`prepare: {require_mask: true}` and `max_failed_fraction: 0.5`"
            )

    def items(self) -> Iterator[SourceItem]:
        """Items of the training part, then of the test part, by number."""
        found = False
        for part, split in (("training", "train"), ("test", "test")):
            for name in visible_names(self.root / part / "images"):
                found = True
                yield self._item(part, split, name)
        if not found:
            raise no_items("DRIVE", self.root, "training/images/21_training.tif")

    def _item(self, part: str, split: str, name: str) -> SourceItem:
        match = NAME.fullmatch(name)
        return SourceItem(
            item_id=Path(name).stem,
            subject_id=match[1] if match else Path(name).stem,
            split=split,
            attributes={"file": f"{part}/images/{name}"},
            load=partial(self._load, part, name, match[1] if match else None),
        )

    def _load(self, part: str, name: str, number: str | None) -> RawImage:
        from mirage.sources.images import check_same_size, read_image, read_mask

        folder = self.root / part
        if number is None:
            raise DataError(f"{folder / 'images' / name}: expected a name such as 21_training.tif")
        raw = read_image(folder / "images" / name, "rgb")
        paths = {
            "label": folder / "1st_manual" / f"{number}_manual1.gif",
            "observer2": folder / "2nd_manual" / f"{number}_manual2.gif",
            "fov": folder / "mask" / f"{number}_{part}_mask.gif",
        }
        for channel, path in paths.items():
            optional = channel == "observer2" or (channel == "label" and part == "test")
            if not (optional and not path.exists()):
                raw.masks[channel] = check_same_size(read_mask(path), raw.image, path)
        return raw
