"""What a source is: a lazy reader of one public dataset's native layout that knows nothing of pipelines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class RawImage:
    """One image as its file holds it.

    Attributes:
        image: (C, H, W) or (C, D, H, W), native integer or float type, channel first.
        masks: mask channel name (``label``, ``fov``, ``brain``, ``observer2`` ...) -> uint8 (H, W) or
            (D, H, W) of the image's size; ``label`` holds label values, the others 0 or 1.
        full_range: lowest and highest value the file's type or header allows, e.g. (0, 255) or
            (0, 4095); None where there is no such thing (float, signed CT), which needs an explicit window.
        spacing_mm: (D,) H, W, or None when unknown.
        affine: float64 (4, 4) of a volume: voxel (x, y, z) of ``image[:, z, y, x]`` to mm right, anterior
            and superior (RAS) of the scanner's origin, as in NIfTI; None for 2D images, or when unknown.
        boxes: around findings: dicts of x0, y0, x1, y1 (pixels of ``image``, half-open; x across, y down)
            and label; what else an archive says of a finding may stand beside it, such as malignancy.
        others: boxes of findings that were not asked for; like ``boxes``, but as the archive has them, which
            may be beyond the image.
        unplaced: whether the archive says of a finding and not where it is.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    full_range: tuple[float, float] | None = None
    spacing_mm: tuple[float, ...] | None = None
    affine: np.ndarray | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    unplaced: bool = False


@dataclass
class SourceItem:
    """One item of a source, before any pixel is read.

    Attributes:
        item_id: unique in the source, made of letters, digits, ``_``, ``-``, ``.`` and ``/``.
        subject_id: patient, child or animal.
        split: the source's own ``train`` or ``test`` (or ``val``), or None.
        also_known_as: names (``namespace/subject``) that other archives give the subject; ``namespace/*``
            where it may be a subject of an archive and nobody knows which.
        attributes: age, sex, grade ... plus ``file``, the image's path relative to the source.
        load: reads the pixels; raises DataError naming the file when that fails.
    """

    item_id: str
    subject_id: str
    load: Callable[[], RawImage]
    split: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    also_known_as: Sequence[str] = ()


class Source(ABC):
    """Reader of one native layout.

    Class attributes describe what every item of the source has, so that a rule can be planned without
    reading a pixel. Constructing a source reads nothing.
    """

    modality: str
    channel_names: list[str]
    labels: dict[int, str]
    mask_channels: list[str]
    """Channels the source may yield: ``label`` and ``observer2``; ``fov`` or ``brain`` when it has one."""

    @property
    @abstractmethod
    def namespace(self) -> str:
        """What subject ids are unique within; the same for every prepared version of the same raw data."""

    @abstractmethod
    def check_layout(self) -> None:
        """Check that the folders are there, in milliseconds and without listing images.

        Raises:
            LayoutError: names the missing piece, what was expected, and where to get it.
        """

    def check_test_labels(self) -> None:
        """Check the layout, and that the source's test images have the labels that some copies lack.

        Raises:
            LayoutError: names the missing piece and the ways out.
        """
        self.check_layout()

    def doubts(self) -> list[str]:
        """What may be wrong with the choices of a source that can be read, as sentences for its user."""
        return []

    @abstractmethod
    def items(self) -> Iterator[SourceItem]:
        """Items in a fixed order, without reading pixels.

        Raises:
            LayoutError: the folders are there but hold no items.
        """

    def items_of(self, subjects: Callable[[str], bool]) -> Iterator[SourceItem]:
        """Those of ``items`` that are of some subjects; a source may leave unread what it knows of others.

        Args:
            subjects: whether a subject's items are asked for.
        """
        return (item for item in self.items() if subjects(item.subject_id))
