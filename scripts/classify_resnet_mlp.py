"""Supervised baseline: a perceptron on frozen features, every verdict out of fold."""

from pathlib import Path

from realitycheck.artifacts import (
    ENCODINGS,
    MANIFEST,
    VERDICTS,
    read_shards,
    read_table,
    write_table,
)
from realitycheck.job import job_log, run_facts
from realitycheck.stages.classify import out_of_fold_verdicts
from realitycheck.stages.encode import features_of
from realitycheck.store import EncodingStore

with job_log(snakemake.log[0]):
    settings, inputs = snakemake.params.settings, snakemake.input
    manifest = read_table(inputs.manifest, schema=MANIFEST)
    index = read_shards(inputs.features, schema=ENCODINGS)
    store = EncodingStore(Path(inputs.features[0]).parent)
    table = out_of_fold_verdicts(
        manifest,
        features_of(store, index, manifest["image_id"]),
        method=snakemake.wildcards.method,
        prompt=snakemake.wildcards.prompt,
        settings=settings,
    )
    write_table(
        table,
        snakemake.output.labels,
        schema=VERDICTS,
        facts=run_facts(
            {**settings, "code": snakemake.params.code},
            weights=snakemake.params.weights,
            distributions=("scikit-learn",),
        ),
    )
