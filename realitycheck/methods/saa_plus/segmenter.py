"""SAA+ from stored boxes to anomaly maps, from maps to thresholds, from both to masks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.core.files import image_file
from realitycheck.core.masks import connected_regions, decode_mask, encode_mask
from realitycheck.core.pictures import read_aligned, read_warped
from realitycheck.core.provenance import digest_of
from realitycheck.core.row_cache import finished_first, image_content
from realitycheck.core.schemas import ANOMALY_MAPS, BOXES, MANIFEST, TRANSFORMS
from realitycheck.core.store import EncodingStore, FinishedRows
from realitycheck.encoders.base import Encodings, Lazily
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import captions, prompts_of_category
from realitycheck.methods.sam import open_decoder
from realitycheck.methods.thresholds import cross_fit_thresholds
from realitycheck.models.saliency import load_saliency, resize_saliency, saliency_map
from realitycheck.models.sam.inference import box_decoder
from realitycheck.models.sam.model import SamModel

# ------------------------------------------------------------------------------------ anomaly maps


def maps_of_shard(
    inputs: Inputs, run: Run, device: str, *, finished: FinishedRows | None
) -> Iterator[dict[str, Any]]:
    """Make the anomaly maps from stored boxes, embeddings and saliency."""
    embeddings, saliency = inputs.encodings("embeddings"), inputs.encodings("saliency")
    load_network = partial(
        load_saliency,
        inputs.weights("saliency"),
        variant=run.networks["saliency"]["variant"],
        device=device,
    )
    return map_anomalies(
        inputs.table("transforms", TRANSFORMS),
        inputs.table("boxes", BOXES),
        sam=open_decoder(inputs, run, device)(),
        embeddings=embeddings.store,
        embedding_keys=embeddings.keys,
        saliency=saliency.store,
        saliency_keys=saliency.keys,
        saliency_network=Lazily(load_network),
        images_folder=inputs.images_folder,
        prompt=run.prompt,
        wanted=run.told,
        settings=run.settings,
        floor=run.floor,
        finished=finished,
    )


def map_anomalies(
    transforms: pd.DataFrame,
    boxes: pd.DataFrame,
    *,
    sam: SamModel,
    embeddings: EncodingStore,
    embedding_keys: Mapping[str, str],
    saliency: EncodingStore,
    saliency_keys: Mapping[str, str],
    saliency_network: Callable[[], Any],
    images_folder: str | Path,
    prompt: str,
    wanted: Any,
    settings: Mapping[str, Any],
    floor: float,
    finished: FinishedRows | None = None,
) -> Iterator[dict[str, Any]]:
    """Make the anomaly map of every image of a shard; what a killed job finished is kept.

    Args:
        transforms: Rows of the shard's aligned images.
        boxes: The shard's boxes table.
        sam: SAM's prompt encoder and mask decoder.
        embeddings: Stored image embeddings, in the variant's colour order.
        embedding_keys: Key of each image's embedding.
        saliency: Stored saliency maps for one product an image.
        saliency_keys: Key of each image's saliency map.
        saliency_network: Gives the network, for images that show several products.
        images_folder: Folder of the aligned images.
        prompt: Name of the prompt set.
        wanted: Its prompts of SAA+.
        settings: `switches`, thresholds.
        floor: Floor that the boxes were stored down to.
        finished: Where the rows of finished images are kept.

    Yields:
        Rows of the anomaly maps table.
    """
    switches = settings["switches"]
    by_image = dict(tuple(boxes.groupby("image_id")))
    nothing = boxes.iloc[:0]

    def rows_of(row: Any) -> list[dict[str, Any]]:
        started = time.perf_counter()
        size = (int(row.height_px), int(row.width_px))
        told = prompts_of_category(wanted, row.category)
        asked = captions(told, object_comma=switches["object_comma"])
        stored = by_image.get(row.image_id, nothing)
        embedding = embeddings.get(embedding_keys[row.image_id])["embedding"]

        def stands_out(object_masks: np.ndarray) -> np.ndarray:
            if told.n_objects > 1:
                return saliency_map(
                    saliency_network(),
                    read_aligned(images_folder, row.image_id),
                    bgr=switches["bgr"],
                    object_masks=object_masks,
                )
            grid = saliency.get(saliency_keys[row.image_id])["saliency"]
            return resize_saliency(grid, height_px=size[0], width_px=size[1])

        found = saa_plus.segment(
            stored_detections(stored, [asked.object_caption], floor=floor)[0],
            stored_detections(stored, asked.defect_captions, floor=floor),
            filter_phrases=asked.filter_phrases,
            decode_boxes=box_decoder(sam, embedding, image_size_hw=size),
            saliency=stands_out,
            image_size_hw=size,
            n_objects=told.n_objects,
            max_masks=told.max_masks,
            area_ratio=told.area_ratio,
            box_threshold=settings["box_threshold"],
            text_threshold=settings["text_threshold"],
        )
        return [
            {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "prompt": prompt,
                "height_px": size[0],
                "width_px": size[1],
                "mask_rles": [encode_mask(mask) for mask in found.masks],
                "mask_scores": found.scores[found.best].tolist(),
                "n_boxes": len(found.boxes),
                "object_area": found.object_area,
                "score": found.segmentation.score,
                "status": found.segmentation.status,
                "latency_s": time.perf_counter() - started,
            }
        ]

    def content_of(row: Any) -> list[str]:
        told = prompts_of_category(wanted, row.category)
        asked = captions(told, object_comma=switches["object_comma"])
        stored = by_image.get(row.image_id, nothing)
        # The boxes of other texts of the prompt set play no part.
        own = stored[stored["text"].isin([asked.object_caption, *asked.defect_captions])]
        return [
            *image_content(row),
            digest_of(json.loads(own.to_json(orient="split", index=False, double_precision=15))),
        ]

    rows = finished_first(transforms.itertuples(), rows_of, finished, content_of=content_of)
    for (row,) in rows:
        yield row


def anomaly_map(row: Any) -> np.ndarray:
    """Anomaly map of a row of the anomaly maps table, float32, (H, W), at least 0."""
    size = {"height_px": int(row.height_px), "width_px": int(row.width_px)}
    masks = [decode_mask(counts, **size) for counts in row.mask_rles]
    if not masks:
        return np.zeros((size["height_px"], size["width_px"]), np.float32)
    return saa_plus.overlay(np.stack(masks), np.asarray(row.mask_scores, np.float32))


# -------------------------------------------------------------------------------------- thresholds


def thresholds(
    manifest: pd.DataFrame,
    maps: pd.DataFrame,
    *,
    calibration_maps: pd.DataFrame,
    calibration_manifest: pd.DataFrame,
    has_training_images: bool,
    truth_folder: str | Path,
    settings: Mapping[str, Any],
    dataset: str,
) -> Iterator[dict[str, Any]]:
    """Threshold of the anomaly map of every scored image, by the rule `binarise`.

    `f1max` and `fixed` look at all scored images of a category, as the published evaluation does;
    `good` looks at good images only, never at the image the threshold is used on; `union` needs
    none: its threshold is 0.

    Args:
        manifest: Scored images.
        maps: Their anomaly maps table.
        calibration_maps: Anomaly maps of the images that set the threshold by `good`.
        calibration_manifest: Manifest of those.
        has_training_images: Whether they are training images.
        truth_folder: Folder of the warped truth masks.
        settings: `binarise`, `switches`, `max_overkill_rate`, `n_folds`, `seed`.
        dataset: Name for messages.

    Yields:
        Rows of the thresholds table.

    Raises:
        ValueError: If a category has no truth, or too few good images, for the rule.
    """
    rule, level = saa_plus.parse_rule(settings["binarise"])
    cubic = settings["switches"]["cubic_maps"]
    for category, images in manifest.groupby("category", sort=True):
        own = maps[maps["image_id"].isin(images["image_id"])]
        by_image: Mapping[str, float] = {}
        folds: Mapping[str, int] = {}
        if rule == "union":
            common = 0.0
        elif rule == "good":
            common, by_image, folds = _good_thresholds(
                category,
                calibration_maps,
                calibration_manifest,
                has_training_images=has_training_images,
                settings=settings,
                dataset=dataset,
            )
        else:

            def pairs(own: pd.DataFrame = own) -> Iterator[tuple[np.ndarray, np.ndarray]]:
                for row in own.itertuples():
                    yield (
                        saa_plus.evaluation_map(anomaly_map(row), cubic=cubic),
                        _truth_at(truth_folder, row.image_id),
                    )

            if rule == "fixed":
                limits = saa_plus.map_range(each for each, _ in pairs())
                common = saa_plus.fixed_threshold(level, limits=limits)
            else:
                try:
                    common = saa_plus.f1max_threshold(pairs).threshold
                except ValueError as error:
                    raise ValueError(
                        f"data set {dataset}, category {category}, binarise f1max: {error}; set "
                        "binarise: good or union, or leave the method out"
                    ) from None
        for row in images.itertuples():
            yield {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "threshold": by_image.get(row.image_id, common),
                "fold": folds.get(row.image_id),
            }


def _good_thresholds(
    category: Any,
    maps: pd.DataFrame,
    manifest: pd.DataFrame,
    *,
    has_training_images: bool,
    settings: Mapping[str, Any],
    dataset: str,
) -> tuple[float, Mapping[str, float], Mapping[str, int]]:
    good = manifest[(manifest["label"] == "OK") & (manifest["category"] == category)]
    rows = maps[maps["image_id"].isin(good["image_id"])]
    if len(rows) < (1 if has_training_images else 2):
        raise ValueError(
            f"data set {dataset}, category {category}: binarise good needs good images to set its "
            f"threshold, found {len(rows)}; add some, or set binarise: union"
        )
    if has_training_images:
        each = (anomaly_map(row) for row in rows.itertuples())
        limit = settings["max_overkill_rate"]
        return saa_plus.good_threshold(each, max_overkill_rate=limit), {}, {}
    peaks = {row.image_id: float(anomaly_map(row).max()) for row in rows.itertuples()}
    groups = good.set_index("image_id")["group"]
    fit = cross_fit_thresholds(
        peaks,
        max_overkill_rate=settings["max_overkill_rate"],
        n_folds=settings["n_folds"],
        seed=settings["seed"],
        groups={i: i if pd.isna(groups[i]) else groups[i] for i in peaks},
    )
    return fit.others, fit.by_image, fit.folds


def _truth_at(folder: str | Path, image_id: str) -> np.ndarray:
    """Truth of an image on the evaluation's square, bool; good images have none."""
    side = saa_plus.EVALUATION_SIZE_PX
    if not image_file(folder, image_id).is_file():
        return np.zeros((side, side), bool)
    truth = read_warped(folder, image_id)
    return cv2.resize(truth, (side, side), interpolation=cv2.INTER_NEAREST) == 255


