"""Two commits are published, then pulled: in their own clone, in fresh ones, from folders and from S3."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirage.config.datasets import SimulateOptions
from mirage.data import Dataset
from mirage.publish.dvc import Dvc
from mirage.simulate import simulate
from workflow.ledger_project import REPORT, LedgerProject, clone, make_ledger_project

pytestmark = pytest.mark.timeout(1200)
WEIGHTS = "results/models/vessels/seed-0/weights.safetensors"
IMAGES = "results/synthetic/drawn/shard-0000-of-0001.arrow"
STUDY = "config/studies/tiny.yaml"
SHOWN = (WEIGHTS, IMAGES, "results/datasets/eyes/manifest.parquet", REPORT)
TRAINED = {"freeze_training", "train_generator", "synthesise_shard", "gather_synthetic", "evaluate_set"}


@dataclass
class Ledger:
    """A project that has published two commits, and the digests of what it published."""

    project: LedgerProject
    one: str
    two: str
    remote: Path
    digests: dict[str, dict[str, str]]

    def at(self, commit: str) -> LedgerProject:
        """The project with a commit checked out; its results are still those of before."""
        self.project.git("checkout", "--quiet", commit)
        return self.project


def digests(project: LedgerProject) -> dict[str, str]:
    """Digests of some published files."""
    return {path: hashlib.sha256((project.folder / path).read_bytes()).hexdigest() for path in SHOWN}


def edit(project: LedgerProject, file: str, old: str, new: str) -> None:
    """Replace a text in a file, for good."""
    text = (project.folder / file).read_text(encoding="utf-8")
    assert old in text
    (project.folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Two published commits that differ in the length of a training. Tests leave the second one as it is."""
    folder = tmp_path_factory.mktemp("ledger")
    project = make_ledger_project(folder / "project")
    project.dvc("remote", "add", "--default", "store", str(folder / "remote"))
    project.commit("Short training")
    project.snakemake("--cores", "2")
    project.mirage("publish")
    one, found = project.commit("Publish short training"), {}
    found[one] = digests(project)
    edit(project, STUDY, "steps: 4, batch", "steps: 6, batch")
    project.commit("Longer training")
    project.snakemake("--cores", "2")
    project.mirage("publish")
    two = project.commit("Publish longer training")
    found[two] = digests(project)
    return Ledger(project, one, two, folder / "remote", found)


@pytest.fixture
def fresh(ledger: Ledger, tmp_path: Path) -> LedgerProject:
    """A clone without results."""
    return clone(ledger.project, tmp_path / "clone")


def test_the_published_commits_differ(ledger: Ledger) -> None:
    """Weights and synthetic images depend on the training, the prepared dataset does not."""
    changed = {path for path in SHOWN if ledger.digests[ledger.one][path] != ledger.digests[ledger.two][path]}
    assert changed == {WEIGHTS, IMAGES, REPORT}


def test_both_commits_are_restored_with_nothing_to_do(ledger: Ledger) -> None:
    """Back and forth in the clone that made them: files bit for bit, and Snakemake's own opinion of them."""
    for commit in (ledger.one, ledger.two):
        project = ledger.at(commit)
        assert "train_generator" in project.rules_pending()
        assert "Snakemake has nothing to do" in project.mirage("pull")
        assert project.pending() == set()
        assert digests(project) == ledger.digests[commit]


def test_results_that_a_pull_leaves_alone_keep_their_times(ledger: Ledger) -> None:
    """What others have made of them is not made again for a pull that changed nothing."""
    project = ledger.at(ledger.two)
    before = {path: (project.folder / path).stat().st_mtime_ns for path in SHOWN}
    project.mirage("pull")
    assert {path: (project.folder / path).stat().st_mtime_ns for path in SHOWN} == before


