"""Propose which radiographs to leave out: those with metal on them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mirage.config.chest import ChestSource
from mirage.config.model import Config
from mirage.errors import ConfigError, DataError, LayoutError
from mirage.files import atomic_path
from mirage.preprocess.metal import find_metal
from mirage.sources import open_source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proposal:
    """A row of a proposed list.

    Attributes:
        file: image, relative to the source.
        score: as in ``mirage.preprocess.metal``.
        reason: what was found.
    """

    file: str
    score: float
    reason: str


def proposals(
    config: Config, dataset: str, raw: Path | None, least: float, limit: int | None
) -> Iterator[Proposal]:
    """Look at the images of a dataset, one at a time, and yield those that look as if they had metal on them.

    Args:
        config: the configuration.
        dataset: name of an entry whose source is of chest radiographs; its own list of exclusions is not
            applied.
        raw: read here instead of the source's path.
        least: score from which an image is proposed.
        limit: look at so many images only, the first ones; None: at all.

    Raises:
        ConfigError: no such dataset, or another kind of source.
    """
    if dataset not in config.datasets:
        raise ConfigError(f"{dataset!r} is no dataset; known are {', '.join(sorted(config.datasets))}")
    options = config.datasets[dataset].source
    if not isinstance(options, ChestSource):
        raise ConfigError(f"datasets.{dataset}.source: {options.reader} does not read chest radiographs")
    source = open_source(options.model_copy(update={"exclude": None}), raw)
    source.check_layout()
    for item in islice(source.items(), limit):
        try:
            image = item.load().image[0]
        except DataError as error:
            logger.warning("%s; it is not looked at", error)
            continue
        found = find_metal(image)
        if found.score >= least:
            yield Proposal(item.attributes["file"], found.score, found.reason)


def write_proposals(path: Path, found: list[Proposal]) -> None:
    """Write a list of exclusions, the highest score first.

    Raises:
        LayoutError: the file is there already; a person may have edited it.
    """
    if path.exists():
        raise LayoutError(f"{path}: is there already, and may hold edits; name another file, or delete it")
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "score", "reason"])
        for proposal in sorted(found, key=lambda proposal: -proposal.score):
            writer.writerow([proposal.file, f"{proposal.score:g}", proposal.reason])
