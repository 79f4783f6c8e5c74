"""The cluster: whether Slurm answers, and what a profile still needs to be told."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mirage.operations.finding import Finding

PLACEHOLDER = re.compile(r"^(?P<before>[^#]*?)(?P<value>CHANGE_ME\w*)")
KEY = re.compile(r"([\w-]+):\s*[\"']?$")
PARTITIONS = ["sinfo", "--noheader", "--format=%R"]
SECONDS_TO_ANSWER = 20


def cluster() -> Iterator[Finding]:
    """Slurm, and the placeholders of every profile, with what they may be replaced by."""
    partitions = _answers(PARTITIONS)
    if partitions:
        yield Finding("Slurm", "ok", f"partitions {', '.join(partitions)}")
    elif shutil.which("sbatch"):
        mend = "ask the administrators; `sinfo` tells the error"
        yield Finding("Slurm", "warning", "sbatch is here, but sinfo names no partition", mend)
    else:
        yield Finding("Slurm", "ok", "not on this machine")
    for profile in sorted(Path("profiles").glob("*/*.yaml")):
        yield from placeholders(profile, slurm_here=bool(partitions))


def placeholders(profile: Path, slurm_here: bool) -> Iterator[Finding]:
    """What a file of a profile still has to be told; grave where Slurm is there to be used."""
    found = dict(_placeholders(profile))
    if slurm_here and profile.parent.name == "slurm":
        for number, (key, value) in found.items():
            told = f"{profile}:{number}: {key} is still {value}"
            yield Finding("profile", "problem", told, f"replace {value} by {_candidates(key)}")
    elif found:
        listed = ", ".join(f"{key} (line {number})" for number, (key, _) in found.items())
        mend = f"before you use --profile {profile.parent}, replace CHANGE_ME"
        yield Finding("profile", "warning", f"{profile}: not filled in: {listed}", mend)


def _placeholders(profile: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Number of a line, and its key with the placeholder; one that is itself a key names a partition."""
    for number, line in enumerate(profile.read_text(encoding="utf-8").splitlines(), start=1):
        if match := PLACEHOLDER.match(line):
            key = KEY.search(match["before"])
            yield number, (key[1] if key else "partition", match["value"])


def _candidates(key: str) -> str:
    """What Slurm knows that could stand there."""
    if key.endswith("account"):
        asked = ["show", "associations", f"user={getpass.getuser()}", "format=account"]
        found = _answers(["sacctmgr", "--noheader", "--parsable2", *asked])
        return _choice(found, "your account; `sacctmgr show user $USER withassoc` lists yours")
    if key.endswith("partition"):
        return _choice(_answers(PARTITIONS), "a partition; `sinfo -s` lists them")
    return "your site's value"


def _choice(found: list[str] | None, otherwise: str) -> str:
    return f"one of {', '.join(found)}" if found else otherwise


def _answers(command: list[str]) -> list[str] | None:
    """Lines of a command's answer, once each; None where it fails or does not come."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return list(dict.fromkeys(line.strip() for line in done.stdout.splitlines() if line.strip()))
