"""Learn the first words of CLIP's texts of good and bad parts; every verdict out of fold."""

import time
from pathlib import Path

from realitycheck.core.job import device_lease, job_log, run_facts
from realitycheck.core.schemas import ENCODINGS, MANIFEST, VERDICTS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_shards, read_table, write_table
from realitycheck.core.words import object_name
from realitycheck.encoders.base import features_of
from realitycheck.methods.tuned_clip.classifier import tuned_verdicts
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
    started = time.perf_counter()
    table = tuned_verdicts(
        manifest,
        features_of(EncodingStore(Path(inputs.features[0]).parent), index, manifest["image_id"]),
        model,
        {
            category: object_name(params.words["object_name"], category)
            for category in sorted(set(manifest["category"]))
        },
        method=snakemake.wildcards.method,
        prompt=snakemake.wildcards.prompt,
        settings=params.settings,
    )
    # An upper bound of what one more part takes.
    seconds = {
        "training and verdict": (time.perf_counter() - started) / len(manifest),
        OWN_STEP: 0.0,
    }
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
