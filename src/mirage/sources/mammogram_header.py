"""What the header of a mammogram says, from a DICOM file or from the DICOM JSON model (PS3.18, F.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mirage.sources.dicom import chest_wall_of, spacing_of
from mirage.sources.mammograms import side_of, view_of
from mirage.sources.rows import age_of

VIEW_CODES = {
    "R-10242": "CC",
    "399162004": "CC",
    "R-10226": "MLO",
    "399368009": "MLO",
    "R-10224": "ML",
    "399260004": "ML",
    "R-10228": "LM",
    "399352003": "LM",
    "R-10230": "LMO",
    "399099002": "LMO",
    "R-1024A": "XCCL",
    "399192008": "XCCL",
    "R-1024B": "XCCM",
    "399101009": "XCCM",
    "R-102CF": "XCC",
    "R-10244": "FB",
    "399196006": "FB",
    "R-102D0": "SIO",
    "399188001": "SIO",
    "R-40AAA": "ISO",
    "441555000": "ISO",
}
"""Codes of views (PS3.16, CID 4014), of SNOMED's older and newer scheme."""
MEANINGS = {
    "Craniocaudal": "CC",
    "MediolateralOblique": "MLO",
    "Mediolateral": "ML",
    "Lateromedial": "LM",
    "LateromedialOblique": "LMO",
}
"""Meanings of such codes, without hyphens and spaces."""
IMPLANT_DISPLACED = frozenset({"R-102D5", "399209000"})
MODIFIERS = "ViewModifierCodeSequence"
FLAT_FIELD = "FLATFIELD"
"""Word for the view of a calibration image, which shows no breast."""


@dataclass(frozen=True)
class MammogramHeader:
    """What is known of one mammogram; None where the header does not say.

    Attributes:
        manufacturer, model: as written.
        intent: FOR PRESENTATION or FOR PROCESSING.
        laterality: L or R.
        view: CC, MLO ...
        flat_field: whether it is a calibration image.
        implant: whether there is one.
        implant_displaced: whether the view is one with the implant pushed back.
        age: years.
        thickness_mm: of the compressed breast.
        spacing_mm: of rows and columns, in the patient.
        chest_wall: side of the image at which the chest wall lies, left or right.
    """

    manufacturer: str | None = None
    model: str | None = None
    intent: str | None = None
    laterality: str | None = None
    view: str | None = None
    flat_field: bool = False
    implant: bool | None = None
    implant_displaced: bool = False
    age: int | None = None
    thickness_mm: float | None = None
    spacing_mm: tuple[float, ...] | None = None
    chest_wall: str | None = None


class JsonHeader:
    """A header in DICOM's JSON model, looked up by keyword as in pydicom; tags are read when asked for."""

    def __init__(self, tags: Mapping[str, Any]) -> None:
        self.tags = tags

    def get(self, keyword: str) -> Any:
        """One value, a list of several, a list of ``JsonHeader`` of a sequence; None when unknown."""
        tag = _tag(keyword)
        element = self.tags.get(tag, self.tags.get(tag.lower()))
        values = element.get("Value") if isinstance(element, Mapping) else None
        if not isinstance(values, list) or not values:
            return None
        if isinstance(values[0], Mapping):
            return [JsonHeader(value) for value in values if isinstance(value, Mapping)]
        return values[0] if len(values) == 1 else values


@cache
def _tag(keyword: str) -> str:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    assert tag is not None
    return f"{tag:08X}"


def mammogram_header(header: Any) -> MammogramHeader:
    """What a header says.

    Args:
        header: a ``JsonHeader``, or a pydicom ``Dataset``.
    """
    word = _text(header, "ViewPosition")
    view, side = view_of(word)
    code = next(_items(header, "ViewCodeSequence"), None)
    if view is None and code is not None:
        meaning = (_text(code, "CodeMeaning") or "").replace("-", "").title()
        view = VIEW_CODES.get(_text(code, "CodeValue") or "") or MEANINGS.get(meaning.replace(" ", ""))
    modifiers = [] if code is None else [_text(item, "CodeValue") for item in _items(code, MODIFIERS)]
    displaced = not IMPLANT_DISPLACED.isdisjoint(modifiers)
    intent = _text(header, "PresentationIntentType")
    return MammogramHeader(
        manufacturer=_text(header, "Manufacturer"),
        model=_text(header, "ManufacturerModelName"),
        intent=intent.upper() if intent else None,
        laterality=side_of(_text(header, "ImageLaterality")) or side_of(_text(header, "Laterality")) or side,
        view=view,
        flat_field=(word or "").upper().replace(" ", "") == FLAT_FIELD,
        implant={"YES": True, "NO": False}.get((_text(header, "BreastImplantPresent") or "").upper()),
        implant_displaced=displaced or ((word or "").upper().endswith("ID") and view != (word or "").upper()),
        age=age_of(_text(header, "PatientAge") or ""),
        thickness_mm=_number(header, "BodyPartThickness"),
        spacing_mm=spacing_of(header),
        chest_wall=chest_wall_of(_text(header, "PatientOrientation")),
    )


def _items(header: Any, keyword: str) -> Iterator[Any]:
    """Items of a sequence, which are headers too; none where it is anything else."""
    items = header.get(keyword)
    if not isinstance(items, str) and hasattr(items, "__iter__"):
        yield from (item for item in items if hasattr(item, "get"))


def _text(header: Any, keyword: str) -> str | None:
    """A value as text, several with a backslash between; None when empty."""
    value = header.get(keyword)
    if value is None:
        return None
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    return ("\\".join(map(str, value)) if several else str(value)).strip() or None


def _number(header: Any, keyword: str) -> float | None:
    try:
        return float(header.get(keyword))
    except (TypeError, ValueError):
        return None
