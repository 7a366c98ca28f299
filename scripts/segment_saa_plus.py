"""Turn SAA+'s anomaly maps into masks."""

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.schemas import ANOMALY_MAPS, MASKS, THRESHOLDS, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.methods.saa_plus.segmenter import saa_plus_segmenter
from realitycheck.stages.segment import segment_shard
from realitycheck.stages.timing import seconds_before

with job_log(snakemake.log[0]):
    settings, wildcards, inputs = snakemake.params.settings, snakemake.wildcards, snakemake.input
    transforms = read_table(inputs.transforms, schema=TRANSFORMS)
    limits = read_table(inputs.thresholds, schema=THRESHOLDS)
    segment_one = saa_plus_segmenter(
        read_table(inputs.maps, schema=ANOMALY_MAPS),
        dict(zip(limits["image_id"], limits["threshold"], strict=True)),
        settings=settings,
    )
    rows = segment_shard(transforms, segment_one, method=wildcards.method, prompt=wildcards.prompt)
    what = f"{wildcards.dataset}, {wildcards.method}, {wildcards.prompt}: images segmented"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.masks,
        schema=MASKS,
        facts=run_facts({**settings, "code": snakemake.params.code})
        | seconds_before(anomaly_map=inputs.maps),
    )
