"""Stage 5, classify: one verdict an image.

Reads   <results>/manifests/{dataset}*
Writes  <results>/verdicts/{dataset}/{method}/{prompt}/
"""

for family, kind, block, methods in classifiers(cfg.methods):

    rule:
        """Make the verdicts of a data set, from what was stored of it."""
        name:
            f"classify_{family}"
        input:
            unpack(files_of("inputs", block.job)),
            checked=ancient(checked_inputs),
            manifest=ancient("<results>/manifests/{dataset}.parquet"),
            transforms="<results>/aligned/{dataset}/transforms.parquet",
        output:
            labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
        log:
            f"logs/classify_{family}/{{dataset}}/{{method}}/{{prompt}}.log",
        benchmark:
            f"benchmarks/classify_{family}/{{dataset}}/{{method}}/{{prompt}}.tsv"
        wildcard_constraints:
            method="|".join(methods or ["none"]),
        localrule: block.job.is_local
        conda:
            environment_of(block.job)
        threads: plan.resources.job_threads(block.job)
        resources:
            **device_of(block.job),
            mem_mb=memory_of(block.job),
            runtime=minutes_of(block.job),
        params:
            kind=kind,
            run=run_of(block.job),
            labels=digest_of_images("labels"),
            code=code_of("classify", *code_of_part(kind, "classifier")),
        message:
            "{wildcards.dataset}: {wildcards.method}"
        script:
            "../scripts/classify.py"


localrules:
    ask_lvlm,


rule ask_lvlm:
    """Ask a vision language model about each image; what was ever answered is not asked again."""
    input:
        references=ancient("<results>/manifests/{dataset}/references.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
    output:
        labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
    log:
        "logs/ask_lvlm/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/ask_lvlm/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("lvlm") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        api_calls=1,
        mem_mb=2_000,
        runtime=720,
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        asked=lambda wildcards: plan.lvlm_prompt(wildcards.dataset, wildcards.prompt),
        intensity=lambda wildcards: cfg.alignment_settings(wildcards.dataset)[
            "intensity"
        ],
        may_leave_site=lambda wildcards: cfg.datasets[wildcards.dataset].may_leave_site,
        has_key=lambda wildcards: plan.has_key(wildcards.method),
        code=lambda wildcards: plan.service_code(wildcards.method),
    message:
        "{wildcards.dataset}: ask {wildcards.method}, prompt {wildcards.prompt}"
    script:
        "../scripts/ask_lvlm.py"
