"""What the readers of mammograms with outlined lesions share: label masks beside the boxes."""

from __future__ import annotations

from pathlib import Path

from mirage.config.mammography_sets import OutlinedMammographySource
from mirage.sources.base import RawImage
from mirage.sources.mammograms import MammogramRecord, Mammograms
from mirage.sources.outlines import inside, label_mask, without_outline


class OutlinedMammograms(Mammograms[MammogramRecord]):
    """Reader of mammograms whose boxes hold outlines: ``points``, (N, 2) of x and y in pixels."""

    options: OutlinedMammographySource

    def __init__(self, options: OutlinedMammographySource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self.labels = options.label_table
        self.mask_channels = ["label"] if options.masks else []

    def read(self, record: MammogramRecord) -> RawImage:
        """The image as shown, and with ``masks`` the label mask of its lesions that are kept, or all 0."""
        from mirage.sources.images import read_image

        raw = read_image(self.root / record.file, "grey", display=True)
        if self.options.masks:
            shape = raw.image.shape[1:]
            kept = ((box["label"], inside(box["points"], shape)) for box in self.kept(record))
            raw.masks["label"] = label_mask(kept, shape)
        raw.boxes = without_outline(record.boxes)
        return raw
