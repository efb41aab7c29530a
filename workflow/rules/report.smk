# Tables, figures and the scorecard: drawn from HDF5 files alone, without torch.

for table in (*targets.TABLES, targets.EXTENDED):

    rule:
        name:
            f"table_{table}" if not table.startswith("table") else table
        input:
            analyses=targets.inputs(CONFIG, table),
            paper=targets.PAPER_VALUES,
        output:
            report(f"<results>/tables/{table}.csv", caption=f"../report/{table}.rst", category="Tables"),
            f"<results>/tables/{table}.md",
            f"<results>/tables/{table}.tex",
        log:
            f"<logs>/table/{table}.log",
        conda:
            "../../environment.yml"
        params:
            table=table,
            layout=layout(table),
            version=VERSIONS["table"],
        resources:
            runtime=5,
        localrule: True
        shell:
            "python -m memvae table {params.table} --layout {params.layout:q} --inputs {input.analyses:q} "
            "--paper {input.paper:q} --output {output[0]:q} 2> {log:q}"


for card in ("scorecard", "scorecard_extended"):

    rule:
        name:
            card
        input:
            analyses=targets.inputs(CONFIG, card),
            paper=targets.PAPER_VALUES,
        output:
            report(f"<results>/{card}.csv", caption="../report/scorecard.rst", category="Scorecard"),
            f"<results>/{card}.md",
        log:
            f"<logs>/scorecard/{card}.log",
        conda:
            "../../environment.yml"
        params:
            card=card,
            layout=layout(card),
            version=VERSIONS["table"],
        resources:
            runtime=5,
        localrule: True
        shell:
            "python -m memvae scorecard {params.card} --layout {params.layout:q} --inputs {input.analyses:q} "
            "--paper {input.paper:q} --output {output[0]:q} 2> {log:q}"


for figure in targets.FIGURES:

    rule:
        name:
            figure if figure.startswith("fig") else f"figure_{figure}"
        input:
            targets.inputs(CONFIG, figure),
        output:
            report(f"<figures>/{figure}.png", caption=f"../report/{figure}.rst", category="Figures"),
            f"<figures>/{figure}.pdf",
        log:
            f"<logs>/figure/{figure}.log",
        conda:
            "../../environment.yml"
        params:
            figure=figure,
            layout=layout(figure),
            version=VERSIONS["figure"],
        resources:
            runtime=5,
        localrule: True
        shell:
            "python -m memvae figure {params.figure} --layout {params.layout:q} --inputs {input:q} --output {output[0]:q} 2> {log:q}"
