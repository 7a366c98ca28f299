"""Stage 3, encode: everything that a network computes from an image without a text prompt.

Reads   <results>/aligned/{dataset}/, weights
Writes  <results>/encodings/{dataset}/, a store that is safe to delete
"""


rule encode_images:
    """Run SAM's image encoder, once for each image and colour order."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        weights=ancient("<results>/weights/sam.json"),
    output:
        index="<results>/encodings/{dataset}/sam_{colour}/{shard}.parquet",
    log:
        "logs/encode_images/{dataset}/sam_{colour}/{shard}.log",
    benchmark:
        "benchmarks/encode_images/{dataset}/sam_{colour}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.threads("sam")
    resources:
        gpu=1,
        device=cfg.compute.device,
        batch_size=str(cfg.compute.batch_size),
        attempt=number_of_attempt,
        mem_mb=lambda wildcards, attempt: plan.memory_mb(
            "sam", wildcards.dataset, wildcards.shard, kb_per_image=2, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: plan.network_min(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=2,
            attempt=attempt,
        ),
    params:
        settings=cfg.encoder_settings(),
        weights=lambda wildcards: plan.weights_digest("sam"),
        code=code_of("encode_images"),
    message:
        "Data set {wildcards.dataset}: SAM encoding ({wildcards.colour}), shard {wildcards.shard}"
    script:
        "../scripts/encode_images.py"


rule propose_masks:
    """Let SAM cut everything out, from stored embeddings."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        embeddings="<results>/encodings/{dataset}/sam_rgb/{shard}.parquet",
        weights=ancient("<results>/weights/sam.json"),
    output:
        index="<results>/encodings/{dataset}/automatic_masks/{method}/{shard}.parquet",
    log:
        "logs/propose_masks/{dataset}/automatic_masks/{method}/{shard}.log",
    benchmark:
        "benchmarks/propose_masks/{dataset}/automatic_masks/{method}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("sam_clip") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.threads("sam")
    resources:
        gpu=1,
        device=cfg.compute.device,
        batch_size=str(cfg.compute.batch_size),
        attempt=number_of_attempt,
        mem_mb=lambda wildcards, attempt: plan.memory_mb(
            "sam", wildcards.dataset, wildcards.shard, kb_per_image=2, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: plan.network_min(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=20,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.methods[wildcards.method].masks_settings(),
        sam=cfg.encoder_settings(),
        weights=lambda wildcards: plan.weights_digest("sam"),
        code=code_of("propose_masks"),
    message:
        "Data set {wildcards.dataset}: automatic masks ({wildcards.method}), shard {wildcards.shard}"
    script:
        "../scripts/propose_masks.py"


rule encode_crops:
    """Encode the crops of the automatic masks with CLIP."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        masks=encoding_of("automatic_masks", "masks"),
        weights=ancient("<results>/weights/clip.json"),
    output:
        index="<results>/encodings/{dataset}/crops/{method}/{shard}.parquet",
    log:
        "logs/encode_crops/{dataset}/crops/{method}/{shard}.log",
    benchmark:
        "benchmarks/encode_crops/{dataset}/crops/{method}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("sam_clip") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.threads("clip")
    resources:
        gpu=1,
        device=cfg.compute.device,
        batch_size=str(cfg.compute.batch_size),
        attempt=number_of_attempt,
        mem_mb=lambda wildcards, attempt: plan.memory_mb(
            "clip", wildcards.dataset, wildcards.shard, kb_per_image=2, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: plan.network_min(
            "clip",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=3,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.methods[wildcards.method].crops_settings(),
        clip=cfg.network_settings("clip"),
        weights=lambda wildcards: plan.weights_digest("clip"),
        code=code_of("encode_crops"),
    message:
        "Data set {wildcards.dataset}: crops ({wildcards.method}), shard {wildcards.shard}"
    script:
        "../scripts/encode_crops.py"


rule encode_patches:
    """Encode patches with CLIP Surgery."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        weights=ancient("<results>/weights/clip.json"),
    output:
        index="<results>/encodings/{dataset}/patches/{method}/{shard}.parquet",
    log:
        "logs/encode_patches/{dataset}/patches/{method}/{shard}.log",
    benchmark:
        "benchmarks/encode_patches/{dataset}/patches/{method}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("clip_surgery_sam") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.threads("clip")
    resources:
        gpu=1,
        device=cfg.compute.device,
        batch_size=str(cfg.compute.batch_size),
        attempt=number_of_attempt,
        mem_mb=lambda wildcards, attempt: plan.memory_mb(
            "clip", wildcards.dataset, wildcards.shard, kb_per_image=2, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: plan.network_min(
            "clip",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=1,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.methods[wildcards.method].patches_settings(),
        clip=cfg.network_settings("clip"),
        weights=lambda wildcards: plan.weights_digest("clip"),
        code=code_of("encode_patches"),
    message:
        "Data set {wildcards.dataset}: patches ({wildcards.method}), shard {wildcards.shard}"
    script:
        "../scripts/encode_patches.py"


rule encode_saliency:
    """Compute the saliency maps of SAA+."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        weights=ancient("<results>/weights/saliency.json"),
    output:
        index="<results>/encodings/{dataset}/saliency_{colour}/{shard}.parquet",
    log:
        "logs/encode_saliency/{dataset}/saliency_{colour}/{shard}.log",
    benchmark:
        "benchmarks/encode_saliency/{dataset}/saliency_{colour}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.threads("saliency")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.memory_mb(
            "saliency",
            wildcards.dataset,
            wildcards.shard,
            kb_per_image=2,
            attempt=attempt,
        ),
        runtime=lambda wildcards, attempt: plan.network_min(
            "saliency",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=1,
            attempt=attempt,
        ),
    params:
        settings=cfg.network_settings("saliency"),
        weights=lambda wildcards: plan.weights_digest("saliency"),
        code=code_of("encode_saliency"),
    message:
        "Data set {wildcards.dataset}: saliency ({wildcards.colour}), shard {wildcards.shard}"
    script:
        "../scripts/encode_saliency.py"


rule encode_clip_features:
    """Encode whole images with CLIP."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        weights=ancient("<results>/weights/clip.json"),
    output:
        index="<results>/encodings/{dataset}/clip_features/{shard}.parquet",
    log:
        "logs/encode_clip_features/{dataset}/{shard}.log",
    benchmark:
        "benchmarks/encode_clip_features/{dataset}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.threads("clip")
    resources:
        gpu=1,
        device=cfg.compute.device,
        batch_size=str(cfg.compute.batch_size),
        attempt=number_of_attempt,
        mem_mb=lambda wildcards, attempt: plan.memory_mb(
            "clip", wildcards.dataset, wildcards.shard, kb_per_image=2, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: plan.network_min(
            "clip",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=1,
            attempt=attempt,
        ),
    params:
        settings=cfg.network_settings("clip"),
        weights=lambda wildcards: plan.weights_digest("clip"),
        code=code_of("encode_clip_features"),
    message:
        "Data set {wildcards.dataset}: CLIP features, shard {wildcards.shard}"
    script:
        "../scripts/encode_clip_features.py"


rule encode_resnet_features:
    """Encode whole images with the frozen residual network of the supervised baseline."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        weights=ancient("<results>/weights/resnet.json"),
    output:
        index="<results>/encodings/{dataset}/resnet_features_{size}/{shard}.parquet",
    log:
        "logs/encode_resnet_features/{dataset}/{size}/{shard}.log",
    benchmark:
        "benchmarks/encode_resnet_features/{dataset}/{size}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.threads("resnet")
    resources:
        gpu=1,
        device=cfg.compute.device,
        batch_size=str(cfg.compute.batch_size),
        attempt=number_of_attempt,
        mem_mb=lambda wildcards, attempt: plan.memory_mb(
            "resnet",
            wildcards.dataset,
            wildcards.shard,
            kb_per_image=2,
            attempt=attempt,
        ),
        runtime=lambda wildcards, attempt: plan.network_min(
            "resnet",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=2,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: {
            **cfg.network_settings("resnet"),
            "input_size_px": int(wildcards.size),
        },
        weights=lambda wildcards: plan.weights_digest("resnet"),
        code=code_of("encode_resnet_features"),
    message:
        "Data set {wildcards.dataset}: ResNet features, shard {wildcards.shard}"
    script:
        "../scripts/encode_resnet_features.py"
