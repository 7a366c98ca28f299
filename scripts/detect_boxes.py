"""Let GroundingDINO propose boxes for every text of a prompt set, down to a low floor."""

from itertools import chain
from pathlib import Path

from realitycheck.core.job import device_lease, job_log, progress, run_facts
from realitycheck.core.row_cache import finished_rows
from realitycheck.core.schemas import BOXES, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.models.grounding_dino.model import load_grounding_dino
from realitycheck.stages.detect import detect_shard
from realitycheck.stages.timing import median_seconds
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    settings, asked = snakemake.params.settings, snakemake.params.asked
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    record = snakemake.input.weights
    model = load_grounding_dino(
        weights_path(record),
        text_encoder=weights_path(record, "text_encoder"),
        variant=settings["variant"],
        device=device,
        precision=settings["precision"],
    )
    images_folder = Path(snakemake.input.transforms).parents[1]
    seconds: list[float] = []
    found = detect_shard(
        transforms,
        model,
        asked=asked,
        prompt=snakemake.wildcards.prompt,
        floor=settings["floor"],
        images_folder=images_folder,
        finished=finished_rows(
            "detect_boxes",
            images_folder,
            # Not the texts that are asked about: what is finished is kept text by text.
            params={k: v for k, v in snakemake.params.items() if k != "asked"},
            device=device,
        ),
        seconds=seconds,
    )
    what = f"{snakemake.wildcards.dataset}, {snakemake.wildcards.prompt}: images searched for boxes"
    rows = list(chain.from_iterable(progress(found, total=len(transforms), what=what)))
    write_table(
        rows,
        snakemake.output.boxes,
        schema=BOXES,
        facts=run_facts(
            {**settings, "asked": asked, "code": snakemake.params.code},
            weights=snakemake.params.weights,
            device=device,
            distributions=("groundingdino-py", "torch", "transformers"),
        )
        | {"seconds": {"detector": median_seconds(seconds)}},
    )
