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
        parquet="<results>/tables/segmentation.parquet",
        csv=shown(
            "<results>/tables/segmentation.csv",
            caption="tables/segmentation",
            category="Tables",
            table="Table 1, segmentation",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/segmentation.md",
            caption="tables/segmentation",
            category="Tables",
            table="Table 1, segmentation",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/segmentation.tex",
            caption="tables/segmentation",
            category="Tables",
            table="Table 1, segmentation",
            form="LaTeX",
        ),
        study_md=shown(
            "<results>/tables/segmentation_study.md",
            caption="tables/segmentation",
            category="Tables",
            table="Table 1, segmentation",
            form="Markdown, in the study's shape",
        ),
        study_tex=shown(
            "<results>/tables/segmentation_study.tex",
            caption="tables/segmentation",
            category="Tables",
            table="Table 1, segmentation",
            form="LaTeX, in the study's shape",
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
        parquet="<results>/tables/classification.parquet",
        csv=shown(
            "<results>/tables/classification.csv",
            caption="tables/classification",
            category="Tables",
            table="Table 2, classification",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/classification.md",
            caption="tables/classification",
            category="Tables",
            table="Table 2, classification",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/classification.tex",
            caption="tables/classification",
            category="Tables",
            table="Table 2, classification",
            form="LaTeX",
        ),
        study_md=shown(
            "<results>/tables/classification_study.md",
            caption="tables/classification",
            category="Tables",
            table="Table 2, classification",
            form="Markdown, in the study's shape",
        ),
        study_tex=shown(
            "<results>/tables/classification_study.tex",
            caption="tables/classification",
            category="Tables",
            table="Table 2, classification",
            form="LaTeX, in the study's shape",
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
        parquet="<results>/tables/confusion.parquet",
        csv=shown(
            "<results>/tables/confusion.csv",
            caption="tables/confusion",
            category="Tables",
            table="Confusion counts",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/confusion.md",
            caption="tables/confusion",
            category="Tables",
            table="Confusion counts",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/confusion.tex",
            caption="tables/confusion",
            category="Tables",
            table="Confusion counts",
            form="LaTeX",
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
        parquet="<results>/tables/readiness.parquet",
        csv=shown(
            "<results>/tables/readiness.csv",
            caption="tables/readiness",
            category="Tables",
            table="Readiness",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/readiness.md",
            caption="tables/readiness",
            category="Tables",
            table="Readiness",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/readiness.tex",
            caption="tables/readiness",
            category="Tables",
            table="Readiness",
            form="LaTeX",
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
        parquet="<results>/tables/detection_probability.parquet",
        csv=shown(
            "<results>/tables/detection_probability.csv",
            caption="tables/detection_probability",
            category="Tables",
            table="Detection probability",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/detection_probability.md",
            caption="tables/detection_probability",
            category="Tables",
            table="Detection probability",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/detection_probability.tex",
            caption="tables/detection_probability",
            category="Tables",
            table="Detection probability",
            form="LaTeX",
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
        parquet="<results>/tables/breakdown.parquet",
        csv=shown(
            "<results>/tables/breakdown.csv",
            caption="tables/breakdown",
            category="Tables",
            table="Breakdown",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/breakdown.md",
            caption="tables/breakdown",
            category="Tables",
            table="Breakdown",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/breakdown.tex",
            caption="tables/breakdown",
            category="Tables",
            table="Breakdown",
            form="LaTeX",
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
        parquet="<results>/tables/comparison.parquet",
        csv=shown(
            "<results>/tables/comparison.csv",
            caption="tables/comparison",
            category="Tables",
            table="Differences on the same parts",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/comparison.md",
            caption="tables/comparison",
            category="Tables",
            table="Differences on the same parts",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/comparison.tex",
            caption="tables/comparison",
            category="Tables",
            table="Differences on the same parts",
            form="LaTeX",
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
        parquet="<results>/tables/pixel_scores.parquet",
        csv=shown(
            "<results>/tables/pixel_scores.csv",
            caption="tables/pixel_scores",
            category="Tables",
            table="Pixel scores",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/pixel_scores.md",
            caption="tables/pixel_scores",
            category="Tables",
            table="Pixel scores",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/pixel_scores.tex",
            caption="tables/pixel_scores",
            category="Tables",
            table="Pixel scores",
            form="LaTeX",
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
        truths=expand("<results>/truth/{dataset}/truth.parquet", dataset=cfg.datasets),
    output:
        parquet="<results>/tables/audit.parquet",
        csv=shown(
            "<results>/tables/audit.csv",
            caption="tables/audit",
            category="Tables",
            table="Audit",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/audit.md",
            caption="tables/audit",
            category="Tables",
            table="Audit",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/audit.tex",
            caption="tables/audit",
            category="Tables",
            table="Audit",
            form="LaTeX",
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


rule tabulate_self_test:
    """Say whether the easy data set was easy; if not, the set-up is broken, not the model."""
    input:
        segmentation="<results>/tables/segmentation.parquet",
    output:
        parquet="<results>/tables/self_test.parquet",
        csv=shown(
            "<results>/tables/self_test.csv",
            caption="tables/self_test",
            category="Tables",
            table="Self-test",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/self_test.md",
            caption="tables/self_test",
            category="Tables",
            table="Self-test",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/self_test.tex",
            caption="tables/self_test",
            category="Tables",
            table="Self-test",
            form="LaTeX",
        ),
    log:
        "logs/tabulate_self_test/all.log",
    benchmark:
        "benchmarks/tabulate_self_test/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        datasets=plan.self_tested().get("datasets", []),
        kinds=plan.self_tested().get("kinds", {}),
        code=code_of("tabulate_self_test"),
    message:
        "Self-test"
    script:
        "../scripts/tabulate_self_test.py"


rule tabulate_domain_gap:
    """How far each data set lies from what the small networks were trained on."""
    input:
        checked=ancient(checked_inputs),
        manifests=ancient(
            expand("<results>/manifests/{dataset}.parquet", dataset=cfg.datasets)
        ),
        transforms=expand(
            "<results>/aligned/{dataset}/transforms.parquet", dataset=cfg.datasets
        ),
        masks=[
            path for dataset in cfg.datasets for path in plan.automatic_masks(dataset)
        ],
        weights=ancient("<results>/weights/resnet.json"),
    output:
        parquet="<results>/tables/domain_gap.parquet",
        csv=shown(
            "<results>/tables/domain_gap.csv",
            caption="tables/domain_gap",
            category="Tables",
            table="Domain gap",
            form="CSV",
        ),
        md=shown(
            "<results>/tables/domain_gap.md",
            caption="tables/domain_gap",
            category="Tables",
            table="Domain gap",
            form="Markdown",
        ),
        tex=shown(
            "<results>/tables/domain_gap.tex",
            caption="tables/domain_gap",
            category="Tables",
            table="Domain gap",
            form="LaTeX",
        ),
    log:
        "logs/tabulate_domain_gap/all.log",
    benchmark:
        "benchmarks/tabulate_domain_gap/all.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.threads("resnet")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=more_each_time(3_000),
        runtime=lambda wildcards, attempt: sum(
            plan.network_min(
                "resnet", dataset, None, seconds_per_image=2, attempt=attempt
            )
            for dataset in cfg.datasets
        ),
    params:
        variant=cfg.network_settings("resnet")["variant"],
        weights=lambda wildcards: plan.weights_digest("resnet"),
        masks={dataset: plan.automatic_masks(dataset) for dataset in cfg.datasets},
        datasets=plan.dataset_notes(),
        images=lambda wildcards: {
            dataset: plan.images_digest(dataset, "images") for dataset in cfg.datasets
        },
        code=code_of("tabulate_domain_gap"),
    message:
        "Domain gap"
    script:
        "../scripts/tabulate_domain_gap.py"


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
        rules.tabulate_self_test.output if plan.self_tested() else [],
        rules.tabulate_domain_gap.output if plan.measures_domain_gap() else [],


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
        png=shown(
            "<results>/figures/overlays_{dataset}.png",
            caption="overlays",
            category="Figures",
            figure="Overlays, {dataset}",
            form="PNG",
        ),
        svg=shown(
            "<results>/figures/overlays_{dataset}.svg",
            caption="overlays",
            category="Figures",
            figure="Overlays, {dataset}",
            form="SVG",
        ),
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
        unpack(files_of("inputs", is_later=True)),
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
        kind=kind_of_method,
        run=run_of(),
        methods=lambda wildcards: plan.method_notes(),
        datasets=lambda wildcards: plan.dataset_notes(),
        code=code_of_method("plot_panels", "views"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}: panels"
    script:
        "../scripts/plot_panels.py"


rule figures:
    """Every figure, and the panels where they are wanted."""
    input:
        plan.page_figures(),
        plan.panel_tables(),


rule plot_iou_distribution:
    """The IoU of every defective part with a truth, a line a method, the study's mean beside it."""
    input:
        segmentation="<results>/tables/segmentation.parquet",
        scores=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            plan.mask_runs(),
        ),
    output:
        png=shown(
            "<results>/figures/iou_distribution.png",
            caption="iou_distribution",
            category="Figures",
            figure="IoU part by part",
            form="PNG",
        ),
        svg=shown(
            "<results>/figures/iou_distribution.svg",
            caption="iou_distribution",
            category="Figures",
            figure="IoU part by part",
            form="SVG",
        ),
    log:
        "logs/plot_iou_distribution/all.log",
    benchmark:
        "benchmarks/plot_iou_distribution/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=20,
    params:
        seed=cfg.report.seed,
        methods=plan.method_notes(),
        code=code_of("plot_iou_distribution"),
    message:
        "IoU part by part"
    script:
        "../scripts/plot_iou_distribution.py"


rule plot_slip_overkill:
    """Slip rate against overkill rate of every method, with bounds and limits."""
    input:
        readiness="<results>/tables/readiness.parquet",
    output:
        png=shown(
            "<results>/figures/slip_overkill.png",
            caption="slip_overkill",
            category="Figures",
            figure="Slip against overkill",
            form="PNG",
        ),
        svg=shown(
            "<results>/figures/slip_overkill.svg",
            caption="slip_overkill",
            category="Figures",
            figure="Slip against overkill",
            form="SVG",
        ),
    log:
        "logs/plot_slip_overkill/all.log",
    benchmark:
        "benchmarks/plot_slip_overkill/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        methods=plan.method_notes(),
        code=code_of("plot_slip_overkill"),
    message:
        "Slip against overkill"
    script:
        "../scripts/plot_slip_overkill.py"


rule plot_detection_probability:
    """How probably a defect of some size is found: raw shares, fitted curves and their bands."""
    input:
        probability="<results>/tables/detection_probability.parquet",
        curve="<results>/tables/detection_curve.parquet",
        bins="<results>/tables/detection_bins.parquet",
    output:
        png=shown(
            "<results>/figures/detection_probability_{dataset}.png",
            caption="detection_probability",
            category="Figures",
            figure="Detection probability, {dataset}",
            form="PNG",
        ),
        svg=shown(
            "<results>/figures/detection_probability_{dataset}.svg",
            caption="detection_probability",
            category="Figures",
            figure="Detection probability, {dataset}",
            form="SVG",
        ),
    log:
        "logs/plot_detection_probability/{dataset}.log",
    benchmark:
        "benchmarks/plot_detection_probability/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        methods=plan.method_notes(),
        datasets=plan.dataset_notes(),
        code=code_of("plot_detection_probability"),
    message:
        "{wildcards.dataset}: detection probability"
    script:
        "../scripts/plot_detection_probability.py"


rule plot_published_scores:
    """Our scores with their intervals beside the study's."""
    input:
        segmentation="<results>/tables/segmentation.parquet",
        classification="<results>/tables/classification.parquet",
    output:
        png=shown(
            "<results>/figures/published_scores.png",
            caption="published_scores",
            category="Figures",
            figure="Beside the study",
            form="PNG",
        ),
        svg=shown(
            "<results>/figures/published_scores.svg",
            caption="published_scores",
            category="Figures",
            figure="Beside the study",
            form="SVG",
        ),
    log:
        "logs/plot_published_scores/all.log",
    benchmark:
        "benchmarks/plot_published_scores/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        methods=plan.method_notes(),
        code=code_of("plot_published_scores"),
    message:
        "Scores beside the study's"
    script:
        "../scripts/plot_published_scores.py"


rule plot_domain_gap:
    """Every method's mean IoU against the domain gap of each data set."""
    input:
        gap="<results>/tables/domain_gap.parquet",
        segmentation="<results>/tables/segmentation.parquet",
    output:
        png=shown(
            "<results>/figures/domain_gap.png",
            caption="domain_gap",
            category="Figures",
            figure="Domain gap",
            form="PNG",
        ),
        svg=shown(
            "<results>/figures/domain_gap.svg",
            caption="domain_gap",
            category="Figures",
            figure="Domain gap",
            form="SVG",
        ),
    log:
        "logs/plot_domain_gap/all.log",
    benchmark:
        "benchmarks/plot_domain_gap/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        methods=plan.method_notes(),
        code=code_of("plot_domain_gap"),
    message:
        "Domain gap: figure"
    script:
        "../scripts/plot_domain_gap.py"


rule render_report:
    """One page with everything: decision, tables, figures, every image, and where all is from.

    Pictures that would make the page larger than 30 MB lie in report_images/ beside it.
    """
    input:
        checked=ancient(checked_inputs),
        tables=expand(
            "<results>/tables/{table}.parquet",
            table=[
                *("readiness", "segmentation", "classification", "breakdown"),
                *(
                    "detection_probability",
                    "detection_bins",
                    "comparison",
                    "pixel_scores",
                ),
                "audit",
                *plan.further_tables(),
            ],
        ),
        figures=plan.page_figures(),
        manifests=ancient(
            expand("<results>/manifests/{dataset}.parquet", dataset=cfg.datasets)
        ),
        transforms=expand(
            "<results>/aligned/{dataset}/transforms.parquet", dataset=cfg.datasets
        ),
        truth=expand("<results>/truth/{dataset}/truth.parquet", dataset=cfg.datasets),
        scores=plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            [*cfg.runs(), *plan.area_runs()],
        ),
        masks=plan.paths(
            f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}/masks.parquet",
            cfg.mask_runs(),
        ),
        verdicts=plan.paths(
            f"{cfg.results_dir}/verdicts/{{dataset}}/{{method}}/{{prompt}}/labels.parquet",
            cfg.verdict_runs(),
        ),
        panels=plan.panel_tables(),
        weights=ancient(
            expand("<results>/weights/{network}.json", network=cfg.used_networks())
        ),
    output:
        page=shown(
            "<results>/report.html",
            caption="report",
            category="Report",
            report="Everything on one page",
        ),
    log:
        "logs/render_report/all.log",
    benchmark:
        "benchmarks/render_report/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 2
    resources:
        mem_mb=3_000,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        runs=plan.page_runs(),
        datasets=plan.dataset_notes(),
        methods=plan.method_notes(),
        further=plan.further_tables(),
        about=plan.page_facts(),
        weights=lambda wildcards: plan.weights_digest(*cfg.used_networks()),
        code=code_of("render_report"),
    message:
        "Report: one page"
    script:
        "../scripts/render_report.py"


rule export_truth:
    """The truth of a data set as COCO JSON, for annotation tools."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
        truth="<results>/truth/{dataset}/truth.parquet",
    output:
        coco=shown(
            "<results>/exports/{dataset}/truth.coco.json",
            caption="truth_coco",
            category="Exports",
            data="Truth of {dataset}",
            form="COCO JSON",
        ),
    log:
        "logs/export_truth/{dataset}.log",
    benchmark:
        "benchmarks/export_truth/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=60,
    params:
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        code=code_of("export_truth"),
    message:
        "{wildcards.dataset}: truth as COCO JSON"
    script:
        "../scripts/export_truth.py"


rule export_annotations:
    """The masks of a method as COCO JSON, for annotation tools."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
        masks="<results>/predictions/{dataset}/{method}/{prompt}/masks.parquet",
    output:
        coco=shown(
            "<results>/exports/{dataset}/{method}/{prompt}/predictions.coco.json",
            caption="predictions_coco",
            category="Exports",
            data="{method}, {prompt}, {dataset}",
            form="COCO JSON",
        ),
    log:
        "logs/export_annotations/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/export_annotations/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.mask_methods() or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=60,
    params:
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        code=code_of("export_annotations"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}, as COCO JSON"
    script:
        "../scripts/export_annotations.py"


rule export_images:
    """All that is known of each image under each method, in one CSV file."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        scores=lambda wildcards: plan.paths(
            f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
            plan.shown_runs(wildcards.dataset),
        ),
        verdicts=lambda wildcards: plan.paths(
            f"{cfg.results_dir}/verdicts/{{dataset}}/{{method}}/{{prompt}}/labels.parquet",
            [run for run in cfg.verdict_runs() if run[0] == wildcards.dataset],
        ),
    output:
        table=shown(
            "<results>/exports/{dataset}/images.csv",
            caption="images_csv",
            category="Exports",
            data="Every image of {dataset} under every method",
            form="CSV",
        ),
    log:
        "logs/export_images/{dataset}.log",
    benchmark:
        "benchmarks/export_images/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=20,
    params:
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        methods=plan.method_notes(),
        code=code_of("export_images"),
    message:
        "{wildcards.dataset}: each image as CSV"
    script:
        "../scripts/export_images.py"


rule exports:
    """Predictions and truth for other tools."""
    input:
        expand(
            "<results>/exports/{dataset}/{file}",
            dataset=cfg.datasets,
            file=["truth.coco.json", "images.csv"],
        ),
        plan.paths(
            f"{cfg.results_dir}/exports/{{dataset}}/{{method}}/{{prompt}}/predictions.coco.json",
            cfg.mask_runs(),
        ),
