"""Encode whole images with CLIP."""

from functools import partial
from pathlib import Path

from realitycheck.core.job import batch_size, device_lease, job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Lazily
from realitycheck.encoders.resnet_features import feature_encoder, features_store
from realitycheck.models.clip.model import load_clip
from realitycheck.stages.encode import encode_shard, image_reader
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params = snakemake.params
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    compute = feature_encoder(
        Lazily(
            partial(
                load_clip,
                weights_path(snakemake.input.weights),
                variant=params.settings["variant"],
                device=device,
            )
        ),
        encoder="clip",
        precision=params.settings["precision"],
    )
    store = features_store(
        Path(snakemake.output.index).parent,
        encoder="clip",
        settings=params.settings,
        weights=params.weights,
    )
    size = batch_size(
        snakemake.resources.batch_size, device=device, attempt=snakemake.resources.attempt
    )
    rows = encode_shard(
        transforms,
        store,
        compute,
        read=image_reader(Path(snakemake.input.transforms).parents[1]),
        batch_size=size,
    )
    what = f"{snakemake.wildcards.dataset}: images whose clip features are encoded"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.index,
        schema=ENCODINGS,
        facts=run_facts(
            {**params.settings, "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("torch",),
        ),
    )
