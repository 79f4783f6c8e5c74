"""BU-BIL Dataset 1: 35 phase-contrast images of single smooth muscle cells (Gurari et al., WACV 2015).

Native masks are black on the cell and white elsewhere, in 1-bit, grey or RGB files. Five experts drew every
cell with two tools; some of their files begin with `Seg_` instead of `seg_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mirage.config.datasets import BubilSource
from mirage.errors import DataError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.layout import namespace_of, no_items, require_directories, visible_names

OBTAIN = "https://www.cs.bu.edu/~betke/BiomedicalImageSegmentation"
NAME = re.compile(r"(B\d+)\.png")


class Bubil(Source):
    """Reader of BU-BIL Dataset 1's native layout."""

    modality = "phase-contrast microscopy"

    def __init__(self, options: BubilSource, folder: Path | None = None) -> None:
        self.root = Path(options.path) if folder is None else folder
        self.annotator = options.annotator
        self.channel_names = ["grey"]
        self.labels = {1: "cell"}
        self.mask_channels = ["label"]
        self._namespace = namespace_of("bubil", folder)

    @property
    def namespace(self) -> str:
        """``bubil``, or the folder of simulated data; the same for all annotators."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for the images and the chosen annotator's masks."""
        masks = {"gold": "GoldStandard", "majority": "ExpertsAnnotations"}
        chosen = masks.get(self.annotator, f"ExpertsAnnotations/{self.annotator}")
        require_directories(self.root, ["RawImages", chosen], "BU-BIL", OBTAIN)

    def items(self) -> Iterator[SourceItem]:
        """Cells by number; every ``.png`` in RawImages is one."""
        found = False
        for name in visible_names(self.root / "RawImages"):
            if name.lower().endswith(".png"):
                found = True
                yield SourceItem(
                    item_id=Path(name).stem,
                    subject_id=Path(name).stem,
                    attributes={"file": f"RawImages/{name}", "annotator": self.annotator},
                    load=partial(self._load, name),
                )
        if not found:
            raise no_items("BU-BIL", self.root, "RawImages/B01.png")

    def _load(self, name: str) -> RawImage:
        from mirage.sources.images import read_image

        path = self.root / "RawImages" / name
        match = NAME.fullmatch(name)
        if match is None:
            raise DataError(f"{path}: expected a name such as B01.png")
        raw = read_image(path, "grey")
        votes = [self._mask(folder, match[1], raw.image) for folder in self._folders()]
        raw.masks["label"] = votes[0] if len(votes) == 1 else _majority(votes)
        return raw

    def _folders(self) -> list[Path]:
        if self.annotator == "gold":
            return [self.root / "GoldStandard"]
        experts = self.root / "ExpertsAnnotations"
        if self.annotator != "majority":
            return [experts / self.annotator]
        folders = [experts / name for name in visible_names(experts) if (experts / name).is_dir()]
        if not folders:
            raise DataError(f"{experts}: holds no annotator's folder; `annotator: majority` needs them")
        return folders

    @staticmethod
    def _mask(folder: Path, cell: str, image: np.ndarray) -> np.ndarray:
        from mirage.sources.images import check_same_size, read_mask

        names = (f"seg_{cell}.png", f"Seg_{cell}.png")
        path = next((folder / name for name in names if (folder / name).exists()), folder / names[0])
        return check_same_size(read_mask(path, "dark"), image, path)


def _majority(masks: list[np.ndarray]) -> np.ndarray:
    """Pixels that more than half of the masks mark."""
    votes = np.sum(np.stack(masks), axis=0, dtype=np.uint16)
    return np.asarray(2 * votes > len(masks)).astype(np.uint8)
