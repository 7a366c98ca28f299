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


rule run_self_test:
    """Say whether the easy data set was easy; if not, the set-up is broken, not the model."""
    input:
        segmentation="<results>/tables/segmentation.parquet",
    output:
        multiext("<results>/tables/self_test", parquet=".parquet", csv=".csv", md=".md"),
    log:
        "logs/run_self_test/all.log",
    benchmark:
        "benchmarks/run_self_test/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        datasets=plan.self_tested().get("datasets", []),
        kinds=plan.self_tested().get("kinds", {}),
        code=code_of("run_self_test"),
    message:
        "Self-test"
    script:
        "../scripts/run_self_test.py"


rule measure_domain_gap:
    """How far each data set lies from what the small networks know, and the scores against it."""
    input:
        checked=ancient(checked_inputs),
        manifests=expand("<results>/manifests/{dataset}.parquet", dataset=cfg.datasets),
        transforms=expand(
            "<results>/aligned/{dataset}/transforms.parquet", dataset=cfg.datasets
        ),
        masks=[
            path for dataset in cfg.datasets for path in plan.automatic_masks(dataset)
        ],
        segmentation="<results>/tables/segmentation.parquet",
        weights=ancient("<results>/weights/resnet.json"),
    output:
        multiext(
            "<results>/tables/domain_gap", parquet=".parquet", csv=".csv", md=".md"
        ),
        png="<results>/figures/domain_gap.png",
        svg="<results>/figures/domain_gap.svg",
    log:
        "logs/measure_domain_gap/all.log",
    benchmark:
        "benchmarks/measure_domain_gap/all.tsv"
    conda:
        "../envs/models.yaml"
    threads: cfg.compute.threads
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.memory_mb("resnet") * attempt,
        runtime=30,
    params:
        variant=cfg.network_settings("resnet")["variant"],
        weights=lambda wildcards: plan.weights_digest("resnet"),
        masks={dataset: plan.automatic_masks(dataset) for dataset in cfg.datasets},
        datasets=plan.dataset_notes(),
        code=code_of("measure_domain_gap"),
    message:
        "Domain gap"
    script:
        "../scripts/measure_domain_gap.py"


rule tables:
    """Every table."""
    input:
        rules.tabulate_segmentation.output,
        rules.tabulate_classification.output,
        rules.tabulate_confusion.output,
        rules.run_self_test.output if plan.self_tested() else [],
        rules.measure_domain_gap.output if plan.measures_domain_gap() else [],


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
