"""Stage 4, segment: from encodings and text prompts to one mask per image.

Reads   <results>/aligned/{dataset}/, <results>/encodings/{dataset}/
Writes  <results>/detections/{dataset}/{prompt}/, <results>/predictions/{dataset}/{method}/{prompt}/

One job puts the shards' masks of all methods of a data set together, and one all boxes; what is up to
date stays.
"""

PREDICTIONS = f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}"
#: Table of the boxes of each data set and prompt set that the detector is asked with.
BOXES = {
    (dataset, prompt): f"{cfg.results_dir}/detections/{dataset}/{prompt}/boxes.parquet"
    for dataset, prompt in plan.detector_runs()
}
SAA_PLUS = block_of("saa_plus")
#: Output of methods that keep their score maps as small as they were computed.
GRIDS = {
    "score_grids": "<results>/predictions/{dataset}/{method}/{prompt}/score_grids/{shard}.parquet"
}


rule detect_boxes:
    """Let GroundingDINO propose boxes for every text of a prompt set, down to a low floor."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        weights=ancient("<results>/weights/grounding_dino.json"),
    output:
        boxes="<results>/detections/{dataset}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/detect_boxes/{dataset}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/detect_boxes/{dataset}/{prompt}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("grounding_dino")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "grounding_dino",
            wildcards.dataset,
            wildcards.shard,
            kb_per_image=500,
            attempt=attempt,
        ),
        runtime=lambda wildcards, attempt: plan.resources.network_min(
            "grounding_dino",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=2,
            attempt=attempt,
        ),
    params:
        settings=cfg.detector_settings(),
        asked=lambda wildcards: plan.detector_prompts(
            wildcards.dataset, wildcards.prompt
        ),
        weights=lambda wildcards: plan.weights_digest("grounding_dino"),
        code=code_of("detect_boxes", *caption_code()),
    message:
        "Data set {wildcards.dataset}, prompt {wildcards.prompt}: boxes, shard {wildcards.shard}"
    script:
        "../scripts/detect_boxes.py"


rule gather_boxes:
    """Put the shards' boxes of every prompt set together."""
    input:
        shards=[
            shard
            for (dataset, _), table in BOXES.items()
            for shard in shards_of_tables(dataset, [table])
        ],
    output:
        update_each(BOXES.values()),
    log:
        "logs/gather_boxes/all.log",
    benchmark:
        "benchmarks/gather_boxes/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=more_each_time(60),
    params:
        code=code_of("gather"),
    message:
        "Gather boxes"
    script:
        "../scripts/gather.py"


rule map_anomalies:
    """Make SAA+'s anomaly maps from filtered boxes, masks and saliency."""
    input:
        unpack(files_of("map_inputs", SAA_PLUS.maps_job)),
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
    output:
        maps="<results>/predictions/{dataset}/{method}/{prompt}/maps/{shard}.parquet",
    log:
        "logs/map_anomalies/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/map_anomalies/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("saa_plus") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads(SAA_PLUS.maps_job.network)
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=memory_of(SAA_PLUS.maps_job),
        runtime=minutes_of(SAA_PLUS.maps_job),
    params:
        kind="saa_plus",
        run=lambda wildcards: plan.run_of(
            wildcards.dataset,
            wildcards.method,
            wildcards.prompt,
            SAA_PLUS.maps_job,
            settings=cfg.methods[wildcards.method].maps_settings(),
        ),
        code=code_of("map_anomalies", *code_of_part("saa_plus", "segmenter")),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}: maps, {wildcards.shard}"
    script:
        "../scripts/map_anomalies.py"


