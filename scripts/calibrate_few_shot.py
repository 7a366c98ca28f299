"""Remember good training images, and set the threshold by leaving each of them out."""

from pathlib import Path

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, MANIFEST, THRESHOLDS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_shards, read_table, write_table
from realitycheck.encoders.base import keys_of
from realitycheck.methods.few_shot.segmenter import (
    remember,
    stored_patches,
    threshold_rows,
    write_banks,
)

with job_log(snakemake.log[0]):
    params, inputs, dataset = snakemake.params, snakemake.input, snakemake.wildcards.dataset
    train = read_table(inputs.train, schema=MANIFEST)
    found = remember(
        train,
        read_shards(inputs.transforms, schema=TRANSFORMS),
        stored_patches(
            EncodingStore(Path(inputs.features[0]).parent),
            keys_of(read_shards(inputs.features, schema=ENCODINGS)),
        ),
        settings=params.settings,
        dataset=dataset,
    )
    what = f"{dataset}: categories remembered"
    rows = list(progress(found, total=train["category"].nunique(), what=what))
    write_banks({category: bank for category, bank, _ in rows}, snakemake.output.bank)
    thresholds = threshold_rows(
        read_table(inputs.manifest, schema=MANIFEST),
        {category: peaks for category, _, peaks in rows},
        max_overkill_rate=params.settings["max_overkill_rate"],
    )
    write_table(
        list(thresholds),
        snakemake.output.thresholds,
        schema=THRESHOLDS,
        facts=run_facts({**params.settings, "code": params.code}, weights=params.weights),
    )
