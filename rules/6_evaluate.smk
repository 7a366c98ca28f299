"""Stage 6, evaluate: predictions against the truth, one row an image.

Reads   <results>/predictions/, <results>/verdicts/, <results>/truth/; for score maps also
        <results>/aligned/, <results>/encodings/
Writes  <results>/scores/{dataset}/{method}/{prompt}/images.parquet, defects.parquet, pixels.parquet
"""


rule score_masks:
    """Score the masks of a method against the truth, image by image and defect by defect.

    Any mask is the verdict NOK.
    """
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        truth="<results>/truth/{dataset}/truth.parquet",
        masks="<results>/predictions/{dataset}/{method}/{prompt}/masks.parquet",
    output:
        scores="<results>/scores/{dataset}/{method}/{prompt}/images.parquet",
        defects="<results>/scores/{dataset}/{method}/{prompt}/defects.parquet",
    log:
        "logs/score_masks/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/score_masks/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join([*cfg.mask_methods(), *MASK_FLOORS]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=more_each_time(60),
    params:
        ignore_border=lambda wildcards: cfg.datasets[wildcards.dataset].ignore_border,
        defects=lambda wildcards: {
            "min_covered_share": cfg.evaluation.min_covered_share,
            "pixel_pitch_mm": cfg.datasets[wildcards.dataset].pixel_pitch_mm,
        },
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        code=code_of("score_masks"),
    message:
        "{wildcards.dataset}: score {wildcards.method}, prompt {wildcards.prompt}"
    script:
        "../scripts/score_masks.py"


rule score_areas:
    """Judge by the area of a method's masks, with a threshold from good images of other folds."""
    input:
        scores="<results>/scores/{dataset}/{method}/{prompt}/images.parquet",
    output:
        scores=f"<results>/scores/{{dataset}}/{{method}}{AREA_SUFFIX}/{{prompt}}/images.parquet",
    log:
        "logs/score_areas/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/score_areas/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.mask_methods() or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: plan.table_mb(
            [(wildcards.dataset, wildcards.method, wildcards.prompt)], attempt=attempt
        ),
        runtime=more_each_time(20),
    params:
        max_overkill_rate=cfg.requirements.max_overkill_rate,
        seed=cfg.evaluation.seed,
        code=code_of("score_areas"),
    message:
        "{wildcards.dataset}: score {wildcards.method} by area, prompt {wildcards.prompt}"
    script:
        "../scripts/score_areas.py"


rule score_pixels:
    """Score the maps of a method against the truth, pixel by pixel."""
    input:
        unpack(files_of("inputs", is_later=True)),
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
        truth="<results>/truth/{dataset}/truth.parquet",
        # Texts and scores of patches are stored while the masks are made.
        masks="<results>/predictions/{dataset}/{method}/{prompt}/masks.parquet",
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
        runtime=lambda wildcards, attempt: plan.runtime_min(
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


rule score_labels:
    """Put the verdicts of a method beside the labels."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
    output:
        scores="<results>/scores/{dataset}/{method}/{prompt}/images.parquet",
    log:
        "logs/score_labels/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/score_labels/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join([*cfg.verdict_methods(), *LABEL_FLOORS]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: plan.table_mb(
            [(wildcards.dataset, wildcards.method, wildcards.prompt)], attempt=attempt
        ),
        runtime=more_each_time(20),
    params:
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        code=code_of("score_labels"),
    message:
        "{wildcards.dataset}: score {wildcards.method}"
    script:
        "../scripts/score_labels.py"
