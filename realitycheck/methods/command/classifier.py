"""Verdicts of a program of the user's own."""

from __future__ import annotations

import time

import pandas as pd

from realitycheck.core.schemas import TRANSFORMS
from realitycheck.core.tables import read_table
from realitycheck.methods.base import Inputs, Run, Verdicts, verdict_table
from realitycheck.methods.command.answers import made_answers, training_rows


def verdicts(inputs: Inputs, run: Run, manifest: pd.DataFrame, device: str) -> Verdicts:
    """Run the program on one shard after the other; those that are finished are not run again."""
    until = time.monotonic() + 60 * run.settings["minutes"]
    training = training_rows(inputs, run, held_back=False)
    found = {}
    for path in inputs.paths("shards"):
        rows = list(read_table(path, schema=TRANSFORMS).itertuples())
        if rows:
            answers = made_answers(
                inputs, run, path.stem, rows, training=training, device=device, until=until
            )
            found |= {row.image_id: answers.of(row) for row in rows}
    told = [found[image_id] for image_id in manifest["image_id"]]
    table = verdict_table(manifest, run).assign(
        label_predicted=[answer.label for answer in told],
        score=[answer.score for answer in told],
        reasoning=[answer.reasoning for answer in told],
        status=[answer.status for answer in told],
        latency_s=[answer.seconds for answer in told],
    )
    return Verdicts(table.astype({"score": float}), sum(answer.seconds for answer in told))