def test_a_fresh_clone_has_nothing_to_do_and_notices_edits(ledger: Ledger, fresh: LedgerProject) -> None:
    """After a pull exactly what depends on an edit is made again: of a key, of a script, of raw data."""
    assert "Snakemake has nothing to do" in fresh.mirage("pull")
    assert fresh.pending() == set()
    assert digests(fresh) == ledger.digests[ledger.two]
    assert len(Dataset(fresh.folder / "results/synthetic/drawn")) == 8
    assert not (fresh.folder / "results/simulated").exists()
    with fresh.edited(STUDY, lambda text: text.replace("steps: 6, batch", "steps: 7, batch")):
        assert fresh.rules_pending() == {*TRAINED, "report_study", "print_study", "export_latex"}
    with fresh.edited(STUDY, lambda text: text.replace("subjects: 12", "subjects: 14")):
        assert fresh.rules_pending() >= {"simulate_raw", "prepare_shard", *TRAINED - {"freeze_training"}}
    with fresh.edited("workflow/scripts/evaluate_set.py", lambda text: text + "\n# edited\n"):
        assert fresh.rules_pending() == {"evaluate_set", "report_study", "print_study", "export_latex"}


def test_a_script_that_differs_from_the_published_one_is_noticed(fresh: LedgerProject) -> None:
    """Even where it is older than the results that are brought back."""
    script = fresh.folder / "workflow/scripts/evaluate_set.py"
    script.write_text(script.read_text() + "\n# mine\n")
    os.utime(script, (1e9, 1e9))
    assert "Snakemake would run: evaluate_set, report_study" in fresh.mirage("pull")


def test_raw_data_are_remade_by_their_pointer_and_not_by_their_times(fresh: LedgerProject) -> None:
    """A pull brings them back; a checkout that only changes times is no change, another version is."""
    raw = fresh.folder / "resources/clinic"
    simulate(SimulateOptions(subjects=12, size=64, seed=1), "drive", raw)
    fresh.dvc("add", "--quiet", "resources/clinic")
    edit(
        fresh,
        STUDY,
        "{reader: drive}\n    simulate: {subjects: 12, size: 64}",
        "{reader: drive, path: resources/clinic}",
    )
    shutil.rmtree(raw)
    assert "Snakemake would run: prepare_shard" in fresh.mirage("pull")
    target = "results/datasets/eyes/manifest.parquet"
    fresh.snakemake("--cores", "2", "--", target)
    image = next((raw / "training/images").iterdir())
    for path in (image, image.parent, raw, raw.with_name("clinic.dvc")):
        os.utime(path)
    assert "Nothing to be done" in fresh.snakemake("-n", "--", target)
    image.write_bytes(image.read_bytes() + b"\0")
    fresh.dvc("add", "--quiet", "resources/clinic")
    assert "Updated input files: resources/clinic.dvc" in fresh.snakemake("-n", "--", target)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a simulated S3 server with an empty bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    for key, value in (
        ("ACCESS_KEY_ID", "test"),
        ("SECRET_ACCESS_KEY", "test"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{key}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="published")
    yield address
    server.stop()


def test_a_study_travels_through_s3(ledger: Ledger, fresh: LedgerProject, tmp_path: Path, s3: str) -> None:
    """From one clone's cache to another's by way of a bucket."""
    fresh.mirage("pull")
    fresh.dvc("remote", "add", "--default", "--force", "store", "s3://published/mirage")
    fresh.dvc("remote", "modify", "store", "endpointurl", s3)
    fresh.commit("Keep results in a bucket")
    assert "sent to store; 0 changed" in fresh.mirage("publish")
    other = clone(fresh, tmp_path / "other")
    assert "Snakemake has nothing to do" in other.mirage("pull")
    assert digests(other) == ledger.digests[ledger.two]


def object_of(project: LedgerProject, path: str) -> str:
    """Path of the stored copy of a file below `files/md5`."""
    name = hashlib.md5((project.folder / path).read_bytes()).hexdigest()
    return f"files/md5/{name[:2]}/{name[2:]}"


def damage(file: Path) -> None:
    """Change one byte."""
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_damaged_copies_are_named_and_never_written_into_the_results(
    ledger: Ledger, fresh: LedgerProject
) -> None:
    """In the remote, and in the clone's own cache; once the copy is whole again the pull goes through."""
    stored = object_of(ledger.at(ledger.two), WEIGHTS)
    remote = ledger.remote / stored
    whole = remote.read_bytes()
    damage(remote)
    printed = fresh.mirage("pull", expect=1)
    found = hashlib.md5(remote.read_bytes()).hexdigest()
    assert WEIGHTS in printed
    assert "the remote's copy is damaged" in printed
    assert found in printed
    assert not (fresh.folder / WEIGHTS).exists()
    remote.write_bytes(whole)
    fresh.mirage("pull")
    cached = fresh.folder / ".dvc/cache" / stored
    damage(cached)
    (fresh.folder / WEIGHTS).unlink()
    printed = fresh.mirage("pull", expect=1)
    assert f"{WEIGHTS}: the stored copy" in printed
    assert str(cached) in printed
    assert not (fresh.folder / WEIGHTS).exists()
    cached.unlink()
    assert "Snakemake has nothing to do" in fresh.mirage("pull")
    assert digests(fresh) == ledger.digests[ledger.two]


def test_results_that_are_stored_nowhere_are_not_overwritten(ledger: Ledger, fresh: LedgerProject) -> None:
    """The pull names them and changes nothing, unless it is forced."""
    mine = fresh.folder / WEIGHTS
    mine.parent.mkdir(parents=True)
    mine.write_text("my own weights")
    assert WEIGHTS in fresh.mirage("pull", expect=1)
    assert mine.read_text() == "my own weights"
    assert not (fresh.folder / REPORT).exists()
    fresh.mirage("pull", "--force")
    assert digests(fresh) == ledger.digests[ledger.two]


STOPPED = f"""
from pathlib import Path
from mirage.cli import app
from mirage.publish.dvc import Dvc
do = Dvc.do
def stop(self, *arguments):
    do(self, *arguments)
    if arguments[0] == "checkout":
        Path({WEIGHTS!r}).write_bytes(b"half")
        raise SystemExit(9)
Dvc.do = stop
app(["pull"])
"""


def test_a_pull_that_was_stopped_leaves_nothing_that_looks_finished(
    ledger: Ledger, fresh: LedgerProject
) -> None:
    """Snakemake takes the files for half made, and the pull can be repeated."""
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED], cwd=fresh.folder, capture_output=True, text=True
    )
    assert stopped.returncode == 9, stopped.stderr
    assert "incomplete" in fresh.snakemake("-n", expect=1)
    assert "Snakemake has nothing to do" in fresh.mirage("pull")
    assert digests(fresh) == ledger.digests[ledger.two]


