# Each analysis reads one model and writes one HDF5 file with all that tables and figures need.

for analysis in ("likelihood", "generation", "detail", "slots", "probing"):

    rule:
        name:
            analysis
        input:
            model="<results>/models/{run}.h5",
            data=dataset_of,
        output:
            f"<results>/evaluation/{{run}}/{analysis}.h5",
        log:
            f"<logs>/{analysis}/{{run}}.log",
        benchmark:
            f"<benchmarks>/{analysis}/{{run}}.tsv"
        conda:
            "../../environment.yml"
        threads: THREADS
        resources:
            mem_mb=memory(analysis),
            gpu=GPU,
            runtime=minutes(analysis),
        params:
            analysis=analysis,
            settings=analysis_settings(analysis),
            version=VERSIONS[analysis],
        shell:
            "python -m memvae {params.analysis} {wildcards.run:q} --settings {params.settings:q} --model {input.model:q} "
            "--data {input.data:q} --output {output:q} 2> {log:q}"


rule imputation:
    input:
        model="<results>/models/{run}.h5",
        data=dataset_of,
        classifier=classifier_of,
    output:
        "<results>/evaluation/{run}/imputation.h5",
    log:
        "<logs>/imputation/{run}.log",
    benchmark:
        "<benchmarks>/imputation/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        mem_mb=memory("imputation"),
        gpu=GPU,
        runtime=minutes("imputation"),
    params:
        settings=analysis_settings("imputation"),
        version=VERSIONS["imputation"],
    shell:
        "python -m memvae imputation {wildcards.run:q} --settings {params.settings:q} --model {input.model:q} "
        "--data {input.data:q} --classifier {input.classifier:q} --output {output:q} 2> {log:q}"


rule parameters:
    output:
        "<results>/evaluation/parameters.h5",
    log:
        "<logs>/parameters.log",
    benchmark:
        "<benchmarks>/parameters.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("parameters"),
        runtime=minutes("parameters"),
    params:
        plan=plan("parameters"),
        version=VERSIONS["parameters"],
    shell:
        "python -m memvae parameters --plan {params.plan:q} --output {output:q} 2> {log:q}"
