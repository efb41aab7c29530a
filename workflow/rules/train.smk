# One rule trains every model. Its state is no output: it survives a kill, and the same command continues from it.
# At a scale of published weights another one takes each from models/.


if CONFIG.published:

    rule published:
        input:
            model=published_model,
        output:
            "<results>/models/{run}.h5",
        log:
            "<logs>/published/{run}.log",
        benchmark:
            "<benchmarks>/published/{run}.tsv"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem_mb=500,
            runtime=5,
        params:
            spec=run_spec,
        shell:
            "python -m memvae published {wildcards.run:q} --spec {params.spec:q} --model {input.model:q} --output {output:q} "
            "2> {log:q}"

else:

    rule train:
        input:
            data=dataset_of,
        output:
            "<results>/models/{run}.h5",
        log:
            "<logs>/train/{run}.log",
        benchmark:
            "<benchmarks>/train/{run}.tsv"
        priority: 1  # before analyses of other runs: the longest chains start with a training
        conda:
            "../../environment.yml"
        threads: THREADS
        resources:
            mem_mb=memory("train"),
            gpu=GPU,
            runtime=minutes("train"),
        params:
            spec=run_spec,
        shell:
            "python -m memvae train {wildcards.run:q} --spec {params.spec:q} --data {input.data:q} --output {output:q} 2> {log:q}"


rule classifier:
    input:
        data="data/{dataset}.h5",
    output:
        "<results>/classifiers/{dataset}.h5",
    log:
        "<logs>/classifier/{dataset}.log",
    benchmark:
        "<benchmarks>/classifier/{dataset}.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        mem_mb=memory("classifier"),
        gpu=GPU,
        runtime=minutes("classifier"),
    params:
        settings=classifier_settings,
        version=VERSIONS["classifier"],
    shell:
        "python -m memvae classifier {wildcards.dataset:q} --settings {params.settings:q} --data {input.data:q} "
        "--output {output:q} 2> {log:q}"
