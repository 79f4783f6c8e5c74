"""What the readers of LIDC-IDRI drew, and the nodules they agree on (Armato et al., Med Phys 38(2), 2011).

Up to four readers each outlined every nodule of 3 mm and more, on every slice, and rated it; nobody forced
them to agree, and nothing in the file says which of their outlines mean the same nodule. An outline passes
through the first pixels *outside* the nodule, so what it encloses without itself is the nodule; outlines
marked as exclusions are holes. Nodules below 3 mm have a single point and no ratings; they and what readers
called no nodule are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mirage.errors import DataError

RATINGS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
SHIFT = 16
"""Bits of a pixel's number that hold its x."""


@dataclass(frozen=True)
class Mark:
    """One reader's nodule.

    Attributes:
        reader: number of the reading session.
        name: the reader's own name of it.
        pixels: SOP instance UID of a slice -> sorted numbers ``y << SHIFT | x`` of the pixels inside.
        z: SOP instance UID -> position of the slice, mm.
        ratings: of ``RATINGS``, 1 to 5 or 6.
    """

    reader: int
    name: str
    pixels: dict[str, np.ndarray]
    z: dict[str, float]
    ratings: dict[str, int]


@dataclass(frozen=True)
class Consensus:
    """A nodule that enough readers marked.

    Attributes:
        readers: how many marked it.
        pixels: SOP instance UID -> (N, 2) y, x of the pixels that enough of them took for nodule.
        ratings: mean of the readers' ratings.
        z: SOP instance UID -> position of the slice, mm.
    """

    readers: int
    pixels: dict[str, np.ndarray]
    ratings: dict[str, float]
    z: dict[str, float]

    def centre(self) -> tuple[float, float, float]:
        """Centre of mass: z mm, y and x pixels."""
        counts = np.array([len(at) for at in self.pixels.values()])
        z = np.array([self.z[uid] for uid in self.pixels])
        y, x = np.concatenate(list(self.pixels.values())).mean(axis=0)
        return float((z * counts).sum() / counts.sum()), float(y), float(x)

    def diameter(self, spacing: tuple[float, float]) -> float:
        """Diameter of the circle with the area of the largest slice, mm, from the pixels' size in mm."""
        area = max(len(at) for at in self.pixels.values()) * spacing[0] * spacing[1]
        return float(2 * np.sqrt(area / np.pi))


@dataclass(frozen=True)
class Reading:
    """An annotation file: the series it is about, how many sessions it has, and all marks."""

    series: str
    sessions: int
    marks: list[Mark]


def read_reading(path: Path) -> Reading | None:
    """Read an annotation file of a CT.

    Returns:
        None for an annotation of something else, such as the radiographs that some patients have.

    Raises:
        DataError: no XML, cut off, or not as LIDC writes it.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: not readable as XML, it may be cut off ({error})") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != "LidcReadMessage":
        return None
    series = (root.findtext("ResponseHeader/SeriesInstanceUid") or "").strip()
    if not series:
        raise DataError(f"{path}: has no ResponseHeader/SeriesInstanceUid, so its scan is unknown")
    sessions = root.findall("readingSession")
    marks = []
    for reader, session in enumerate(sessions):
        for nodule in session.findall("unblindedReadNodule"):
            try:
                mark = _mark(reader, nodule)
            except (TypeError, ValueError) as error:
                name = nodule.findtext("noduleID")
                raise DataError(f"{path}: the nodule {name!r} cannot be read ({error})") from error
            if mark is not None:
                marks.append(mark)
    return Reading(series, len(sessions), marks)


def _mark(reader: int, nodule: ElementTree.Element) -> Mark | None:
    """None for a nodule below 3 mm, which is one point."""
    rois = [
        (_text(roi, "imageSOP_UID"), float(_text(roi, "imageZposition")), roi) for roi in nodule.iter("roi")
    ]
    outlines = [(uid, _outline(roi), _included(roi)) for uid, _, roi in rois]
    if all(len(points) < 2 for _, points, _ in outlines):
        return None
    pixels: dict[str, np.ndarray] = {}
    for included in (True, False):
        for uid, points, inclusion in outlines:
            if inclusion is included:
                merge = np.union1d if included else np.setdiff1d
                pixels[uid] = merge(pixels.get(uid, np.zeros(0, np.int64)), _enclosed(points))
    if not any(len(at) for at in pixels.values()):  # outlines too small to enclose a pixel
        pixels = {uid: np.unique(_number(points)) for uid, points, inclusion in outlines if inclusion}
    traits = nodule.find("characteristics")
    given = [] if traits is None else [name for name in RATINGS if traits.find(name) is not None]
    ratings = {name: int(_text(nodule, f"characteristics/{name}")) for name in given}
    return Mark(
        reader,
        nodule.findtext("noduleID") or "",
        {uid: at for uid, at in pixels.items() if len(at)},
        {uid: z for uid, z, _ in rois},
        ratings,
    )


def _text(element: ElementTree.Element, name: str) -> str:
    text = element.findtext(name)
    if text is None or not text.strip():
        raise ValueError(f"it has no {name}")
    return text.strip()


def _included(roi: ElementTree.Element) -> bool:
    return (roi.findtext("inclusion") or "TRUE").strip().upper() == "TRUE"


def _outline(roi: ElementTree.Element) -> np.ndarray:
    """(N, 2) y, x of an outline's pixels, in the order they were drawn."""
    points = [(int(_text(edge, "yCoord")), int(_text(edge, "xCoord"))) for edge in roi.iter("edgeMap")]
    return np.array(points, np.int64).reshape(-1, 2)


