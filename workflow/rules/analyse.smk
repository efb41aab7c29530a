# One rule makes every analysis: it reads one model and writes one HDF5 file with all that tables and figures need.
# A second makes the analyses that are about all networks (Table 3). What an analysis is, its folder declares.


rule analyse:
    input:
        model="<results>/models/{run}.h5",
        data=dataset_of,
        classifier=classifier_of,
    output:
        "<results>/evaluation/{run}/{analysis}.h5",
    log:
        "<logs>/{analysis}/{run}.log",
    benchmark:
        "<benchmarks>/{analysis}/{run}.tsv"
    wildcard_constraints:
        analysis=analyses_of("run"),
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        mem_mb=memory(),
        gpu=GPU,
        runtime=minutes(),
    params:
        options=analysis_options,
        settings=analysis_settings,
        version=analysis_version,
    shell:
        "python -m memvae analyse {wildcards.analysis:q} {wildcards.run:q} {params.options} --settings {params.settings:q} "
        "--model {input.model:q} --data {input.data:q} --output {output:q} 2> {log:q}"


rule analyse_networks:
    output:
        "<results>/evaluation/{analysis}.h5",
    log:
        "<logs>/{analysis}.log",
    benchmark:
        "<benchmarks>/{analysis}/{analysis}.tsv"
    wildcard_constraints:
        analysis=analyses_of("networks"),
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory(),
        runtime=minutes(),
    params:
        plan=lambda wildcards: plan(wildcards.analysis),
        version=analysis_version,
    shell:
        "python -m memvae analyse {wildcards.analysis:q} --plan {params.plan:q} --output {output:q} 2> {log:q}"
