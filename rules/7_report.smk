"""Stage 7, report: tables and figures.

Reads   <results>/scores/, <results>/predictions/, <results>/aligned/, <results>/truth/
Writes  <results>/tables/, <results>/figures/
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
        mem_mb=2_000,
        runtime=30,
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        evaluation=cfg.evaluation.model_dump(mode="json"),
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
        mem_mb=2_000,
        runtime=30,
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        evaluation=cfg.evaluation.model_dump(mode="json"),
        code=code_of("tabulate_classification"),
    message:
        "Table 2: classification"
    script:
        "../scripts/tabulate_classification.py"


rule tables:
    """Both tables."""
    input:
        rules.tabulate_segmentation.output,
        rules.tabulate_classification.output,


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
        mem_mb=2_000,
        runtime=30,
    params:
        settings=cfg.report.model_dump(mode="json"),
        runs=lambda wildcards: plan.runs_of(wildcards.dataset),
        methods=lambda wildcards: plan.method_notes(),
        datasets=lambda wildcards: plan.dataset_notes(),
        code=code_of("plot_overlays"),
    message:
        "{wildcards.dataset}: overlays"
    script:
        "../scripts/plot_overlays.py"


rule figures:
    """Every figure."""
    input:
        expand(
            "<results>/figures/overlays_{dataset}.png",
            dataset=[dataset for dataset in cfg.datasets if plan.runs_of(dataset)],
        ),
