"""Train SAM's mask decoder on the labelled images of all folds but one, for every fold."""

from pathlib import Path

from realitycheck.core.job import counting, device_lease, job_log, run_facts
from realitycheck.core.schemas import ENCODINGS, MANIFEST, THRESHOLDS, TRANSFORMS, TRUTH
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_shards, read_table, write_table
from realitycheck.encoders.base import keys_of
from realitycheck.methods.adapted_sam.segmenter import (
    adapt_out_of_fold,
    fold_rows,
    labelled_folds,
    read_examples,
    stored_embeddings,
    write_decoders,
)
from realitycheck.models.sam.load import load_sam
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, inputs, dataset = snakemake.params, snakemake.input, snakemake.wildcards.dataset
    settings = params.settings
    manifest = read_table(inputs.manifest, schema=MANIFEST)
    truth = read_table(inputs.truth, schema=TRUTH)
    folds = labelled_folds(manifest, truth, settings=settings, dataset=dataset)
    sam = load_sam(
        weights_path(inputs.weights),
        variant=params.sam["variant"],
        device=device,
        parts=("prompt_encoder", "mask_decoder"),
    )
    examples = read_examples(
        manifest,
        truth,
        read_table(inputs.transforms, schema=TRANSFORMS),
        truth_folder=Path(inputs.truth).parent,
        ignore_border=params.ignore_border,
        dimensions=sam.dimensions,
    )
    embedding_of = stored_embeddings(
        EncodingStore(Path(inputs.embeddings[0]).parent),
        keys_of(read_shards(inputs.embeddings, schema=ENCODINGS)),
    )
    with counting(f"{dataset}, {snakemake.wildcards.method}: training steps") as count:
        decoders = dict(
            adapt_out_of_fold(
                sam,
                examples,
                dict(zip(manifest["image_id"], folds, strict=True)),
                embedding_of,
                settings=settings,
                count=count,
            )
        )
    write_decoders(decoders, snakemake.output.decoders)
    write_table(
        list(fold_rows(manifest, folds)),
        snakemake.output.thresholds,
        schema=THRESHOLDS,
        facts=run_facts(
            {**settings, "ignore_border": params.ignore_border, "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("segment-anything", "torch", "scikit-learn"),
        ),
    )
