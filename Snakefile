# Learning to Generate with Memory (ICML 2016), reproduced: data -> models -> analyses -> tables and figures.
# `snakemake --cores all --config scale=demo` makes everything in minutes; README.md has the rest.
from snakemake.utils import min_version

min_version("9.12")


include: "workflow/rules/common.smk"  # reads config/config.yaml, and over it the user's settings


pathvars:
    results=CONFIG.results,
    figures=CONFIG.figures,
    logs=f"logs/{CONFIG.scale}",
    benchmarks=f"{CONFIG.results}/benchmarks",


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/report.smk"


onstart:
    print(cost.announcement(CONFIG, jobs_to_run(workflow)), file=sys.stderr)


onerror:
    print(
        "memvae: not finished; the same command continues: what is finished stays, and a training goes on from its "
        "last state",
        file=sys.stderr,
    )


rule all:
    input:
        targets.all_files(CONFIG),
        targets.report_page(CONFIG),


rule extended:
    input:
        targets.all_files(CONFIG, extended=True),
        targets.report_page(CONFIG),


rule ablation:
    input:
        targets.ablation_files(CONFIG),


rule rulegraph:
    output:
        dot="<results>/rulegraph.dot",
        png="<figures>/rulegraph.png",
    log:
        "<logs>/rulegraph.log",
    benchmark:
        "<benchmarks>/rulegraph.tsv"
    localrule: True
    conda:
        "environment.yml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        options=rulegraph_options(),
    shell:
        "(command -v dot || {{ echo 'rulegraph: found no program `dot`; install graphviz' >&2; exit 2; }}) > {log:q} 2>&1 && "
        "snakemake --cores 1 --nolock --rulegraph {params.options} > {output.dot:q} 2>> {log:q} && "
        "dot -Tpng {output.dot:q} -o {output.png:q} 2>> {log:q}"
