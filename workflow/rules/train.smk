"""Training of generators.

Input: the dataset that the generator's entry names, and the encoder by whose features weights are chosen, if any.
Output: results/models/{generator}/seed-{seed}/{weights.safetensors,discriminator.safetensors,model.json,history.parquet,
provenance.json}
The resumable `state/` lies beside them and is never an output: it must survive a failed job.
"""


rule freeze_training:
    """Write the options that decide a generator's weights, to train from and to repeat the job by hand."""
    output:
        config="<results>/models/{generator}/config.yaml",
    log:
        "<logs>/freeze_training/{generator}.log",
    localrule: True
    conda:
        "../../envs/mirage.yaml"
    params:
        options=train_options,
    script:
        "../scripts/freeze.py"


rule train_generator:
    """Train one generator with one seed; resumes from its state and stops before its wall time."""
    input:
        config="<results>/models/{generator}/config.yaml",
        manifest=training_manifest,
        pretrained=training_weights,
        encoder=choosing_encoder,
        encoder_weights=choosing_weights,
    output:
        weights="<results>/models/{generator}/seed-{seed}/weights.safetensors",
        discriminator="<results>/models/{generator}/seed-{seed}/discriminator.safetensors",
        model="<results>/models/{generator}/seed-{seed}/model.json",
        history="<results>/models/{generator}/seed-{seed}/history.parquet",
        provenance="<results>/models/{generator}/seed-{seed}/provenance.json",
    log:
        "<logs>/train_generator/{generator}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/train_generator/{generator}/seed-{seed}.tsv"
    priority: 10
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
        "Training {wildcards.generator}, seed {wildcards.seed}"
    shell:
        "mirage train {input.encoder:q}"
        " --config {input.config:q}"
        " --data $(dirname {input.manifest:q})"
        " --out $(dirname {output.weights:q})"
        " --seed {wildcards.seed}"
        " --accelerator {resources.accelerator} --gpus {resources.gpu} --threads {threads}"
        " --workers {resources.workers} --minutes {resources.runtime}"
        " >> {log:q} 2>&1"
