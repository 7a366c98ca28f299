"""Stage 4: what every segmentation method shares: one mask per image, as a table and as PNG."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.core.row_cache import finished_first, image_content
from realitycheck.core.store import FinishedRows
from realitycheck.methods.base import Segmentation


def segment_shard(
    transforms: pd.DataFrame,
    segment_one: Callable[[Any], Segmentation],
    *,
    method: str,
    prompt: str,
    finished: FinishedRows | None = None,
) -> Iterator[dict[str, Any]]:
    """Run a method on every image of a shard; what a killed job finished is not done again.

    Args:
        transforms: Rows of the shard's aligned images.
        segment_one: The method: from a row of `transforms` to a segmentation.
        method: Name of the method block.
        prompt: Name of the prompt set.
        finished: Where the rows of finished images are kept.

    Yields:
        Rows of the masks table.
    """

    def rows_of(row: Any) -> list[dict[str, Any]]:
        started = time.perf_counter()
        found = segment_one(row)
        return [
            {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "method": method,
                "prompt": prompt,
                "mask_height_px": found.mask.shape[0],
                "mask_width_px": found.mask.shape[1],
                "mask_rle": encode_mask(found.mask),
                "score": found.score,
                "n_regions": found.n_regions,
                "status": found.status,
                "latency_s": time.perf_counter() - started,
            }
        ]

    rows = finished_first(transforms.itertuples(), rows_of, finished, content_of=image_content)
    for (row,) in rows:
        yield row


def write_mask_images(masks: Iterable[tuple[str, np.ndarray]], folder: str | Path) -> int:
    """Write each mask as PNG, 0 or 255, and remove those of images that are gone.

    Returns:
        The number of masks.
    """
    folder = Path(folder)
    written = set()
    for image_id, mask in masks:
        path = image_file(folder, image_id)
        write_png(mask, path)
        written.add(path)
    for path in folder.rglob("*.png"):
        if path not in written:
            path.unlink()
    return len(written)
