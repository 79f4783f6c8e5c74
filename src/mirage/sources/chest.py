"""What the readers of chest radiographs share: the findings by which images are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mirage.config.chest import ChestSource
from mirage.sources.archive import Archive, Record


@dataclass
class ChestRecord(Record):
    """What an archive's tables say of one chest radiograph.

    Attributes:
        findings: labels that the image has.
    """

    findings: Sequence[str] = ()


class ChestRadiographs(Archive[ChestRecord]):
    """Reader of an archive of chest radiographs. A subclass says what its tables hold: ``records``."""

    modality = "chest radiography"
    proposed = " (`mirage exclusions` proposes one)"
    options: ChestSource

    def wanted(self, record: ChestRecord) -> bool:
        """Any of the findings that are asked for is enough."""
        findings = self.options.findings
        asked = findings is None or not set(findings).isdisjoint(record.findings)
        return asked and super().wanted(record)

    def described(self, record: ChestRecord) -> dict[str, Any]:
        """Findings first."""
        return {"findings": "|".join(record.findings), **super().described(record)}

    def choice(self) -> tuple[str, ...]:
        """Findings too."""
        return ("findings", *super().choice())

    def held(self, records: Sequence[ChestRecord]) -> str:
        """The findings of all images."""
        return f"the findings {', '.join(sorted({word for one in records for word in one.findings}))}"
