"""Stage 5: one verdict an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from realitycheck.core.schemas import VERDICTS
from realitycheck.metrics.baselines import floor_label

if TYPE_CHECKING:
    pass


def floor_verdicts(manifest: pd.DataFrame, *, floor: str, prompt: str) -> pd.DataFrame:
    """Verdicts of a floor, the same on every image.

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
