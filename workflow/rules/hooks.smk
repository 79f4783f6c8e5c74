"""What a run says when it begins and ends, and when it must not begin.

Snakemake calls these in the process that a person started: neither in a dry run nor in the jobs of a cluster.
"""

import yaml
from snakemake.logging import logger

PLACEHOLDER = "CHANGE_ME"
PAGES = {"report_study": "report", "report_overview": "overview"}


def unfilled():
    """Keys of the profile that still hold a placeholder: those that a job would be submitted with."""
    asked = {
        f"config.yaml: default-resources.{name}: {value}"
        for job in workflow.dag.needrun_jobs()
        if not job.is_local
        for name, value in job.resources.items()
        if PLACEHOLDER in str(value)
    }
    # None, of an executor that has no options of its own.
    settings = workflow.executor_settings
    given = {
        **(vars(settings) if settings else {}),
        "container_image": workflow.remote_execution_settings.container_image,
    }
    asked |= {
        f"config.yaml: {name.replace('_', '-')}: {value}"
        for name, value in given.items()
        if PLACEHOLDER in str(value)
    }
    partitions = getattr(settings, "partition_config", None)
    if partitions is not None:
        names = yaml.safe_load(Path(partitions).read_text(encoding="utf-8"))
        asked |= {
            f"{Path(partitions).name}: partitions.{name}"
            for name in names["partitions"]
            if PLACEHOLDER in name
        }
    return sorted(asked)


def refuse_placeholders():
    """Stop before the first job is submitted to a cluster that the profile does not name yet."""
    found = "" if workflow.local_exec else "\n".join(f"  {key}" for key in unfilled())
    if found:
        raise WorkflowError(
            f"the profile still holds placeholders; nothing was submitted:\n{found}\n"
            "Put in your own values, of Slurm your account (`sacctmgr show user $USER withassoc`; where the "
            "cluster has none, delete the line) and the names of your partitions (`sinfo -s`). docs/cluster.md "
            "explains the profiles."
        )


def failed_jobs():
    """A line for every job that failed for good: its rule, its wildcards and its log."""
    for job in sorted(workflow.scheduler.failed, key=str):
        about = " ".join(f"{key}={value}" for key, value in job.wildcards_dict.items())
        yield f"  {job.rule.name} {about}: {', '.join(map(str, job.log)) or 'no log'}"


onstart:
    refuse_placeholders()
    logger.info(
        f"Mirage: {', '.join(CONFIG.run)} at {CONFIG.scale} scale; results in {GRAPH.root}/"
    )


onsuccess:
    for job in workflow.dag.jobs:
        if job.rule.name in PAGES:
            logger.info(f"The {PAGES[job.rule.name]}: {job.output.page}")


onerror:
    failed = "\n".join(failed_jobs())  # none, where a person interrupted the run
    if failed:
        logger.error(f"Failed, with all attempts:\n{failed}")
    around = getattr(workflow.executor_settings, "logdir", None)
    if failed and around is not None:
        logger.error(f"Where a log is empty or ends in mid-sentence: {around}/")
    logger.error(
        "Mend the cause and run the same command again: what is finished stays, training resumes."
    )
