"""Evaluations: tidy metrics; means, intervals between arms and tests are computed by the report.

An evaluator judges arms (one job an arm and seed) or whole datasets (one job). Which code does it is looked
up by the evaluation's `evaluator`, so a new one needs no rule. Where people judge, their page comes first.

Input: the datasets that the evaluation names, the features of their images, where privacy is judged the
discriminators of the generators behind them, and where people judge what they sent back.
Output: results/evaluations/{evaluation}/.../{metrics.parquet,details/}
        results/evaluations/{evaluation}/{for_readers/observer.html,key.csv}
"""


rule freeze_arm:
    """Write the options that decide one arm of an evaluation."""
    output:
        config="<results>/evaluations/{evaluation}/{arm}/config.yaml",
    log:
        "<logs>/freeze_arm/{evaluation}/{arm}.log",
    localrule: True
    conda:
        "../../envs/mirage.yaml"
    params:
        options=arm_options,
    script:
        "../scripts/freeze.py"


rule evaluate_arm:
    """Train a judge on one arm with one seed and score it on held-out real images."""
    input:
        manifests=arm_manifests,
        config="<results>/evaluations/{evaluation}/{arm}/config.yaml",
    output:
        metrics="<results>/evaluations/{evaluation}/{arm}/seed-{seed}/metrics.parquet",
        details=directory(
            "<results>/evaluations/{evaluation}/{arm}/seed-{seed}/details"
        ),
    log:
        "<logs>/evaluate_arm/{evaluation}/{arm}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/evaluate_arm/{evaluation}/{arm}/seed-{seed}.tsv"
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
        " >> {log:q} 2>&1"


rule evaluate_observer:
    """Score the second observer against the first on the test images."""
    input:
        manifest=test_manifest,
    output:
        metrics="<results>/evaluations/{evaluation}/observer2/metrics.parquet",
    log:
        "<logs>/evaluate_observer/{evaluation}.log",
    benchmark:
        "<benchmarks>/evaluate_observer/{evaluation}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=60,
    params:
        options=observer_options,
    message:
        "Scoring the second observer of {wildcards.evaluation}"
    script:
        "../scripts/evaluate_observer.py"


rule make_readers_page:
    """Write the page on which readers tell synthetic from real images, and the key that stays here."""
    input:
        manifests=set_manifests,
    output:
        page="<results>/evaluations/{evaluation}/for_readers/observer.html",
        key="<results>/evaluations/{evaluation}/key.csv",
        made="<results>/evaluations/{evaluation}/made.json",
    log:
        "<logs>/make_readers_page/{evaluation}.log",
    benchmark:
        "<benchmarks>/make_readers_page/{evaluation}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=60,
    params:
        options=readers_page_options,
    message:
        "Making the readers' page of {wildcards.evaluation}"
    script:
        "../scripts/make_readers_page.py"


rule evaluate_set:
    """Judge whole datasets, such as synthetic against real images."""
    input:
        manifests=set_manifests,
        features=set_features,
        encoders=set_encoders,
        weights=set_encoder_weights,
        discriminators=set_discriminators,
        readers=set_reader_files,
    output:
        metrics="<results>/evaluations/{evaluation}/metrics.parquet",
        details=directory("<results>/evaluations/{evaluation}/details"),
    log:
        "<logs>/evaluate_set/{evaluation}.log",
    benchmark:
        "<benchmarks>/evaluate_set/{evaluation}.tsv"
    conda:
        "../../envs/mirage.yaml"
    threads: threads_of
    resources:
        gpu=gpus_of,
        mem_mb=memory_of,
        runtime=minutes_of,
        accelerator=accelerator_of,
    params:
        options=set_options,
    message:
        "Evaluating {wildcards.evaluation}"
    script:
        "../scripts/evaluate_set.py"
