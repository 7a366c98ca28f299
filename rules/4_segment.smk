"""Stage 4, segment: from encodings and text prompts to one mask per image.

Reads   <results>/aligned/{dataset}/, <results>/encodings/{dataset}/
Writes  <results>/detections/{dataset}/{prompt}/, <results>/predictions/{dataset}/{method}/{prompt}/
"""


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
        code=code_of("detect_boxes"),
    message:
        "Data set {wildcards.dataset}, prompt {wildcards.prompt}: boxes, shard {wildcards.shard}"
    script:
        "../scripts/detect_boxes.py"


rule gather_boxes:
    """Put the shards' boxes together."""
    input:
        shards=shards_of(
            "<results>/detections/{dataset}/{prompt}/shards/{shard}.parquet"
        ),
    output:
        table="<results>/detections/{dataset}/{prompt}/boxes.parquet",
    log:
        "logs/gather_boxes/{dataset}/{prompt}.log",
    benchmark:
        "benchmarks/gather_boxes/{dataset}/{prompt}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=more_each_time(20),
    params:
        code=code_of("gather_boxes"),
    message:
        "Data set {wildcards.dataset}, prompt {wildcards.prompt}: gather boxes"
    script:
        "../scripts/gather_boxes.py"


rule segment_grounded_sam:
    """Turn GroundingDINO's boxes into masks with SAM's mask decoder."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        boxes="<results>/detections/{dataset}/{prompt}/shards/{shard}.parquet",
        embeddings="<results>/encodings/{dataset}/sam_rgb/{shard}.parquet",
        weights=ancient("<results>/weights/sam.json"),
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_grounded_sam/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_grounded_sam/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("grounded_sam") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("sam")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            kb_per_image=500,
            attempt=attempt,
        ),
        runtime=lambda wildcards, attempt: plan.resources.network_min(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=1,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        sam=cfg.network_settings("sam"),
        floor=DETECTION_FLOOR,
        prompts=lambda wildcards: plan.segmentation_texts(
            wildcards.dataset, wildcards.prompt
        ),
        weights=lambda wildcards: plan.weights_digest("sam"),
        code=code_of("segment_grounded_sam"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}, {wildcards.shard}"
    script:
        "../scripts/segment_grounded_sam.py"


rule segment_sam_clip:
    """Pick SAM's automatic masks that CLIP finds like the text."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        masks=encoding_of("automatic_masks", "masks"),
        crops=encoding_of("crops", "crops"),
        clip=ancient("<results>/weights/clip.json"),
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_sam_clip/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_sam_clip/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("sam_clip") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("clip")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "clip",
            wildcards.dataset,
            wildcards.shard,
            kb_per_image=20,
            attempt=attempt,
        ),
        runtime=lambda wildcards, attempt: plan.resources.network_min(
            "clip",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=1,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        clip=cfg.network_settings("clip"),
        prompts=lambda wildcards: plan.segmentation_texts(
            wildcards.dataset, wildcards.prompt
        ),
        weights=lambda wildcards: plan.weights_digest("clip"),
        code=code_of("segment_sam_clip"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}, {wildcards.shard}"
    script:
        "../scripts/segment_sam_clip.py"


rule segment_clip_surgery_sam:
    """Point SAM at the patches that CLIP Surgery finds like the text."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        patches=encoding_of("patches", "patches"),
        embeddings="<results>/encodings/{dataset}/sam_rgb/{shard}.parquet",
        weights=ancient("<results>/weights/sam.json"),
        clip=ancient("<results>/weights/clip.json"),
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_clip_surgery_sam/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_clip_surgery_sam/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("clip_surgery_sam") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("sam")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "sam", wildcards.dataset, wildcards.shard, kb_per_image=20, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: plan.resources.network_min(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=1,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        sam=cfg.network_settings("sam"),
        clip=cfg.network_settings("clip"),
        prompts=lambda wildcards: plan.segmentation_texts(
            wildcards.dataset, wildcards.prompt
        ),
        weights=lambda wildcards: plan.weights_digest("sam", "clip"),
        code=code_of("segment_clip_surgery_sam"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}, {wildcards.shard}"
    script:
        "../scripts/segment_clip_surgery_sam.py"


rule map_anomalies:
    """Make SAA+'s anomaly maps from filtered boxes, masks and saliency."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        boxes="<results>/detections/{dataset}/{prompt}/shards/{shard}.parquet",
        embeddings=saa_plus_encoding("sam"),
        saliency=saa_plus_encoding("saliency"),
        weights=ancient("<results>/weights/sam.json"),
        network=ancient("<results>/weights/saliency.json"),
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
    threads: plan.resources.threads("sam")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            kb_per_image=600,
            attempt=attempt,
        ),
        runtime=lambda wildcards, attempt: plan.resources.network_min(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=3,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.methods[wildcards.method].maps_settings(),
        sam=cfg.network_settings("sam"),
        saliency=cfg.network_settings("saliency"),
        asked=lambda wildcards: plan.saa_plus_prompts(
            wildcards.dataset, wildcards.prompt
        ),
        floor=DETECTION_FLOOR,
        weights=lambda wildcards: plan.weights_digest("sam", "saliency"),
        code=code_of("map_anomalies"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}: maps, {wildcards.shard}"
    script:
        "../scripts/map_anomalies.py"


rule calibrate_saa_plus:
    """Set the threshold of SAA+'s anomaly maps by the rule `binarise`."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        train=ancient("<results>/manifests/{dataset}/train.parquet"),
        truth=truth_of_rule,
        maps=anomaly_maps,
        calibration=calibration_maps,
    output:
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    log:
        "logs/calibrate_saa_plus/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/calibrate_saa_plus/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("saa_plus") or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: plan.resources.table_mb(
            [(wildcards.dataset, wildcards.method, wildcards.prompt)],
            kb_per_row=30,
            attempt=attempt,
        ),
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
            wildcards.dataset, seconds_per_image=1, attempt=attempt
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        code=code_of("calibrate_saa_plus"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}: thresholds"
    script:
        "../scripts/calibrate_saa_plus.py"


rule segment_saa_plus:
    """Turn SAA+'s anomaly maps into masks."""
    input:
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        maps=anomaly_maps_of_shard,
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_saa_plus/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_saa_plus/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("saa_plus") or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
            wildcards.dataset, wildcards.shard, seconds_per_image=1, attempt=attempt
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        code=code_of("segment_saa_plus"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}, {wildcards.shard}"
    script:
        "../scripts/segment_saa_plus.py"


rule calibrate_pixel_difference:
    """Set the threshold of the pixel difference on good images, never on the image it is used on."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        train=ancient("<results>/manifests/{dataset}/train.parquet"),
        references=ancient("<results>/manifests/{dataset}/references.parquet"),
        transforms=calibration_shards_of(
            "<results>/aligned/{dataset}/shards/{shard}.parquet"
        ),
    output:
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    log:
        "logs/calibrate_pixel_difference/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/calibrate_pixel_difference/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("pixel_difference") or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
            wildcards.dataset, seconds_per_image=1, attempt=attempt
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        intensity=lambda wildcards: cfg.alignment_settings(wildcards.dataset)[
            "intensity"
        ],
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        code=code_of("calibrate_pixel_difference"),
    message:
        "{wildcards.dataset}: {wildcards.method}, thresholds from good images"
    script:
        "../scripts/calibrate_pixel_difference.py"


rule segment_pixel_difference:
    """Threshold the difference to the reference."""
    input:
        references=ancient("<results>/manifests/{dataset}/references.parquet"),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_pixel_difference/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_pixel_difference/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("pixel_difference") or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
            wildcards.dataset, wildcards.shard, seconds_per_image=1, attempt=attempt
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        intensity=lambda wildcards: cfg.alignment_settings(wildcards.dataset)[
            "intensity"
        ],
        code=code_of("segment_pixel_difference"),
    message:
        "{wildcards.dataset}: {wildcards.method}, {wildcards.shard}"
    script:
        "../scripts/segment_pixel_difference.py"


rule calibrate_few_shot:
    """Remember good training images, and set the threshold by leaving each of them out."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        train=ancient("<results>/manifests/{dataset}/train.parquet"),
        transforms=training_shards_of(
            "<results>/aligned/{dataset}/shards/{shard}.parquet"
        ),
        features=few_shot_training_features,
    output:
        bank="<results>/predictions/{dataset}/{method}/{prompt}/bank.safetensors",
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    log:
        "logs/calibrate_few_shot/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/calibrate_few_shot/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("few_shot") or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(4_000),
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
            wildcards.dataset, seconds_per_image=10, attempt=attempt
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        train_images=lambda wildcards: plan.images_digest(
            wildcards.dataset, "train_images"
        ),
        weights=lambda wildcards: plan.weights_digest("resnet"),
        code=code_of("calibrate_few_shot"),
    message:
        "{wildcards.dataset}: {wildcards.method}, memory bank and thresholds from good images"
    script:
        "../scripts/calibrate_few_shot.py"


rule segment_few_shot:
    """Mark what looks like nothing that is remembered of good parts."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        features=lambda wildcards: (
            f"{cfg.results_dir}/encodings/{wildcards.dataset}/resnet_features_"
            f"{cfg.methods[wildcards.method].input_size_px}/{wildcards.shard}.parquet"
        ),
        bank="<results>/predictions/{dataset}/{method}/{prompt}/bank.safetensors",
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_few_shot/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_few_shot/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("few_shot") or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(4_000),
        runtime=lambda wildcards, attempt: plan.resources.runtime_min(
            wildcards.dataset, wildcards.shard, seconds_per_image=10, attempt=attempt
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        weights=lambda wildcards: plan.weights_digest("resnet"),
        code=code_of("segment_few_shot"),
    message:
        "{wildcards.dataset}: {wildcards.method}, {wildcards.shard}"
    script:
        "../scripts/segment_few_shot.py"


rule train_adapted_sam:
    """Train SAM's mask decoder on the labelled images of all folds but one, for every fold."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
        truth="<results>/truth/{dataset}/truth.parquet",
        embeddings=shards_of("<results>/encodings/{dataset}/sam_rgb/{shard}.parquet"),
        weights=ancient("<results>/weights/sam.json"),
    output:
        decoders="<results>/predictions/{dataset}/{method}/{prompt}/decoders.safetensors",
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    log:
        "logs/train_adapted_sam/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/train_adapted_sam/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("adapted_sam") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("sam")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "sam", wildcards.dataset, None, kb_per_image=400, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        sam=cfg.network_settings("sam"),
        ignore_border=lambda wildcards: cfg.datasets[wildcards.dataset].ignore_border,
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        weights=lambda wildcards: plan.weights_digest("sam"),
        code=code_of("train_adapted_sam"),
    message:
        "{wildcards.dataset}: {wildcards.method}, a decoder for each fold"
    script:
        "../scripts/train_adapted_sam.py"


rule segment_adapted_sam:
    """Let the decoder that saw no image of a fold draw the defects of its images."""
    input:
        checked=ancient(checked_inputs),
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
        embeddings="<results>/encodings/{dataset}/sam_rgb/{shard}.parquet",
        decoders="<results>/predictions/{dataset}/{method}/{prompt}/decoders.safetensors",
        thresholds="<results>/predictions/{dataset}/{method}/{prompt}/thresholds.parquet",
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_adapted_sam/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_adapted_sam/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("adapted_sam") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("sam")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "sam", wildcards.dataset, wildcards.shard, kb_per_image=20, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: plan.resources.network_min(
            "sam",
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=1,
            attempt=attempt,
        ),
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        weights=lambda wildcards: plan.weights_digest("sam"),
        code=code_of("segment_adapted_sam"),
    message:
        "{wildcards.dataset}: {wildcards.method}, {wildcards.shard}"
    script:
        "../scripts/segment_adapted_sam.py"


rule segment_whole_image:
    """Floor: the whole image as the mask."""
    input:
        transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
    output:
        masks="<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet",
    log:
        "logs/segment_whole_image/{dataset}/{method}/{prompt}/{shard}.log",
    benchmark:
        "benchmarks/segment_whole_image/{dataset}/{method}/{prompt}/{shard}.tsv"
    wildcard_constraints:
        method="whole_image",
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(1_000),
        runtime=more_each_time(20),
    params:
        code=code_of("segment_whole_image"),
    message:
        "{wildcards.dataset}: floor {wildcards.method}, {wildcards.shard}"
    script:
        "../scripts/segment_whole_image.py"


rule gather_masks:
    """Put the shards' masks together, one row per image, and write each as PNG."""
    input:
        transforms="<results>/aligned/{dataset}/transforms.parquet",
        shards=shards_of(
            "<results>/predictions/{dataset}/{method}/{prompt}/shards/{shard}.parquet"
        ),
    output:
        table="<results>/predictions/{dataset}/{method}/{prompt}/masks.parquet",
    log:
        "logs/gather_masks/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/gather_masks/{dataset}/{method}/{prompt}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(2_000),
        runtime=more_each_time(60),
    params:
        code=code_of("gather_masks"),
    message:
        "{wildcards.dataset}: {wildcards.method}, prompt {wildcards.prompt}: gather masks"
    script:
        "../scripts/gather_masks.py"


rule detections:
    """Every box of every prompt set that some method asks the detector with."""
    input:
        [
            f"{cfg.results_dir}/detections/{dataset}/{prompt}/boxes.parquet"
            for dataset, prompt in plan.detector_runs()
        ],


rule predictions:
    """Every mask of every method."""
    input:
        plan.paths(
            f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}/masks.parquet",
            plan.mask_runs(),
        ),
