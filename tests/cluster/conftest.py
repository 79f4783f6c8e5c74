"""The node, and projects that run on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.node import Node, NoNodeError, install, node
from workflow.conftest import ROOT, Project, make_project


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A Slurm node of these tests' own, which every command finds by its environment."""
    try:
        install()
    except NoNodeError as reason:
        pytest.skip(str(reason))
    with node(tmp_path_factory.mktemp("slurm")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


class ClusterProject(Project):
    """A project whose Slurm profile is filled in."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Snakemake in the background; what it prints goes to `printed.txt`."""
        with open(self.folder / "printed.txt", "w", encoding="utf-8") as out:
            return subprocess.Popen(
                self._command(arguments),
                cwd=self.folder,
                env=self._environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def printed(self) -> str:
        """What the last run in the background has printed so far."""
        return (self.folder / "printed.txt").read_text(encoding="utf-8")


def make_cluster_project(folder: Path) -> ClusterProject:
    """A project with the shipped Slurm profile, filled in as a user would, and a shorter patience."""
    project = ClusterProject(make_project(folder).folder)
    profile = project.folder / "slurm"
    profile.unlink()
    profile.mkdir()
    shipped = ROOT / "profiles" / "slurm"
    settings = yaml.safe_load((shipped / "config.yaml").read_text(encoding="utf-8"))
    del settings["default-resources"]["slurm_account"]
    settings["slurm-partition-config"] = "slurm/partitions.yaml"
    settings["slurm-init-seconds-before-status-checks"] = 2
    settings["latency-wait"] = 10
    (profile / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    partitions = (shipped / "partitions.yaml").read_text(encoding="utf-8")
    filled = partitions.replace("CHANGE_ME_CPU", "cpu").replace("CHANGE_ME_GPU", "gpu")
    (profile / "partitions.yaml").write_text(filled, encoding="utf-8")
    return project
