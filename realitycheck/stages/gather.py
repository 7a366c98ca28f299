"""Stage 4: boxes and masks of the shards put together, masks as PNG too.

One job does so for many runs. A table that was put together from just these shards is left alone,
so that an edit costs the runs that it concerns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import masks_of
from realitycheck.core.provenance import digest_of, file_digest
from realitycheck.core.schemas import BOXES, MASKS, TRANSFORMS
from realitycheck.core.tables import (
    check_rows,
    gather,
    is_written_from,
    merged_facts,
    read_parts,
    read_shards,
)


def gather_runs(
    shards: Sequence[str], outputs: Sequence[str], *, code: str, transforms: str | None = None
) -> int:
    """Put the tables of the shards of many runs together, one table for each.

    Args:
        shards: Tables of all shards, `…/shards/{shard}.parquet`.
        outputs: Table of each run, beside the folder of its shards.
        code: Digest of the code that puts them together.
        transforms: Table of the images that each must have a mask of. Then these are masks, written
            as PNG too, in the folder `masks` beside the table. None: boxes.

    Returns:
        How many tables were written; the others are up to date.

    Raises:
        ArtifactError: If an image has no mask, or a mask no image.
    """
    schema = MASKS if transforms else BOXES
    n_written = 0
    for output in outputs:
        own = [path for path in shards if Path(path).parents[1] == Path(output).parent]
        inputs = digest_of([code, *map(file_digest, own)])
        facts = merged_facts(own) | {"inputs": inputs}
        if is_written_from(output, schema=schema, facts=facts):
            continue
        if transforms:
            images, found = (
                read_shards(paths, schema=of, columns=["image_id"])
                for paths, of in (([transforms], TRANSFORMS), (own, MASKS))
            )
            check_rows(found, images["image_id"], where=output)
            parts = chain.from_iterable(read_parts(path, schema=MASKS) for path in own)
            masks = chain.from_iterable(map(masks_of, parts))
            write_mask_images(masks, Path(output).parent / "masks")
        # Last: where the table stands, so does every PNG.
        gather(own, output, schema=schema, facts=facts)
        n_written += 1
    return n_written


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
