"""dvc.yaml and dvc.lock: which artefacts are published, and the hashes of their contents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mirage.errors import LedgerError
from mirage.files import atomic_path

YAML, LOCK = Path("dvc.yaml"), Path("dvc.lock")
HEADER = """\
# The ledger of published results, written by `mirage publish`; docs/ledger.md explains it. Snakemake alone
# decides what runs: the stages are frozen, DVC stores what they name. Stages of your own are kept.
"""


@dataclass(frozen=True)
class Stage:
    """One artefact of the ledger.

    Attributes:
        name: see :mod:`mirage.publish.places`.
        makes: files that Snakemake is asked for to make it.
        stored: files and folders that DVC stores, its card included.
    """

    name: str
    makes: Sequence[str]
    stored: Sequence[str]

    def entry(self, scale: str) -> dict[str, Any]:
        """The stage as dvc.yaml has it."""
        return {
            "cmd": f"snakemake --cores all --config scale={scale} -- {' '.join(self.makes)}",
            "frozen": True,
            "outs": [{path: {"persist": True}} for path in self.stored],
        }


@dataclass(frozen=True)
class Stored:
    """A file or a folder with a stored content.

    Attributes:
        path: relative to the working directory.
        object: hash of the content; of a folder it ends with ``.dir`` and stands for the list of its files.
        target: the name by which DVC is told of it: a stage, or a pointer.
    """

    path: str
    object: str
    target: str


def write_ledger(stages: Sequence[Stage], scale: str) -> None:
    """Add stages to dvc.yaml, or replace them; summaries of studies are metrics, their figures plots."""
    ledger = _read(YAML)
    entries = {stage.name: stage.entry(scale) for stage in stages}
    ledger["stages"] = dict(sorted({**ledger.get("stages", {}), **entries}.items()))
    stored = (Path(path) for stage in stages for path in stage.stored)
    for study in [path for path in stored if path.parent.name == "studies"]:
        metrics = ledger.get("metrics", [])
        ledger["metrics"] = [*metrics, *{f"{study}/summary.json"}.difference(metrics)]
        others = [plot for plot in ledger.get("plots", []) if not str(plot).startswith(f"{study}/figures/")]
        images = [path for path in (study / "figures").glob("*") if path.suffix in (".png", ".svg")]
        ledger["plots"] = [*others, *sorted(map(str, images))]
    text = HEADER + yaml.safe_dump(ledger, sort_keys=False, width=1000)
    if not YAML.exists() or YAML.read_text(encoding="utf-8") != text:
        with atomic_path(YAML) as temporary:
            temporary.write_text(text, encoding="utf-8")


def published(stages: Iterable[str]) -> list[Stored]:
    """What is stored of those stages that the ledger of this commit has."""
    locked = _read(LOCK).get("stages", {})
    return [
        Stored(out["path"], out["md5"], name)
        for name in stages
        if name in locked
        for out in locked[name]["outs"]
    ]


def pointer(path: str) -> Stored:
    """What a pointer `<folder>.dvc` beside raw data stands for.

    Raises:
        LedgerError: it is of DVC 2, which hashed text files in another way.
    """
    out = _read(Path(path))["outs"][0]
    if out.get("hash") != "md5":
        raise LedgerError(f"{path}: made by DVC 2; bring it up to date by `dvc cache migrate --dvc-files`")
    return Stored(str(PurePosixPath(path).with_name(out["path"])), out["md5"], path)


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}