for method, block in cfg.methods.items():
    if not block.environment_file:
        continue
    if workflow.is_main_process and not uses_conda(workflow):
        raise WorkflowError(
            f"methods.{method}.conda: environments are made only with --sdm conda; add it, or "
            "give python, the interpreter of an environment that is there"
        )

    rule:
        """Have the environment of a program made, and say where it lies."""
        name:
            f"find_environment_{method}"
        output:
            prefix=f"<results>/environments/{method}.txt",
        log:
            f"logs/find_environment/{method}.log",
        benchmark:
            f"benchmarks/find_environment/{method}.tsv"
        localrule: True
        conda:
            str(Path(block.environment_file).absolute())
        threads: 1
        resources:
            mem_mb=more_each_time(500),
            runtime=more_each_time(10),
        message:
            f"Environment of {method}"
        shell:
            'printf "%s" "$CONDA_PREFIX" > {output.prefix} 2> {log}'


for family, kind, block, methods in segmenters(cfg.methods):
    if not block.fits:
        continue

    rule:
        """Let a method set its thresholds, or learn, before it marks defects."""
        name:
            f"{block.fits.verb}_{family}"
        input:
            unpack(files_of("fit_inputs", block.fits)),
            checked=ancient(checked_inputs),
            manifest=ancient("<results>/manifests/{dataset}.parquet"),
            train=ancient("<results>/manifests/{dataset}/train.parquet"),
        output:
            **{
                name: f"<results>/predictions/{{dataset}}/{{method}}/{{prompt}}/{file}"
                for name, file in block.fits.outputs.items()
            },
            thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
        log:
            f"logs/{block.fits.verb}_{family}/{{dataset}}/{{method}}/{{prompt}}.log",
        benchmark:
            f"benchmarks/{block.fits.verb}_{family}/{{dataset}}/{{method}}/{{prompt}}.tsv"
        wildcard_constraints:
            method="|".join(methods or ["none"]),
        localrule: block.fits.is_local
        conda:
            environment_of(block.fits)
        threads: plan.resources.job_threads(block.fits)
        resources:
            **device_of(block.fits),
            mem_mb=memory_of(block.fits),
            runtime=minutes_of(block.fits),
        params:
            kind=kind,
            run=run_of(block.fits),
            labels=digest_of_images("labels"),
            train_images=digest_of_images("train_images"),
            code=code_of("fit", *code_of_part(kind, "segmenter")),
        message:
            "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}: thresholds"
        script:
            "../scripts/fit.py"


for family, kind, block, methods in segmenters(cfg.methods):

    rule:
        """Make the masks of a shard, from what was stored of it."""
        name:
            f"segment_{family}"
        input:
            unpack(files_of("inputs", block.job)),
            checked=ancient(checked_inputs),
            transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        output:
            **(GRIDS if block.keeps_score_grid else {}),
            masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
        log:
            f"logs/segment_{family}/{{dataset}}/{{method}}/{{prompt}}/{{shard}}.log",
        benchmark:
            f"benchmarks/segment_{family}/{{dataset}}/{{method}}/{{prompt}}/{{shard}}.tsv"
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
            code=code_of("segment", *code_of_part(kind, "segmenter")),
        message:
            "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}, {wildcards.shard}"
        script:
            "../scripts/segment.py"


for gathered in cfg.datasets:

    rule:
        """Put the masks of every method together, one row per image, and write each as PNG."""
        name:
            f"gather_masks_{gathered}"
        input:
            transforms="<results>/aligned/{dataset}/transforms.parquet",
            shards=shards_of_tables(
                gathered,
                of_runs(f"{PREDICTIONS}/masks.parquet", gathered, plan.mask_runs()),
            ),
        output:
            update_each(
                of_runs(f"{PREDICTIONS}/masks.parquet", gathered, plan.mask_runs())
            ),
        log:
            "logs/gather_masks/{dataset}.log",
        benchmark:
            "benchmarks/gather_masks/{dataset}.tsv"
        wildcard_constraints:
            dataset=gathered,
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=more_each_time(2_000),
            runtime=more_each_time(120),
        params:
            code=code_of("gather"),
        message:
            "{wildcards.dataset}: gather masks"
        script:
            "../scripts/gather.py"


rule detections:
    """Every box of every prompt set that some method asks the detector with."""
    input:
        BOXES.values(),


rule predictions:
    """Every mask of every method."""
    input:
        plan.paths(f"{PREDICTIONS}/masks.parquet", plan.mask_runs()),
