"""Stage 2, align: every image and its truth on the canvas of the reference.

Reads   <results>/manifests/{dataset}*
Writes  <results>/aligned/{dataset}/, <results>/truth/{dataset}/
"""


rule align_images:
    """Register the images of a shard to the reference of their category."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient(manifest_of_shard),
        references=ancient("<results>/manifests/{dataset}/references.parquet"),
    output:
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
    log:
        "logs/align_images/{dataset}/{shard}.log",
    benchmark:
        "benchmarks/align_images/{dataset}/{shard}.tsv"
    conda:
        "../envs/base.yaml"
    threads: threads_of_shard
    resources:
        mem_mb=more_each_time(2_000),
        runtime=minutes(seconds_per_image=3),
    params:
        settings=of_dataset(cfg.alignment_settings),
        images=images_of_shard,
        code=code_of("align_images"),
    message:
        "Data set {wildcards.dataset}: align shard {wildcards.shard}"
    script:
        "../scripts/align_images.py"


rule gather_transforms:
    """Gather the transforms of all shards: one row per image of the manifest."""
    input:
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        shards=shards_of("<results>/aligned/{dataset}/shards/{shard}.parquet"),
    output:
        table="<results>/aligned/{dataset}/transforms.parquet",
    log:
        "logs/gather_transforms/{dataset}.log",
    benchmark:
        "benchmarks/gather_transforms/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=more_each_time(20),
    params:
        code=code_of("gather_transforms"),
    message:
        "Data set {wildcards.dataset}: gather transforms"
    script:
        "../scripts/gather_transforms.py"


rule align_masks:
    """Warp the truth masks with the transforms of their images, nearest neighbour."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
    output:
        truth="<results>/truth/{dataset}/truth.parquet",
    log:
        "logs/align_masks/{dataset}.log",
    benchmark:
        "benchmarks/align_masks/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=minutes(seconds_per_image=1),
    params:
        truth=of_dataset(truth_of),
        code=code_of("align_masks"),
    message:
        "Data set {wildcards.dataset}: align masks"
    script:
        "../scripts/align_masks.py"
