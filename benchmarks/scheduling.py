"""What a job costs beside its work: jobs that do nothing, run locally and through Slurm.

    python tests/cluster/node.py FOLDER python benchmarks/scheduling.py 200

writes a Snakefile of that many jobs and runs it by `snakemake --cores`, through Slurm a job at a time, and
through Slurm as one array. Prints a Markdown table. Without a Slurm node only the local row is measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SNAKEFILE = """\
rule all:
    input:
        expand("made/{{job}}", job=range({jobs})),


rule make:
    output:
        touch("made/{{job}}"),
    resources:
        mem_mb=500,
        runtime=10,
    shell:
        "true"
"""
SLURM = ["--executor", "slurm", "--jobs", "100", "--slurm-status-command", "squeue"]
SLURM += ["--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "10"]
ARRAY = [*SLURM, "--slurm-array-jobs", "all"]


def seconds(folder: Path, *arguments: str) -> float:
    """Wall time of one run of all jobs, from nothing."""
    for made in ("made", ".snakemake"):
        shutil.rmtree(folder / made, ignore_errors=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "--quiet", "all", *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def node_is_up() -> bool:
    """Whether a Slurm answers and has a node that takes jobs; its programs may be there without."""
    if shutil.which("sinfo") is None:
        return False
    asked = subprocess.run(["sinfo", "-h", "-t", "idle,mix,alloc"], capture_output=True, text=True)
    return asked.returncode == 0 and bool(asked.stdout.strip())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("jobs", type=int, nargs="?", default=200)
    jobs = parser.parse_args().jobs
    ways = {"local": ["--cores", str(os.cpu_count())]}
    if node_is_up():
        ways |= {"Slurm": SLURM, "Slurm, one array": ARRAY}
    print("| run | jobs | s | s a job |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs), encoding="utf-8")
        for name, arguments in {"plan alone": ["--dry-run"], **ways}.items():
            took = seconds(folder, *arguments)
            print(f"| {name} | {jobs} | {took:.0f} | {took / jobs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
