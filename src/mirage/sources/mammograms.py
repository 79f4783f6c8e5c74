"""What the readers of mammograms share: words of sides, views and lesions, and which images are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mirage.config.mammography import (
    LESIONS,
    VIEWS,
    DigitalMammographySource,
    Lesion,
    MammographySource,
)
from mirage.sources.archive import Archive, Record
from mirage.sources.base import RawImage

SIDES = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
MALIGNANCIES = ("benign", "malignant")
"""What is known of a lesion, from better to worse."""


@dataclass
class MammogramRecord(Record):
    """What an archive's tables say of one mammogram.

    ``boxes`` hold lesions that have a place, of all kinds: see ``lesion_box``.

    Attributes:
        laterality: L or R; None when unknown.
        abnormal: whether the archive says that the breast has a lesion, though it may not say where.
        unplaced: whether it does not say so of a lesion, though it may say of others; need not be told where
            an abnormal image has no box at all.
    """

    laterality: str | None = None
    abnormal: bool = False
    unplaced: bool = False

    @property
    def healthy(self) -> bool:
        """No lesion of any kind, with or without a place."""
        return not self.boxes and not self.abnormal


@dataclass
class DigitalMammogramRecord(MammogramRecord):
    """What an archive says of one digital mammogram.

    Attributes:
        manufacturer, model: as the header has them; None when unknown.
        intent: ``FOR PRESENTATION`` or ``FOR PROCESSING``; None when unknown.
    """

    manufacturer: str | None = None
    model: str | None = None
    intent: str | None = None


AnyMammogram = TypeVar("AnyMammogram", bound=MammogramRecord)


class Mammograms(Archive[AnyMammogram]):
    """Reader of an archive of mammograms. A subclass says what its tables hold: ``records``.

    Every image has the attributes ``laterality``, ``view``, ``lesion_types`` (of all its lesions, kept or
    not, such as ``mass|calcification``) and ``malignancy`` (of its worst one).
    """

    modality = "mammography"
    options: MammographySource

    def wanted(self, record: AnyMammogram) -> bool:
        """A breast's side and whether it has a lesion at all."""
        side = self.options.laterality
        return (
            (side is None or record.laterality == side)
            and (not self.options.healthy_only or record.healthy)
            and super().wanted(record)
        )

    def boxed(self, record: AnyMammogram) -> bool:
        """Also where what has been drawn cannot be read: a failed row, and no image that is passed over."""
        unread = record.there and record.problem is not None and record.abnormal and not record.boxes
        return unread or super().boxed(record)

    def described(self, record: AnyMammogram) -> dict[str, Any]:
        """Side and lesions too."""
        return {
            "laterality": record.laterality,
            "lesion_types": kinds_of(record.boxes),
            "malignancy": worst(box.get("malignancy") for box in record.boxes),
            **super().described(record),
        }

    def choice(self) -> tuple[str, ...]:
        """Side and health too."""
        return ("laterality", "healthy_only", *super().choice())

    def _load(self, record: AnyMammogram) -> RawImage:
        raw = super()._load(record)
        raw.unplaced = record.unplaced or (record.abnormal and not record.boxes)
        return raw


AnyDigital = TypeVar("AnyDigital", bound=DigitalMammogramRecord)


class DigitalMammograms(Mammograms[AnyDigital]):
    """Reader of an archive whose headers tell manufacturer, model and presentation intent."""

    options: DigitalMammographySource

    def wanted(self, record: AnyDigital) -> bool:
        """The machine and what it made."""
        options = self.options
        return (
            _has_any(record.manufacturer, options.manufacturers)
            and _has_any(record.model, options.models)
            and (options.intents is None or record.intent in options.intents)
            and super().wanted(record)
        )

    def described(self, record: AnyDigital) -> dict[str, Any]:
        """The machine too."""
        machine = {"manufacturer": record.manufacturer, "model": record.model, "intent": record.intent}
        return {**machine, **super().described(record)}

    def choice(self) -> tuple[str, ...]:
        """The machine too."""
        return ("manufacturers", "models", "intents", *super().choice())

    def held(self, records: Sequence[AnyDigital]) -> str:
        """Each machine with what it made."""
        machines = {f"{record.manufacturer} {record.model} {record.intent}" for record in records}
        return f"{super().held(records)}, of {'; '.join(sorted(machines))}"


def _has_any(text: str | None, wanted: Sequence[str] | None) -> bool:
    """Whether one of ``wanted`` is among the whole words of a text, whatever their case."""
    if wanted is None:
        return True
    return any(
        re.search(rf"(?<!\w){re.escape(word.strip())}(?!\w)", text or "", re.IGNORECASE) for word in wanted
    )


def lesion_box(
    kind: Lesion, corners: Sequence[float], malignancy: str | None = None, **words: Any
) -> dict[str, Any]:
    """A lesion as a box of ``RawImage``.

    Args:
        kind: becomes ``label``.
        corners: x, y of two opposite corners, in any order, pixels of the image, half-open.
        malignancy: benign, malignant, or None when unknown.
        words: what else the archive says, such as ``margin``, ``shape``, ``conspicuity``.
    """
    x0, y0, x1, y1 = corners
    edges = {"x0": min(x0, x1), "y0": min(y0, y1), "x1": max(x0, x1), "y1": max(y0, y1)}
    return {**edges, "label": kind, "malignancy": malignancy, **words}


def kinds_of(boxes: Iterable[dict[str, Any]]) -> str:
    """Kinds of lesions, each once, in the order of ``LESIONS``: ``mass|calcification``."""
    found = {box["label"] for box in boxes}
    return "|".join(kind for kind in LESIONS if kind in found)


def worst(found: Iterable[str | None]) -> str | None:
    """The worst of some malignancies; None when none is known."""
    known = set(found)
    return next((word for word in reversed(MALIGNANCIES) if word in known), None)


def side_of(text: str | None) -> str | None:
    """L or R of ``L``, ``left``, ``RIGHT`` ...; None of anything else."""
    return SIDES.get((text or "").strip().upper())


def view_of(text: str | None) -> tuple[str | None, str | None]:
    """View and side that a word such as ``MLO``, ``LCC``, ``R_MLO`` or ``RMLO`` names.

    A modifier at the end, such as ``ID`` (implant displaced) of ``CCID``, is left off; of a word that is no
    known view, the view is the word itself.

    Returns:
        The view, None of an empty word; L, R, or None when the word does not name a side.
    """
    word = re.sub(r"[\s_-]+", "", (text or "").upper())
    if not word:
        return None, None
    for side, rest in ((None, word), (word[0], word[1:])):
        if side in (None, "L", "R"):
            for view in sorted(VIEWS, key=len, reverse=True):
                if rest in (view, f"{view}ID"):
                    return view, side
    return word, None
