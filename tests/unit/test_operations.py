"""Doctor, plan, status and why on made-up jobs and folders."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mirage.amounts import duration, emissions, energy, size
from mirage.benchmarks import Measurement, read_measurements
from mirage.config import load_config
from mirage.config.cost import Cost
from mirage.config.model import Config
from mirage.dry_run import PlannedJob
from mirage.errors import ConfigError
from mirage.files import write_json
from mirage.operations import project, slurm
from mirage.operations.changes import ABSENT, changed_keys, differences
from mirage.operations.controller import Controller
from mirage.operations.display import plain
from mirage.operations.estimate import Basis, Experience
from mirage.operations.logs import last_error, stopped
from mirage.operations.plan import plan_of
from mirage.operations.schedule import critical_path, wall_time
from mirage.operations.status import job_status
from mirage.operations.trainings import file_system_time, training_at
from mirage.operations.why import explain
from mirage.operations.work import Work

CONFIG = Path(__file__).resolve().parents[2] / "config"
REPORT = "results/demo/studies/quickstart/report.html"
MakeJob = Callable[..., PlannedJob]


@pytest.fixture(scope="module")
def config() -> Config:
    """The shipped quick start, in small."""
    return load_config({"run": ["quickstart"], "scale": "demo"}, CONFIG)


def reason(**own: Any) -> SimpleNamespace:
    """Why Snakemake would run a job; nothing unless said."""
    nothing = {
        "forced": False,
        "params_changed": False,
        "input_changed": False,
        "code_changed": False,
        "software_stack_changed": False,
        "updated_input": set(),
        "updated_input_run": set(),
        "missing_output": set(),
    }
    return SimpleNamespace(**{**nothing, **own})


def job(rule: str, outputs: list[str], inputs: tuple[str, ...] = (), **own: Any) -> PlannedJob:
    """A job of one thread that would run."""
    facts: dict[str, Any] = {
        "stage": rule.split("_")[0],
        "wildcards": {},
        "log": None,
        "benchmark": None,
        "threads": 1,
        "watched": tuple(inputs),
        "script": None,
        "resources": {},
        "params": {},
        "needed": True,
        "reason": reason(),
        "recorded": None,
        "started": False,
        "cluster_ids": (),
    }
    return PlannedJob(rule=rule, outputs=tuple(outputs), inputs=inputs, **{**facts, **own})


def training_job(seed: int = 0, generator: str = "quick_masks", **own: Any) -> PlannedJob:
    """A training that may take an hour."""
    return job(
        "train_generator",
        [f"results/demo/models/{generator}/seed-{seed}/weights.safetensors"],
        wildcards={"generator": generator, "seed": str(seed)},
        benchmark=f"results/demo/benchmarks/train_generator/{generator}/seed-{seed}.tsv",
        **{"resources": {"runtime": 60, "gpu": 2, "mem_mb": 4000}, "threads": 4, **own},
    )


def measured(path: str, seconds: float) -> Measurement:
    """A run of a job, 100 MB large."""
    rule, entry, *_ = path.split("/")
    return Measurement(rule, entry, path, seconds, seconds, 100.0, None, None)


def test_extended_benchmarks_tell_threads_and_gpus(tmp_path: Path) -> None:
    """Of a plain file they are unknown, and of a short job so are CPU time and memory."""
    folder = tmp_path / "benchmarks" / "train_generator" / "eyes"
    folder.mkdir(parents=True)
    (folder / "seed-0.tsv").write_text("s\tmax_rss\tcpu_time\n3.5\tNA\tNA\n")
    (folder / "seed-1.tsv").write_text(
        "s\tmax_rss\tcpu_time\tparams\tthreads\tresources\n"
        "1800\t50\t900\t{'of': 'mask'}\t4\t{'gpu': 2, 'tmpdir': '/tmp'}\n"
    )
    short, long = (read_measurements(folder / f"seed-{seed}.tsv")[0] for seed in (0, 1))
    assert (short.rule, short.entry, short.threads) == ("train_generator", "eyes", None)
    assert math.isnan(short.cpu_seconds)
    assert math.isnan(short.gpu_hours)
    assert (long.core_hours, long.gpu_hours, long.max_rss_mb) == (2.0, 1.0, 50.0)


@pytest.mark.parametrize(
    ("earlier", "seconds", "basis"),
    [
        (["quick_masks/seed-0", "quick_masks/seed-1", "other/seed-0"], 10, Basis.JOB),
        (["quick_masks/seed-1", "other/seed-0"], 20, Basis.ENTRY),
        (["other/seed-0"], 30, Basis.RULE),
        ([], 3600, Basis.LIMIT),
    ],
)
def test_time_is_estimated_by_the_most_alike_run(
    config: Config, earlier: list[str], seconds: float, basis: Basis
) -> None:
    """The same job, else the same entry, else the same rule, else what it asks for at most."""
    took = {"quick_masks/seed-0": 10, "quick_masks/seed-1": 20, "other/seed-0": 30}
    wanted = training_job()
    runs = [measured(f"train_generator/{name}", took[name]) for name in earlier]
    found = Experience(Work(config, [wanted]), runs).estimate(wanted)
    assert (found.seconds, found.seconds_by) == (seconds, basis)
    assert math.isnan(found.memory_mb) == (not earlier)


def test_disk_is_estimated_by_items_before_a_shard_was_made(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 photographs of 64 x 64 pixels, 3 channels and their masks; then what the shard takes now."""
    monkeypatch.chdir(tmp_path)
    shard = job(
        "synthesise_shard",
        ["shard.arrow"],
        wildcards={"recipe": "quick_dual_gan", "shard": "shard-0000-of-0001"},
    )
    expected = Experience(Work(config, [shard]), []).estimate(shard)
    assert 48 * 64 * 64 * 3 < expected.bytes < 48 * 64 * 64 * 8
    Path("shard.arrow").write_bytes(bytes(1234))
    there = Experience(Work(config, [shard]), []).estimate(shard)
    assert (there.bytes, there.bytes_by) == (1234, Basis.JOB)


