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
        mem_mb=2_000,
        runtime=30,
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
        mem_mb=2_000,
        runtime=30,
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
        mem_mb=1_000,
        runtime=10,
    params:
        methods=plan.method_notes(),
        code=code_of("tabulate_confusion"),
    message:
        "Confusion counts"
    script:
        "../scripts/tabulate_confusion.py"


rule tabulate_readiness:
    """For each data set, method and prompt: is it fit for the product, and why."""
    input:
        classification="<results>/tables/classification.parquet",
        masks=plan.paths(
            f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}/masks.parquet",
            cfg.mask_runs(),
        ),
        verdicts=plan.paths(
            f"{cfg.results_dir}/verdicts/{{dataset}}/{{method}}/{{prompt}}/labels.parquet",
            cfg.verdict_runs(),
        ),
    output:
        multiext(
            "<results>/tables/readiness",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
        ),
    log:
        "logs/tabulate_readiness/all.log",
    benchmark:
        "benchmarks/tabulate_readiness/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=30,
    params:
        requirements=cfg.requirements.limits(),
        area_runs=plan.area_runs(),
        methods=plan.method_notes(),
        code=code_of("tabulate_readiness"),
    message:
        "Readiness"
    script:
        "../scripts/tabulate_readiness.py"


rule tabulate_detection_probability:
    """Probability of detection against defect size, or why it cannot be told."""
    input:
        defects=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/defects.parquet",
            cfg.mask_runs(),
        ),
    output:
        multiext(
            "<results>/tables/detection_probability",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
        ),
        curve="<results>/tables/detection_curve.parquet",
        bins="<results>/tables/detection_bins.parquet",
    log:
        "logs/tabulate_detection_probability/all.log",
    benchmark:
        "benchmarks/tabulate_detection_probability/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=30,
    params:
        runs=cfg.mask_runs(),
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        settings=cfg.evaluation.detection(),
        code=code_of("tabulate_detection_probability"),
    message:
        "Probability of detection against defect size"
    script:
        "../scripts/tabulate_detection_probability.py"


rule tabulate_breakdown:
    """Scores by category, by defect type and by defect size."""
    input:
        scores=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            plan.broken_down_runs(),
        ),
        masks=plan.paths(
            f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}/masks.parquet",
            plan.mask_runs(),
        ),
    output:
        multiext(
            "<results>/tables/breakdown",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
        ),
    log:
        "logs/tabulate_breakdown/all.log",
    benchmark:
        "benchmarks/tabulate_breakdown/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=30,
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        area_runs=plan.area_runs(),
        pixel_pitch_mm={
            name: block.pixel_pitch_mm for name, block in cfg.datasets.items()
        },
        evaluation=cfg.evaluation.statistics(),
        code=code_of("tabulate_breakdown"),
    message:
        "Scores by category, defect type and defect size"
    script:
        "../scripts/tabulate_breakdown.py"


rule tabulate_comparison:
    """Every two methods and prompts compared on the same parts, corrected for their number."""
    input:
        scores=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            [*cfg.runs(), *plan.area_runs()],
        ),
    output:
        multiext(
            "<results>/tables/comparison",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
        ),
    log:
        "logs/tabulate_comparison/all.log",
    benchmark:
        "benchmarks/tabulate_comparison/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=120,
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        evaluation=cfg.evaluation.statistics(),
        code=code_of("tabulate_comparison"),
    message:
        "Differences on the same parts"
    script:
        "../scripts/tabulate_comparison.py"


rule tabulate_pixel_scores:
    """AUROC, AUPRO and the best F1 of the methods that give a value for each pixel."""
    input:
        pixels=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/pixels.parquet",
            cfg.map_runs(),
        ),
    output:
        multiext(
            "<results>/tables/pixel_scores",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
        ),
    log:
        "logs/tabulate_pixel_scores/all.log",
    benchmark:
        "benchmarks/tabulate_pixel_scores/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=30,
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        code=code_of("tabulate_pixel_scores"),
    message:
        "Pixel scores"
    script:
        "../scripts/tabulate_pixel_scores.py"


rule tabulate_audit:
    """What the audit found, beside every row that it touches."""
    input:
        checked=ancient(checked_inputs),
        findings=ancient(
            expand("<results>/manifests/{dataset}/audit.parquet", dataset=cfg.datasets)
        ),
        manifests=ancient(
            expand("<results>/manifests/{dataset}.parquet", dataset=cfg.datasets)
        ),
        folds=plan.fold_tables(),
    output:
        multiext(
            "<results>/tables/audit",
            parquet=".parquet",
            csv=".csv",
            md=".md",
            tex=".tex",
        ),
    log:
        "logs/tabulate_audit/all.log",
    benchmark:
        "benchmarks/tabulate_audit/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=30,
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        runs=plan.audited_runs(),
        fold_runs=plan.fold_runs(),
        images=lambda wildcards: plan.audited_images(),
        code=[code_of("audit_dataset"), code_of("tabulate_audit")],
    message:
        "Audit"
    script:
        "../scripts/tabulate_audit.py"


rule tables:
    """Every table."""
    input:
        rules.tabulate_segmentation.output,
        rules.tabulate_classification.output,
        rules.tabulate_confusion.output,
        rules.tabulate_readiness.output,
        rules.tabulate_detection_probability.output,
        rules.tabulate_breakdown.output,
        rules.tabulate_comparison.output,
        rules.tabulate_pixel_scores.output,
        rules.tabulate_audit.output,


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
        mem_mb=4_000,
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
