"""Let SAM cut everything out, from stored embeddings."""

from functools import partial
from pathlib import Path

from realitycheck.core.job import batch_size, device_lease, job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.automatic_masks import mask_proposer, masks_store
from realitycheck.encoders.base import Lazily, keys_of
from realitycheck.models.sam.load import load_sam
from realitycheck.stages.encode import encode_shard
from realitycheck.stages.timing import seconds_before
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params = snakemake.params
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    index = read_table(snakemake.input.embeddings, schema=ENCODINGS)
    keys = keys_of(index)
    compute = mask_proposer(
        Lazily(
            partial(
                load_sam,
                weights_path(snakemake.input.weights),
                variant=params.sam["variant"],
                precision=params.sam["precision"],
                device=device,
                parts=("prompt_encoder", "mask_decoder"),
            )
        ),
        EncodingStore(Path(snakemake.input.embeddings).parent),
        keys=keys,
        settings=params.settings,
        points_per_batch=8
        * batch_size(
            snakemake.resources.batch_size, device=device, attempt=snakemake.resources.attempt
        ),
    )
    facts = {**params.settings, "sam": params.sam}
    store = masks_store(
        Path(snakemake.output.index).parents[1], settings=facts, weights=params.weights
    )
    rows = encode_shard(transforms, store, compute)
    what = f"{snakemake.wildcards.dataset}: images cut into masks"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.index,
        schema=ENCODINGS,
        facts=run_facts(
            {**facts, "precision": params.sam["precision"], "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("segment-anything", "torch"),
        )
        | seconds_before(image_encoder=snakemake.input.embeddings),
    )
