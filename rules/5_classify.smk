"""Stage 5, classify: one verdict an image.

Reads   <results>/manifests/{dataset}*
Writes  <results>/verdicts/{dataset}/{method}/{prompt}/
"""


rule classify_floor:
    """Floors: the verdicts that need no model at all."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
    output:
        labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
    log:
        "logs/classify_floor/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/classify_floor/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(LABEL_FLOORS),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        code=code_of("classify_floor"),
    message:
        "{wildcards.dataset}: floor {wildcards.method}"
    script:
        "../scripts/classify_floor.py"
