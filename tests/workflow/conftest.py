"""A project folder like a user's clone, and ways to run and to question Snakemake in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
LINKED = ("Snakefile", "workflow", "profiles", "slurm", "envs")


@dataclass
class Project:
    """A working folder with the repository's workflow and a configuration of its own.

    Attributes:
        programs: folder whose programs its jobs find before those of the environment.
    """

    folder: Path
    programs: Path = PROGRAMS

    def snakemake(self, *arguments: str, expect: int | None = 0) -> str:
        """Run Snakemake here and return all it printed.

        ``expect`` is the exit status the test needs, None for any.
        """
        done = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert expect is None or done.returncode == expect, f"{done.stdout}\n{self.logs()}"
        return done.stdout

    def mirage(self, *arguments: str, expect: int = 0) -> Any:
        """Ask a question of the `mirage` command here; what it answers, as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "mirage.cli", *arguments, "--json"],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    @contextmanager
    def snakemake_in_background(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run Snakemake beside the block, and kill it and its jobs at its end."""
        with subprocess.Popen(
            self._command(arguments),
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):  # it has ended, and so have its jobs
                    os.killpg(process.pid, signal.SIGKILL)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "snakemake", *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": os.pathsep.join(map(str, (self.programs, PROGRAMS, os.environ["PATH"]))),
            "XDG_CACHE_HOME": str(self.folder / ".cache"),
        }

    def logs(self) -> str:
        """The last lines of every job's log, newest last."""
        files = sorted((self.folder / "logs").rglob("*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(f"--- {path}\n{path.read_text()[-1500:]}" for path in files[-4:])

    def pending(self) -> set[str]:
        """Outputs that Snakemake would make again, as ``rule path``; empty when there is nothing to do."""
        table = self.snakemake("--summary").splitlines()
        head = next(index for index, line in enumerate(table) if line.startswith("output_file\t"))
        columns = table[head].split("\t")
        rows = [dict(zip(columns, line.split("\t"), strict=False)) for line in table[head + 1 :]]
        return {f"{row['rule']} {row['output_file']}" for row in rows if row.get("plan") != "no update"}

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs per rule in the table that a dry run prints; empty when there is nothing to do."""
        printed = self.snakemake("-n", *arguments)
        found = re.findall(r"^(\w+)\s+(\d+)$", printed, re.MULTILINE)
        return {rule: int(jobs) for rule, jobs in found if rule != "total"}

    def rules_pending(self) -> set[str]:
        """Rules behind :meth:`pending`."""
        return {line.split(" ")[0] for line in self.pending()}

    @contextmanager
    def edited(self, file: str, change: Any) -> Iterator[None]:
        """Apply ``change`` (text -> text) to a file and take it back afterwards."""
        path = self.folder / file
        before = path.read_text(encoding="utf-8")
        after = change(before)
        assert after != before, f"the edit of {file} changed nothing"
        path.write_text(after, encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")

    def set_config(self, **config: Any) -> None:
        """Replace config.yaml."""
        (self.folder / "config" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project with the shipped configuration."""
    return make_project(tmp_path / "project")


def make_project(folder: Path) -> Project:
    """Link the workflow into ``folder`` and copy the configuration."""
    folder.mkdir(parents=True)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", folder / "config")
    return Project(folder)