def _number(points: np.ndarray) -> np.ndarray:
    return np.asarray(points[:, 0] << SHIFT | points[:, 1])


def _enclosed(points: np.ndarray) -> np.ndarray:
    """Numbers of the pixels strictly inside an outline."""
    from skimage.draw import polygon, polygon_perimeter

    if len(points) < 3:
        return np.zeros(0, np.int64)
    filled = np.stack(polygon(points[:, 0], points[:, 1]), axis=1)
    border = np.stack(polygon_perimeter(points[:, 0], points[:, 1]), axis=1)
    return np.setdiff1d(_number(filled), _number(border))


def agree(marks: Sequence[Mark], readers: int, share: float) -> list[Consensus]:
    """Nodules that enough readers marked.

    Marks of different readers that have a pixel in common are one nodule, and so are those that are linked by
    others. Its pixels are those that at least ``share`` of its readers took for nodule; two marks of one
    reader in one nodule count once.

    Args:
        marks: of one scan.
        readers: at least so many must have marked a nodule.
        share: of the nodule's readers, above 0 to 1.

    Returns:
        From the lowest slice to the highest.
    """
    found = []
    for group in _groups(marks):
        by_reader: dict[int, list[Mark]] = {}
        for mark in group:
            by_reader.setdefault(mark.reader, []).append(mark)
        if len(by_reader) >= readers:
            found.append(_consensus(list(by_reader.values()), share))
    return sorted((nodule for nodule in found if nodule.pixels), key=Consensus.centre)


def _groups(marks: Sequence[Mark]) -> list[list[Mark]]:
    """Marks that are one nodule; a scan has few, so that every pair is looked at."""
    groups: list[list[Mark]] = []
    for mark in marks:
        apart, linked = [], [mark]
        for group in groups:
            if any(_touch(mark, other) for other in group):
                linked.extend(group)
            else:
                apart.append(group)
        groups = [*apart, linked]
    return groups


def _touch(one: Mark, other: Mark) -> bool:
    shared = one.pixels.keys() & other.pixels.keys()
    return one.reader != other.reader and any(
        np.intersect1d(one.pixels[uid], other.pixels[uid], assume_unique=True).size for uid in shared
    )


def _own(marks: Sequence[Mark], uid: str) -> np.ndarray:
    """Pixels of a slice that a reader took for nodule, in any of the marks."""
    pixels = [mark.pixels[uid] for mark in marks if uid in mark.pixels]
    return np.unique(np.concatenate(pixels)) if pixels else np.zeros(0, np.int64)


def _consensus(by_reader: Sequence[Sequence[Mark]], share: float) -> Consensus:
    marks = [mark for own in by_reader for mark in own]
    pixels = {}
    for uid in dict.fromkeys(uid for mark in marks for uid in mark.pixels):
        numbers, votes = np.unique(
            np.concatenate([_own(group, uid) for group in by_reader]), return_counts=True
        )
        kept = numbers[votes >= share * len(by_reader) - 1e-9]
        if len(kept):
            pixels[uid] = np.stack([kept >> SHIFT, kept & ((1 << SHIFT) - 1)], axis=1)
    ratings = {
        name: float(np.mean([mark.ratings[name] for mark in marks if name in mark.ratings]))
        for name in RATINGS
        if any(name in mark.ratings for mark in marks)
    }
    z = {uid: at for mark in marks for uid, at in mark.z.items()}
    return Consensus(len(by_reader), pixels, ratings, z)
