"""Stage 7: panels of what a method saw, from what the earlier stages stored; no network runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.files import image_file, write_atomically
from realitycheck.core.masks import decode_mask
from realitycheck.core.pictures import read_aligned
from realitycheck.core.references import read_references
from realitycheck.core.schemas import (
    ANOMALY_MAPS,
    BOXES,
    ENCODINGS,
    MANIFEST,
    MASKS,
    SCORES,
    THRESHOLDS,
    TRANSFORMS,
)
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table
from realitycheck.core.views import View, image_view, mask_view
from realitycheck.encoders.base import keys_of
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.adapted_sam.algorithm import read_adapted
from realitycheck.methods.adapted_sam.segmenter import adapted_sam_maps, stored_embeddings
from realitycheck.methods.adapted_sam.views import adapted_sam_viewer
from realitycheck.methods.clip_surgery_sam.views import clip_surgery_sam_viewer
from realitycheck.methods.few_shot.segmenter import few_shot_maps, read_banks, stored_patches
from realitycheck.methods.few_shot.views import few_shot_viewer
from realitycheck.methods.grounded_sam.views import grounded_sam_viewer
from realitycheck.methods.pixel_difference.views import pixel_difference_viewer
from realitycheck.methods.saa_plus.views import saa_plus_viewer
from realitycheck.methods.sam_clip.views import sam_clip_viewer
from realitycheck.methods.views import Viewer, truth_of
from realitycheck.report.figures.overlays import shown_images
from realitycheck.report.panels import plot_panel, result_words, save_panel
from realitycheck.report.results import read_tables

# ------------------------------------------------------------------------------------- whole panels


def draw_panels(
    evidence: Mapping[str, str | Path | Sequence[str | Path]],
    texts: TextFeatures,
    *,
    kind: str,
    settings: Mapping[str, Any],
    asked: Any,
    image_ids: Iterable[str],
    folder: str | Path,
    results_folder: str | Path,
    title: str,
    intensity: Mapping[str, Any],
    floor: float,
) -> Iterator[dict[str, Any]]:
    """Draw what a method saw on each image, write it as PNG, and remove other panels.

    Args:
        evidence: Files by name, lists being one a shard: `transforms` (one a shard), `truth`,
            `masks`, `scores` of the run, and those that `read_viewer` needs for the kind.
        texts: CLIP's features of texts, stored by the segment stage.
        kind: Kind of the method.
        settings: The method block.
        asked: Phrases of the prompt set, or, for SAA+, its prompts.
        image_ids: Images wanted.
        folder: Where the panels go.
        results_folder: Folder that paths in the table are relative to.
        title: Method, prompt and data set, for people.
        intensity: How reference images become 8-bit RGB.
        floor: Floor that boxes were stored down to.

    Yields:
        Rows of the panels table.
    """
    wanted = set(image_ids)
    _remove_others(folder, wanted)
    masks, scores = (
        read_table(evidence[name], schema=schema).set_index("image_id")
        for name, schema in (("masks", MASKS), ("scores", SCORES))
    )
    truth_folder = Path(evidence["truth"]).parent
    limits = _read_limits(evidence)
    for files in shards_of_evidence(evidence):
        transforms = read_table(files["transforms"], schema=TRANSFORMS)
        transforms = transforms[transforms["image_id"].isin(wanted)]
        if transforms.empty:
            continue
        images_folder = Path(files["transforms"]).parents[1]
        viewer = read_viewer(
            kind,
            files,
            settings=settings,
            asked=asked,
            texts=texts,
            limits=limits,
            images_folder=images_folder,
            truth_folder=truth_folder,
            intensity=intensity,
            floor=floor,
        )
        for row in transforms.itertuples():
            image = read_aligned(images_folder, row.image_id)
            found, score = masks.loc[row.image_id], scores.loc[row.image_id]
            figure = plot_panel(
                [
                    image_view(image, note=f"{image.shape[1]} × {image.shape[0]} px."),
                    _truth_view(image, truth_of(truth_folder, row.image_id), score),
                    *viewer(row, image),
                    _final_view(image, found),
                ],
                title=title,
                subtitle=_subtitle(row.image_id, score),
                caption=result_words(score, threshold=limits.get(row.image_id)),
            )
            path = image_file(folder, row.image_id)
            write_atomically(path, partial(save_panel, figure))
            yield {
                **{key: found[key] for key in ("dataset", "method", "prompt")},
                "image_id": row.image_id,
                "path": path.relative_to(results_folder).as_posix(),
            }


def panel_images(
    dataset: str,
    scores: str | Path,
    *,
    shown: Sequence[str | Path],
    panels: str,
    n_overlays: int,
    seed: int,
) -> list[str]:
    """Say which images get a panel.

    Args:
        dataset: The data set's id.
        scores: Scores table of the run.
        shown: Scores tables of all runs of the data set, for `chosen`.
        panels: `chosen`: those of the overlay figure; `all`: every one.
        n_overlays: Rows of the overlay figure.
        seed: Of the random draw among them.
    """
    if panels == "chosen":
        chosen, _ = shown_images(
            dataset, read_tables(shown, schema=SCORES), n_images=n_overlays, seed=seed
        )
        return list(chosen["image_id"])
    return list(read_table(scores, schema=SCORES, columns=["image_id"])["image_id"])


def panel_head(
    dataset: str,
    method: str,
    prompt: str,
    *,
    methods: Mapping[str, Mapping[str, Any]],
    datasets: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Word the `title` of the panels of a run.

    Args:
        dataset: The data set's id.
        method: Name of the method block.
        prompt: Name of the prompt set.
        methods: What is said of each method.
        datasets: What is said of each data set.
    """
    about = methods[method]
    name = about.get("name") or about["label"]
    details = [f"{about['variant']} variant"] if "variant" in about else []
    details += [] if prompt == NO_PROMPT else [f"prompt set {prompt}"]
    told = f" ({', '.join(details)})" if details else ""
    return {
        "title": f"{name}{told} on {datasets[dataset]['name']}",
    }


