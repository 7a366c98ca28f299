"""Score the maps of a method against the truth, pixel by pixel."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import MANIFEST, PIXEL_SCORES, TRANSFORMS, TRUTH
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Lazily
from realitycheck.encoders.clip import TextFeatures, text_store
from realitycheck.models.clip.model import load_clip
from realitycheck.stages.score_pixels import map_reader, score_pixels
from realitycheck.stages.weights import weights_path

with job_log(snakemake.log[0]):
    params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    manifest = read_table(inputs.manifest, schema=MANIFEST)
    aligned = Path(inputs.transforms).parent
    # The segment stage has stored the texts; CLIP is loaded only if they were deleted since.
    texts = TextFeatures(
        text_store(
            aligned.parents[1] / "encodings" / "texts",
            settings=params.clip,
            weights=params.weights,
        ),
        Lazily(
            lambda: load_clip(
                weights_path(inputs.clip), variant=params.clip["variant"], device="cpu"
            )
        ),
    )
    map_of = map_reader(
        params.kind,
        {name: inputs[name] for name in params.files},
        texts,
        manifest=manifest,
        images_folder=aligned,
        prompts=params.asked,
        settings=params.settings,
        intensity=params.intensity,
    )
    rows = score_pixels(
        manifest,
        read_table(inputs.truth, schema=TRUTH),
        read_table(inputs.transforms, schema=TRANSFORMS),
        map_of,
        truth_folder=Path(inputs.truth).parent,
        ignore_border=params.ignore_border,
        method=wildcards.method,
        prompt=wildcards.prompt,
    )
    write_table(
        list(rows),
        snakemake.output.pixels,
        schema=PIXEL_SCORES,
        facts=run_facts(
            {**params.settings, "ignore_border": params.ignore_border, "code": params.code},
            weights=params.weights,
        ),
    )
