"""The record of a screening service (NBSS) of one client of OMI-DB: episodes, opinions and pathology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mirage.sources.mammograms import side_of, worst

STATUSES = ("Normal", "Benign", "Malignant", "Interval")
"""What a client has, from better to worse; an interval cancer was found between two screenings."""
EVENTS = (
    "SCREENING",
    "OTHERSCREENING",
    "ASSESSMENT",
    "CLINICAL",
    "BIOPSYFINE",
    "BIOPSYWIDE",
    "SURGERY",
)
GRADES = {"1": None, "2": "benign", "5": "malignant"}
"""Digit of an opinion such as B5 (core biopsy), C2 (fine needle) or H5 (surgery): 1 is normal tissue."""


@dataclass(frozen=True)
class Finding:
    """What is known of one lesion of a side.

    Attributes:
        malignancy: benign, malignant, or None when no pathology says.
        description: such as ``Mass with calcification``.
    """

    malignancy: str | None = None
    description: str | None = None


class Nbss:
    """Looks into one ``nbss_<client>.json``; what is missing or of another form is unknown, never an error.

    Args:
        record: the file's object, episode id -> episode.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.episodes = {key: value for key, value in record.items() if isinstance(value, Mapping)}

    @property
    def status(self) -> str | None:
        """The worst of ``STATUSES``; None when there is no event at all."""
        if any(_is_interval(episode) for episode in self.episodes.values()):
            return "Interval"
        opinions = [opinion for key in self.episodes for opinion in self._opinions(key, None)]
        found = worst(opinions)
        return found.title() if found else ("Normal" if opinions else None)

    def episode_of(self, episode: str | None, date: str | None) -> str | None:
        """A study's episode: the one it names, else that with an event on its date, else the only one."""
        if episode in self.episodes:
            return episode
        dated = [
            key
            for key, record in self.episodes.items()
            if date and any(_child(record, event).get("dateperformed") == date for event in EVENTS)
        ]
        only = list(self.episodes) if len(self.episodes) == 1 else []
        return next(iter(dated or only), None)

    def opinion(self, episode: str | None, side: str | None) -> str | None:
        """The worst of what was thought of a side in an episode: benign, malignant, or None."""
        return worst(self._opinions(episode, side)) if episode and side else None

    def finding(self, episode: str | None, side: str | None, number: str) -> Finding:
        """What pathology says of a numbered lesion of a side; in any episode where the right one has none."""
        order = [key for key in (episode, *self.episodes) if key is not None and key in self.episodes]
        for key in order:
            details = [
                (event, lesion)
                for event in (*EVENTS, "LESION")
                for lesion in [_child(_child(_child(self.episodes[key], event), side), number)]
                if lesion
            ]
            if details:
                described = [
                    lesion.get("LesionDescription") for event, lesion in details if event == "LESION"
                ]
                grades = [_grade(lesion.get("Opinion")) for _, lesion in details]
                return Finding(worst(grades), next((str(word) for word in described if word), None))
        return Finding()

    def _opinions(self, episode: str | None, side: str | None) -> Iterator[str | None]:
        """What each event says: benign, malignant, or None for normal."""
        for name in EVENTS:
            event = _child(self.episodes.get(episode or "", {}), name)
            for key, value in event.items():
                if key in ("left_opinion", "right_opinion") and value:
                    if side in (None, side_of(key.removesuffix("_opinion"))):
                        yield _word(value)
                elif side_of(key) and side in (None, side_of(key)) and isinstance(value, Mapping):
                    for lesion in value.values():
                        if isinstance(lesion, Mapping) and lesion.get("Opinion"):
                            yield _grade(lesion["Opinion"])


def _child(parent: Mapping[str, Any], key: str | None) -> Mapping[str, Any]:
    found = parent.get(key) if key else None
    return found if isinstance(found, Mapping) else {}


def _is_interval(episode: Mapping[str, Any]) -> bool:
    """An interval cancer has a date of diagnosis, or an episode of its own type."""
    kind = str(episode.get("EpisodeType") or "").upper()
    return bool(episode.get("IntervalCancerDateOfDiagnosis")) or kind in ("CI", "INTERVAL CANCER")


def _grade(opinion: Any) -> str | None:
    """Of a code such as B5a or H2."""
    word = str(opinion or "").strip().upper()
    return GRADES.get(word[1:2]) if word[:1] in ("B", "C", "H") and word[1:2].isdigit() else _word(opinion)


def _word(opinion: Any) -> str | None:
    """Of a word such as Malignant or Benign."""
    word = str(opinion or "").strip().lower()
    return next((known for known in ("malignant", "benign") if word.startswith(known)), None)


def status_of(word: str) -> str | None:
    """One of ``STATUSES`` of a table's word: Normal, B, Malignant, M, CI, Interval Cancer ...; else None."""
    plain = word.strip().lower()
    if plain in ("ci", "ic") or plain.startswith("interval"):
        return "Interval"
    return next((known for known in STATUSES if plain and known.lower().startswith(plain[:6])), None)
