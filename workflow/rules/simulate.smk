"""Simulated raw data, in the native layout of a public dataset.

Output: results/simulated/{dataset}/ and what it was made with.
"""


rule simulate_raw:
    """Write phantoms with known ground truth in the native layout that the dataset's reader expects."""
    output:
        raw=directory("<results>/simulated/{dataset}"),
    log:
        "<logs>/simulate_raw/{dataset}.log",
    benchmark:
        "<benchmarks>/simulate_raw/{dataset}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=memory_of,
        runtime=60,
    params:
        options=simulate_options,
    message:
        "Simulating raw data of {wildcards.dataset}"
    script:
        "../scripts/simulate_raw.py"
