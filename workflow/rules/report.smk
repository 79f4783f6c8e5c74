"""The report of a study.

Input: the metrics, manifests and weights of everything the study names.
Output: results/studies/{study}/{report.html,report.json,summary.csv,summary.json,figures/,volumes/}
"""


rule report_study:
    """Write the page that answers a study's question, with every figure, table and its provenance."""
    input:
        unpack(report_inputs),
    output:
        page=report(
            "<results>/studies/{study}/report.html",
            caption="../report/study.rst",
            category="{study}",
            labels={"what": "report"},
        ),
        table=report(
            "<results>/studies/{study}/summary.csv",
            caption="../report/summary.rst",
            category="{study}",
            labels={"what": "numbers"},
        ),
        summary="<results>/studies/{study}/summary.json",
        record="<results>/studies/{study}/report.json",
        figures=directory("<results>/studies/{study}/figures"),
        volumes=directory("<results>/studies/{study}/volumes"),
    log:
        "<logs>/report_study/{study}.log",
    benchmark:
        "<benchmarks>/report_study/{study}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=60,
    params:
        options=report_options,
        plan=report_plan,
        digest=study_digest,
        cost=cost_options,
    message:
        "Writing the report of {wildcards.study}"
    script:
        "../scripts/report_study.py"
