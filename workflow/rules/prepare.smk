"""Raw data to datasets: images of one size in shards, a manifest, fixed splits.

Input: the raw data of a dataset, real (config `source.path`) or simulated.
Output: results/datasets/{dataset}/{manifest.parquet,dataset.json,shard-*.arrow}
"""


def raw_data(wildcards):
    """Raw data of a dataset; a DVC pointer beside them stands for their version."""
    path = GRAPH.raw_path(wildcards.dataset)
    pointer = f"{path}.dvc"
    if Path(pointer).exists():
        return {"raw": ancient(path), "version": pointer}
    return {"raw": path, "parts": GRAPH.raw_inputs(wildcards.dataset)[1:]}


def prepare_options(wildcards):
    """What decides the stored pixels."""
    return slices.prepare_slice(CONFIG, wildcards.dataset)


def shards_of(suffix):
    """Input function: all shard files of the dataset or recipe with one suffix."""

    def files(wildcards):
        name = wildcards.get("dataset") or wildcards.get("recipe")
        return [f"{stem}.{suffix}" for stem in GRAPH.shards(name)]

    return files


rule prepare_shard:
    """Prepare the images of the subjects that fall into one shard."""
    input:
        unpack(raw_data),
    output:
        tensors="results/datasets/{dataset}/{shard}.arrow",
        rows="results/datasets/{dataset}/{shard}.parquet",
        facts="results/datasets/{dataset}/{shard}.json",
    log:
        "logs/prepare_shard/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/prepare_shard/{dataset}/{shard}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        options=prepare_options,
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
    output:
        manifest="results/datasets/{dataset}/manifest.parquet",
        info="results/datasets/{dataset}/dataset.json",
    log:
        "logs/gather_dataset/{dataset}.log",
    conda:
        "../../envs/mirage.yaml"
    params:
        options=gather_options,
    message:
        "Gathering {wildcards.dataset}"
    script:
        "../scripts/gather_dataset.py"
