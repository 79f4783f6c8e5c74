"""The card of a stage: how each of its jobs was made, so that another clone can tell what still holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mirage.dry_run import PlannedJob
from mirage.errors import LedgerError
from mirage.files import digest, file_digest, read_json, write_json
from mirage.publish.knowledge import Knowledge, meaning_of


@dataclass(frozen=True)
class JobCard:
    """How one job was made.

    Attributes:
        records: Snakemake's record of each output, by path.
        inputs: files and folders whose change makes the job run again, those that other jobs make included.
        sources: digest of each of them that no job makes, and of the rule's script.
        lineages: of each of them that a job makes, see :func:`lineage`.
        benchmark: text of the job's benchmark file, by path; empty where there is none.
    """

    records: dict[str, dict[str, Any]]
    inputs: list[str]
    sources: dict[str, str]
    lineages: dict[str, str]
    benchmark: dict[str, str]


def lineage(card: JobCard) -> str:
    """Digest of all that decided the outputs of a job, down to the raw data.

    Outputs of two publications fit together where what one was made of and what the other says it made
    have the same lineage; not where data were made anew and the model that learnt from them was not.
    """
    meaning = {output: meaning_of(record) for output, record in card.records.items()}
    return digest([meaning, card.sources, card.lineages])


def card_of(job: PlannedJob, lineages: Mapping[str, str], knowledge: Knowledge) -> JobCard:
    """The card of a finished job; ``lineages`` are those of all outputs of the jobs before it.

    Raises:
        LedgerError: Snakemake has no record of an output, so nobody could tell whether it still holds.
    """
    own = [path for path in job.watched if path not in lineages] + ([job.script] if job.script else [])
    return JobCard(
        records={output: _record(job, output, knowledge) for output in job.outputs},
        inputs=list(job.watched),
        sources={path: found for path in own if (found := source_digest(path))},
        lineages={path: lineages[path] for path in job.watched if path in lineages},
        benchmark={path: Path(path).read_text() for path in [job.benchmark] if path and Path(path).exists()},
    )


def _record(job: PlannedJob, output: str, knowledge: Knowledge) -> dict[str, Any]:
    found = knowledge.record(output)
    if found is None:
        raise LedgerError(
            f"{output}: Snakemake has no record of how it was made; make it again: "
            f"`snakemake --cores all --force -- {output}`"
        )
    return found


def source_digest(path: str) -> str | None:
    """Digest of a file's bytes; None where there is none.

    Folders of raw data are no sources: what stands for their contents is a pointer or a parameter of the job.
    """
    return file_digest(path) if Path(path).is_file() else None


def write_cards(path: str, cards: Iterable[JobCard]) -> None:
    """Write the cards of a stage, in the order in which its jobs depend on one another."""
    write_json(path, {"jobs": [asdict(card) for card in cards]})


def read_cards(path: str | Path) -> list[JobCard]:
    """The cards of a stage."""
    return [JobCard(**job) for job in read_json(path)["jobs"]]
