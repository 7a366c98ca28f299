"""Stage 6, evaluate: predictions beside the truth, one row per image.

Reads   <results>/predictions/, <results>/verdicts/, <results>/truth/; for score maps also
        <results>/aligned/, <results>/encodings/
Writes  <results>/scores/{dataset}/{method}/{prompt}/images.parquet, defects.parquet, pixels.parquet,
        <results>/scores/domain_gap.parquet, and the floors' <results>/verdicts/

What is scored is recorded in the file of tries before, which is no output: nothing runs again for it.
Rules that score all runs of a data set in one job exist once for each data set, since its runs are
its own; what is up to date stays (`update`), so that an edit costs the runs that it concerns.
"""

SCORES = f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}"
VERDICTS = f"{cfg.results_dir}/verdicts/{{dataset}}/{{method}}/{{prompt}}"


for scored in cfg.datasets:

    rule:
        """Score the masks of every method against the truth, by image and by defect.

        Any mask is the verdict NOK.
        """
        name:
            f"score_masks_{scored}"
        input:
            checked=ancient(checked_inputs),
            manifest=ancient("<results>/manifests/{dataset}.parquet"),
            references=ancient("<results>/manifests/{dataset}/references.parquet"),
            truth="<results>/truth/{dataset}/truth.parquet",
            masks=of_runs(f"{PREDICTIONS}/masks.parquet", scored, plan.mask_runs()),
        output:
            scores=update_each(
                of_runs(f"{SCORES}/images.parquet", scored, plan.mask_runs())
            ),
            defects=update_each(
                of_runs(f"{SCORES}/defects.parquet", scored, plan.mask_runs())
            ),
        log:
            "logs/score_masks/{dataset}.log",
        benchmark:
            "benchmarks/score_masks/{dataset}.tsv"
        wildcard_constraints:
            dataset=scored,
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=more_each_time(2_000),
            runtime=more_each_time(60),
        params:
            what="masks",
            given=["manifest", "truth", "masks"],
            tries=tries_among(cfg.mask_runs()),
            ignore_border=cfg.datasets[scored].ignore_border,
            defects={
                "min_covered_share": cfg.evaluation.min_covered_share,
                "pixel_pitch_mm": cfg.datasets[scored].pixel_pitch_mm,
            },
            labels=labels_digest,
            code=source_digest("realitycheck.stages.score_runs"),
        message:
            "{wildcards.dataset}: scores of masks"
        script:
            "../scripts/score.py"

    rule:
        """Put the verdicts of every method, and of the floors, beside the labels."""
        name:
            f"score_labels_{scored}"
        input:
            checked=ancient(checked_inputs),
            manifest=ancient("<results>/manifests/{dataset}.parquet"),
            references=ancient("<results>/manifests/{dataset}/references.parquet"),
            labels=of_runs(f"{VERDICTS}/labels.parquet", scored, cfg.verdict_runs()),
        output:
            floors=update_each(
                of_runs(f"{VERDICTS}/labels.parquet", scored, plan.label_floors())
            ),
            scores=update_each(
                of_runs(f"{SCORES}/images.parquet", scored, plan.verdict_runs())
            ),
        log:
            "logs/score_labels/{dataset}.log",
        benchmark:
            "benchmarks/score_labels/{dataset}.tsv"
        wildcard_constraints:
            dataset=scored,
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=table_mb(plan.verdict_runs()),
            runtime=more_each_time(20),
        params:
            what="labels",
            given=["manifest", "labels"],
            tries=tries_among(cfg.verdict_runs()),
            labels=labels_digest,
            code=source_digest("realitycheck.stages.score_runs"),
        message:
            "{wildcards.dataset}: scores of verdicts"
        script:
            "../scripts/score.py"


for judged in dict.fromkeys(dataset for dataset, _, _ in plan.area_runs()):

    rule:
        """Judge by the area of masks, with a threshold from good images of other folds."""
        name:
            f"score_areas_{judged}"
        input:
            checked=ancient(checked_inputs),
            manifest=ancient("<results>/manifests/{dataset}.parquet"),
            references=ancient("<results>/manifests/{dataset}/references.parquet"),
            scores=of_runs(f"{SCORES}/images.parquet", judged, cfg.mask_runs()),
        output:
            scores=update_each(
                of_runs(f"{SCORES}/images.parquet", judged, plan.area_runs())
            ),
        log:
            "logs/score_areas/{dataset}.log",
        benchmark:
            "benchmarks/score_areas/{dataset}.tsv"
        wildcard_constraints:
            dataset=judged,
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=table_mb(cfg.mask_runs()),
            runtime=more_each_time(20),
        params:
            what="areas",
            given=["scores"],
            tries=tries_among(plan.area_runs()),
            max_overkill_rate=cfg.requirements.max_overkill_rate,
            seed=cfg.evaluation.seed,
            code=source_digest("realitycheck.stages.score_runs"),
        message:
            "{wildcards.dataset}: scores of verdicts by area"
        script:
            "../scripts/score.py"


rule score_masks:
    """The scores of all masks."""
    input:
        plan.paths(f"{SCORES}/images.parquet", plan.mask_runs()),


rule score_labels:
    """The scores of all verdicts."""
    input:
        plan.paths(f"{SCORES}/images.parquet", plan.verdict_runs()),


rule score_areas:
    """The scores of all verdicts by area."""
    input:
        plan.paths(f"{SCORES}/images.parquet", plan.area_runs()),


rule score_pixels:
    """Score the maps of a method against the truth, pixel by pixel."""
    input:
        unpack(files_of("inputs", is_later=True)),
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
        truth="<results>/truth/{dataset}/truth.parquet",
        # Texts and scores of patches are stored while the masks are made.
        masks=shards_of(f"{PREDICTIONS}/shards/{{shard}}.parquet"),
    output:
        pixels="<results>/scores/{dataset}/{method}/{prompt}/pixels.parquet",
    log:
        "logs/score_pixels/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/score_pixels/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.map_methods() or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
            wildcards.dataset, seconds_per_image=1, attempt=attempt
        ),
    params:
        kind=kind_of_method,
        run=run_of(),
        ignore_border=lambda wildcards: cfg.datasets[wildcards.dataset].ignore_border,
        labels=digest_of_images("labels"),
        code=code_of_method("score_pixels", "segmenter"),
    message:
        "{wildcards.dataset}: pixel scores of {wildcards.method}, prompt {wildcards.prompt}"
    script:
        "../scripts/score_pixels.py"


rule measure_domain_gap:
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
        gap="<results>/scores/domain_gap.parquet",
    log:
        "logs/measure_domain_gap/all.log",
    benchmark:
        "benchmarks/measure_domain_gap/all.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("resnet")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=more_each_time(3_000),
        runtime=domain_gap_min,
    params:
        variant=cfg.network_settings("resnet")["variant"],
        weights=lambda wildcards: plan.weights_digest("resnet"),
        masks={dataset: plan.automatic_masks(dataset) for dataset in cfg.datasets},
        images=images_digests,
        code=code_of("measure_domain_gap"),
    message:
        "Domain gap: distances of image features"
    script:
        "../scripts/measure_domain_gap.py"