def _remove_others(folder: str | Path, image_ids: Iterable[str]) -> None:
    """Remove the panels of images that are not wanted."""
    wanted = {image_file(folder, image_id) for image_id in image_ids}
    for path in Path(folder).rglob("*.png"):
        if path not in wanted:
            path.unlink()


def _final_view(image: np.ndarray, found: Any) -> View:
    mask = decode_mask(
        found["mask_rle"],
        height_px=int(found["mask_height_px"]),
        width_px=int(found["mask_width_px"]),
    )
    share = 100 * float(mask.mean())
    note = f"{share:.2g} % of the image." if mask.any() else "No pixel is marked."
    return mask_view(image, mask, title="Final mask", note=note)


def _truth_view(image: np.ndarray, truth: np.ndarray | None, score: Any) -> View:
    if truth is not None and truth.any():
        return mask_view(image, truth, title="Ground truth", note=f"{int(truth.sum())} px.")
    if score["label"] == "OK":
        note = "A good part: there is no defect."
    elif score["lost_px"]:
        note = "Alignment moved the defect out of the image."
    else:
        note = "Nobody drew where the defect is."
    return image_view(image, title="Ground truth", note=note)


def _subtitle(image_id: str, score: Any) -> str:
    if score["label"] == "OK":
        return f"{image_id}: good part"
    kind = score["defect_type"]
    return f"{image_id}: defective part" + ("" if pd.isna(kind) else f" ({kind})")


# ----------------------------------------------------------------------------------- evidence files


