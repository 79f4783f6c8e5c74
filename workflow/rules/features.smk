"""Features of images: vectors by which whole datasets are compared, extracted once and read by all metrics.

An encoder is fitted on the training split of one real dataset and sees nothing else. The tables of one such
encoder are comparable with one another and with no others.

Input: the datasets and encoders that evaluations name.
Output: results/encoders/{real}/{encoder}/{encoder.json,weights.safetensors}
        results/features/{real}/{encoder}/{data}.parquet
"""


ruleorder: fit_encoder > extract_features


rule freeze_encoder:
    """Write the options that decide an encoder and its features."""
    output:
        config="<results>/encoders/{encoder}.yaml",
    log:
        "<logs>/freeze_encoder/{encoder}.log",
    localrule: True
    conda:
        "../../envs/mirage.yaml"
    params:
        options=encoder_options,
    script:
        "../scripts/freeze.py"


rule fit_encoder:
    """Fit an encoder on the training split of a real dataset, and extract the features of that dataset."""
    input:
        config="<results>/encoders/{encoder}.yaml",
        manifest=real_manifest,
        pretrained=encoder_weights,
    output:
        encoder="<results>/encoders/{real}/{encoder}/encoder.json",
        weights="<results>/encoders/{real}/{encoder}/weights.safetensors",
        features="<results>/features/{real}/{encoder}/{real}.parquet",
    log:
        "<logs>/fit_encoder/{encoder}/{real}.log",
    benchmark:
        "<benchmarks>/fit_encoder/{encoder}/{real}.tsv"
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
        "Fitting {wildcards.encoder} on {wildcards.real}"
    shell:
        "mirage fit-encoder"
        " --config {input.config:q}"
        " --data $(dirname {input.manifest:q})"
        " --out $(dirname {output.encoder:q})"
        " --features {output.features:q}"
        " --accelerator {resources.accelerator} --gpus {resources.gpu} --threads {threads}"
        " --workers {resources.workers} --minutes {resources.runtime}"
        " >> {log:q} 2>&1"


rule extract_features:
    """Extract the features of a dataset with an encoder that was fitted on a real one."""
    input:
        encoder="<results>/encoders/{real}/{encoder}/encoder.json",
        weights="<results>/encoders/{real}/{encoder}/weights.safetensors",
        manifest=data_manifest,
        pretrained=encoder_weights,
    output:
        features="<results>/features/{real}/{encoder}/{data}.parquet",
    log:
        "<logs>/extract_features/{encoder}/{real}/{data}.log",
    benchmark:
        "<benchmarks>/extract_features/{encoder}/{real}/{data}.tsv"
    conda:
        "../../envs/mirage.yaml"
    threads: threads_of
    resources:
        gpu=gpus_of,
        mem_mb=memory_of,
        runtime=minutes_of,
        accelerator=accelerator_of,
    message:
        "Features of {wildcards.data} by {wildcards.encoder}, fitted on {wildcards.real}"
    shell:
        "mirage extract-features"
        " --encoder $(dirname {input.encoder:q})"
        " --data $(dirname {input.manifest:q})"
        " --features {output.features:q}"
        " --accelerator {resources.accelerator} --gpus {resources.gpu} --threads {threads}"
        " >> {log:q} 2>&1"