def test_pending_jobs_and_uncommitted_edits_are_refused(ledger: Ledger) -> None:
    """The message names the file, then the rules."""
    project = ledger.at(ledger.two)
    before = (project.folder / "dvc.lock").read_text()
    edit(project, STUDY, "steps: 6, batch", "steps: 8, batch")
    assert STUDY in project.mirage("publish", expect=1)
    project.commit("Still longer training")
    printed = project.mirage("publish", expect=1)
    assert "Snakemake would run freeze_training, train_generator" in printed
    assert (project.folder / "dvc.lock").read_text() == before
    ledger.at(ledger.two)


def test_states_of_trainings_and_simulated_data_are_not_published(ledger: Ledger) -> None:
    """They stay where they are, whatever is published or pulled."""
    project = ledger.at(ledger.two)
    state = project.folder / Path(WEIGHTS).parent / "state/last.pt"
    state.parent.mkdir()
    state.write_text("a training that can be resumed")
    assert "0 changed" in project.mirage("publish", "--no-push")
    project.mirage("pull")
    assert state.exists()
    shutil.rmtree(state.parent)
    listed = json.loads(project.dvc("ls", "--recursive", "--dvc-only", "--json", "."))
    paths = {entry["path"] for entry in listed}
    assert WEIGHTS in paths
    assert not [path for path in paths if "/state" in path or "simulated" in path]


def test_numbers_can_be_compared_between_commits(ledger: Ledger) -> None:
    """DVC reads the summaries of both."""
    printed = ledger.project.dvc("metrics", "diff", "--json", ledger.one, ledger.two)
    changes = json.loads(printed)["results/studies/tiny/summary.json"]
    assert any(abs(change["diff"]) > 0 for name, change in changes.items() if name.endswith(".estimate"))


def test_without_dvc_a_publication_says_what_to_install(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everything else needs none."""
    from mirage.errors import LedgerError

    monkeypatch.chdir(ledger.project.folder)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LedgerError, match="pip install"):
        Dvc()
