"""Stage 6: score maps beside the truth, pixel by pixel, one row per category.

No map is stored for it: each is made again from what the segment stage kept (SAA+'s masks and
scores, CLIP Surgery's patch features, the aligned image and its reference), so disk and memory stay
flat as data sets grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.core.pictures import read_warped
from realitycheck.core.references import read_references
from realitycheck.core.schemas import ANOMALY_MAPS, ENCODINGS, THRESHOLDS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import check_rows, read_shards, read_table
from realitycheck.encoders.base import keys_of
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.adapted_sam.algorithm import read_adapted
from realitycheck.methods.adapted_sam.segmenter import adapted_sam_maps, stored_embeddings
from realitycheck.methods.few_shot.segmenter import few_shot_maps, read_banks, stored_patches
from realitycheck.methods.pixel_difference.segmenter import difference_of
from realitycheck.methods.saa_plus.segmenter import anomaly_map
from realitycheck.metrics.pixel_scores import pixel_scores
from realitycheck.models.clip.surgery import similarity_map

#: From a row of the transforms table to a map, float (H, W); None where there is none.
MapOf = Callable[[Any], np.ndarray | None]


def score_pixels(
    manifest: pd.DataFrame,
    truth: pd.DataFrame,
    transforms: pd.DataFrame,
    map_of: MapOf,
    *,
    truth_folder: str | Path,
    ignore_border: str,
    method: str,
    prompt: str,
) -> Iterator[dict[str, Any]]:
    """Score the maps of a method against the truth.

    Images without truth, and images without a map, take no part; `n_images` says how many are left.

    Args:
        manifest: Scored images.
        truth: Their truth table.
        transforms: Their transforms table.
        map_of: Gives the map of an image, at the size of the aligned image.
        truth_folder: Folder of the warped truth masks.
        ignore_border: What undecided pixels count as.
        method: Name of the method block.
        prompt: Name of the prompt set.

    Yields:
        Rows of the pixel scores table.
    """
    check_rows(truth, manifest["image_id"], where="truth table")
    check_rows(transforms, manifest["image_id"], where="transforms table")
    known = set(truth.loc[truth["has_truth"], "image_id"])
    drawn = set(manifest.loc[manifest["mask_path"].notna(), "image_id"])
    for category, images in manifest.groupby("category", sort=True):
        wanted = known & set(images["image_id"])
        rows = list(transforms[transforms["image_id"].isin(wanted)].itertuples())

        def pairs(rows: list[Any] = rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for row in rows:
                values = map_of(row)
                if values is not None:
                    yield values, _truth_of(row, truth_folder, is_drawn=row.image_id in drawn)

        found = pixel_scores(pairs, ignore_border=ignore_border)
        yield {
            "dataset": images["dataset"].iloc[0],
            "method": method,
            "prompt": prompt,
            "category": category,
            **found._asdict(),
            "uses_test_truth": True,
        }


def map_reader(
    kind: str,
    files: Mapping[str, Any],
    texts: TextFeatures,
    *,
    manifest: pd.DataFrame,
    images_folder: str | Path,
    prompts: Sequence[str],
    settings: Mapping[str, Any],
    intensity: Mapping[str, Any],
) -> MapOf:
    """Open what a method kept, and give its maps.

    Args:
        kind: `saa_plus`, `clip_surgery_sam`, `pixel_difference`, `few_shot` or `adapted_sam`.
        files: What the plan names under `map_files`.
        texts: Features of texts, for CLIP Surgery.
        manifest: Scored images.
        images_folder: Folder of the aligned images.
        prompts: Phrases of the prompt set, for CLIP Surgery.
        settings: Of the method.
        intensity: How references become 8-bit.
    """
    if kind == "saa_plus":
        stored = {
            row.image_id: row
            for row in read_shards(files["maps"], schema=ANOMALY_MAPS).itertuples()
        }
        return lambda row: anomaly_map(stored[row.image_id])
    if kind == "clip_surgery_sam":
        return similarity_maps(
            EncodingStore(Path(files["patches"][0]).parents[1]),
            keys_of(read_shards(files["patches"], schema=ENCODINGS)),
            texts,
            prompts=prompts,
            settings=settings,
        )
    if kind == "few_shot":
        return few_shot_maps(
            manifest,
            read_banks(files["bank"]),
            stored_patches(
                EncodingStore(Path(files["features"][0]).parent),
                keys_of(read_shards(files["features"], schema=ENCODINGS)),
            ),
            settings=settings,
        )
    if kind == "adapted_sam":
        return adapted_sam_maps(
            read_adapted(files["decoders"]),
            read_table(files["thresholds"], schema=THRESHOLDS),
            stored_embeddings(
                EncodingStore(Path(files["embeddings"][0]).parent),
                keys_of(read_shards(files["embeddings"], schema=ENCODINGS)),
            ),
        )
    about = manifest.set_index("image_id")
    references = read_references(files["references"], intensity=intensity)
    return lambda row: difference_of(
        row,
        about.loc[row.image_id],
        references=references,
        images_folder=images_folder,
        settings=settings,
    )


def similarity_maps(
    patches: EncodingStore,
    keys: Mapping[str, str],
    texts: TextFeatures,
    *,
    prompts: Sequence[str],
    settings: Mapping[str, Any],
) -> MapOf:
    """Give CLIP Surgery's similarity to the prompts, at the size of the image.

    Where several prompts are used, a patch has its highest similarity. Patches become pixels by
    bilinear interpolation.

    Args:
        patches: Stored patch features.
        keys: Key of each image's patch features.
        texts: Features of texts.
        prompts: Phrases of the prompt set.
        settings: `switches` of `clip_surgery_sam`.
    """
    switches = settings["switches"]
    used = prompts[:1] if switches["first_prompt_only"] else prompts
    text_features = np.stack([texts.ensemble(prompt) for prompt in used])
    redundant = texts.ensemble("")

    def map_of(row: Any) -> np.ndarray:
        similarity = similarity_map(
            patches.get(keys[row.image_id])["tokens"],
            text_features,
            redundant_feature=redundant,
            norm_axis=switches["norm_axis"],
        )[1:].max(axis=1)
        side = round(len(similarity) ** 0.5)
        return cv2.resize(
            similarity.reshape(side, side).astype(np.float32),
            (int(row.width_px), int(row.height_px)),
            interpolation=cv2.INTER_LINEAR,
        )

    return map_of


def _truth_of(row: Any, folder: str | Path, *, is_drawn: bool) -> np.ndarray:
    if not is_drawn:
        return np.zeros((int(row.height_px), int(row.width_px)), np.uint8)
    return read_warped(folder, row.image_id)
