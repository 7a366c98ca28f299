"""Stage 3, encode: everything that a network computes from an image without a text prompt.

Reads   <results>/aligned/{dataset}/, weights
Writes  <results>/encodings/{dataset}/, a store that is safe to delete
"""


rule encode_images:
    """Run SAM's image encoder, once for each image and colour order."""
    input:
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
    threads: cfg.compute.threads
    resources:
        gpu=1,
        device=cfg.compute.device,
        batch_size=str(cfg.compute.batch_size),
        mem_mb=lambda wildcards, attempt: plan.memory_mb("sam") * attempt,
        runtime=lambda wildcards, attempt: plan.runtime_min(
            wildcards.dataset, seconds_per_image=2, attempt=attempt
        ),
    params:
        settings=cfg.encoder_settings(),
        weights=lambda wildcards: plan.weights_digest("sam"),
        code=code_of("encode_images"),
    message:
        "Data set {wildcards.dataset}: SAM encoding ({wildcards.colour}), shard {wildcards.shard}"
    script:
        "../scripts/encode_images.py"
