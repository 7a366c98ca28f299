"""Make a method's anomaly maps, before its thresholds and masks."""

from realitycheck.core.job import device_lease, job_log, progress
from realitycheck.core.row_cache import finished_rows
from realitycheck.core.schemas import ANOMALY_MAPS, TRANSFORMS
from realitycheck.core.tables import write_table
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.registry import block_of, open_part
from realitycheck.stages.segment import job_facts

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    run, kind, code = Run(**snakemake.params.run), snakemake.params.kind, snakemake.params.code
    inputs = Inputs(dict(snakemake.input.items()))
    finished = finished_rows(
        "map_anomalies",
        inputs.images_folder,
        params={"run": vars(run), "code": code},
        # Not the boxes: those of an image's own captions are part of its key.
        tables=[inputs.path("embeddings"), inputs.path("saliency")],
        device=device,
    )
    rows = progress(
        open_part(kind, "segmenter").maps_of_shard(inputs, run, device, finished=finished),
        total=len(inputs.table("transforms", TRANSFORMS)),
        what=f"{run.dataset}, {run.method}, {run.prompt}: anomaly maps",
    )
    facts = job_facts(inputs, run, block_of(kind).maps_job, device=device, code=code)
    write_table(list(rows), snakemake.output.maps, schema=ANOMALY_MAPS, facts=facts)
