"""`snakemake --profile slurm` on a real Slurm: what is asked for, and that nothing is lost when jobs are."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.conftest import ClusterProject, make_cluster_project
from cluster.node import Node, wait_until
from mirage.files import file_digest
from workflow.conftest import make_project

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

MODELS = "results/demo/models"
SECONDS_OF_TRAINING = 130
RETRIES = 8
"""One training becomes several jobs of a minute: at least two at twice the pace that was measured, and not
more than these on a machine that has got slower."""


@dataclass(frozen=True)
class Asked:
    """What a job asked Slurm for."""

    partition: str
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int


def rule_of(job: dict[str, str]) -> str:
    """Rule behind a job of Slurm."""
    return job["Comment"].removeprefix("rule_").partition("_wildcards_")[0]


def asked(job: dict[str, str]) -> Asked:
    """Request of a job, from what Slurm says of it."""
    hours, minutes, _ = job["TimeLimit"].split(":")
    tres = dict(pair.split("=") for pair in job["TRES"].split(","))
    scale = {"M": 1, "G": 1024}[tres["mem"][-1]]
    return Asked(
        job["Partition"],
        int(tres["cpu"]),
        int(float(tres["mem"][:-1]) * scale),
        60 * int(hours) + int(minutes),
        int(job.get("TresPerJob", "gres:gpu:0").rpartition(":")[2]),
    )


def by_rule(jobs: list[dict[str, str]]) -> dict[str, set[Asked]]:
    """Requests of all jobs of each rule."""
    found: dict[str, set[Asked]] = defaultdict(set)
    for job in jobs:
        found[rule_of(job)].add(asked(job))
    return dict(found)


@dataclass(frozen=True)
class Finished:
    """The quick start after its run on the node.

    Attributes:
        printed: by Snakemake.
        jobs: Slurm's own record of them.
        waited: states of the jobs while the node was drained.
    """

    project: ClusterProject
    printed: str
    jobs: list[dict[str, str]]
    waited: set[str]


@pytest.fixture(scope="module")
def finished(slurm: Node, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The quick start without its ablation, sent off while the node was drained."""
    project = make_cluster_project(tmp_path_factory.mktemp("cluster") / "project")
    on_gpu = {"gpus": 1, "accelerator": "cpu", "threads": 2, "minutes": 30, "mem_mb": 3000}
    project.set_config(
        run=["quickstart"],
        scale="demo",
        datasets={"quick_fundus": {"runtime": {"minutes": 20}}},
        generators={"quick_photos": {"runtime": on_gpu}},
        evaluations={
            "quick_vessels": {"runtime": on_gpu, "seeds": [0], "arms": {"real_and_synthetic": None}}
        },
        studies={"quickstart": {"evaluations": ["quick_vessels", "quick_fidelity"]}},
    )
    slurm.drain()
    run = project.start("--profile", "slurm")
    wait_until(lambda: slurm.jobs() or run.poll() is not None, "the first job in the queue", 120)
    waited = {job["JobState"] for job in slurm.jobs()}
    slurm.resume()
    status = run.wait(timeout=1200)
    assert status == 0, f"{project.printed()}\n{project.logs()}"
    return Finished(project, project.printed(), slurm.jobs(), waited)


def test_study_runs_to_its_report(finished: Finished) -> None:
    """All of it through Slurm; the report is named at the end, and nothing is left to do."""
    report = "results/demo/studies/quickstart/report.html"
    assert (finished.project.folder / report).exists()
    assert "Mirage: quickstart at demo scale" in finished.printed
    assert f"The report: {report}" in finished.printed
    assert {job["JobState"] for job in finished.jobs} == {"COMPLETED"}
    assert "Nothing to be done" in finished.project.snakemake("-n", "--profile", "slurm")


def test_jobs_of_a_drained_node_wait(finished: Finished) -> None:
    """They lay in the queue while the node was drained, and ran when it came back."""
    assert finished.waited == {"PENDING"}


def test_every_job_asks_for_what_its_entry_says(finished: Finished) -> None:
    """CPUs, memory, time, GPUs and the partition that has them; no GPU where none is asked for."""
    light, brief = Asked("cpu", 1, 4000, 60, 0), Asked("cpu", 1, 4000, 10, 0)
    default = Asked("cpu", 1, 4000, 240, 0)
    on_gpu = Asked("gpu", 2, 3000, 30, 1)
    assert by_rule(finished.jobs) == {
        "simulate_raw": {light},
        "prepare_shard": {Asked("cpu", 1, 4000, 20, 0)},
        "gather_dataset": {light},
        "train_generator": {default, on_gpu},
        "synthesise_shard": {default},
        "gather_synthetic": {light},
        "evaluate_arm": {on_gpu},
        "evaluate_observer": {light},
        "fit_encoder": {default},
        "extract_features": {default},
        "evaluate_set": {default},
        "report_study": {light},
        "print_study": {brief},
        "export_latex": {brief},
    }


def training(quick_masks: dict[str, Any], steps: int, **runtime: int) -> dict[str, Any]:
    """Entry of a generator as long as that; all of one length have the same weights, however they run."""
    options = {**quick_masks["training"], "steps": steps, "preview_every": steps, "validate_every": steps}
    return {
        "arch": "dcgan",
        "data": "quick_fundus",
        "options": quick_masks["options"],
        "training": options,
        "runtime": {"mem_mb": 2000, **runtime},
    }


@dataclass(frozen=True)
class Disturbed:
    """Four trainings after a run in which each was disturbed in its own way."""

    project: ClusterProject
    printed: str
    status: int
    jobs: dict[str, list[dict[str, str]]]

    def weights(self, name: str) -> Path:
        """Weights of one training."""
        return self.project.folder / MODELS / name / "seed-0" / "weights.safetensors"


