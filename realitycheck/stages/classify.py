"""Stage 5: one verdict per image."""

from __future__ import annotations

import pandas as pd

from realitycheck.core.schemas import MANIFEST, VERDICTS
from realitycheck.core.tables import write_table
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.registry import block_of, open_part
from realitycheck.metrics.baselines import floor_label
from realitycheck.stages.segment import job_facts
from realitycheck.stages.timing import OWN_STEP


def make_verdicts(
    inputs: Inputs, run: Run, path: str, *, kind: str, device: str, code: str
) -> None:
    """Write the verdicts of a classifier.

    Args:
        inputs: Files that the kind's block names, and `manifest`.
        run: What the job is told.
        path: Of the verdicts table.
        kind: Kind of the method.
        device: Device for networks.
        code: Digest of the code.
    """
    manifest = inputs.table("manifest", MANIFEST)
    found = open_part(kind, "classifier").verdicts(inputs, run, manifest, device)
    facts = job_facts(inputs, run, block_of(kind).job, device=device, code=code)
    if found.training_seconds is not None:
        # An upper bound of what one more part takes.
        facts["seconds"]["training and verdict"] = found.training_seconds / len(manifest)
    if found.seconds is not None:
        facts["seconds"][OWN_STEP] = found.seconds / len(manifest)
    write_table(found.table, path, schema=VERDICTS, facts=facts)


def floor_verdicts(manifest: pd.DataFrame, *, floor: str, prompt: str) -> pd.DataFrame:
    """Verdicts of a baseline, the same on every image.

    Args:
        manifest: Scored images.
        floor: `reject_everything` or `accept_everything`.
        prompt: What the key `prompt` holds.

    Returns:
        A verdicts table.
    """
    table = manifest[["dataset", "image_id"]].assign(
        method=floor,
        prompt=prompt,
        sample=0,
        label_predicted=floor_label(floor),
        status="answered",
    )
    return table.reindex(columns=VERDICTS.columns)
