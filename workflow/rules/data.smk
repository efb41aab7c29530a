# Raw files -> data/<dataset>.h5, shared by all scales.


rule download:
    output:
        "data/raw/{dataset}/{file}",
    log:
        "<logs>/download/{dataset}-{file}.log",
    benchmark:
        "<benchmarks>/download/{dataset}-{file}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("download"),
        runtime=60,  # a slow line
    params:
        entry=raw_entry,
    shell:
        elsewhere(
            "python -m memvae download {wildcards.dataset:q} --file {wildcards.file:q} --spec {params.entry:q} 2> {log:q}",
            "--output {output:q}",
        )


rule prepare:
    input:
        raw=ancient(raw_files),
        own=own_file,
    output:
        "data/{dataset}.h5",
    log:
        "<logs>/prepare/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare/{dataset}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("prepare"),
        runtime=minutes("prepare"),
    params:
        entry=dataset_entry,
        version=VERSIONS["prepare"],
    shell:
        elsewhere(
            "python -m memvae prepare {wildcards.dataset:q} --spec {params.entry:q} --output {output:q} 2> {log:q}",
            RAW_OPTION,
        )
