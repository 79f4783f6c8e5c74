"""One line of `mirage doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was looked at and found.

    Attributes:
        topic: a word or two.
        level: ``ok``; ``warning``: a run may go on with it; ``problem``: a run would fail.
        found: what is there.
        mend: how to mend it; empty where there is nothing to mend.
    """

    topic: str
    level: Literal["ok", "warning", "problem"]
    found: str
    mend: str = ""