def fit(
    inputs: Inputs, run: Run, device: str, outputs: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Set the thresholds by the rule `binarise`."""
    scored, train = inputs.table("manifest", MANIFEST), inputs.table("train", MANIFEST)
    maps = inputs.table("maps", ANOMALY_MAPS)
    others = inputs.table("calibration", ANOMALY_MAPS) if "calibration" in inputs else maps
    return thresholds(
        scored,
        maps,
        calibration_maps=others,
        calibration_manifest=train if len(train) else scored,
        has_training_images=len(train) > 0,
        truth_folder=inputs.path("truth").parent if "truth" in inputs else Path(),
        settings=run.settings,
        dataset=run.dataset,
    )


# ------------------------------------------------------------------------------------------- masks


def open(inputs: Inputs, run: Run, device: str) -> SaaPlus:
    """Open maps and thresholds; boxes and saliency are for the views."""
    return SaaPlus(
        inputs.table("maps", ANOMALY_MAPS),
        inputs.limits(),
        told=run.told,
        settings=run.settings,
        floor=run.floor,
        boxes=Lazily(partial(inputs.table, "boxes", BOXES)),
        saliency=Lazily(partial(inputs.encodings, "saliency")),
    )


@dataclass(frozen=True)
class SaaPlus:
    """Stored anomaly maps, above a threshold.

    Attributes:
        maps: Anomaly maps table.
        limits: Threshold of each image.
        told: The prompt set's prompts of SAA+.
        settings: `binarise`, `eval_resolution`, `switches`, thresholds of boxes.
        floor: Floor that the boxes were stored down to.
        boxes: Gives the boxes table.
        saliency: Gives the stored saliency maps for one product per image.
    """

    maps: pd.DataFrame
    limits: Mapping[str, float]
    told: Any
    settings: Mapping[str, Any]
    floor: float
    boxes: Callable[[], pd.DataFrame]
    saliency: Callable[[], Encodings]

    @cached_property
    def _stored(self) -> dict[Any, Any]:
        return {row.image_id: row for row in self.maps.itertuples()}

    @cached_property
    def _boxes(self) -> dict[Any, pd.DataFrame]:
        return dict(tuple(self.boxes().groupby("image_id")))

    def stored(self, row: Any) -> Any:
        """Row of the anomaly maps table of an image."""
        return self._stored[row.image_id]

    def detections(self, row: Any) -> pd.DataFrame:
        """Boxes of an image."""
        return self._boxes.get(row.image_id, self.boxes().iloc[:0])

    def above(self, values: np.ndarray, row: Any) -> np.ndarray:
        """Where a map reaches the threshold of its image, bool."""
        rule, _ = saa_plus.parse_rule(self.settings["binarise"])
        limit = self.limits[row.image_id]
        return saa_plus.binarise(values, limit, above=rule in ("union", "good"))

    def score_map(self, row: Any) -> np.ndarray:
        """Anomaly map of an image, float32, (H, W)."""
        return anomaly_map(self.stored(row))

    def segment(self, row: Any) -> Segmentation:
        """Mark where the map reaches the threshold.

        The mask has the image's size, or, with `eval_resolution` 400, that of the evaluation's
        square.
        """
        stored, values = self.stored(row), self.score_map(row)
        if self.settings["eval_resolution"] == "400" and self.settings["binarise"] != "union":
            cubic = self.settings["switches"]["cubic_maps"]
            values = saa_plus.evaluation_map(values, cubic=cubic)
        mask = self.above(values, row)
        status = stored.status
        if status != "no_box":
            status = "ok" if mask.any() else "empty"
        return Segmentation(mask, stored.score, len(connected_regions(mask).sizes), status)
