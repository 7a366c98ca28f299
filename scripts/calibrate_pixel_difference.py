"""Set the threshold of the pixel difference on good images, never on the image it is used on."""

from pathlib import Path

import pandas as pd

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.references import read_references
from realitycheck.core.schemas import MANIFEST, REFERENCES, THRESHOLDS, TRANSFORMS
from realitycheck.core.tables import read_shards, read_table, write_table
from realitycheck.methods.pixel_difference.segmenter import good_image_peaks, thresholds

with job_log(snakemake.log[0]):
    settings, dataset = snakemake.params.settings, snakemake.wildcards.dataset
    scored = read_table(snakemake.input.manifest, schema=MANIFEST)
    train = read_table(snakemake.input.train, schema=MANIFEST)
    calibration = train if len(train) else scored
    peaks = good_image_peaks(
        read_shards(snakemake.input.transforms, schema=TRANSFORMS),
        calibration,
        references=read_references(
            snakemake.input.references, intensity=snakemake.params.intensity
        ),
        reference_table=read_table(snakemake.input.references, schema=REFERENCES),
        images_folder=Path(snakemake.input.transforms[0]).parents[1],
        settings=settings,
    )
    what = f"{dataset}: good images compared with the reference"
    n_good = int((calibration["label"] == "OK").sum())
    found = pd.DataFrame(
        list(progress(peaks, total=n_good, what=what)),
        columns=["image_id", "category", "group", "peak"],
    )
    rows = thresholds(
        scored, found, has_training_images=len(train) > 0, settings=settings, dataset=dataset
    )
    write_table(
        list(rows),
        snakemake.output.thresholds,
        schema=THRESHOLDS,
        facts=run_facts({**settings, "code": snakemake.params.code}),
    )
