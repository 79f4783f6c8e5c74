"""The report of a study for print.

Input: the report as data, its figures and its summary; nothing is measured here.
Output: results/studies/{study}/{thesis.pdf,deliverable.pdf,latex/}
"""


rule print_study:
    """Typeset a study's report as a PDF, for a thesis or as a deliverable."""
    input:
        record="<results>/studies/{study}/report.json",
        table="<results>/studies/{study}/summary.csv",
        figures="<results>/studies/{study}/figures",
    output:
        pdf=report(
            "<results>/studies/{study}/{template}.pdf",
            caption="../report/print.rst",
            category="{study}",
            labels={"what": "{template}"},
        ),
    log:
        "<logs>/print_study/{study}/{template}.log",
    benchmark:
        "<benchmarks>/print_study/{study}/{template}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=10,
    params:
        options=print_options,
    message:
        "Typesetting the {wildcards.template} of {wildcards.study}"
    script:
        "../scripts/print_study.py"


rule export_latex:
    """Write a study's tables, numbers and figures for use in LaTeX."""
    input:
        record="<results>/studies/{study}/report.json",
        table="<results>/studies/{study}/summary.csv",
        figures="<results>/studies/{study}/figures",
    output:
        latex=directory("<results>/studies/{study}/latex"),
    log:
        "<logs>/export_latex/{study}.log",
    benchmark:
        "<benchmarks>/export_latex/{study}.tsv"
    conda:
        "../../envs/mirage.yaml"
    resources:
        mem_mb=light_memory,
        runtime=10,
    params:
        options=latex_options,
    message:
        "Exporting {wildcards.study} for LaTeX"
    script:
        "../scripts/export_latex.py"
