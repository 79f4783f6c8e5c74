"""Marks of OMI-DB: what an expert drew around and said of a lesion, from JSON or from a row of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mirage.config.mammography import Lesion
from mirage.errors import DataError

FLAGS: dict[str, Lesion] = {
    "Mass": "mass",
    "WithCalcification": "calcification",
    "SuspiciousCalcifications": "calcification",
    "Dystrophic": "calcification",
    "FatNecrosis": "other",
    "MilkOfCalcium": "calcification",
    "OtherBenignCluster": "calcification",
    "PlasmaCellMastitis": "calcification",
    "Skin": "other",
    "SutureCalcification": "calcification",
    "Vascular": "calcification",
    "ArchitecturalDistortion": "distortion",
    "FocalAsymmetry": "asymmetry",
}
"""Flag -> kind of lesion that it means; those of benign calcifications name their type."""
ORDER: tuple[Lesion, ...] = ("mass", "calcification", "distortion", "asymmetry", "other")
"""Which kind a lesion of several is called by."""
SHAPES = {
    "mass": ("ill_defined", "spiculated", "well_defined", "other", "unknown"),
    "calcification": (
        "coarse_or_popcorn_like",
        "egg_shell_or_rim",
        "lucent_centred",
        "rod_like",
        "round_and_punctate",
    ),
}
"""Known words of MassClassification and BenignClassification."""
CONSPICUITIES = ("obvious", "subtle", "very_subtle", "occult", "not_recalled")
YES, NO = (
    frozenset({"1", "y", "yes", "true"}),
    frozenset({"", "0", "n", "no", "false", "none", "null", "nan"}),
)
BENIGN = ("dystrophic", "milk", "cluster", "mastitis", "suture", "vascular")
PATHOLOGIES: dict[str, Lesion] = {
    "mass": "mass",
    "calc": "calcification",
    "distortion": "distortion",
    "asymmetry": "asymmetry",
    "necrosis": "other",
    "skin": "other",
    **dict.fromkeys(BENIGN, "calcification"),
}
"""A part of a table's word -> the kind that it means, such as ``suspicious_calcifications``."""


@dataclass(frozen=True)
class Mark:
    """One mark.

    Attributes:
        mark: its id.
        kinds: of lesion, the one that it is called by first.
        corners: x and y of two opposite corners, pixels; None when it has no place.
        conspicuity: such as ``subtle``.
        lesions: numbers of the lesion in the screening service's record.
        words: margin of a mass, type of a benign calcification.
        strange: words that are not known, which are kept as they are.
    """

    mark: str
    kinds: tuple[Lesion, ...]
    corners: tuple[float, float, float, float] | None
    conspicuity: str | None = None
    lesions: tuple[str, ...] = ()
    words: dict[str, str] = field(default_factory=dict)
    strange: tuple[str, ...] = ()


def mark_of_json(key: str, fields: Mapping[str, Any]) -> Mark:
    """A mark of ``imagedb_<client>.json``. Numbers and flags may be text.

    Raises:
        DataError: a flag or a corner that means nothing.
    """
    where = f"mark {fields.get('MarkID') or key}"
    found = {kind for flag, kind in FLAGS.items() if _flag(fields, flag, where)}
    words, strange = {}, []
    for name, column in (("margin", "MassClassification"), ("morphology", "BenignClassification")):
        word = plain(fields.get(column))
        if not word:
            continue
        words[name] = word
        of_mass, of_calcification = word in SHAPES["mass"], word in SHAPES["calcification"]
        if of_calcification or "calc" in word:
            found.add("calcification")
        elif of_mass and not found:
            found.add("mass")
        elif not of_mass:
            strange.append(f"{column} {word!r}")
    conspicuity = plain(fields.get("Conspicuity"))
    if conspicuity and conspicuity not in CONSPICUITIES:
        strange.append(f"Conspicuity {conspicuity!r}")
    return Mark(
        mark=str(fields.get("MarkID") or key),
        kinds=_ordered(found),
        corners=_corners([fields.get(name) for name in ("X1", "Y1", "X2", "Y2")], where),
        conspicuity=conspicuity or None,
        lesions=tuple(re.findall(r"\w+", str(fields.get("LinkedNBSSLesionNumber") or ""))),
        words=words,
        strange=tuple(strange),
    )


def mark_of_row(row: Mapping[str, str], where: str) -> Mark | None:
    """A mark of a table; None in the row of an image without one.

    Args:
        row: ``mark``, ``conspicuity``, ``x1``, ``y1``, ``x2``, ``y2``, ``pathologies``; empty when unknown.
        where: file and line, for messages.

    Raises:
        DataError: a corner that means nothing.
    """
    corners = _corners([row.get(name) for name in ("x1", "y1", "x2", "y2")], where)
    pathologies = [plain(word) for word in re.split(r"[\s,;|]+", row.get("pathologies") or "") if word]
    if corners is None and not pathologies and not row.get("mark"):
        return None
    found, strange = set(), []
    for word in pathologies:
        kinds = {kind for part, kind in PATHOLOGIES.items() if part in word}
        found |= kinds
        if not kinds and word not in SHAPES["mass"] and word not in SHAPES["calcification"]:
            strange.append(f"pathology {word!r}")
    conspicuity = plain(row.get("conspicuity"))
    return Mark(
        mark=row.get("mark") or where.rpartition(" ")[2],
        kinds=_ordered(found),
        corners=corners,
        conspicuity=conspicuity or None,
        strange=tuple(strange),
    )


def plain(word: Any) -> str:
    """Lower case, with underscores: ``Very_subtle``, ``coarse or popcorn-like``."""
    text = re.sub(r"[\s-]+", "_", str(word if word is not None else "").strip().lower())
    return "" if text in NO else text


def _ordered(found: set[Lesion]) -> tuple[Lesion, ...]:
    return tuple(kind for kind in ORDER if kind in found) or ("other",)


def _flag(fields: Mapping[str, Any], name: str, where: str) -> bool:
    """A flag that is set is 1, or its own name; absent and empty mean that nothing is said."""
    value = fields.get(name)
    word = str("" if value is None else value).strip().lower().removesuffix(".0")
    if word == name.lower():
        return True
    if word not in YES | NO:
        raise DataError(f"{where}: {name} is {value!r}, expected 1 or 0, yes or no, or {name!r}")
    return word in YES


def _corners(values: list[Any], where: str) -> tuple[float, float, float, float] | None:
    """Numbers; None where one is missing, and where all are zero."""
    words = [str("" if value is None else value).strip() for value in values]
    if any(word.lower() in ("", "nan", "none", "null") for word in words):
        return None
    try:
        x1, y1, x2, y2 = (float(word) for word in words)
    except ValueError:
        raise DataError(f"{where}: its corners are {', '.join(words)}, expected four numbers") from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise DataError(f"{where}: its corners are {', '.join(words)}, expected four numbers")
    return (x1, y1, x2, y2) if any((x1, y1, x2, y2)) else None
