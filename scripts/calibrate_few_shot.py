"""Remember good training images, and set the threshold by leaving each of them out."""

from pathlib import Path

from realitycheck.artifacts import (
    ENCODINGS,
    MANIFEST,
    THRESHOLDS,
    TRANSFORMS,
    read_shards,
    read_table,
    write_table,
)
from realitycheck.job import job_log, progress, run_facts
from realitycheck.stages.encode import keys_of
from realitycheck.stages.few_shot import remember, stored_patches, threshold_rows, write_banks
from realitycheck.store import EncodingStore

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
