"""Make SAA+'s anomaly maps from filtered boxes, masks and saliency."""

from pathlib import Path

from realitycheck.core.job import device_lease, job_log, progress, run_facts
from realitycheck.core.row_cache import finished_rows
from realitycheck.core.schemas import ANOMALY_MAPS, BOXES, ENCODINGS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Lazily, keys_of
from realitycheck.methods.saa_plus.segmenter import map_anomalies
from realitycheck.models.saliency import load_saliency
from realitycheck.models.sam.load import load_sam
from realitycheck.stages.timing import seconds_before
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, wildcards, inputs = snakemake.params, snakemake.wildcards, snakemake.input
    settings, precision = params.settings, params.sam["precision"]
    transforms = read_table(inputs.transforms, schema=TRANSFORMS)
    rows = map_anomalies(
        transforms,
        read_table(inputs.boxes, schema=BOXES),
        sam=load_sam(
            weights_path(inputs.weights),
            variant=params.sam["variant"],
            precision=precision,
            device=device,
            parts=("prompt_encoder", "mask_decoder"),
        ),
        embeddings=EncodingStore(Path(inputs.embeddings).parent),
        embedding_keys=keys_of(read_table(inputs.embeddings, schema=ENCODINGS)),
        saliency=EncodingStore(Path(inputs.saliency).parent),
        saliency_keys=keys_of(read_table(inputs.saliency, schema=ENCODINGS)),
        saliency_network=Lazily(
            lambda: load_saliency(
                weights_path(inputs.network), variant=params.saliency["variant"], device=device
            )
        ),
        images_folder=Path(inputs.transforms).parents[1],
        prompt=wildcards.prompt,
        wanted=params.asked,
        settings=settings,
        floor=params.floor,
        finished=finished_rows(
            "map_anomalies",
            Path(inputs.transforms).parents[1],
            params=dict(params.items()),
            tables=(inputs.embeddings, inputs.saliency),
            device=device,
        ),
    )
    what = f"{wildcards.dataset}, {wildcards.method}, {wildcards.prompt}: anomaly maps"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.maps,
        schema=ANOMALY_MAPS,
        facts=run_facts(
            {**settings, "precision": precision, "prompts": params.asked, "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("segment-anything", "timm", "torch"),
        )
        | seconds_before(
            image_encoder=inputs.embeddings, saliency=inputs.saliency, detector=inputs.boxes
        ),
    )
