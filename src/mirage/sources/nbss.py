"""The record of a screening service (NBSS) of one client of OMI-DB: episodes, opinions and pathology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mirage.sources.mammograms import worst

STATUSES = ("Normal", "Benign", "Malignant", "Interval")
"""What a client has, from better to worse; an interval cancer was found between two screenings."""
PATHOLOGY = ("SURGERY", "BIOPSYWIDE", "BIOPSYFINE")
IMPRESSIONS = ("ASSESSMENT", "CLINICAL")
EVENTS = ("SCREENING", "OTHERSCREENING", *IMPRESSIONS, *PATHOLOGY)
INTERVAL = frozenset({"CI", "INTERVAL CASE", "INTERVAL CANCER"})
"""Types of an episode that is an interval cancer, as a code or in words."""
OPINIONS = {
    **dict.fromkeys(("om", "b5", "c5", "h5", "malignant", "cyt malig", "hist malignant"), "malignant"),
    **dict.fromkeys(("ob", "b2", "c2", "h2", "benign", "cyt benign", "histol benign"), "benign"),
}
"""Opinions on a side or a lesion, as a code or in words; all others are normal or uncertain."""


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
        self.episodes = {str(key): value for key, value in record.items() if isinstance(value, Mapping)}

    @property
    def status(self) -> str | None:
        """The worst of ``STATUSES``, by surgery and biopsies; None when there is no event at all."""
        episodes = self.episodes.values()
        if any(str(episode.get("EpisodeType") or "").upper() in INTERVAL for episode in episodes):
            return "Interval"
        found = worst(_said(event, None) for key in self.episodes for event in self._events(key, PATHOLOGY))
        if found:
            return found.title()
        return "Normal" if any(True for key in self.episodes for _ in self._events(key, EVENTS)) else None

    def episode_of(self, episode: str | None, date: str | None) -> str | None:
        """A study's episode: the one it names, else that with an event on its date, else the only one."""
        if episode in self.episodes:
            return episode
        day = _day(date)
        dated = [key for key in self.episodes if day and day in self._days(key)]
        only = list(self.episodes) if len(self.episodes) == 1 else []
        return next(iter(dated or only), None)

    def opinion(self, episode: str | None, side: str | None) -> str | None:
        """The worst of what an episode says of a side, benign or malignant; None: neither.

        Pathology counts; where there is none, what assessment and clinic thought.
        """
        if episode is None or side is None:
            return None
        for kinds in (PATHOLOGY, IMPRESSIONS):
            found = worst(_said(event, side) for event in self._events(episode, kinds))
            if found:
                return found
        return None

    def finding(self, episode: str | None, side: str | None, number: str) -> Finding:
        """What pathology says of a numbered lesion of an episode; of that on ``side`` where both have one."""
        record = self.episodes.get(episode or "", {})
        for where in sorted("LR", key=lambda one: one != side):
            lesions = {event: _numbered(_child(_child(record, event), where), number) for event in record}
            if any(lesions.values()):
                grades = [_opinion(lesions.get(event, {}).get("Opinion")) for event in PATHOLOGY]
                described = lesions.get("LESION", {}).get("LesionDescription")
                return Finding(worst(grades), str(described) if described else None)
        return Finding()

    def _events(self, episode: str, kinds: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        """Events of an episode; other screenings are one deeper, by number."""
        for kind in kinds:
            event = _child(self.episodes.get(episode, {}), kind)
            if kind == "OTHERSCREENING":
                yield from (one for one in event.values() if isinstance(one, Mapping))
            elif event:
                yield event

    def _days(self, episode: str) -> set[str]:
        """Days of all events of an episode."""
        found: set[str] = set()
        for event in self._events(episode, EVENTS):
            sides = [_child(event, side) for side in "LR"]
            lesions = [one for side in sides for one in side.values() if isinstance(one, Mapping)]
            for part in (event, *sides, *lesions):
                found |= {_day(part.get(key)) for key in ("dateperformed", "DatePerformed", "DateTaken")}
        return found - {""}


def _child(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    return found if isinstance(found, Mapping) else {}


def _numbered(lesions: Mapping[str, Any], number: str) -> Mapping[str, Any]:
    """The lesion of a number, however it is written: ``1`` or ``01``."""
    return next((_child(lesions, key) for key in lesions if key.lstrip("0") == number.lstrip("0")), {})


def _day(date: Any) -> str:
    """``20150102`` of ``2015-01-02`` and of itself; empty when unknown."""
    return str(date or "").replace("-", "").strip()[:8]


def _said(event: Mapping[str, Any], side: str | None) -> str | None:
    """The worst that an event says of a side, or of both, and of the lesions there."""
    found = []
    for one, name in (("L", "left_opinion"), ("R", "right_opinion")):
        if side in (None, one):
            lesions = [lesion for lesion in _child(event, one).values() if isinstance(lesion, Mapping)]
            found += [_opinion(event.get(name)), *(_opinion(lesion.get("Opinion")) for lesion in lesions)]
    return worst(found)


def _opinion(code: Any) -> str | None:
    """Of a code or word, also of one such as B5b."""
    word = str(code or "").strip().lower()
    return OPINIONS.get(word) or (OPINIONS.get(word[:2]) if len(word) == 3 else None)


def status_of(word: str) -> str | None:
    """One of ``STATUSES`` of a table's word: Normal, B, Malignant, M, CI, Interval Cancer ...; else None."""
    plain = word.strip().lower()
    if plain in ("ci", "ic") or plain.startswith("interval"):
        return "Interval"
    return next((known for known in STATUSES if plain and known.lower().startswith(plain[:6])), None)
