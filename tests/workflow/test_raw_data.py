"""What a change of the user's raw data remakes, and that nothing is lost when a run goes wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mirage.data import Dataset
from workflow.conftest import Project

SHARDS = 3
FOLDER = "results/datasets/wards"
MANIFEST = f"{FOLDER}/manifest.parquet"
PREPARED = {"prepare_shard", "gather_dataset"}


@pytest.fixture
def wards(project: Project) -> Project:
    """A project with one folder of the user's images and a table."""
    raw = project.folder / "resources" / "wards"
    (raw / "ward-a").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(24):
        pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(raw / "ward-a" / f"{index:02d}.png")
    rows = [f"ward-a/{index:02d}.png,p{index},{40 + index}" for index in range(24)]
    (raw / "table.csv").write_text("\n".join(["file,subject_id,age", *rows]) + "\n")
    source = {
        "reader": "folder",
        "path": "resources/wards",
        "images": "**/*.png",
        "table": "table.csv",
        "channels": "grey",
    }
    entry = {"source": source, "prepare": {"size": 64, "fov": "none"}, "shards": SHARDS}
    project.set_config(run=["quickstart"], datasets={"wards": entry})
    return project


def prepare(project: Project, *arguments: str, expect: int | None = 0) -> str:
    """Make the dataset."""
    return project.snakemake("--cores", "1", *arguments, "--", MANIFEST, expect=expect)


def pending(project: Project) -> set[str]:
    """Rules that would run again for the dataset."""
    return set(project.planned("--", MANIFEST))


@pytest.mark.timeout(600)
def test_new_contents_are_prepared_and_new_time_stamps_are_not(wards: Project) -> None:
    """Renamed and replaced files count, and the table's text; a copy and a file manager's file do not."""
    prepare(wards)
    raw = wards.folder / "resources" / "wards"
    image = raw / "ward-a" / "03.png"

    for path in (raw, *raw.rglob("*")):
        os.utime(path)
    shutil.copytree(raw, raw.with_name("copy"))
    shutil.rmtree(raw)
    raw.with_name("copy").rename(raw)
    (raw / "ward-a" / ".DS_Store").write_bytes(b"view")
    assert pending(wards) == set()

    before = image.read_bytes()
    image.write_bytes(before + b"trailing")
    assert pending(wards) == PREPARED
    image.write_bytes(before)
    assert pending(wards) == set()

    image.rename(raw / "ward-a" / "99.png")
    assert pending(wards) == PREPARED
    (raw / "ward-a" / "99.png").rename(image)
    assert pending(wards) == set()

    table = (raw / "table.csv").read_text()
    (raw / "table.csv").write_text(table.replace("p3,43", "p3,44"))  # as many bytes as before
    assert pending(wards) == PREPARED


@pytest.mark.timeout(600)
def test_second_controller_is_kept_out_and_the_first_finishes(wards: Project) -> None:
    """Two people, or one in two terminals, start Snakemake in one folder."""
    with wards.snakemake_in_background("--cores", "1", "--", MANIFEST) as first:
        wait_for(wards.folder / ".snakemake" / "locks", first)
        said = prepare(wards, "--rerun-incomplete", expect=1)
        assert "LockException" in said
        assert first.wait(timeout=300) == 0
    assert len(Dataset(wards.folder / FOLDER)) == 24
    assert pending(wards) == set()


@pytest.mark.timeout(600)
def test_run_killed_at_any_moment_is_mended_by_the_next(wards: Project, tmp_path: Path) -> None:
    """SIGKILL, as by the out-of-memory killer, of controller and jobs at once; half shards are not kept."""
    prepare(wards)
    whole = Dataset(wards.folder / FOLDER).info.fingerprint
    for stop_at in (f"shard-0000-of-000{SHARDS}.arrow", f"shard-0001-of-000{SHARDS}.json"):
        shutil.rmtree(wards.folder / "results")
        with wards.snakemake_in_background("--cores", "1", "--", MANIFEST) as run:
            wait_for(wards.folder / FOLDER / stop_at, run)
        assert not (wards.folder / MANIFEST).exists()
        wards.snakemake("--unlock", "--", MANIFEST)
        prepare(wards, "--rerun-incomplete")
        assert Dataset(wards.folder / FOLDER).info.fingerprint == whole


@pytest.fixture
def small_disk(wards: Project) -> Iterator[Project]:
    """The project with its results on a file system of 200 kB."""
    results = wards.folder / "results"
    results.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(results)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield wards
    subprocess.run(["umount", "-l", str(results)], check=True)


@pytest.mark.timeout(600)
def test_full_disk_leaves_nothing_half_written(small_disk: Project) -> None:
    """What does not fit is no output; with room again the next run makes it."""
    results = small_disk.folder / "results"
    (results / "ballast").write_bytes(bytes(110_000))
    prepare(small_disk, expect=1)
    assert "No space left on device" in small_disk.logs()
    assert not (small_disk.folder / MANIFEST).exists()
    assert not [path for path in results.rglob("*") if path.name.startswith(".")]
    (results / "ballast").unlink()
    prepare(small_disk)
    assert len(Dataset(small_disk.folder / FOLDER)) == 24


@pytest.mark.timeout(600)
def test_read_only_results_are_an_error_and_cost_nothing(small_disk: Project) -> None:
    """What was there stays as it was, and the next run goes on."""
    prepare(small_disk)
    before = Dataset(small_disk.folder / FOLDER).info.fingerprint
    raw = small_disk.folder / "resources" / "wards" / "ward-a" / "03.png"
    raw.write_bytes(raw.read_bytes() + b"trailing")
    results = str(small_disk.folder / "results")
    subprocess.run(["mount", "-o", "remount,ro", results], check=True)
    said = prepare(small_disk, expect=1)
    assert "Write-protected output files" in said
    assert Dataset(small_disk.folder / FOLDER).info.fingerprint == before
    subprocess.run(["mount", "-o", "remount,rw", results], check=True)
    prepare(small_disk, "--rerun-incomplete")
    assert pending(small_disk) == set()


def wait_for(path: Path, run: subprocess.Popen[bytes]) -> None:
    """Wait until there is such a file or folder with something in it."""
    while not (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        assert run.poll() is None, f"the run ended before there was {path}"
        time.sleep(0.01)
