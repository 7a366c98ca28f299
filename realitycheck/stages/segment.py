"""Stage 4: one mask per image, as a table and as PNG, and the thresholds behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.job import progress, run_facts
from realitycheck.core.masks import encode_mask
from realitycheck.core.row_cache import finished_first, finished_rows, image_content
from realitycheck.core.schemas import MASKS, SCORE_GRIDS, THRESHOLDS, TRANSFORMS
from realitycheck.core.store import FinishedRows
from realitycheck.core.tables import write_table
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.registry import block_of, open_part
from realitycheck.methods.settings import Job
from realitycheck.stages.timing import timed_steps


def make_masks(
    inputs: Inputs, run: Run, outputs: Mapping[str, str], *, kind: str, device: str, code: str
) -> None:
    """Write the masks of a shard, and the scores of their patches where the method keeps them.

    Args:
        inputs: Files that the kind's block names, and `transforms`.
        run: What the job is told.
        outputs: `masks` and, if kept, `score_grids`.
        kind: Kind of the method.
        device: Device for networks.
        code: Digest of the code.
    """
    block = block_of(kind)
    segmenter = open_part(kind, "segmenter").open(inputs, run, device)
    transforms = inputs.table("transforms", TRANSFORMS)
    facts = job_facts(inputs, run, block.job, device=device, code=code) | _resolved(kind, run)
    finished, grids = None, []
    if block.job.opens:
        finished = finished_rows(
            f"segment_{kind}",
            inputs.images_folder,
            params={"run": vars(run), "code": code},
            tables=[path for name in block.job.steps.values() for path in inputs.paths(name)],
            device=device,
        )

    def segment_one(row: Any) -> Segmentation:
        found = segmenter.segment(row)
        if block.keeps_score_grid:
            grids.append(_grid_row(row, segmenter.score_grid(row), run))
        return found

    rows = segment_shard(
        transforms, segment_one, method=run.method, prompt=run.prompt, finished=finished
    )
    what = f"{run.dataset}, {run.method}, {run.prompt}: images segmented"
    found = list(progress(rows, total=len(transforms), what=what))
    if block.keeps_score_grid:
        write_table(grids, outputs["score_grids"], schema=SCORE_GRIDS, facts=facts)
    write_table(found, outputs["masks"], schema=MASKS, facts=facts)


def fit_method(
    inputs: Inputs, run: Run, outputs: Mapping[str, str], *, kind: str, device: str, code: str
) -> None:
    """Let a method set its thresholds, or learn; arguments as for `make_masks`."""
    rows = open_part(kind, "segmenter").fit(inputs, run, device, outputs)
    job = block_of(kind).fits
    facts = job_facts(inputs, run, job, device=device, code=code) | _resolved(kind, run)
    write_table(list(rows), outputs["thresholds"], schema=THRESHOLDS, facts=facts)


def job_facts(inputs: Inputs, run: Run, job: Job, *, device: str, code: str) -> dict[str, Any]:
    """Facts of a method's table: what it was made with, and how long the steps before took.

    Args:
        inputs: Files of the job.
        run: What it is told.
        job: What it asks for.
        device: Device for networks.
        code: Digest of the code.
    """
    network = run.networks.get(job.network, {})
    precision = {"precision": network["precision"]} if network else {}
    return run_facts(
        {**run.settings, **precision, "run": vars(run), "code": code},
        weights=run.weights,
        device=device if job.network else None,
        distributions=job.packages,
    ) | {"seconds": timed_steps({step: inputs.paths(name) for step, name in job.steps.items()})}


def _resolved(kind: str, run: Run) -> dict[str, Any]:
    """What settings whose `auto` depends on the data set mean here."""
    return {name: run.settings[name] for name in block_of(kind).resolved}


def _grid_row(row: Any, grid: np.ndarray, run: Run) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "image_id": row.image_id,
        "method": run.method,
        "prompt": run.prompt,
        "n_rows": len(grid),
        "values": grid.ravel().tolist(),
    }


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
        here = time.perf_counter() - started
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
                "latency_s": None if found.seconds is None else here + found.seconds,
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
