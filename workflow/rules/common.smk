"""The validated configuration and the functions by which rules read it.

Rules get only the slice of the configuration that changes their result (`params` or a frozen
config file); runtime facts are read in `resources` and `threads` alone and never remake anything.
"""

from pathlib import Path

from snakemake.exceptions import WorkflowError

from mirage.config import load_config, slices
from mirage.errors import MirageError
from mirage.graph import Graph, model_folder

try:
    CONFIG = load_config(config, Path("config"))
    GRAPH = Graph(CONFIG)
    GRAPH.check_layouts()
except MirageError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    dataset="[a-z0-9][a-z0-9_-]*",
    generator="[a-z0-9][a-z0-9_-]*",
    recipe="[a-z0-9][a-z0-9_-]*",
    evaluation="[a-z0-9][a-z0-9_-]*",
    arm="[a-z0-9][a-z0-9_-]*",
    study="[a-z0-9][a-z0-9_-]*",
    seed=r"\d+",
    shard=r"shard-\d{4}-of-\d{4}",


def study_reports():
    """Reports of the studies to be run."""
    return [f"results/studies/{study}/report.html" for study in CONFIG.run]


def entry_of(wildcards):
    """The registry entry whose name is among the wildcards."""
    for registry in ("dataset", "generator", "recipe", "evaluation"):
        if registry in wildcards.keys():
            return getattr(CONFIG, f"{registry}s")[wildcards[registry]]
    raise WorkflowError(f"no registry entry among the wildcards {dict(wildcards)}")


def threads_of(wildcards):
    """CPU threads of the job."""
    return entry_of(wildcards).runtime.threads


def gpus_of(wildcards):
    """GPUs of the job."""
    return entry_of(wildcards).runtime.gpus


def minutes_of(wildcards):
    """Wall time of the job, minutes; constant over attempts, since training resumes."""
    return entry_of(wildcards).runtime.minutes


def memory_of(wildcards, attempt):
    """Memory of the job, MB; grows with every resubmission."""
    return entry_of(wildcards).runtime.mem_mb * attempt


def workers_of(wildcards):
    """Processes that load training items."""
    return entry_of(wildcards).runtime.workers


def accelerator_of(wildcards):
    """Kind of device."""
    return entry_of(wildcards).runtime.accelerator


def gather_options(wildcards):
    """What decides splits and acceptance of a dataset or a synthetic dataset."""
    return slices.gather_slice(
        CONFIG, wildcards.get("dataset") or wildcards.get("recipe")
    )
