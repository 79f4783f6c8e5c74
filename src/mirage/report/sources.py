"""Where exhibits come from: the rules whose results they show, and the commits these were made with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirage.config.evaluations import ArmsEvaluation
from mirage.data import Dataset
from mirage.files import read_json
from mirage.report.inputs import ReportInputs

RULES = {
    "gather_dataset": "workflow/rules/prepare.smk",
    "gather_synthetic": "workflow/rules/synthesise.smk",
    "train_generator": "workflow/rules/train.smk",
    "evaluate_arm": "workflow/rules/evaluate.smk",
    "evaluate_set": "workflow/rules/evaluate.smk",
    "report_study": "workflow/rules/report.smk",
}
"""Rule -> its file, of those that finish what a report shows."""
COMMIT_DIGITS = 12


@dataclass(frozen=True)
class Made:
    """One result with its provenance.

    Attributes:
        kind: dataset, model or evaluation.
        name: of the entry.
        part: of the entry, such as ``seed-0``; empty where it is whole.
        rule: that made it.
        record: as :func:`mirage.provenance.describe` gives it; empty where nothing was recorded.
    """

    kind: str
    name: str
    part: str
    rule: str
    record: Mapping[str, Any]

    @property
    def commit(self) -> str:
        """The commit that made it, shortened; empty when unknown."""
        return str((self.record.get("code") or {}).get("commit") or "")[:COMMIT_DIGITS]

    @property
    def edited(self) -> bool:
        """Whether the checkout had changes that were not committed."""
        return bool((self.record.get("code") or {}).get("uncommitted_changes"))

    @property
    def title(self) -> str:
        """``model cell_masks, seed-0``."""
        return f"{self.kind} {self.name}{f', {self.part}' if self.part else ''}"


@dataclass(frozen=True)
class Source:
    """Behind one exhibit: a rule, and the commits by which it made what is shown."""

    rule: str
    commits: tuple[str, ...] = ()

    def anchors(self) -> Iterator[tuple[str, str]]:
        """(commit, id of its row in the table of sources)."""
        return ((commit, anchor(self.rule, commit)) for commit in self.commits)

    @property
    def anchor(self) -> str:
        """Id of the first row of its rule in the table of sources."""
        return anchor(self.rule, self.commits[0] if self.commits else "")


def joint(sources: Sequence[Source]) -> Source | None:
    """All sources as one, where they are of one rule; else None."""
    if len({source.rule for source in sources}) != 1:
        return None
    commits = dict.fromkeys(commit for source in sources for commit in source.commits)
    return Source(sources[0].rule, tuple(commits))


def anchor(rule: str, commit: str) -> str:
    """Id of a row of the table of sources."""
    return f"source-{rule.replace('_', '-')}-{commit or 'unknown'}"


def sources_of(made: Sequence[Made], kinds: Sequence[str]) -> dict[str, Source]:
    """Source of every entry of some kinds, by its name."""
    found: dict[str, list[Made]] = {}
    for one in made:
        if one.kind in kinds:
            found.setdefault(one.name, []).append(one)
    return {
        name: Source(parts[0].rule, tuple(dict.fromkeys(part.commit for part in parts)))
        for name, parts in found.items()
    }


def made_of(inputs: ReportInputs, data: Mapping[str, Dataset]) -> list[Made]:
    """Every dataset, model and part of an evaluation with its provenance."""
    found = [
        Made("dataset", name, "", _rule_of_dataset(one), one.info.provenance) for name, one in data.items()
    ]
    for name, folders in inputs.models.items():
        for folder in folders:
            path = folder / "provenance.json"
            record = read_json(path) if path.is_file() else {}
            found.append(Made("model", name, folder.name, "train_generator", record))
    for name, (config, folders) in inputs.evaluations.items():
        rule = "evaluate_arm" if isinstance(config, ArmsEvaluation) else "evaluate_set"
        for folder in folders:
            for path in sorted((folder / "details").glob("*.json")):
                part = "" if folder.name == name else f"{folder.parent.name} {folder.name}"
                found.append(Made("evaluation", name, part, rule, read_json(path).get("provenance") or {}))
    return found


def _rule_of_dataset(dataset: Dataset) -> str:
    """Recipes say of what they are made; raw data are read by a source."""
    made = "recipe" in (dataset.info.provenance.get("config") or {})
    return "gather_synthetic" if made else "gather_dataset"
