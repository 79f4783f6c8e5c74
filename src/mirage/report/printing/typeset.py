"""typst, with fonts that come with it and with matplotlib: the same letters on every machine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import typst
from fontTools.ttLib import TTFont
from matplotlib import get_data_path

from mirage.errors import DataError

logger = logging.getLogger("mirage")

DEJAVU = Path(get_data_path()) / "fonts" / "ttf"
"""DejaVu, which comes with matplotlib: for charts, and for letters that typst's own fonts lack."""
FALLBACK = "DejaVu Sans"
LATIN = 0x2FF
"""Last letter that typst's own fonts are known to have, whatever the text."""


def compiled(source: Path, fonts: str = "", **form: Any) -> Any:
    """A compiled document: the bytes of a PDF, or with ``format="png"`` those of its pages.

    Args:
        source: the document; it sees the files beside it.
        fonts: a folder with further fonts, or empty.
        form: further options of typst.

    Raises:
        DataError: typst refuses the source.
    """
    try:
        return typst.compile(
            source, root=source.parent, font_paths=_folders(fonts), ignore_system_fonts=True, **form
        )
    except typst.TypstError as error:
        raise DataError(f"print: typst cannot set {source.name}: {error}") from error


def families(fonts: str) -> list[str]:
    """Families to fall back on, in their order; those of the folder last."""
    if not fonts:
        return [FALLBACK]
    own = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[fonts])
    return [FALLBACK, *sorted(own.families())]


def warn_of_missing_letters(text: str, fonts: str) -> None:
    """Say which letters of a text no font of the print has, and how to mend it."""
    missing = {letter for letter in text if ord(letter) > LATIN}
    paths = [DEJAVU / "DejaVuSans.ttf", *sorted(Path(fonts).rglob("*.[to]tf") if fonts else ())]
    for path in paths:
        if missing:
            missing -= {chr(code) for code in TTFont(path, lazy=True).getBestCmap() or ()}
    if missing:
        logger.warning(
            "print: no font has the letters %s; set `print.fonts` of the study to a folder with one",
            " ".join(sorted(missing)),
        )


def _folders(fonts: str) -> list[Path]:
    return [DEJAVU, *([Path(fonts)] if fonts else [])]
