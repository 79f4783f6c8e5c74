"""The validated configuration and the functions by which rules read it.

Rules get only the slice of the configuration that changes their result (`params` or a frozen
config file); runtime facts are read in `resources` and `threads` alone and never remake anything.
"""

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from mirage.config import load_config, slices
from mirage.errors import MirageError
from mirage.graph import Graph

try:
    CONFIG = load_config(config, Path("config"))
    GRAPH = Graph(CONFIG)
    GRAPH.check_layouts()
except MirageError as error:
    raise WorkflowError(str(error)) from None

if CONFIG.tracking:  # every job, wherever it runs, reads this file first
    os.environ.update(CONFIG.tracking.environment(Path.cwd()))


pathvars:
    results=GRAPH.root,
    benchmarks=f"{GRAPH.root}/benchmarks",
    logs="logs" if CONFIG.scale == "full" else f"logs/{CONFIG.scale}",


wildcard_constraints:
    dataset="[a-z0-9][a-z0-9_-]*",
    generator="[a-z0-9][a-z0-9_-]*",
    recipe="[a-z0-9][a-z0-9_-]*",
    real="[a-z0-9][a-z0-9_-]*",
    encoder="[a-z0-9][a-z0-9_-]*",
    data="[a-z0-9][a-z0-9_-]*",
    evaluation="[a-z0-9][a-z0-9_-]*",
    arm="[a-z0-9][a-z0-9_-]*",
    study="[a-z0-9][a-z0-9_-]*",
    template="thesis|deliverable",
    seed=r"\d+",
    shard=r"shard-\d{4}-of-\d{4}",


def study_reports():
    """Reports of the studies to be run."""
    return [GRAPH.report(study) for study in CONFIG.run]


def overview_pages():
    """The overview, where there are several studies to be set side by side."""
    return [GRAPH.overview] if len(CONFIG.run) > 1 else []


def study_prints():
    """PDFs and LaTeX files of the studies to be run."""
    return [path for study in CONFIG.run for path in GRAPH.prints(study)]


def entry_of(wildcards):
    """The registry entry whose name is among the wildcards."""
    for registry in ("dataset", "generator", "recipe", "encoder", "evaluation"):
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


def light_memory(wildcards, attempt):
    """Memory of a job that reads tables and single items, MB; grows with every resubmission."""
    return 4000 * attempt


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


def simulate_options(wildcards):
    """What decides the phantoms."""
    return slices.simulate_slice(CONFIG, wildcards.dataset)


def raw_data(wildcards):
    """Raw data of a dataset; of the user's folder the contents count, not the time stamp.

    The user's are read where they lie, also by an executor that copies everything else to a storage.
    """
    inputs = GRAPH.raw_inputs(wildcards.dataset)
    if CONFIG.datasets[wildcards.dataset].simulate:
        return inputs
    inputs["raw"] = ancient(inputs["raw"])
    return {name: local(path) for name, path in inputs.items()}


def raw_contents(wildcards):
    """Digest of the names and sizes of the raw files, where nothing else stands for their version."""
    return GRAPH.raw_contents(wildcards.dataset)


def prepare_options(wildcards):
    """What decides the stored pixels."""
    return slices.prepare_slice(CONFIG, wildcards.dataset)


def normaliser_options(wildcards):
    """What decides the normaliser of a dataset: how images are prepared, and the training split."""
    return slices.normaliser_slice(CONFIG, wildcards.dataset)


def normaliser_of(wildcards):
    """What training images have taught of a dataset's grey values; none where nothing is learnt of them."""
    return GRAPH.normaliser(wildcards.dataset) or []


def shards_of(suffix):
    """Input function: all shard files of the dataset or recipe with one suffix."""

    def files(wildcards):
        name = wildcards.get("dataset") or wildcards.get("recipe")
        return [f"{stem}.{suffix}" for stem in GRAPH.shards(name)]

    return files


def source_manifest(wildcards):
    """Manifest of the dataset that a generator has learnt which made these images; none of real ones."""
    made_from = CONFIG.datasets[wildcards.dataset].made_from
    return [] if made_from is None else GRAPH.manifest(made_from)


def train_options(wildcards):
    """What decides the weights, beside seed and data."""
    return slices.train_slice(CONFIG, wildcards.generator)


def training_manifest(wildcards):
    """Manifest of the dataset a generator learns."""
    return GRAPH.manifest(CONFIG.generators[wildcards.generator].data)


def training_weights(wildcards):
    """The user's file of weights of a network that a generator's losses look with."""
    return GRAPH.training_weights(wildcards.generator)


