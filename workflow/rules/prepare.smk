"""Raw data to datasets: images of one size in shards, a manifest, fixed splits.

Input: the raw data of a dataset, real (config `source.path`) or simulated.
Output: results/datasets/{dataset}/{manifest.parquet,dataset.json,shard-*.arrow}, and normaliser.json
        where the configuration asks for one that is fitted on training images
"""


rule fit_normaliser:
    """Learn from a dataset's training images how the grey values of all its images are normalised."""
    input:
        unpack(raw_data),
    output:
        normaliser="<results>/datasets/{dataset}/normaliser.json",
    log:
        "<logs>/fit_normaliser/{dataset}.log",
    benchmark:
        "<benchmarks>/fit_normaliser/{dataset}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        options=normaliser_options,
        contents=raw_contents,
    message:
        "Fitting the normaliser of {wildcards.dataset}"
    script:
        "../scripts/fit_normaliser.py"


rule prepare_shard:
    """Prepare the images of the subjects that fall into one shard."""
    input:
        unpack(raw_data),
        normaliser=normaliser_of,
    output:
        tensors="<results>/datasets/{dataset}/{shard}.arrow",
        rows="<results>/datasets/{dataset}/{shard}.parquet",
        facts="<results>/datasets/{dataset}/{shard}.json",
    log:
        "<logs>/prepare_shard/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/prepare_shard/{dataset}/{shard}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        options=prepare_options,
        contents=raw_contents,
    message:
        "Preparing {wildcards.shard} of {wildcards.dataset}"
    script:
        "../scripts/prepare_shard.py"


rule gather_dataset:
    """Fix the splits by subject, check the rows and write the manifest of a dataset."""
    input:
        tensors=shards_of("arrow"),
        rows=shards_of("parquet"),
        facts=shards_of("json"),
        made_from=source_manifest,
        normaliser=normaliser_of,
    output:
        manifest="<results>/datasets/{dataset}/manifest.parquet",
        info="<results>/datasets/{dataset}/dataset.json",
    log:
        "<logs>/gather_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/gather_dataset/{dataset}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=60,
    params:
        options=gather_options,
    message:
        "Gathering {wildcards.dataset}"
    script:
        "../scripts/gather_dataset.py"
