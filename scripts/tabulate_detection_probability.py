"""Probability of detection against defect size, with the raw recall by size."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import DEFECTS
from realitycheck.report.tables.detection_probability import (
    DETECTION_BINS,
    DETECTION_CURVE,
    DETECTION_PROBABILITY,
    detection_tables,
    detection_texts,
)
from realitycheck.report.text import write_evidence
from realitycheck.stages.report import read_tables, untrained_notes

with job_log(snakemake.log[0]):
    params = snakemake.params
    probability, curve, bins = detection_tables(
        read_tables(snakemake.input.defects, schema=DEFECTS),
        params.runs,
        datasets=params.datasets,
        methods=params.methods,
        **params.settings,
    )
    write_evidence(
        {
            "detection_probability": (probability, DETECTION_PROBABILITY),
            "detection_curve": (curve, DETECTION_CURVE),
            "detection_bins": (bins, DETECTION_BINS),
        },
        detection_texts(probability, bins),
        Path(snakemake.output.parquet).parent,
        stem="detection_probability",
        facts=run_facts({**params.settings, "code": params.code}),
        notes=untrained_notes(params.methods),
    )