def test_plan_counts_jobs_time_gpus_and_price(config: Config) -> None:
    """Two trainings and the report that waits for them, on machines with one GPU and with four."""
    trainings = [training_job(seed) for seed in (0, 1)]
    report = job("report_study", [REPORT], tuple(one.outputs[0] for one in trainings))
    priced = config.model_copy(update={"cost": Cost(price_per_core_hour=0.1, price_per_gpu_hour=1)})
    found = plan_of(Work(priced, [*trainings, report]), cores=8, gpus=4)
    stages = found.studies[0].stages
    assert list(stages) == ["train", "report"]
    assert (stages["train"].jobs, stages["train"].hours, stages["train"].gpu_hours) == (2, 2.0, 4.0)
    assert stages["train"].hours_at_most == 2
    assert found.machine.hours == 1.0
    assert found.money == pytest.approx(8 * 0.1 + 4 * 1)
    assert plan_of(Work(priced, [*trainings, report]), cores=8, gpus=2).machine.hours == 2.0


def test_wall_time_follows_cores_and_dependence() -> None:
    """Four jobs of a minute and one that waits for them all."""
    first = [job("a", [f"a{number}"]) for number in range(4)]
    last = job("b", ["b"], tuple(one.outputs[0] for one in first))
    jobs = [*first, last]
    seconds = {**dict.fromkeys(first, 60.0), last: 30.0}

    def needs(one: PlannedJob) -> list[PlannedJob]:
        return first if one is last else []

    assert [wall_time(jobs, needs, seconds, cores) for cores in (1, 2, 3, 8)] == [270, 150, 150, 90]
    assert critical_path(jobs, needs, seconds) == 90


def test_differences_are_told_key_by_key() -> None:
    """Nested mappings and lists of one length; a key that is left out is absent, not None."""
    old = {"a": {"b": 1, "c": [1, {"d": 2}]}, "same": 5, "gone": None}
    new = {"a": {"b": 1.0, "c": [1, {"d": 3}]}, "same": 5, "more": [1]}
    found = {change.key: (change.old, change.new) for change in differences(old, new)}
    assert found == {
        "a.b": (1, 1.0),
        "a.c[1].d": (2, 3),
        "gone": (None, ABSENT),
        "more": (ABSENT, [1]),
    }


def stage(name: str, version: int = 1, **options: Any) -> dict[str, Any]:
    return {"stage": name, "version": version, "options": options}


