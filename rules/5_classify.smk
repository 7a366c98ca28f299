"""Stage 5, classify: one verdict an image.

Reads   <results>/manifests/{dataset}*
Writes  <results>/verdicts/{dataset}/{method}/{prompt}/
"""


rule classify_floor:
    """Floors: the verdicts that need no model at all, one table each."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
    output:
        labels=expand(
            f"<results>/verdicts/{{{{dataset}}}}/{{floor}}/{NO_PROMPT}/labels.parquet",
            floor=LABEL_FLOORS,
        ),
    log:
        "logs/classify_floor/{dataset}.log",
    benchmark:
        "benchmarks/classify_floor/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(1_000),
        runtime=more_each_time(10),
    params:
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        prompt=NO_PROMPT,
        floors=LABEL_FLOORS,
        code=code_of("classify_floor"),
    message:
        "{wildcards.dataset}: floors"
    script:
        "../scripts/classify_floor.py"


rule classify_clip_zero_shot:
    """Compare each image with texts of flawless and of defective parts, by CLIP."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        features=shards_of(
            "<results>/encodings/{dataset}/clip_features/{shard}.parquet"
        ),
        weights=ancient("<results>/weights/clip.json"),
    output:
        labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
    log:
        "logs/classify_clip_zero_shot/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/classify_clip_zero_shot/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("clip_zero_shot") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("clip")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "clip", wildcards.dataset, None, kb_per_image=20, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        clip=cfg.network_settings("clip"),
        words=lambda wildcards: plan.words(wildcards.dataset),
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        weights=lambda wildcards: plan.weights_digest("clip"),
        code=code_of("classify_clip_zero_shot"),
    message:
        "{wildcards.dataset}: {wildcards.method}"
    script:
        "../scripts/classify_clip_zero_shot.py"


rule classify_tuned_clip:
    """CLIP with a learned prompt: its first words are trained, every verdict out of fold."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        features=shards_of(
            "<results>/encodings/{dataset}/clip_features/{shard}.parquet"
        ),
        weights=ancient("<results>/weights/clip.json"),
    output:
        labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
    log:
        "logs/classify_tuned_clip/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/classify_tuned_clip/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("tuned_clip") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: plan.resources.threads("clip")
    resources:
        gpu=1,
        device=cfg.compute.device,
        mem_mb=lambda wildcards, attempt: plan.resources.memory_mb(
            "clip", wildcards.dataset, None, kb_per_image=20, attempt=attempt
        ),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        clip=cfg.network_settings("clip"),
        words=lambda wildcards: plan.words(wildcards.dataset),
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        weights=lambda wildcards: plan.weights_digest("clip"),
        code=code_of("classify_tuned_clip"),
    message:
        "{wildcards.dataset}: {wildcards.method}, out of fold"
    script:
        "../scripts/classify_tuned_clip.py"


rule classify_resnet_mlp:
    """Supervised baseline: a perceptron on frozen features, every verdict out of fold."""
    input:
        checked=ancient(checked_inputs),
        manifest=ancient("<results>/manifests/{dataset}.parquet"),
        features=resnet_features,
    output:
        labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
    log:
        "logs/classify_resnet_mlp/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/classify_resnet_mlp/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("resnet_mlp") or ["none"]),
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: (
            (2_000 + 6 * plan.n_images(wildcards.dataset)) * attempt
        ),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        labels=lambda wildcards: plan.images_digest(wildcards.dataset, "labels"),
        weights=lambda wildcards: plan.weights_digest("resnet"),
        code=code_of("classify_resnet_mlp"),
    message:
        "{wildcards.dataset}: {wildcards.method}, out of fold"
    script:
        "../scripts/classify_resnet_mlp.py"


localrules:
    ask_lvlm,


rule ask_lvlm:
    """Ask a vision language model about each image; what was ever answered is not asked again."""
    input:
        references=ancient("<results>/manifests/{dataset}/references.parquet"),
        transforms="<results>/aligned/{dataset}/transforms.parquet",
    output:
        labels="<results>/verdicts/{dataset}/{method}/{prompt}/labels.parquet",
    log:
        "logs/ask_lvlm/{dataset}/{method}/{prompt}.log",
    benchmark:
        "benchmarks/ask_lvlm/{dataset}/{method}/{prompt}.tsv"
    wildcard_constraints:
        method="|".join(cfg.method_names("lvlm") or ["none"]),
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        api_calls=1,
        mem_mb=2_000,
        runtime=720,
    params:
        settings=lambda wildcards: cfg.method_settings(wildcards.method),
        asked=lambda wildcards: plan.lvlm_prompt(wildcards.dataset, wildcards.prompt),
        intensity=lambda wildcards: cfg.alignment_settings(wildcards.dataset)[
            "intensity"
        ],
        may_leave_site=lambda wildcards: cfg.datasets[wildcards.dataset].may_leave_site,
        has_key=lambda wildcards: plan.has_key(wildcards.method),
        code=lambda wildcards: plan.service_code(wildcards.method),
    message:
        "{wildcards.dataset}: ask {wildcards.method}, prompt {wildcards.prompt}"
    script:
        "../scripts/ask_lvlm.py"