def choosing_encoder(wildcards):
    """The fitted encoder by whose features a generator's weights are chosen, where there is one."""
    return GRAPH.choosing_encoder(wildcards.generator)


def choosing_weights(wildcards):
    """Weights of this encoder."""
    return GRAPH.choosing_weights(wildcards.generator)


def synthesise_options(wildcards):
    """What decides a synthetic dataset, beside its models and inputs."""
    return slices.synthesise_slice(CONFIG, wildcards.recipe)


def recipe_inputs(wildcards):
    """Weights and manifests that the recipe reads."""
    return GRAPH.recipe_inputs(wildcards.recipe)


def lesion_options(wildcards):
    """What decides the proposals and the contact sheet of extracted lesions, beside the lesions."""
    return slices.lesion_slice()


def encoder_options(wildcards):
    """What decides an encoder and its features, beside the data."""
    return slices.encoder_slice(CONFIG, wildcards.encoder)


def encoder_weights(wildcards):
    """The user's file of weights, for a published network."""
    return GRAPH.encoder_weights(wildcards.encoder)


def real_manifest(wildcards):
    """Manifest of the dataset whose training split an encoder is fitted on."""
    return GRAPH.manifest(wildcards.real)


def data_manifest(wildcards):
    """Manifest of the dataset whose features are extracted."""
    return GRAPH.manifest(wildcards.data)


def arm_options(wildcards):
    """What decides one arm, beside its seed and data."""
    return slices.arm_slice(CONFIG, wildcards.evaluation, wildcards.arm)


def arm_manifests(wildcards):
    """Manifests of the test set and of the arm's training sets."""
    return GRAPH.arm_manifests(wildcards.evaluation, wildcards.arm)


def set_options(wildcards):
    """What decides an evaluation of whole datasets, beside its data."""
    return slices.set_slice(CONFIG, wildcards.evaluation)


def set_manifests(wildcards):
    """Manifests of the datasets that are compared."""
    return GRAPH.set_manifests(wildcards.evaluation)


def set_features(wildcards):
    """Tables of features of the datasets that are compared."""
    return GRAPH.set_features(wildcards.evaluation)


def set_encoders(wildcards):
    """Encoders that are applied to injected copies."""
    return GRAPH.set_encoders(wildcards.evaluation)


def set_encoder_weights(wildcards):
    """Weights of these encoders, the user's files among them."""
    return GRAPH.set_encoder_weights(wildcards.evaluation)


def set_reader_files(wildcards):
    """Key and answers, where readers judge."""
    return GRAPH.reader_files(wildcards.evaluation)


def readers_page_options(wildcards):
    """What decides the page that readers get, beside its images."""
    return slices.readers_page_slice(CONFIG, wildcards.evaluation)


def set_discriminators(wildcards):
    """Discriminators of the generators that made the dataset which is attacked."""
    return GRAPH.set_discriminators(wildcards.evaluation)


def test_manifest(wildcards):
    """Manifest of the dataset that is scored."""
    return GRAPH.manifest(CONFIG.evaluations[wildcards.evaluation].test)


def observer_options(wildcards):
    """What decides the scores of a second observer."""
    return slices.observer_slice(CONFIG, wildcards.evaluation)


def report_inputs(wildcards):
    """Everything the report reads."""
    return GRAPH.report_inputs(wildcards.study)


def report_options(wildcards):
    """What the report prints that is not in its inputs."""
    return slices.report_slice(CONFIG, wildcards.study)


def print_options(wildcards):
    """Title page and words of a study's print."""
    return slices.print_slice(CONFIG, wildcards.study)


def study_records(wildcards):
    """Reports of the studies to be run, as data."""
    return [GRAPH.report_file(study, "report.json") for study in CONFIG.run]


def study_summaries(wildcards):
    """Numbers of the studies to be run."""
    return [GRAPH.report_file(study, "summary.csv") for study in CONFIG.run]


def overview_options(wildcards):
    """The catalogue of publications."""
    return slices.overview_slice(CONFIG)


def latex_options(wildcards):
    """What decides the LaTeX files: no option of the user's."""
    return slices.latex_slice()


def report_plan(wildcards):
    """Folders, and nodes and edges of the drawing."""
    return GRAPH.report_plan(wildcards.study)


def cost_options(wildcards):
    """Prices and powers by which the report reckons; they decide no result."""
    return slices.normalise(CONFIG.cost)


def study_digest(wildcards):
    """Digest of everything that decides the study's results."""
    return slices.study_digest(CONFIG, wildcards.study)
