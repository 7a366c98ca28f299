"""Stage 2: images and truth masks on the canvas of the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.alignment import Aligner, matrix_of, warp_image, warp_whole_mask
from realitycheck.core.files import image_file
from realitycheck.core.images import read_image, write_png
from realitycheck.core.masks import DEFECT, UNDECIDED, MaskReading, encode_mask, read_truth
from realitycheck.core.pictures import is_sound_png
from realitycheck.core.provenance import in_shard
from realitycheck.core.references import read_references
from realitycheck.core.row_cache import finished_first
from realitycheck.core.schemas import MANIFEST, REFERENCES
from realitycheck.core.store import FinishedRows
from realitycheck.core.tables import check_rows, read_table

_IDENTITY = np.eye(3)


def pixels_digest(array: np.ndarray) -> str:
    """Digest of an array's shape and values."""
    head = f"{array.dtype}/{array.shape}/".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def align_shard(
    manifest_path: str | Path,
    references_path: str | Path,
    *,
    shard: str,
    settings: Mapping[str, Any],
    folder: str | Path,
    n_workers: int,
    finished: FinishedRows | None = None,
) -> tuple[int, Iterator[dict[str, Any]]]:
    """Align the images of one shard and write each as PNG.

    An image that a killed job finished is not aligned again if its PNG is still as it was written.

    Args:
        manifest_path: Manifest of the data set.
        references_path: Its reference images.
        shard: Name of the shard.
        settings: `alignment` (method, motion, quarter_turns) and `intensity`.
        folder: Where the aligned images go.
        n_workers: Threads.
        finished: Where the rows of finished images are kept.

    Returns:
        The number of images, and the rows of the transforms table as they are finished.
    """
    table = read_table(manifest_path, schema=MANIFEST)
    images = table[[in_shard(image_id, shard) for image_id in table["image_id"]]]
    intensity = settings["intensity"]
    wanted = set(images["category"])
    references = read_table(references_path, schema=REFERENCES)
    reference_digests = dict(zip(references["category"], references["sha256"], strict=True))
    aligners = {
        category: Aligner(reference, **settings["alignment"])
        for category, reference in read_references(references_path, intensity=intensity).items()
        if category in wanted
    }

    def align_one(row: Any) -> list[dict[str, Any]]:
        image = read_image(Path(row.image_path), intensity=intensity)
        aligner = aligners.get(row.category)
        found: dict[str, Any] = {
            "status": "not_requested",
            "residual_before": None,
            "residual_after": None,
            "overlap": 1.0,
        }
        matrix = _IDENTITY
        if aligner is not None:
            alignment = aligner.align(image)
            matrix = alignment.matrix
            found = {
                "status": alignment.status,
                "residual_before": alignment.residual_before,
                "residual_after": alignment.residual_after,
                "overlap": alignment.overlap,
            }
            if alignment.status == "aligned":
                height, width = aligner.shape
                image = warp_image(image, matrix, height_px=height, width_px=width)
        write_png(image, image_file(folder, row.image_id))
        return [
            {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "category": row.category,
                **found,
                **{f"m{r}{c}": float(matrix[r, c]) for r in range(3) for c in range(3)},
                "width_px": image.shape[1],
                "height_px": image.shape[0],
                "pixels_sha256": pixels_digest(image),
            }
        ]

    def content_of(row: Any) -> list[Any]:
        reference = reference_digests.get(row.category)
        return [row.dataset, row.image_id, row.category, row.sha256, reference]

    def has_picture(rows: list[dict[str, Any]]) -> bool:
        path = image_file(folder, rows[0]["image_id"])
        return is_sound_png(path) and pixels_digest(read_image(path)) == rows[0]["pixels_sha256"]

    def align_or_find(row: Any) -> dict[str, Any]:
        ((found,),) = finished_first(
            [row], align_one, finished, content_of=content_of, is_intact=has_picture
        )
        return found

    def rows() -> Iterator[dict[str, Any]]:
        cv2.setNumThreads(1)  # the threads are ours
        with ThreadPoolExecutor(n_workers) as pool:
            yield from pool.map(align_or_find, images.itertuples())

    return len(images), rows()


def align_truth(
    manifest: pd.DataFrame, transforms: pd.DataFrame, *, folder: str | Path
) -> Iterator[dict[str, Any]]:
    """Warp every truth mask with its image's transform and write it as PNG.

    A good image, and a defective one without a mask, has no file; `has_truth` tells them apart from
    an empty mask. Defect pixels that the transform moves beyond the canvas are counted, and kept in
    the row.

    Args:
        manifest: Scored images.
        transforms: Their transforms.
        folder: Where the warped masks go: 0 background, 128 undecided, 255 defect.

    Yields:
        Rows of the truth table.

    Raises:
        ArtifactError: If the transforms are of other images than the manifest.
    """
    check_rows(transforms, manifest["image_id"], where="transforms table")
    for row in manifest.merge(
        transforms, on=["dataset", "image_id"], suffixes=("", "_aligned")
    ).itertuples():
        size = {"height_px": int(row.height_px_aligned), "width_px": int(row.width_px_aligned)}
        path = image_file(folder, row.image_id)
        whole, left, top = np.zeros((size["height_px"], size["width_px"]), np.uint8), 0, 0
        has_truth = row.label == "OK"
        is_drawn = row.mask_path is not None and not pd.isna(row.mask_path)
        if is_drawn:
            has_truth = True
            whole = read_truth(Path(row.mask_path), MaskReading.from_text(row.mask_reading))
            if row.status == "aligned":
                whole, left, top = warp_whole_mask(whole, matrix_of(row), **size)
        truth = whole
        if row.status == "aligned":
            truth = whole[top : top + size["height_px"], left : left + size["width_px"]]
        if is_drawn:
            write_png(truth, path)
        else:
            path.unlink(missing_ok=True)
        truth_px = int((whole == DEFECT).sum())
        lost_px = truth_px - int((truth == DEFECT).sum())
        yield {
            "dataset": row.dataset,
            "image_id": row.image_id,
            "has_truth": has_truth,
            "truth_px": truth_px,
            "undecided_px": int((truth == UNDECIDED).sum()),
            "pixels_sha256": pixels_digest(truth),
            "status": _truth_status(truth_px, lost_px) if has_truth else "not_drawn",
            "lost_px": lost_px,
            **_lost_part(whole == DEFECT, left, top, is_any=lost_px > 0),
        }


def _truth_status(truth_px: int, lost_px: int) -> str:
    if not lost_px:
        return "complete"
    return "lost" if lost_px == truth_px else "partly_lost"


def _lost_part(whole: np.ndarray, left: int, top: int, *, is_any: bool) -> dict[str, Any]:
    """Columns of the truth table that keep what lies beyond the canvas."""
    height, width = whole.shape
    found = {
        "whole_rle": encode_mask(whole) if is_any else None,
        "whole_height_px": height,
        "whole_width_px": width,
        "left_px": left,
        "top_px": top,
    }
    return found if is_any else dict.fromkeys(found)
