"""The results chapter of a thesis: from the data to the limits, with an appendix to reproduce it."""

from __future__ import annotations

from mirage.config.printing import PrintOptions
from mirage.report.printing.outline import Outline, Section, chapters_of, failures, measured, text
from mirage.report.record import Record

DESIGN = ("pipeline", "data", "preprocessing", "training", "synthesis")
RESULTS = ("fidelity", "diversity", "novelty", "privacy", "utility")


def thesis(record: Record, options: PrintOptions) -> Outline:
    """Sections of the thesis."""
    return Outline(
        [
            *_introduction(options),
            *chapters_of(record, "findings", *DESIGN),
            *measured(record, *RESULTS),
            *chapters_of(record, "further"),
            failures(record),
            *chapters_of(record, "limits"),
            *_conclusions(options),
        ],
        chapters_of(record, "provenance", "exhibits"),
    )


def _introduction(options: PrintOptions) -> list[Section]:
    if not options.background:
        return []
    return [Section("Introduction", "introduction", [text(words) for words in options.background])]


def _conclusions(options: PrintOptions) -> list[Section]:
    if not options.conclusions:
        return []
    return [Section("Conclusions", "conclusions", [text(words) for words in options.conclusions])]
