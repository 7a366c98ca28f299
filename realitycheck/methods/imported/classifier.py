"""Verdicts of a system, or of people, from a table."""

from __future__ import annotations

import pandas as pd

from realitycheck.core.schemas import MANIFEST, VERDICTS
from realitycheck.methods.base import Inputs, Run, Verdicts
from realitycheck.methods.imported.source import ByImage, predictions


def verdicts(inputs: Inputs, run: Run, manifest: pd.DataFrame, device: str) -> Verdicts:
    """Give the verdicts of one rater; nobody knows here how long those without seconds took."""
    found = predictions(run, manifest, inputs.table("train", MANIFEST))
    return Verdicts(verdict_rows(found, run, manifest), seconds=None)


def verdict_rows(found: ByImage, run: Run, manifest: pd.DataFrame) -> pd.DataFrame:
    """Put the verdicts of one rater into a verdicts table, one row per image and repeat.

    Every image has a row for each repeat that the rater gave anywhere; what there is none of is
    `missing`.

    Args:
        found: What the table says of each image.
        run: With the rater as its prompt.
        manifest: Scored images.
    """
    said = {
        image_id: {
            each.content.repeat: each.content
            for each in predictions
            if each.content.rater == run.prompt
        }
        for image_id, predictions in found.items()
    }
    scored = [said.get(image_id, {}) for image_id in manifest["image_id"]]
    repeats = sorted({repeat for own in scored for repeat in own}) or [0]
    rows = []
    for row, own in zip(manifest.itertuples(), scored, strict=True):
        for sample, repeat in enumerate(repeats):
            one = own.get(repeat)
            is_answer = one is not None and one.label is not None
            rows.append(
                {
                    "dataset": row.dataset,
                    "image_id": row.image_id,
                    "method": run.method,
                    "prompt": run.prompt,
                    "sample": sample,
                    "label_predicted": one.label if is_answer else None,
                    "score": one.score if is_answer else None,
                    "reasoning": None if one is None else one.reasoning,
                    "status": "answered" if is_answer else "missing",
                    "cost_usd": None if one is None else one.cost_usd,
                    "latency_s": None if one is None else one.seconds,
                }
            )
    return pd.DataFrame(rows, columns=VERDICTS.columns).astype(
        dict.fromkeys(("score", "cost_usd", "latency_s"), float) | {"sample": int}
    )
