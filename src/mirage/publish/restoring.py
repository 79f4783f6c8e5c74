"""Pulling: what was published at this commit is brought back, with what Snakemake knew of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirage.errors import LedgerError
from mirage.files import atomic_path
from mirage.graph import Graph
from mirage.publish.cards import JobCard, read_cards
from mirage.publish.damage import refuse_damaged
from mirage.publish.dvc import Dvc
from mirage.publish.knowledge import Knowledge, same_meaning
from mirage.publish.ledger import Stored, pointer, published
from mirage.publish.objects import Objects
from mirage.publish.places import card_path, stages_of
from mirage.publish.times import restore_times


@dataclass(frozen=True)
class Pulled:
    """What was brought back.

    Attributes:
        stages: stages of the ledger that the studies are made of.
        changed: those whose files were not here before.
        unpublished: stages of which the ledger of this commit has nothing.
        removed: simulated raw data that were made with other settings; they are made again when needed.
    """

    stages: list[str]
    changed: list[str]
    unpublished: list[str]
    removed: list[str]


def pull(graph: Graph, studies: Sequence[str], *, raw: bool = True, force: bool = False) -> Pulled:
    """Bring back every artefact of the studies, and restore Snakemake's records and times.

    Args:
        graph: of the present configuration.
        studies: names of studies.
        raw: also bring back raw data that have a pointer.
        force: replace local results that are stored nowhere; raw data are never replaced by force.

    Raises:
        LedgerError: DVC or its repository is missing; nothing is published; local files would be lost; an
            object is missing or damaged. A pull that was stopped half way can be repeated. Raw data come
            last: where they alone are missing, the results are back.
    """
    dvc, knowledge = Dvc(), Knowledge()
    wanted = list(dict.fromkeys(stage for study in studies for stage in stages_of(graph, study)))
    stored = published(wanted)
    stages = list(dict.fromkeys(item.target for item in stored))
    if not stages:
        raise LedgerError(
            f"{', '.join(studies)}: nothing is published at this commit; `git log dvc.lock` lists those "
            "commits that published something"
        )
    objects = Objects(dvc.cache_folder())
    _fetch(dvc, objects, stored)
    kept = {item.target: item for item in stored if item.path == card_path(graph, item.target)}
    refuse_damaged(objects, kept.values())
    cards = {stage: read_cards(objects.path(kept[stage].object)) for stage in stages}
    outputs = {stage: [output for card in cards[stage] for output in card.records] for stage in stages}
    every = [card for stage in stages for card in cards[stage]]
    changed = _check_out(dvc, objects, knowledge, stored, outputs, force)
    removed = _remove_other_simulations(graph, knowledge, every)
    restore_times(every, {output for stage in stages if stage not in changed for output in outputs[stage]})
    for card in every:
        _write_benchmarks(card)
        for output, record in card.records.items():
            knowledge.write(output, record)
    for folder in _pointers(graph, studies) if raw else ():
        _bring_raw(dvc, objects, folder)
    return Pulled(stages, sorted(changed), [name for name in wanted if name not in stages], removed)


def _pointers(graph: Graph, studies: Sequence[str]) -> list[Stored]:
    """Raw data of the studies that have a pointer."""
    data = {name for study in studies for name in graph.config.study_data(study)}
    files = {f"{graph.raw_path(name)}.dvc" for name in data & graph.config.datasets.keys()}
    return [pointer(file) for file in sorted(files) if Path(file).exists()]


def _bring_raw(dvc: Dvc, objects: Objects, folder: Stored) -> None:
    """Write raw data that are not here as their pointer says; DVC refuses where others would be lost."""
    if json.loads(dvc.ask("status", "--json", folder.target)):
        _fetch(dvc, objects, [folder])
        refuse_damaged(objects, [folder])
        dvc.do("checkout", "--quiet", folder.target)


def _fetch(dvc: Dvc, objects: Objects, stored: Sequence[Stored]) -> None:
    """Have every object in the cache, whole."""
    before = objects.present(stored)
    needed = list(dict.fromkeys(item.target for item in stored if objects.missing([item])))
    if needed:
        if dvc.remote() is None:
            raise LedgerError(
                f"{objects.missing(stored)[0]}: not stored in this clone, and no remote is set; "
                "`dvc remote add --default <name> <folder or s3://bucket/path>` (docs/ledger.md)"
            )
        try:
            dvc.do("fetch", *needed)
        finally:
            refuse_damaged(objects, stored, objects.present(stored) - before)
        missing = objects.missing(stored)
        if missing:
            raise LedgerError(
                f"{missing[0]}: stored neither in this clone nor in the remote; `dvc push` it where it was "
                "published (`mirage pull --no-raw` goes without raw data)"
            )


def _check_out(
    dvc: Dvc,
    objects: Objects,
    knowledge: Knowledge,
    stored: Sequence[Stored],
    outputs: Mapping[str, Sequence[str]],
    force: bool,
) -> set[str]:
    """Write what is stored and not here; the stages that were written.

    Before a file is touched its outputs are marked incomplete, so that a pull that is killed leaves nothing
    that looks finished. What a killed job or pull has left is no result and is replaced without asking.
    """
    differing = _differing(dvc, stored)
    targets = {item.target for item in differing}
    refuse_damaged(objects, [item for item in stored if item.target in targets])
    incomplete = {name: knowledge.incomplete(outputs[name]) for name in targets}
    half_made = {name for name, found in incomplete.items() if found}
    if not force:
        _refuse_loss(objects, _whole(differing, incomplete))
    knowledge.mark_incomplete(output for name in targets for output in outputs[name])
    replaced = targets if force else half_made
    if replaced:
        dvc.do("checkout", "--quiet", "--force", *sorted(replaced))
    if targets - replaced:
        dvc.do("checkout", "--quiet", *sorted(targets - replaced))
    return targets


def _whole(
    differing: Mapping[Stored, Sequence[str]], incomplete: Mapping[str, Iterable[str]]
) -> Iterator[str]:
    """Those files that differ and are not what a killed job or pull has left."""
    for item, paths in differing.items():
        left = list(incomplete[item.target])
        yield from (path for path in paths if not any(Path(path).is_relative_to(half) for half in left))


def _differing(dvc: Dvc, stored: Sequence[Stored]) -> dict[Stored, list[str]]:
    """Files here that are not as they are stored, new and missing ones included; DVC compares."""
    found = json.loads(dvc.ask("data", "status", "--granular", "--json", *(item.path for item in stored)))
    files = [path for paths in found.get("uncommitted", {}).values() for path in paths]
    by_item = {item: [path for path in files if Path(path).is_relative_to(item.path)] for item in stored}
    return {item: paths for item, paths in by_item.items() if paths}


def _refuse_loss(objects: Objects, paths: Iterable[str]) -> None:
    """Refuse to replace or remove files whose content is stored nowhere."""
    lost = [path for path in paths if Path(path).is_file() and not objects.has(_md5(path))]
    if lost:
        listed = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        raise LedgerError(
            f"{listed}: differs from what is published and is stored nowhere; `mirage publish` it in a "
            "commit of its own, move it away, or replace it by `mirage pull --force`"
        )


def _md5(path: str) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def _remove_other_simulations(graph: Graph, knowledge: Knowledge, cards: Iterable[JobCard]) -> list[str]:
    """Remove simulated raw data that are not those that the published results were made of.

    They are stored nowhere, and made again, the same, when a job needs them.
    """
    records = {path: record for card in cards for path, record in card.records.items()}
    removed = [
        path
        for path, record in records.items()
        if path.startswith(f"{graph.root}/simulated/")
        and Path(path).exists()
        and not same_meaning(knowledge.record(path), record)
    ]
    for path in removed:
        shutil.rmtree(path)
    return removed


def _write_benchmarks(card: JobCard) -> None:
    for path, text in card.benchmark.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
