"""Recipes: synthetic datasets out of datasets and trained generators.

Input: the weights and datasets that the recipe names.
Output: results/synthetic/{recipe}/{manifest.parquet,dataset.json,shard-*.arrow}, and of extracted lesions
{curation.csv,contact-sheet.png}
"""


rule freeze_recipe:
    """Write the options that decide a synthetic dataset."""
    output:
        config="<results>/synthetic/{recipe}/config.yaml",
    log:
        "<logs>/freeze_recipe/{recipe}.log",
    localrule: True
    conda:
        "../../envs/mirage.yaml"
    params:
        options=synthesise_options,
    script:
        "../scripts/freeze.py"


rule synthesise_shard:
    """Make the items of one shard of a synthetic dataset."""
    input:
        parts=recipe_inputs,
        config="<results>/synthetic/{recipe}/config.yaml",
    output:
        tensors="<results>/synthetic/{recipe}/{shard}.arrow",
        rows="<results>/synthetic/{recipe}/{shard}.parquet",
        facts="<results>/synthetic/{recipe}/{shard}.json",
    log:
        "<logs>/synthesise_shard/{recipe}/{shard}.log",
    benchmark:
        "<benchmarks>/synthesise_shard/{recipe}/{shard}.tsv"
    conda:
        "../../envs/mirage.yaml"
    threads: threads_of
    resources:
        gpu=gpus_of,
        mem_mb=memory_of,
        runtime=minutes_of,
        accelerator=accelerator_of,
    message:
        "Synthesising {wildcards.shard} of {wildcards.recipe}"
    shell:
        "mirage synthesise {input.parts:q}"
        " --config {input.config:q}"
        " --shard {output.tensors:q}"
        " --accelerator {resources.accelerator} --gpus {resources.gpu} --threads {threads}"
        " >> {log:q} 2>&1"


rule gather_synthetic:
    """Check the rows and write the manifest of a synthetic dataset."""
    input:
        tensors=shards_of("arrow"),
        rows=shards_of("parquet"),
        facts=shards_of("json"),
    output:
        manifest="<results>/synthetic/{recipe}/manifest.parquet",
        info="<results>/synthetic/{recipe}/dataset.json",
    log:
        "<logs>/gather_synthetic/{recipe}.log",
    benchmark:
        "<benchmarks>/gather_synthetic/{recipe}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=60,
    params:
        options=gather_options,
    message:
        "Gathering {wildcards.recipe}"
    script:
        "../scripts/gather_dataset.py"


rule show_lesions:
    """Draw extracted lesions for a person who accepts or rejects them, and write what is proposed."""
    input:
        manifest="<results>/synthetic/{recipe}/manifest.parquet",
    output:
        curation="<results>/synthetic/{recipe}/curation.csv",
        sheet="<results>/synthetic/{recipe}/contact-sheet.png",
    log:
        "<logs>/show_lesions/{recipe}.log",
    benchmark:
        "<benchmarks>/show_lesions/{recipe}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=60,
    params:
        options=lesion_options,
    message:
        "Drawing the lesions of {wildcards.recipe}"
    script:
        "../scripts/show_lesions.py"
