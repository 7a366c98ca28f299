"""Compare each image with texts of flawless and of defective parts, by CLIP."""

import time
from pathlib import Path

from realitycheck.core.job import device_lease, job_log, run_facts
from realitycheck.core.schemas import ENCODINGS, MANIFEST, VERDICTS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_shards, read_table, write_table
from realitycheck.core.words import object_name
from realitycheck.encoders.base import features_of
from realitycheck.methods.clip_zero_shot.algorithm import encode_states
from realitycheck.methods.clip_zero_shot.classifier import zero_shot_verdicts
from realitycheck.models.clip.model import load_clip
from realitycheck.stages.timing import OWN_STEP, seconds_before
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, inputs = snakemake.params, snakemake.input
    manifest = read_table(inputs.manifest, schema=MANIFEST)
    index = read_shards(inputs.features, schema=ENCODINGS)
    model = load_clip(weights_path(inputs.weights), variant=params.clip["variant"], device=device)
    states = {
        category: encode_states(
            model,
            object_name(params.words["object_name"], category),
            defects=params.words["defect_names"],
        )
        for category in sorted(set(manifest["category"]))
    }
    started = time.perf_counter()
    table = zero_shot_verdicts(
        manifest,
        features_of(EncodingStore(Path(inputs.features[0]).parent), index, manifest["image_id"]),
        states,
        method=snakemake.wildcards.method,
        prompt=snakemake.wildcards.prompt,
        threshold=params.settings["threshold"],
    )
    seconds = {OWN_STEP: (time.perf_counter() - started) / len(manifest)}
    write_table(
        table,
        snakemake.output.labels,
        schema=VERDICTS,
        facts=run_facts(
            {**params.settings, **params.words, "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("open_clip_torch", "torch"),
        )
        | seconds_before(image_features=inputs.features, and_then=seconds),
    )
