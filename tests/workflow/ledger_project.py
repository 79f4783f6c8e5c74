"""A git repository with the workflow, DVC and one study that runs in seconds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from workflow.conftest import ROOT, Project

STUDY = """
datasets:
  eyes:
    source: {reader: drive}
    simulate: {subjects: 12, size: 64}
    prepare: {size: 32, crop: fov, mask_threshold: 0.35}
    split: {by: random, val: 0.2, test: 0.3}

generators:
  vessels:
    arch: dcgan
    data: eyes
    options: {of: mask, features: 8, latent: 8, lr_generator: 1e-3}
    training: {steps: 4, batch_size: 4, select: last, validate_every: 4, preview_every: 4}

recipes:
  drawn:
    recipe: unconditional
    generator: vessels
    count: 8

evaluations:
  likeness:
    evaluator: fidelity
    real: eyes
    synthetic: drawn
    compare: mask
    bootstrap: 50

studies:
  tiny:
    title: A tiny study
    question: Can it be published?
    evaluations: [likeness]
"""
REPORT = "results/studies/tiny/report.html"


class LedgerProject(Project):
    """The project and the programs that a user of the ledger calls in it."""

    def mirage(self, *arguments: str, expect: int = 0) -> str:
        """Run the command line of Mirage here and return all it printed."""
        return self._run([sys.executable, "-m", "mirage.cli", *arguments], expect)

    def git(self, *arguments: str) -> str:
        """Run git here."""
        return self._run(["git", *arguments])

    def dvc(self, *arguments: str) -> str:
        """Run DVC here."""
        return self._run([str(Path(sys.executable).parent / "dvc"), *arguments])

    def commit(self, message: str) -> str:
        """Commit everything that git does not ignore; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def _run(self, command: list[str], expect: int = 0) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self._environment(), **IDENTITY},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout


IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A Tester"), ("EMAIL", "tester@example.org"))
}


def make_ledger_project(folder: Path) -> LedgerProject:
    """A repository with the workflow, the tiny study, and DVC as the project configures it."""
    folder.mkdir(parents=True)
    for name in ("workflow", "envs", ".dvc"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
        )
    for name in ("Snakefile", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "config/studies").mkdir(parents=True)
    (folder / "config/studies/tiny.yaml").write_text(STUDY, encoding="utf-8")
    project = LedgerProject(folder)
    project.set_config(run=["tiny"])
    project.git("init", "--quiet", "--initial-branch", "main")
    return _ignoring_caches(project)


def clone(project: LedgerProject, folder: Path) -> LedgerProject:
    """A fresh clone, with the remotes that are configured in the repository."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    project.git("clone", "--quiet", str(project.folder), str(folder))
    return _ignoring_caches(LedgerProject(folder))


def _ignoring_caches(project: LedgerProject) -> LedgerProject:
    """Snakemake's cache of sources lies in the project only here."""
    with open(project.folder / ".git/info/exclude", "a", encoding="utf-8") as excluded:
        excluded.write("/.cache/\n")
    return project