def read_viewer(
    kind: str,
    evidence: Mapping[str, str | Path],
    *,
    settings: Mapping[str, Any],
    asked: Any,
    texts: TextFeatures,
    limits: Mapping[str, float],
    images_folder: str | Path,
    truth_folder: str | Path,
    intensity: Mapping[str, Any],
    floor: float,
) -> Viewer:
    """Read what a method stored of a shard, and give its viewer.

    Args:
        kind: Kind of the method.
        evidence: Files by name; of the shard: `boxes` (grounded_sam, saa_plus); `automatic_masks`,
            `crops` (sam_clip); `patches` (clip_surgery_sam); `saliency`, `maps` (saa_plus); of the
            data set: `manifest`, `references` (pixel_difference), `bank` (few_shot); of the shard
            `features` (few_shot); `decoders`, `thresholds` of the data set and `embeddings` of the
            shard (adapted_sam).
        settings: The method block.
        asked: Phrases of the prompt set, or, for SAA+, its prompts.
        texts: CLIP's features of texts, stored by the segment stage.
        limits: Threshold of each image (saa_plus, pixel_difference, few_shot,
            adapted_sam).
        images_folder: Folder of the aligned images.
        truth_folder: Folder of the warped truth masks.
        intensity: How reference images become 8-bit RGB.
        floor: Floor that boxes were stored down to.

    Raises:
        ValueError: If there is no viewer for the kind.
    """

    def encodings(name: str) -> tuple[EncodingStore, dict[str, str]]:
        path = Path(evidence[name])
        # The index of a method's own encodings lies in a folder below their store.
        folder = path.parent if name == "saliency" else path.parents[1]
        return EncodingStore(folder), keys_of(read_table(path, schema=ENCODINGS))

    if kind == "grounded_sam":
        boxes = read_table(evidence["boxes"], schema=BOXES)
        return grounded_sam_viewer(boxes, prompts=asked, settings=settings, floor=floor)
    if kind == "sam_clip":
        return sam_clip_viewer(
            encodings("automatic_masks"),
            encodings("crops"),
            texts,
            prompts=asked,
            settings=settings,
        )
    if kind == "clip_surgery_sam":
        return clip_surgery_sam_viewer(
            encodings("patches"),
            texts,
            prompts=asked,
            settings=settings,
            truth_folder=truth_folder,
        )
    if kind == "saa_plus":
        return saa_plus_viewer(
            read_table(evidence["boxes"], schema=BOXES),
            read_table(evidence["maps"], schema=ANOMALY_MAPS),
            saliency=encodings("saliency"),
            limits=limits,
            wanted=asked,
            settings=settings,
            truth_folder=truth_folder,
            floor=floor,
        )
    if kind == "pixel_difference":
        return pixel_difference_viewer(
            read_table(evidence["manifest"], schema=MANIFEST),
            read_references(evidence["references"], intensity=intensity),
            limits=limits,
            images_folder=images_folder,
            truth_folder=truth_folder,
            settings=settings,
        )
    if kind == "few_shot":
        features = Path(evidence["features"])
        map_of = few_shot_maps(
            read_table(evidence["manifest"], schema=MANIFEST),
            read_banks(evidence["bank"]),
            stored_patches(
                EncodingStore(features.parent), keys_of(read_table(features, schema=ENCODINGS))
            ),
            settings=settings,
        )
        return few_shot_viewer(map_of, limits=limits, truth_folder=truth_folder, settings=settings)
    if kind == "adapted_sam":
        embeddings = Path(evidence["embeddings"])
        table = read_table(evidence["thresholds"], schema=THRESHOLDS)
        map_of = adapted_sam_maps(
            read_adapted(evidence["decoders"]),
            table,
            stored_embeddings(
                EncodingStore(embeddings.parent), keys_of(read_table(embeddings, schema=ENCODINGS))
            ),
        )
        return adapted_sam_viewer(map_of, table, truth_folder=truth_folder, settings=settings)
    raise ValueError(f"there are no panels for methods of kind '{kind}'")


def _read_limits(evidence: Mapping[str, Any]) -> dict[str, float]:
    """Threshold of each image; none where the method sets none."""
    if "thresholds" not in evidence:
        return {}
    table = read_table(evidence["thresholds"], schema=THRESHOLDS)
    return dict(zip(table["image_id"], table["threshold"], strict=True))


def shards_of_evidence(
    evidence: Mapping[str, str | Path | Sequence[str | Path]],
) -> list[dict[str, str | Path]]:
    """Turn files by name, some of them one a shard, into files by name of each shard.

    >>> shards_of_evidence({"boxes": ["a", "b"], "thresholds": "t"})
    [{'boxes': 'a', 'thresholds': 't'}, {'boxes': 'b', 'thresholds': 't'}]
    """
    numbers = {len(paths) for paths in evidence.values() if not isinstance(paths, str | Path)}
    if len(numbers) > 1:
        raise ValueError(f"evidence: expected as many shards of each kind of file, found {numbers}")
    return [
        {n: p if isinstance(p, str | Path) else p[index] for n, p in evidence.items()}
        for index in range(max(numbers, default=1))
    ]
