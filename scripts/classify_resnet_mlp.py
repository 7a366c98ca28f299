"""Supervised baseline: a perceptron on frozen features, every verdict out of fold."""

import time
from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import ENCODINGS, MANIFEST, VERDICTS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_shards, read_table, write_table
from realitycheck.encoders.base import feature_maps_of
from realitycheck.methods.resnet_mlp.classifier import out_of_fold_verdicts
from realitycheck.stages.timing import OWN_STEP, seconds_before

with job_log(snakemake.log[0]):
    settings, inputs = snakemake.params.settings, snakemake.input
    manifest = read_table(inputs.manifest, schema=MANIFEST)
    index = read_shards(inputs.features, schema=ENCODINGS)
    store = EncodingStore(Path(inputs.features[0]).parent)
    started = time.perf_counter()
    table = out_of_fold_verdicts(
        manifest,
        feature_maps_of(store, index, manifest["image_id"]),
        method=snakemake.wildcards.method,
        prompt=snakemake.wildcards.prompt,
        settings=settings,
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
            {**settings, "code": snakemake.params.code},
            weights=snakemake.params.weights,
            distributions=("scikit-learn",),
        )
        | seconds_before(image_features=inputs.features, and_then=seconds),
    )
