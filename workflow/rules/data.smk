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
        mem_mb=500,
        runtime=60,
    params:
        entry=raw_entry,
    shell:
        "python -m memvae download {wildcards.dataset:q} --file {wildcards.file:q} --spec {params.entry:q} 2> {log:q}"


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
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        entry=dataset_entry,
        version=VERSIONS["prepare"],
    shell:
        "python -m memvae prepare {wildcards.dataset:q} --spec {params.entry:q} --output {output:q} 2> {log:q}"
