# Tables, figures and the scorecard: drawn from HDF5 files alone, without torch; and all those files as one archive.
# `params.plan` names the file with the rows and the inputs: of a thousand runs they are too long for a command line.
# What is marked with `report` is shown by `snakemake --report report.html`, with its caption.
if not AS_MODULE:

    report: "../report/workflow.rst"


for table, analysis in targets.of_kind(CONFIG, "table").items():

    rule:
        name:
            f"table_{table}" if not table.startswith("table") else table
        input:
            analyses=targets.inputs(CONFIG, table),
            paper=PAPER,
        output:
            csv=report(
                f"<results>/tables/{table}.csv",
                caption=caption(analysis, table),
                category="4. Tables",
                labels={"result": targets.title(CONFIG, table)},
            ),
            md=f"<results>/tables/{table}.md",
            tex=f"<results>/tables/{table}.tex",
        log:
            f"<logs>/table/{table}.log",
        benchmark:
            f"<benchmarks>/table/{table}.tsv"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem_mb=memory("table"),
            runtime=minutes("table"),
        params:
            table=table,
            plan=plan(table),
            version=VERSIONS["table"],
        shell:
            "python -m memvae table {params.table} --plan {params.plan:q} --paper {input.paper:q} "
            "--output {output.csv:q} 2> {log:q}"


for card in targets.SCORECARDS:

    rule:
        name:
            card
        input:
            analyses=targets.inputs(CONFIG, card),
            paper=PAPER,
        output:
            csv=report(
                f"<results>/{card}.csv",
                caption="../report/scorecard.rst",
                category="2. Scorecard",
                labels={"result": targets.title(CONFIG, card)},
            ),
            md=f"<results>/{card}.md",
        log:
            f"<logs>/scorecard/{card}.log",
        benchmark:
            f"<benchmarks>/scorecard/{card}.tsv"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem_mb=memory("scorecard"),
            runtime=minutes("scorecard"),
        params:
            card=card,
            plan=plan(card),
            version=VERSIONS["table"],
        shell:
            "python -m memvae scorecard {params.card} --plan {params.plan:q} --paper {input.paper:q} "
            "--output {output.csv:q} 2> {log:q}"


rule measurements:
    input:
        analyses=targets.inputs(CONFIG, targets.MEASUREMENTS),
        paper=PAPER,
    output:
        *targets.files(CONFIG, targets.MEASUREMENTS, targets.MEASUREMENTS),
    log:
        "<logs>/measurements.log",
    benchmark:
        "<benchmarks>/measurements.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        plan=plan(targets.MEASUREMENTS),
        version=VERSIONS["table"],
    shell:
        "python -m memvae measurements --plan {params.plan:q} --paper {input.paper:q} --output {output:q} 2> {log:q}"


# Only when they are asked for: `snakemake check`. Without an output they run every time.
for gate, card in targets.CHECKS.items():

    rule:
        name:
            gate
        input:
            scorecard=f"<results>/{card}.csv",
            paper=PAPER,
        log:
            f"<logs>/{gate}.log",
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem_mb=memory("scorecard"),
            runtime=minutes("scorecard"),
        params:
            plan=plan(targets.CHECK),
        shell:
            "python -m memvae check --plan {params.plan:q} --paper {input.paper:q} --scorecard {input.scorecard:q} "
            "2> {log:q}"


for figure, analysis in targets.of_kind(CONFIG, "figure").items():

    rule:
        name:
            figure if figure.startswith("fig") else f"figure_{figure}"
        input:
            targets.inputs(CONFIG, figure),
        output:
            png=report(
                f"<figures>/{figure}.png",
                caption=caption(analysis, figure),
                category="3. Figures",
                labels={"result": targets.title(CONFIG, figure)},
            ),
            pdf=f"<figures>/{figure}.pdf",
        log:
            f"<logs>/figure/{figure}.log",
        benchmark:
            f"<benchmarks>/figure/{figure}.tsv"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem_mb=memory("figure"),
            runtime=minutes("figure"),
        params:
            figure=figure,
            plan=plan(figure),
            version=VERSIONS["figure"],
        shell:
            "python -m memvae figure {params.figure} --plan {params.plan:q} --output {output.png:q} 2> {log:q}"


rule report_page:
    input:
        files=targets.page_inputs(CONFIG),
        paper=PAPER,
    output:
        report(
            "<results>/report/index.html",
            caption="../report/report_page.rst",
            category="1. All results on one page",
            labels={"result": "Claims, figures, tables"},
        ),
    log:
        "<logs>/report_page.log",
    benchmark:
        "<benchmarks>/report_page.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("page"),
        runtime=minutes("page"),
    params:
        plan=plan(targets.REPORT_PAGE),
        version=VERSIONS["page"],
    shell:
        "python -m memvae page --plan {params.plan:q} --paper {input.paper:q} --output {output:q} 2> {log:q}"


# Written into docs/, so never unless it is asked for.
rule page:
    input:
        files=targets.page_inputs(CONFIG),
        paper=PAPER,
    output:
        page=targets.PAGE,
        shown=targets.page_files(CONFIG),
    log:
        "<logs>/page.log",
    benchmark:
        "<benchmarks>/page.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("page"),
        runtime=minutes("page"),
    params:
        plan=plan("page"),
        version=VERSIONS["page"],
    shell:
        "python -m memvae page --plan {params.plan:q} --paper {input.paper:q} --output {output.page:q} 2> {log:q}"


rule archive:
    input:
        analyses=targets.inputs_of(*targets.drawn(CONFIG)),
        paper=PAPER,
    output:
        "<results>/archive.zip",
    log:
        "<logs>/archive.log",
    benchmark:
        "<benchmarks>/archive.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("archive"),
        runtime=minutes("archive"),
    params:
        plan=plan("archive"),
        version=VERSIONS["archive"],
    shell:
        "python -m memvae archive --plan {params.plan:q} --paper {input.paper:q} --output {output:q} 2> {log:q}"
