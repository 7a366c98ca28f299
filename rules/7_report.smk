"""Stage 7, report: tables, figures, the page, and files for other tools.

Reads   <results>/scores/, <results>/predictions/, <results>/verdicts/, <results>/aligned/,
        <results>/truth/, <results>/manifests/; for panels also <results>/detections/,
        <results>/encodings/
Writes  <results>/tables/, <results>/figures/, <results>/report.html, <results>/exports/,
        <results>/predictions/{dataset}/{method}/{prompt}/panels*

Which tables and figures there are say their registries, `realitycheck/report/{tables,figures}`.
"""

EXPORTS = f"{cfg.results_dir}/exports/{{dataset}}/{{method}}/{{prompt}}"


rule tabulate:
    """Every table: scores, verdicts, decisions, and what stands behind them."""
    input:
        unpack(report_files),
        checked=ancient(checked_inputs),
    output:
        [path for name in plan.report_tables() for path in shown_table(name)],
    log:
        "logs/tabulate/all.log",
    benchmark:
        "benchmarks/tabulate/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=table_mb(plan.label_runs()),
        runtime=more_each_time(180),
    params:
        folder=results_folder,
        tables=plan.report_tables(),
        facts=plan.table_facts(),
        tries=tries_of_all,
        locked=locked_of_all,
        images=lambda wildcards: plan.audited_images(),
        code=source_digest(
            "realitycheck.stages.tabulate",
            *map(TABLE_MODULES.module_of, plan.report_tables()),
        ),
    message:
        "Tables"
    script:
        "../scripts/tabulate.py"


rule tables:
    """Every table."""
    input:
        rules.tabulate.output,


rule plot:
    """Every figure."""
    input:
        unpack(report_files),
        tables=rules.tabulate.output,
    output:
        [
            path
            for stem, figure in plan.report_figures().items()
            for path in shown_figure(stem, *figure)
        ],
    log:
        "logs/plot/all.log",
    benchmark:
        "benchmarks/plot/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=table_mb(plan.mask_runs()),
        runtime=more_each_time(60),
    params:
        folder=results_folder,
        figures=plan.report_figures(),
        facts=plan.figure_facts(),
        code=source_digest(
            "realitycheck.stages.plot",
            *{
                FIGURE_MODULES.module_of(name)
                for name, _ in plan.report_figures().values()
            },
        ),
    message:
        "Figures"
    script:
        "../scripts/plot.py"


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
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
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
        rules.plot.output,
        plan.panel_tables(),


rule render_report:
    """One page with everything: decision, tables, figures, every image, and where all is from.

    Pictures that would make the page larger than 30 MB lie in report_images/ beside it.
    """
    input:
        unpack(report_files),
        checked=ancient(checked_inputs),
        tables=rules.tabulate.output,
        figures=rules.plot.output,
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
        mem_mb=more_each_time(3_000),
        runtime=more_each_time(60),
    params:
        runs=plan.page_runs(),
        datasets=plan.dataset_notes(),
        methods=plan.method_notes(),
        tables=plan.report_tables(),
        figures=plan.report_figures(),
        about=plan.page_facts(),
        weights=lambda wildcards: plan.weights_digest(*cfg.used_networks()),
        code=code_of("render_report"),
    message:
        "Report: one page"
    script:
        "../scripts/render_report.py"


for exported in cfg.datasets:

    rule:
        """Truth and masks of a data set as COCO JSON, all that is known of its images as CSV."""
        name:
            f"export_{exported}"
        input:
            checked=ancient(checked_inputs),
            manifest=ancient("<results>/manifests/{dataset}.parquet"),
            transforms="<results>/aligned/{dataset}/transforms.parquet",
            truth="<results>/truth/{dataset}/truth.parquet",
            masks=of_runs(f"{PREDICTIONS}/masks.parquet", exported, cfg.mask_runs()),
            scores=of_runs(
                f"{SCORES}/images.parquet",
                exported,
                [*cfg.runs(), *plan.area_runs()],
            ),
            verdicts=of_runs(f"{VERDICTS}/labels.parquet", exported, cfg.verdict_runs()),
        output:
            truth=shown(
                "<results>/exports/{dataset}/truth.coco.json",
                caption="truth_coco",
                category="Exports",
                data="Truth of {dataset}",
                form="COCO JSON",
            ),
            table=shown(
                "<results>/exports/{dataset}/images.csv",
                caption="images_csv",
                category="Exports",
                data="Every image of {dataset} under every method",
                form="CSV",
            ),
            masks=exported_masks(
                f"{EXPORTS}/predictions.coco.json", exported, "predictions_coco"
            ),
            results=exported_masks(
                f"{EXPORTS}/results.coco.json", exported, "results_coco"
            ),
        log:
            "logs/export/{dataset}.log",
        benchmark:
            "benchmarks/export/{dataset}.tsv"
        wildcard_constraints:
            dataset=exported,
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=more_each_time(2_000),
            runtime=more_each_time(60),
        params:
            labels=labels_digest,
            methods=plan.method_notes(),
            code=code_of("export"),
        message:
            "{wildcards.dataset}: files for other tools"
        script:
            "../scripts/export.py"


rule exports:
    """Predictions and truth for other tools."""
    input:
        expand(
            "<results>/exports/{dataset}/{file}",
            dataset=cfg.datasets,
            file=["truth.coco.json", "images.csv"],
        ),
        plan.paths(f"{EXPORTS}/predictions.coco.json", cfg.mask_runs()),
        plan.paths(f"{EXPORTS}/results.coco.json", cfg.mask_runs()),
