"""Files are whole or absent, and killed writers leave nothing for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mirage.files import BEGAN, atomic_path

WRITER = """
import signal, sys, time
from pathlib import Path
from mirage.files import atomic_path
from mirage.log import log_to, unwound_on_sigterm
{before}
with {block}, atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    Path(sys.argv[1] + ".begun").touch()
    time.sleep(60)
"""


def killed(path: Path, block: str, before: str = "") -> int:
    """Status of a process that gets SIGTERM while it writes a file."""
    code = WRITER.format(block=block, before=before)
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE) as process:
        while not Path(f"{path}.begun").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=60)


def hidden(folder: Path) -> list[str]:
    """Names of the temporary files of a folder."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("block", ["unwound_on_sigterm()", "log_to(sys.argv[1] + '.log')"])
def test_a_job_that_is_told_to_stop_leaves_no_temporary_file_and_dies_of_the_signal(tmp_path, block):
    """Snakemake, Slurm and a server of jobs see the status that they would have seen."""
    assert killed(tmp_path / "a.arrow", block) == -signal.SIGTERM
    assert hidden(tmp_path) == []
    assert not (tmp_path / "a.arrow").exists()


def test_a_handler_that_is_there_already_is_kept(tmp_path):
    """Whoever called the job in this process decides what the signal does."""
    before = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))"
    assert killed(tmp_path / "a.arrow", "unwound_on_sigterm()", before) == 75


def test_temporary_files_of_killed_writers_are_removed_by_the_next_one_of_the_same_file(tmp_path):
    """Not those of other files, of a process that began later, or what only looks like one."""
    stale = [".a.0123abcd.arrow"]
    kept = [".b.0123abcd.arrow", ".a.0123abcd.json", ".a.b.0123abcd.arrow", ".a.notes.arrow"]
    for name in [*stale, *kept, ".a.89abcdef.arrow"]:
        (tmp_path / name).write_text("half")
        if name != ".a.89abcdef.arrow":
            os.utime(tmp_path / name, (BEGAN - 60, BEGAN - 60))
    with atomic_path(tmp_path / "a.arrow") as temporary:
        temporary.write_text("whole")
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {*kept, ".a.89abcdef.arrow", "a.arrow"}
    with atomic_path(tmp_path / "a.b.arrow") as temporary:
        temporary.write_text("whole")
    assert ".a.b.0123abcd.arrow" not in {path.name for path in tmp_path.iterdir()}
