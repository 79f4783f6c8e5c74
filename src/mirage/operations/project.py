"""This project: its studies, raw data, workflow, disk, locks and versioned data."""

from __future__ import annotations

import configparser
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mirage.amounts import size
from mirage.config.model import Config
from mirage.errors import LayoutError
from mirage.files import existing_folder
from mirage.graph import Graph
from mirage.operations.controller import LOCKS, Controller
from mirage.operations.finding import Finding
from mirage.operations.plan import Plan

LITTLE = 5e9
"""Free bytes below which a warning is due where the need is not known."""


def studies(config: Config) -> Finding:
    """The configuration, which is valid."""
    return Finding(
        "configuration",
        "ok",
        f"valid; runs {', '.join(config.run)} at scale {config.scale}, of {len(config.studies)} studies",
    )


def data(config: Config) -> Iterator[Finding]:
    """Raw data of every dataset that the studies to be run need; all that is missing, not the first alone."""
    graph = Graph(config)
    needed = {name for study in config.run for name in config.study_data(study)}
    for name in sorted(needed & config.datasets.keys()):
        topic, path = f"data {name}", graph.raw_path(name)
        if config.datasets[name].simulate:
            yield Finding(topic, "ok", "simulated; needs none")
            continue
        try:
            graph.check_raw(name)
        except LayoutError as error:
            pointer = Path(f"{path}.dvc")
            mend = f"dvc pull {pointer}" if pointer.exists() else "see resources/README.md"
            yield Finding(topic, "problem", str(error), mend)
        else:
            yield Finding(topic, "ok", f"{path} is laid out as expected")


def workflow(plan: Plan) -> Finding:
    """The workflow, which Snakemake could plan."""
    jobs, of = plan.total.jobs, plan.total.of
    found = f"{jobs} of {of} jobs would run; `mirage plan` tells what they take"
    return Finding("workflow", "ok", found if jobs else f"all {of} jobs are done")


def disk(plan: Plan | None) -> Finding:
    """Room on the file system of the results, beside what the run will write as far as that is known."""
    free = shutil.disk_usage(existing_folder(Path("results"))).free
    need = 0.0 if plan is None else plan.bytes_more
    found = f"{size(free)} free"
    if need:
        known = "" if plan is None or not plan.total.bytes_unknown else "at least "
        found += f"; the run needs {known}{size(need)} more"
    if free < need:
        return Finding("disk", "problem", found, "free some, or link results/ to a larger file system")
    if free < LITTLE:
        return Finding("disk", "warning", found, "free some before a long run")
    return Finding("disk", "ok", found)


def writable() -> Finding:
    """Whether results can be written; asked by writing, since permissions alone do not tell."""
    folder = existing_folder(Path("results"))
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("results", "ok", f"{folder.resolve()} can be written")
    except OSError as error:
        mend = f"chmod u+w {folder}, or work in a folder of your own"
        return Finding("results", "problem", f"{folder.resolve()}: {error.strerror}", mend)


def locks() -> Finding:
    """Whether a Snakemake works here, or one that was killed has left its lock."""
    controller = Controller.here()
    if not controller.locked:
        return Finding("lock", "ok", "no Snakemake works here")
    if controller.processes:
        return Finding("lock", "ok", f"Snakemake works here (process {controller.processes[0]})")
    return Finding(
        "lock",
        "warning",
        f"{LOCKS} is locked, but no Snakemake of this host works here",
        "if none of another host does either: snakemake --unlock",
    )


def versioning() -> Iterator[Finding]:
    """Raw data and results under DVC, and where their contents are kept."""
    if not Path(".dvc").is_dir():
        yield Finding("DVC", "ok", "not used here")
        return
    remotes = _remotes()
    if remotes:
        named = ", ".join(f"{name} ({url})" for name, url in remotes.items())
        yield Finding("DVC", "ok", f"keeps data in {named}")
    else:
        mend = "dvc remote add --default NAME URL, to share data or to keep a copy"
        yield Finding("DVC", "warning", "used, but keeps data on this machine alone", mend)
    for pointer in sorted(Path("resources").glob("**/*.dvc")):
        if not pointer.with_suffix("").exists():
            yield Finding("DVC", "warning", f"{pointer} has no data beside it", f"dvc pull {pointer}")


def _remotes() -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read([".dvc/config", ".dvc/config.local"])
    sections = {name: name.strip("'").removeprefix("remote").strip(' "') for name in parser.sections()}
    return {short: parser[name].get("url", "?") for name, short in sections.items() if "remote" in name}
