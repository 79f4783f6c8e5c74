"""The report of a study, and the overview of all.

Input: the metrics, manifests and weights of everything the study names; of the overview, the reports as data.
Output: results/studies/{study}/{report.html,models/,report.json,summary.csv,summary.json,figures/,volumes/}
        results/overview/{index.html,catalogue.html,tables/}
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
        models=directory("<results>/studies/{study}/models"),
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


rule report_overview:
    """Write the page that sets the studies side by side, and the catalogue of published figures and tables."""
    input:
        records=study_records,
        tables=study_summaries,
    output:
        page=report(
            "<results>/overview/index.html",
            caption="../report/overview.rst",
            category="overview",
            labels={"what": "overview"},
        ),
        catalogue=report(
            "<results>/overview/catalogue.html",
            caption="../report/catalogue.rst",
            category="overview",
            labels={"what": "catalogue"},
        ),
        tables=directory("<results>/overview/tables"),
    log:
        "<logs>/report_overview/overview.log",
    benchmark:
        "<benchmarks>/report_overview/overview.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=10,
    params:
        options=overview_options,
    message:
        "Writing the overview of all studies"
    script:
        "../scripts/report_overview.py"
