"""Stage 7, report: tables and figures.

Reads   <results>/scores/, <results>/predictions/, <results>/aligned/, <results>/truth/; for panels
        also <results>/detections/, <results>/encodings/, <results>/manifests/
Writes  <results>/tables/, <results>/figures/, <results>/predictions/{dataset}/{method}/{prompt}/panels*
"""


rule tabulate_segmentation:
    """Table 1: IoU of every mask method, floors and published values beside it."""
    input:
        scores=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            plan.mask_runs(),
        ),
    output:
        multiext(
            "<results>/tables/segmentation",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
            study_md="_study.md",
            study_tex="_study.tex",
        ),
    log:
        "logs/tabulate_segmentation/all.log",
    benchmark:
        "benchmarks/tabulate_segmentation/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: plan.table_mb(
            plan.mask_runs(), attempt=attempt
        ),
        runtime=more_each_time(30),
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        evaluation=cfg.evaluation.statistics(),
        code=code_of("tabulate_segmentation"),
    message:
        "Table 1: segmentation"
    script:
        "../scripts/tabulate_segmentation.py"


rule tabulate_classification:
    """Table 2: verdicts of every method, floors and published values beside it."""
    input:
        scores=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            plan.label_runs(),
        ),
        verdicts=plan.paths(
            f"{cfg.results_dir}/verdicts/{{dataset}}/{{method}}/{{prompt}}/labels.parquet",
            cfg.verdict_runs(),
        ),
    output:
        multiext(
            "<results>/tables/classification",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
            study_md="_study.md",
            study_tex="_study.tex",
        ),
    log:
        "logs/tabulate_classification/all.log",
    benchmark:
        "benchmarks/tabulate_classification/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: plan.table_mb(
            plan.label_runs(), attempt=attempt
        ),
        runtime=more_each_time(30),
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        evaluation=cfg.evaluation.statistics(),
        code=code_of("tabulate_classification"),
    message:
        "Table 2: classification"
    script:
        "../scripts/tabulate_classification.py"


rule tabulate_confusion:
    """Verdicts of every method counted against the labels, the unanswered ones by their status."""
    input:
        classification="<results>/tables/classification.parquet",
    output:
        multiext(
            "<results>/tables/confusion",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
        ),
    log:
        "logs/tabulate_confusion/all.log",
    benchmark:
        "benchmarks/tabulate_confusion/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(1_000),
        runtime=more_each_time(10),
    params:
        methods=plan.method_notes(),
        code=code_of("tabulate_confusion"),
    message:
        "Confusion counts"
    script:
        "../scripts/tabulate_confusion.py"


rule tables:
    """Every table."""
    input:
        rules.tabulate_segmentation.output,
        rules.tabulate_classification.output,
        rules.tabulate_confusion.output,


rule plot_overlays:
    """Figures in the study's form: truth and every method's mask in yellow, a row an image."""
    input:
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        truth="<results>/truth/{dataset}/truth.parquet",
        transforms="<results>/aligned/{dataset}/transforms.parquet",
        masks=lambda wildcards: plan.paths(
            f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}/masks.parquet",
            plan.runs_of(wildcards.dataset),
        ),
        scores=lambda wildcards: plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            plan.runs_of(wildcards.dataset),
        ),
    output:
        multiext("<results>/figures/overlays_{dataset}", png=".png", svg=".svg"),
    log:
        "logs/plot_overlays/{dataset}.log",
    benchmark:
        "benchmarks/plot_overlays/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: plan.table_mb(
            plan.runs_of(wildcards.dataset), attempt=attempt
        ),
        runtime=more_each_time(30),
    params:
        settings=cfg.report.model_dump(mode="json", include={"n_overlays", "seed"}),
        runs=lambda wildcards: plan.runs_of(wildcards.dataset),
        methods=lambda wildcards: plan.method_notes(),
        datasets=lambda wildcards: plan.dataset_notes(),
        code=code_of("plot_overlays"),
    message:
        "{wildcards.dataset}: overlays"
    script:
        "../scripts/plot_overlays.py"


rule plot_panels:
    """Draw what a method saw on an image: boxes, points, maps, candidates, and the mask from them."""
    input:
        unpack(panel_evidence),
        checked=ancient(checked_inputs),
        transforms=shards_of("<results>/aligned/{dataset}/shards/{shard}.parquet"),
        truth="<results>/truth/{dataset}/truth.parquet",
        masks="<results>/predictions/{dataset}/{method}/{prompt}/masks.parquet",
        scores="<results>/scores/{dataset}/{method}/{prompt}/images.parquet",
        shown=scores_of_shown,
    output:
        table="<results>/predictions/{dataset}/{method}/{prompt}/panels.parquet",
    log:
        "logs/plot_panels/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/plot_panels/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.mask_methods() or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(4_000),
        runtime=lambda wildcards, attempt: plan.runtime_min(
            wildcards.dataset, seconds_per_image=5, attempt=attempt
        ),
    params:
        shown=cfg.report.model_dump(mode="json"),
        kind=lambda wildcards: cfg.methods[wildcards.method].kind,
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        asked=lambda wildcards: plan.asked(
            wildcards.dataset, wildcards.method, wildcards.prompt
        ),
        intensity=lambda wildcards: cfg.alignment_settings(wildcards.dataset)[
            "intensity"
        ],
        floor=DETECTION_FLOOR,
        clip=cfg.network_settings("clip"),
        weights=lambda wildcards: plan.weights_digest(
            *({"clip"} & set(cfg.methods[wildcards.method].networks))
        ),
        methods=lambda wildcards: plan.method_notes(),
        datasets=lambda wildcards: plan.dataset_notes(),
        code=code_of("plot_panels"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}: panels"
    script:
        "../scripts/plot_panels.py"


rule figures:
    """Every figure, and the panels where they are wanted."""
    input:
        expand(
            "<results>/figures/overlays_{dataset}.png",
            dataset=[dataset for dataset in cfg.datasets if plan.runs_of(dataset)],
        ),
        plan.paths(
            f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}/panels.parquet",
            cfg.mask_runs() if cfg.report.panels != "none" else [],
        ),