CHANGES = {
    # name: (stage, its options before and now, wildcards, key, old, new)
    "recipe": (
        "synthesise",
        {"count": 48},
        {"count": 49},
        {"recipe": "quick_dual_gan"},
        "recipes.quick_dual_gan.count",
        48,
        49,
    ),
    "generator, from its default": (
        "train",
        {"options": {"of": "mask"}},
        {"options": {"of": "mask", "features": 16}},
        {"generator": "quick_masks"},
        "generators.quick_masks.options.features",
        64,
        16,
    ),
    "arm": (
        "evaluate_segmentation",
        {"arm": {"augment": True}},
        {"arm": {}},
        {"evaluation": "quick_vessels", "arm": "real"},
        "evaluations.quick_vessels.arms.real.augment",
        True,
        False,
    ),
    "phantoms": (
        "simulate",
        {"subjects": 8},
        {"subjects": 9},
        {"dataset": "quick_fundus"},
        "datasets.quick_fundus.simulate.subjects",
        8,
        9,
    ),
    "title": (
        "report",
        {"study": {"title": "A"}},
        {"study": {"title": "B"}},
        {"study": "quickstart"},
        "studies.quickstart.title",
        "A",
        "B",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_parameters_are_named_as_in_the_configuration(config: Config, name: str) -> None:
    """What a rule is given is a slice; a person knows the keys of the files."""
    stage_name, before, now, wildcards, key, old, new = CHANGES[name]
    recorded = SimpleNamespace(params=sorted([repr(stage(stage_name, **before)), repr("a digest")]))
    params = {"options": stage(stage_name, **now), "digest": "another"}
    [change] = changed_keys(
        job("a_rule", ["x"], wildcards=wildcards, params=params, recorded=recorded), config
    )
    assert (change.key, change.old, change.new) == (key, old, new)


def test_a_new_version_of_a_stage_is_a_change(config: Config) -> None:
    """It stands in the code, not in the configuration."""
    recorded = SimpleNamespace(params=[repr(stage("train", 3))])
    params = {"options": stage("train", 4)}
    [change] = changed_keys(
        job("freeze_training", ["x"], wildcards={"generator": "g"}, params=params, recorded=recorded), config
    )
    assert (change.key, change.old, change.new) == ("version of stage train", 3, 4)


def chain(config: Config, **first: Any) -> Work:
    """frozen options -> training -> report, of which the first has a reason of its own."""
    frozen = job(
        "freeze_training",
        ["config.yaml"],
        wildcards={"generator": "quick_masks"},
        **{
            "params": {"options": stage("train", training={"steps": 200})},
            "recorded": SimpleNamespace(params=[repr(stage("train", training={"steps": 80}))]),
            "reason": reason(params_changed=True),
            **first,
        },
    )
    made = SimpleNamespace(params=[], input=[], endtime=0.0)
    train = training_job(recorded=made, reason=reason(updated_input_run={"config.yaml"}))
    train = PlannedJob(**{**vars(train), "inputs": ("config.yaml",)})
    report = job("report_study", [REPORT], train.outputs, recorded=made)
    return Work(config, [frozen, train, report])


def test_why_follows_a_study_to_the_edited_key(config: Config) -> None:
    """The root cause is told once, with the jobs that follow from it."""
    found = explain("quickstart", chain(config))
    assert found.jobs == {"freeze_training": 1, "train_generator": 1, "report_study": 1}
    [cause] = found.causes
    assert (cause.kind, cause.job) == ("options", "freeze_training quick_masks")
    assert cause.reasons == ["generators.quick_masks.training.steps: 80 \u2192 200"]
    assert cause.then == {"train_generator": 1, "report_study": 1}


@pytest.mark.parametrize(
    ("own", "kind", "said"),
    [
        ({"updated_input": {"raw"}}, "input", "its input raw has changed since"),
        ({"missing_output": {"config.yaml"}}, "missing", "config.yaml was made before and is gone"),
        ({"code_changed": True}, "code", "rule freeze_training or its script was edited"),
        ({"forced": True}, "broken off", "an earlier run of it was broken off"),
        ({"software_stack_changed": True}, "environment", "envs/"),
    ],
)
def test_every_kind_of_cause_is_told(config: Config, own: dict[str, Any], kind: str, said: str) -> None:
    """Each of Snakemake's reasons has its words."""
    [cause] = explain(REPORT, chain(config, reason=reason(**own))).causes
    assert cause.kind == kind
    assert said in cause.reasons[0]


def test_what_was_never_made_has_no_cause(config: Config) -> None:
    """A first run is no change."""
    found = explain(
        "quick_masks", chain(config, recorded=None, reason=reason(missing_output={"config.yaml"}))
    )
    assert found.causes == []
    assert found.never_made == {"freeze_training": 1}


def test_what_is_up_to_date_says_by_what_it_was_made(config: Config) -> None:
    """And an unknown target says what it might have been."""
    done = training_job(needed=False, log="logs/a.log", recorded=SimpleNamespace(endtime=5.0))
    found = explain("train_generator", Work(config, [done]))
    assert (found.jobs, found.causes) == ({}, [])
    assert [(made.job, made.finished, made.log, made.there) for made in found.made_by] == [
        ("train_generator quick_masks seed 0", 5.0, "logs/a.log", False)
    ]
    with pytest.raises(ConfigError, match="did you mean 'quick_masks'"):
        explain("quick_mask", Work(config, [done]))


COMMAND = "2026-01-01 00:00:00,000 INFO mirage: mirage train --config c\n"


def test_only_the_last_attempt_of_a_log_counts(tmp_path: Path) -> None:
    """A log is appended to; an error that was mended is none."""
    log = tmp_path / "a.log"
    log.write_text(f"{COMMAND}t ERROR mirage: no such dataset\n")
    assert last_error(log) == "t ERROR mirage: no such dataset"
    log.write_text(f"{COMMAND}t ERROR mirage: no such dataset\n{COMMAND}step 1/9\n")
    assert last_error(log) is None
    log.write_text(f"{COMMAND}Traceback (most recent call last):\n  File x\ntorch.OutOfMemoryError: CUDA\n")
    assert last_error(log) == "torch.OutOfMemoryError: CUDA"
    log.write_text(f"{COMMAND}t WARNING mirage: stopped by SIGTERM after step 3 of 9; state saved\n")
    assert last_error(log) is None
    assert stopped(log) == "stopped by SIGTERM after step 3 of 9; state saved"
    assert last_error(tmp_path / "none.log") is None


HERE = {"host": socket.gethostname(), "token": "a", "beat": 3}
GONE = 2**22 + 1  # above the largest process id


def train_in(state: Path, owner: dict[str, Any], silent: float = 0) -> None:
    """Leave the signs of a training that has beaten so many seconds ago."""
    told = {"step": 30, "steps": 90, "seconds_per_step": 2.0, "losses": {"l1": 0.5}}
    write_json(state / "progress.json", {**told, "device": "cpu", "ranks": 1})
    write_json(state / "lock.json", owner)
    now = file_system_time(state)
    os.utime(state / "lock.json", (now - silent, now - silent))


@pytest.mark.parametrize(
    ("owner", "silent", "alive"),
    [
        ({**HERE, "pid": os.getpid()}, 0, True),
        ({**HERE, "pid": GONE}, 0, False),
        ({"host": "another", "pid": 1}, 5, True),
        ({"host": "another", "pid": 1}, 600, False),
    ],
)
def test_a_training_lives_while_it_beats(
    tmp_path: Path, owner: dict[str, Any], silent: float, alive: bool
) -> None:
    """A process of this host is looked for; one of another must have beaten by the file server's clock."""
    train_in(tmp_path / "state", owner, silent)
    found = training_at(tmp_path / "state", file_system_time(tmp_path))
    assert found is not None
    assert (found.alive, found.killed) == (alive, not alive)
    assert (found.step, found.steps, found.losses, found.host) == (30, 90, {"l1": 0.5}, owner["host"])
    assert found.seconds_left == pytest.approx(120, abs=30)


def test_a_judge_trains_in_the_folder_of_its_part(tmp_path: Path) -> None:
    """Its state has a folder for each part."""
    train_in(tmp_path / "state" / "pretrain", {**HERE, "pid": os.getpid()})
    found = training_at(tmp_path / "state", file_system_time(tmp_path))
    assert found is not None
    assert found.part == "pretrain"
    assert training_at(tmp_path / "nothing", 0.0) is None


def state_of(
    one: PlannedJob, *, locked: bool = False, queue: dict[str, str] | None = None
) -> tuple[str, str]:
    found = job_status(one, Controller(locked, []), file_system_time(Path()), queue or {})
    return found.state, found.note


def test_states_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Done, waiting, running by Snakemake's account or by its own, queued, failed, killed, paused."""
    monkeypatch.chdir(tmp_path)
    log = Path("a.log")
    assert state_of(training_job(needed=False)) == ("done", "")
    assert state_of(training_job(log="a.log")) == ("waiting", "")
    assert state_of(training_job(started=True), locked=True) == ("running", "")
    on_cluster = training_job(started=True, cluster_ids=("17",))
    assert state_of(on_cluster, queue={"17": "PENDING"}) == ("waiting", "queued as job 17")
    assert state_of(on_cluster, queue={"17": "RUNNING"}) == ("running", "job 17, running")
    assert state_of(training_job(started=True))[0] == "failed"
    log.write_text(f"{COMMAND}t WARNING mirage: stopped by SIGTERM after step 3 of 9; state saved\n")
    assert state_of(training_job(log="a.log"))[1].endswith("state saved; goes on from there")
    log.write_text(f"{COMMAND}t ERROR mirage: too little memory\n")
    assert state_of(training_job(log="a.log")) == ("failed", "t ERROR mirage: too little memory")
    assert state_of(training_job(log="a.log", needed=False))[0] == "failed"
    state = Path(training_job().outputs[0]).parent / "state"
    train_in(state, {**HERE, "pid": GONE})
    log.unlink()
    assert "was killed at step 30 of 90, before it saved its state" in state_of(training_job(log="a.log"))[1]
    assert state_of(training_job(started=True), locked=True)[0] == "failed"
    train_in(state, {**HERE, "pid": os.getpid()})
    assert state_of(training_job(log="a.log"))[0] == "running"


def test_placeholders_are_told_with_file_and_lines(tmp_path: Path) -> None:
    """Only those that count, and only where there is Slurm are they a problem."""
    profile = tmp_path / "slurm" / "partitions.yaml"
    profile.parent.mkdir()
    profile.write_text(
        '# CHANGE_ME\na: 1  # CHANGE_ME\n  slurm_account: "CHANGE_ME"\n  CHANGE_ME_GPU: {max_gpu: 8}\n'
    )
    [elsewhere] = slurm.placeholders(profile, slurm_here=False)
    assert elsewhere.level == "warning"
    assert f"{profile}: not filled in: slurm_account (line 3), partition (line 4)" in elsewhere.found
    here = list(slurm.placeholders(profile, slurm_here=True))
    assert [finding.level for finding in here] == ["problem", "problem"]
    assert f"{profile}:4: partition is still CHANGE_ME_GPU" in here[1].found


def test_doctor_tells_all_data_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first alone, as planning does; and a pointer says how to get them."""
    monkeypatch.chdir(tmp_path)
    Path("resources").mkdir()
    Path("resources/drive.dvc").touch()
    found = {finding.topic: finding for finding in project.data(load_config({"run": ["retina"]}, CONFIG))}
    missing = {topic for topic, finding in found.items() if finding.level == "problem"}
    assert len(missing) > 1
    assert any(found[topic].mend == "dvc pull resources/drive.dvc" for topic in missing)


def test_dvc_remotes_are_read_from_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a remote there is one copy only."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    assert [finding.level for finding in project.versioning()] == ["warning"]
    Path(".dvc/config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = /data/store\n"
    )
    [finding] = project.versioning()
    assert (finding.level, finding.found) == ("ok", "keeps data in store (/data/store)")


def test_machines_read_unknown_numbers_as_null(config: Config) -> None:
    """JSON has no NaN."""
    text = json.dumps(plain([float("nan"), ABSENT, Controller(True, [1])]), allow_nan=False)
    assert json.loads(text) == [None, None, {"locked": True, "processes": [1]}]


def test_a_question_about_a_run_does_not_wait_for_torch() -> None:
    """Status is asked often, on login nodes; only the doctor looks at devices."""
    code = "import sys; from mirage.operations import display; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_amounts_are_short() -> None:
    """As people read them."""
    assert [duration(value) for value in (42, 720, 12600, 300000)] == ["42 s", "12 min", "3.5 h", "3.5 d"]
    assert [size(value) for value in (12, 3400, 12e6, 2e12)] == ["12 B", "3.4 kB", "12 MB", "2.0 TB"]
    watt_hours = [energy(value) for value in (2.2e-4, 0.5, 1.34, 12345)]
    assert watt_hours == ["0.220 Wh", "500 Wh", "1.34 kWh", "12345 kWh"]
    assert [emissions(value) for value in (0.25, 2)] == ["250 g", "2.00 kg"]
