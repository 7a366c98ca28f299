"""Encode the crops of the automatic masks with CLIP."""

from functools import partial
from pathlib import Path

from realitycheck.core.job import batch_size, device_lease, job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Lazily, keys_of
from realitycheck.encoders.clip import clip_store, crop_encoder
from realitycheck.models.clip.model import load_clip
from realitycheck.stages.encode import encode_shard, image_reader
from realitycheck.stages.timing import seconds_before
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params = snakemake.params
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    keys = keys_of(read_table(snakemake.input.masks, schema=ENCODINGS))
    compute = crop_encoder(
        Lazily(
            partial(
                load_clip,
                weights_path(snakemake.input.weights),
                variant=params.clip["variant"],
                device=device,
            )
        ),
        EncodingStore(Path(snakemake.input.masks).parents[1]),
        keys=keys,
        settings=params.settings,
        batch_size=8
        * batch_size(
            snakemake.resources.batch_size, device=device, attempt=snakemake.resources.attempt
        ),
        precision=params.clip["precision"],
    )
    facts = {**params.settings, "clip": params.clip}
    store = clip_store(
        Path(snakemake.output.index).parents[1],
        encoder="crops",
        settings=facts,
        weights=params.weights,
    )
    rows = encode_shard(
        transforms,
        store,
        compute,
        read=image_reader(Path(snakemake.input.transforms).parents[1]),
        content_of=lambda row: f"{row.pixels_sha256}/{keys[row.image_id]}",
    )
    what = f"{snakemake.wildcards.dataset}: images whose crops are encoded"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.index,
        schema=ENCODINGS,
        facts=run_facts(
            {**facts, "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("open_clip_torch", "torch"),
        )
        | seconds_before(automatic_masks=snakemake.input.masks),
    )
