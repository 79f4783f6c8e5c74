"""Evaluations: tidy metrics of every arm and seed; intervals and tests are computed by the report.

Input: the datasets that the evaluation names.
Output: results/evaluations/{evaluation}/.../metrics.parquet
"""


def arm_options(wildcards):
    """What decides one arm, beside its seed and data."""
    return slices.arm_slice(CONFIG, wildcards.evaluation, wildcards.arm)


def arm_manifests(wildcards):
    """Manifests of the arm's training sets and of the test set."""
    return [
        GRAPH.manifest(name)
        for name in GRAPH.arm_data(wildcards.evaluation, wildcards.arm)
    ]


def test_manifest(wildcards):
    """Manifest of the dataset that is scored."""
    return GRAPH.manifest(CONFIG.evaluations[wildcards.evaluation].test)


def observer_label(wildcards):
    """Label on which the observers are compared."""
    return CONFIG.evaluations[wildcards.evaluation].label


def fidelity_manifests(wildcards):
    """Manifests of the real and of the synthetic side."""
    entry = CONFIG.evaluations[wildcards.evaluation]
    return {
        "real": GRAPH.manifest(entry.real),
        "synthetic": GRAPH.manifest(entry.synthetic),
    }


def fidelity_options(wildcards):
    """What decides a fidelity evaluation, beside its data."""
    return slices.fidelity_slice(CONFIG, wildcards.evaluation)


rule freeze_arm:
    """Write the options that decide one arm of a segmentation evaluation."""
    output:
        config="results/evaluations/{evaluation}/{arm}/config.yaml",
    log:
        "logs/freeze_arm/{evaluation}/{arm}.log",
    localrule: True
    conda:
        "../../envs/mirage.yaml"
    params:
        options=arm_options,
    script:
        "../scripts/freeze.py"


rule evaluate_segmentation:
    """Train a judge on one arm with one seed and score it on held-out real images."""
    input:
        manifests=arm_manifests,
        config="results/evaluations/{evaluation}/{arm}/config.yaml",
    output:
        metrics="results/evaluations/{evaluation}/{arm}/seed-{seed}/metrics.parquet",
        predictions="results/evaluations/{evaluation}/{arm}/seed-{seed}/predictions.arrow",
        arm="results/evaluations/{evaluation}/{arm}/seed-{seed}/arm.json",
    log:
        "logs/evaluate_segmentation/{evaluation}/{arm}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate_segmentation/{evaluation}/{arm}/seed-{seed}.tsv"
    conda:
        "../../envs/mirage.yaml"
    threads: threads_of
    resources:
        gpu=gpus_of,
        mem_mb=memory_of,
        runtime=minutes_of,
        workers=workers_of,
        accelerator=accelerator_of,
    message:
        "Judging arm {wildcards.arm} of {wildcards.evaluation}, seed {wildcards.seed}"
    shell:
        "mirage evaluate-arm {input.manifests:q}"
        " --config {input.config:q}"
        " --out $(dirname {output.metrics:q})"
        " --evaluation {wildcards.evaluation} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --accelerator {resources.accelerator} --gpus {resources.gpu} --threads {threads}"
        " --workers {resources.workers} --minutes {resources.runtime}"
        " > {log:q} 2>&1"


rule evaluate_observer:
    """Score the second observer against the first on the test images."""
    input:
        manifest=test_manifest,
    output:
        metrics="results/evaluations/{evaluation}/observer2/metrics.parquet",
    log:
        "logs/evaluate_observer/{evaluation}.log",
    conda:
        "../../envs/mirage.yaml"
    params:
        version=slices.STAGES["evaluate_segmentation"],
        label=observer_label,
    message:
        "Scoring the second observer of {wildcards.evaluation}"
    script:
        "../scripts/evaluate_observer.py"


rule evaluate_fidelity:
    """Measure how far synthetic images lie from real ones, and whether they copy them."""
    input:
        unpack(fidelity_manifests),
    output:
        metrics="results/evaluations/{evaluation}/metrics.parquet",
        histogram="results/evaluations/{evaluation}/histogram.parquet",
        neighbours="results/evaluations/{evaluation}/neighbours.parquet",
        duplicates="results/evaluations/{evaluation}/duplicates.parquet",
    log:
        "logs/evaluate_fidelity/{evaluation}.log",
    benchmark:
        "results/benchmarks/evaluate_fidelity/{evaluation}.tsv"
    conda:
        "../../envs/mirage.yaml"
    threads: threads_of
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        options=fidelity_options,
    message:
        "Measuring fidelity: {wildcards.evaluation}"
    script:
        "../scripts/evaluate_fidelity.py"
