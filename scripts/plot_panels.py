"""Draw what a method saw on some images, or on all, and list the pictures."""

from pathlib import Path

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.schemas import PANELS
from realitycheck.core.tables import write_table
from realitycheck.encoders.base import Lazily
from realitycheck.encoders.clip import TextFeatures, text_store
from realitycheck.models.clip.model import load_clip
from realitycheck.stages.panels import draw_panels, panel_head, panel_images
from realitycheck.stages.weights import weights_path

with job_log(snakemake.log[0]):
    params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    table = Path(snakemake.output.table)
    results = table.parents[4]
    # The segment stage has stored the texts; CLIP is loaded only if they were deleted since.
    clip = Lazily(
        lambda: load_clip(weights_path(inputs.clip), variant=params.clip["variant"], device="cpu")
    )
    texts = text_store(
        results / "encodings" / "texts",
        settings=params.clip,
        weights=params.weights,
    )
    image_ids = panel_images(wildcards.dataset, inputs.scores, shown=inputs.shown, **params.shown)
    rows = draw_panels(
        {name: files for name, files in inputs.items() if name not in ("shown", "clip")},
        TextFeatures(texts, clip),
        kind=params.kind,
        settings=params.settings,
        asked=params.asked,
        image_ids=image_ids,
        folder=table.with_suffix(""),
        results_folder=results,
        **panel_head(*wildcards, methods=params.methods, datasets=params.datasets),
        intensity=params.intensity,
        floor=params.floor,
    )
    what = f"{wildcards.dataset}, {wildcards.method}, {wildcards.prompt}: panels"
    write_table(
        list(progress(rows, total=len(image_ids), what=what)),
        table,
        schema=PANELS,
        facts=run_facts({**params.settings, "code": params.code}, weights=params.weights),
    )
