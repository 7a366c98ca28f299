"""Stage 3, encode: everything that a network computes from an image without a text prompt.

Reads   <results>/aligned/{dataset}/, weights
Writes  <results>/encodings/{dataset}/, a store that is safe to delete

One rule per encoding: `encode_images`, `propose_masks`, `encode_crops`, `encode_patches`,
`encode_clip_features`, `encode_saliency`, `encode_resnet_features`.
"""

from realitycheck.encoders.registry import ENCODERS
from realitycheck.planning.encodings import EncodingRule

for encoding in (EncodingRule(plan, name) for name in ENCODERS):

    rule:
        name:
            encoding.encoder.rule
        input:
            unpack(encoding.source),
            checked=ancient(checked_inputs),
            transforms="<results>/aligned/{dataset}/shards/{shard}.parquet",
            weights=ancient(f"<results>/weights/{encoding.encoder.network}.json"),
        output:
            index=f"{encoding.folder}/{{shard}}.parquet",
        log:
            f"logs/{encoding.log_folder}/{{shard}}.log",
        benchmark:
            f"benchmarks/{encoding.log_folder}/{{shard}}.tsv"
        wildcard_constraints:
            method="|".join(encoding.methods or ["none"]),
        conda:
            "../envs/models.yaml"
        threads: encoding.threads
        resources:
            gpu=1,
            device=cfg.compute.device,
            batch_size=str(cfg.compute.batch_size),
            attempt=number_of_attempt,
            mem_mb=encoding.memory_mb,
            runtime=encoding.runtime_min,
        params:
            encoder=encoding.name,
            settings=encoding.settings,
            network=encoding.network,
            weights=encoding.weights,
            code=encoding.code,
        message:
            f"Data set {{wildcards.dataset}}: {encoding.name}, shard {{wildcards.shard}}"
        script:
            "../scripts/encode.py"

    workflow.get_rule(encoding.encoder.rule).docstring = encoding.encoder.summary
