"""Call a part with much red defective."""

import time

import numpy as np

from realitycheck.core.pictures import read_aligned
from realitycheck.methods.base import Verdicts, verdict_table


def verdicts(inputs, run, manifest, device):
    """Look at the reddest pixel of each image."""
    started = time.perf_counter()
    images = [read_aligned(inputs.images_folder, name).astype(float) for name in manifest.image_id]
    scores = np.array([(i[..., 0] - i[..., 1:].max(axis=2)).max() / 255 for i in images])
    table = verdict_table(manifest, run).assign(
        label_predicted=np.where(scores > 0.5, "NOK", "OK"), score=scores.clip(0, 1)
    )
    return Verdicts(table, time.perf_counter() - started)
