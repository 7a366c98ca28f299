"""Set the threshold of SAA+'s anomaly maps by the rule `binarise`."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import ANOMALY_MAPS, MANIFEST, THRESHOLDS
from realitycheck.core.tables import read_shards, read_table, write_table
from realitycheck.methods.saa_plus.segmenter import thresholds

with job_log(snakemake.log[0]):
    settings, inputs = snakemake.params.settings, snakemake.input
    scored = read_table(inputs.manifest, schema=MANIFEST)
    train = read_table(inputs.train, schema=MANIFEST)
    maps = read_shards(inputs.maps, schema=ANOMALY_MAPS)
    calibration = inputs.get("calibration")
    rows = thresholds(
        scored,
        maps,
        calibration_maps=read_shards(calibration, schema=ANOMALY_MAPS) if calibration else maps,
        calibration_manifest=train if len(train) else scored,
        has_training_images=len(train) > 0,
        truth_folder=Path(inputs.truth).parent if inputs.get("truth") else Path(),
        settings=settings,
        dataset=snakemake.wildcards.dataset,
    )
    write_table(
        list(rows),
        snakemake.output.thresholds,
        schema=THRESHOLDS,
        facts=run_facts({**settings, "code": snakemake.params.code}),
    )