def training_log(project: ClusterProject, name: str) -> Path:
    """Log file of one training."""
    return project.folder / "logs/demo/train_generator" / name / "seed-0.log"


def steps_in(log: Path) -> list[int]:
    """Steps that the log of the present attempt tells of; Snakemake removes the log of an earlier one."""
    return [int(step) for step in re.findall(r" step (\d+)/", log.read_text())] if log.exists() else []


def pace(log: Path) -> int:
    """Least milliseconds a step that the log tells of: other jobs may have run beside some."""
    return min(int(each) for each in re.findall(r" (\d+) ms/step", log.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def disturbed(slurm: Node, finished: Finished) -> Disturbed:
    """Trainings that reach their time limit, are cancelled, get too little memory, and diverge."""
    project = finished.project
    study = yaml.safe_load((project.folder / "config/studies/quickstart.yaml").read_text(encoding="utf-8"))
    like = study["generators"]["quick_masks"]
    steps = round(1000 * SECONDS_OF_TRAINING / pace(training_log(project, "quick_masks")))
    generators = {
        "budgeted": training(like, steps, minutes=1),
        "cancelled": training(like, steps),
        "squeezed": training(like, steps, mem_mb=350),
        "diverging": training(like, steps) | {"options": {"of": "mask", "lr_generator": 1e30}},
    }
    project.set_config(run=["quickstart"], scale="demo", generators=generators)
    known = {job["JobId"] for job in slurm.jobs()}
    targets = [f"{MODELS}/{name}/seed-0/weights.safetensors" for name in generators]
    run = project.start("--profile", "slurm", "--retries", str(RETRIES), "--", *targets)

    def jobs_of(name: str) -> list[dict[str, str]]:
        mark = f"rule_train_generator_wildcards_{name}_0"
        return [job for job in slurm.jobs() if job["Comment"] == mark and job["JobId"] not in known]

    wait_until(lambda: steps_in(training_log(project, "cancelled"))[-1:] > [steps // 2], "half of it", 600)
    slurm.ask("scancel", jobs_of("cancelled")[0]["JobId"])
    status = run.wait(timeout=1200)
    return Disturbed(project, project.printed(), status, {name: jobs_of(name) for name in generators})


def test_training_goes_on_after_its_time_limit(disturbed: Disturbed) -> None:
    """It stops by itself, is submitted again with more memory, and starts where it stopped."""
    jobs = disturbed.jobs["budgeted"]
    stops = re.findall(r"stopped by its time budget after step (\d+)", disturbed.printed)
    assert [job["JobState"] for job in jobs] == ["FAILED"] * len(stops) + ["COMPLETED"]
    assert len(stops) >= 1
    assert steps_in(training_log(disturbed.project, "budgeted"))[0] > int(stops[-1])
    assert [asked(job).mem_mb for job in jobs] == [2000 * attempt for attempt in range(1, len(jobs) + 1)]
    assert {asked(job).minutes for job in jobs} == {1}


def test_cancelled_training_loses_nothing(disturbed: Disturbed) -> None:
    """`scancel` makes it save its state; the next job goes on from there."""
    assert [job["JobState"] for job in disturbed.jobs["cancelled"]] == ["CANCELLED", "COMPLETED"]
    (stop,) = re.findall(r"stopped by SIGTERM after step (\d+)", disturbed.printed)
    assert steps_in(training_log(disturbed.project, "cancelled"))[0] > int(stop)


def test_job_killed_for_its_memory_gets_more(disturbed: Disturbed) -> None:
    """Slurm kills it without notice; it is submitted again until what it asks for is enough."""
    jobs = disturbed.jobs["squeezed"]
    assert len(jobs) > 1
    assert "COMPLETED" not in {job["JobState"] for job in jobs[:-1]}
    assert jobs[-1]["JobState"] == "COMPLETED"
    assert [asked(job).mem_mb for job in jobs] == [350 * attempt for attempt in range(1, len(jobs) + 1)]


def test_disturbed_trainings_end_with_the_same_bits(disturbed: Disturbed) -> None:
    """However often it was interrupted, and on whatever allocation it went on."""
    names = ("budgeted", "cancelled", "squeezed")
    assert len({file_digest(disturbed.weights(name)) for name in names}) == 1


def test_failing_job_shows_its_log_and_leaves_nothing(disturbed: Disturbed) -> None:
    """All attempts are made, the others go on, and the run says which log to read."""
    assert disturbed.status == 1
    assert len(disturbed.jobs["diverging"]) == RETRIES + 1
    assert "loss 'generator' is" in disturbed.printed
    end = disturbed.printed[disturbed.printed.index("Failed, with all attempts") :]
    assert "train_generator generator=diverging seed=0: logs/demo/train_generator/diverging/seed-0.log" in end
    assert not any(disturbed.weights("diverging").parent.glob("*.*"))
    assert list((disturbed.project.folder / "logs/slurm/rule_train_generator/diverging_0").glob("*.log"))


def test_placeholders_stop_the_run_before_anything_is_submitted(slurm: Node, tmp_path: Path) -> None:
    """The shipped profile names its two files and what to fill in."""
    project = make_project(tmp_path / "project")
    project.set_config(run=["quickstart"], scale="demo")
    before = len(slurm.jobs())
    printed = project.snakemake("--profile", "slurm", expect=1)
    assert "config.yaml: default-resources.slurm_account: CHANGE_ME" in printed
    assert "partitions.yaml: partitions.CHANGE_ME_CPU" in printed
    assert "sacctmgr show user" in printed
    assert "Traceback" not in printed
    assert len(slurm.jobs()) == before
