"""The folder of an evaluation: a project of its own, which a person can go on with by hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import mirage
from mirage.config import load_config
from mirage.config.load import read_yaml
from mirage.errors import LayoutError, MirageError
from mirage.files import atomic_path
from mirage.folders.study import Study
from mirage.graph import Graph

MADE_BY = "# Made by `mirage evaluate`"
SNAKEFILE = """{made_by}: the workflow of the clone, on the studies of this folder.


include: {clone}


rule reports:
    default_target: True
    input:
        rules.all.input,
"""
MESSAGE = re.compile(r"^Job \d+: (.+)$")
LOG = re.compile(r"^  \w+ .*: (logs/\S+)$")
"""Line by which the workflow names a job that failed for good, and its log."""
ERROR = " ERROR mirage: "


class EvaluationError(MirageError):
    """A job of an evaluation failed; the message is that of the job."""


def workflow_file() -> Path:
    """The Snakefile of the clone that this package belongs to.

    Raises:
        LayoutError: the package was installed without its clone.
    """
    path = Path(mirage.__file__).resolve().parents[2] / "Snakefile"
    if not path.is_file():
        raise LayoutError(
            f"{path} is missing: the workflow is part of Mirage's repository. Clone it and install it with "
            "`pip install -e .`"
        )
    return path


def check_free(folder: Path, inputs: Sequence[str]) -> None:
    """Check that a folder can become that of an evaluation, or is that of an earlier one.

    Raises:
        LayoutError: it is a file, holds something else, or lies inside a folder of images.
    """
    for given in inputs:
        if folder.resolve().is_relative_to(Path(given).resolve()):
            raise LayoutError(
                f"--out {folder} lies inside {given}, whose files are images; choose another place"
            )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise LayoutError(f"--out {folder} is a file; choose a new folder")
    snakefile = folder / "Snakefile"
    ours = snakefile.is_file() and snakefile.read_text(encoding="utf-8").startswith(MADE_BY)
    if any(folder.iterdir()) and not ours:
        raise LayoutError(
            f"--out {folder} holds other files; choose a new folder, so that none is overwritten"
        )


def write_project(folder: Path, study: Study, name: str, command: Sequence[str]) -> None:
    """Write the study as a project: `Snakefile`, `config/config.yaml` and `config/studies/<name>.yaml`.

    Args:
        folder: made if it is not there.
        study: what is evaluated.
        name: of the study.
        command: that made it, for the head of the file.

    Raises:
        ConfigError: the study is no valid configuration.
        LayoutError: another study of the folder defines the same names. Nothing is written in either case.
    """
    load_config({**study.config, "run": [name]}, folder / "nothing")
    _refuse_names_taken(folder, study, name)
    remarks = "".join(f"#\n# {remark}\n" for remark in study.remarks)
    told = f"{MADE_BY}, which writes it anew when it is run again: rename it to change it by hand.\n"
    schema = f"# yaml-language-server: $schema={workflow_file().parent / 'config' / 'schema.json'}\n"
    asked = f"#   {shlex.join(command)}\n"
    body = yaml.safe_dump(study.config, sort_keys=False, allow_unicode=True, width=110)
    _write(folder / "config" / "studies" / f"{name}.yaml", f"{schema}{told}{asked}{remarks}\n{body}")
    config = f"{MADE_BY}; `snakemake --cores 2` in this folder makes what is missing.\n\nrun: [{name}]\n"
    _write(folder / "config" / "config.yaml", config)
    clone = json.dumps(str(workflow_file()), ensure_ascii=False)
    _write(folder / "Snakefile", SNAKEFILE.format(made_by=MADE_BY, clone=clone))


def _refuse_names_taken(folder: Path, study: Study, name: str) -> None:
    """Refuse a folder with another study file that defines what this one would, such as a renamed one."""
    for path in sorted((folder / "config" / "studies").glob("*.yaml")):
        if path.stem == name:
            continue
        entries = {registry: set(names or ()) for registry, names in read_yaml(path).items()}
        taken = [
            f"{registry}.{entry}"
            for registry, names in study.config.items()
            for entry in names
            if entry in entries.get(registry, ())
        ]
        if taken:
            raise LayoutError(
                f"--out {folder} holds another study, {path}, which also defines {', '.join(taken)}; give "
                f"another --out, or go on with that study by `snakemake --cores 2` in {folder}"
            )


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def run_project(folder: Path, name: str, cores: int, say: Callable[[str], None]) -> list[Path]:
    """Run the workflow in the folder of an evaluation.

    Args:
        folder: from ``write_project``.
        name: of the study.
        cores: that jobs may use together.
        say: called with a line for every job that starts.

    Returns:
        The study's reports, the page first.

    Raises:
        EvaluationError: a job failed; says why, and where its log is.
    """
    printed = folder / "logs" / "snakemake.log"
    printed.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--rerun-incomplete"]
    with open(printed, "w", encoding="utf-8") as log, started(command, folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            found = MESSAGE.match(line)
            if found:
                say(found[1])
    if process.returncode:
        raise EvaluationError(_why(folder, printed))
    page = folder / Graph(load_config({"run": [name]}, folder / "config")).report(name)
    return [page, *sorted(page.parent.glob("*.pdf"))]


@contextmanager
def started(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, also when this one is told to stop; what it prints is text."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        with subprocess.Popen(command, cwd=folder, env=_environment(), **pipes) as process:
            try:
                yield process
            except BaseException:
                process.terminate()
                raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _environment() -> dict[str, str]:
    """That of this process, in which jobs find the `mirage` of this very Python."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _why(folder: Path, printed: Path) -> str:
    """The messages of the jobs that failed, or the end of what Snakemake said."""
    lines = printed.read_text(encoding="utf-8").splitlines()
    logs = dict.fromkeys(found[1] for line in lines if (found := LOG.match(line)))
    reasons = dict.fromkeys(_message(folder / log) for log in logs)
    return "\n".join(reasons) or "\n".join([*lines[-5:], f"(all of it: {printed})"])


def _message(log: Path) -> str:
    """What a job said at its end: its error, without the head of the line."""
    text = log.read_text(encoding="utf-8").strip() if log.is_file() else ""
    _, found, message = text.rpartition(ERROR)
    return message if found else f"a job failed; see {log}"
