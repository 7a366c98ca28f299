"""Stage 7: what each method saw of an image, as views of its panel; from stored artifacts only.

A viewer is the counterpart of a segmenter: a function from a row of the transforms table and its
image to the views of the panel between the truth and the final mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.artifacts import decode_mask, image_file
from realitycheck.methods import saa_plus
from realitycheck.methods.saa_plus_prompts import captions
from realitycheck.models.clip import decode_mask as decode_record
from realitycheck.models.clip import select_masks
from realitycheck.models.clip_surgery import points_from_map, similarity_map
from realitycheck.models.grounding_dino import Detection, boxes_to_pixels, phrase, select_boxes
from realitycheck.models.saliency import resize_saliency
from realitycheck.report.panels import (
    BoxStyle,
    Candidate,
    View,
    boxes_view,
    image_view,
    list_view,
    map_view,
    masks_view,
    points_view,
)
from realitycheck.stages.automatic_masks import unpacked_masks
from realitycheck.stages.clip_encodings import TextFeatures
from realitycheck.stages.detect import stored_detections
from realitycheck.stages.pictures import read_warped
from realitycheck.stages.pixel_difference import difference_of
from realitycheck.stages.saa_plus import anomaly_map
from realitycheck.stages.saa_plus_prompts import prompts_of_category
from realitycheck.store import EncodingStore

Viewer = Callable[[Any, np.ndarray], list[View]]

_KEPT = BoxStyle("kept", "#ffdd00", is_dashed=False)
_PRODUCT = BoxStyle("product", "#56b4e9", is_dashed=False)
_TOO_LOW = BoxStyle("score too low", "white")
_TOO_LARGE = BoxStyle("too large", "#ff8c69")
_NAMED_ALIKE = BoxStyle("named like the product", "#56b4e9")

#: Where the threshold of SAA+'s anomaly map comes from.
_RULE_WORDS = {
    "union": "Every pixel of its masks is marked",
    "f1max": "The threshold is the best one for the truth of the images it is used on (f1max)",
    "fixed": "The threshold is a set share of the range over all images of the category",
    "good": "The threshold was set on good images",
}


def truth_of(folder: str | Path, image_id: str) -> np.ndarray | None:
    """Warped truth of an image, bool (H, W); None where there is no file."""
    is_drawn = image_file(folder, image_id).is_file()
    return read_warped(folder, image_id) == 255 if is_drawn else None


def grounded_sam_viewer(
    boxes: pd.DataFrame, *, prompts: Sequence[str], settings: Mapping[str, Any], floor: float
) -> Viewer:
    """Show GroundingDINO's boxes, kept or not, with their scores and phrases.

    Args:
        boxes: The shard's boxes table.
        prompts: Phrases of the prompt set.
        settings: `switches` and thresholds.
        floor: Floor that the boxes were stored down to.
    """
    of_image = _by_image(boxes)
    switches = settings["switches"]
    limit = settings["box_threshold"]

    def view(row: Any, image: np.ndarray) -> list[View]:
        found = []
        for detection in stored_detections(of_image(row.image_id), prompts, floor=floor):
            kept = set(select_boxes(detection, box_threshold=limit).indices.tolist())
            for index in range(len(detection.scores)):
                label = phrase(
                    detection.tokens,
                    detection.token_scores[index],
                    settings["text_threshold"],
                    variant="text2seg",
                    strip_special=switches["strip_special"],
                )
                style = _KEPT if index in kept else _TOO_LOW
                found.append(_weighed_box(detection, index, label, style, image.shape[:2]))
        candidates = _numbered(found)
        note = (
            f"Stored down to a score of {floor:g}; a box is kept above {limit:g}, and SAM cuts "
            "out what lies in it."
        )
        return [
            boxes_view(image, candidates, title="Boxes of the detector", note=note),
            list_view(
                candidates,
                title="Score, words (prompt)",
                threshold=limit,
                note=f"Words of the prompt that score above {settings['text_threshold']:g}."
                if candidates
                else f"No box has a score above {floor:g}.",
            ),
        ]

    return view


def sam_clip_viewer(
    masks: tuple[EncodingStore, Mapping[str, str]],
    crops: tuple[EncodingStore, Mapping[str, str]],
    texts: TextFeatures,
    *,
    prompts: Sequence[str],
    settings: Mapping[str, Any],
) -> Viewer:
    """Show SAM's automatic masks, those that CLIP selected, and each one's share of the softmax.

    Args:
        masks: Stored automatic masks, and the key of each image's.
        crops: Stored features of their crops, and the key of each image's.
        texts: Features of texts.
        prompts: Phrases of the prompt set.
        settings: `logit_scale`, `threshold`.
    """
    text_features = [texts.bare(prompt) for prompt in prompts]
    limit = settings["threshold"]

    def view(row: Any, image: np.ndarray) -> list[View]:
        size = image.shape[:2]
        records = unpacked_masks(
            masks[0].get(masks[1][row.image_id]), height_px=size[0], width_px=size[1]
        )
        features = crops[0].get(crops[1][row.image_id])["features"]
        shares, selected = np.zeros((len(prompts), len(records))), set()
        for index, text_feature in enumerate(text_features):
            chosen, shares[index] = select_masks(
                features, text_feature, logit_scale=settings["logit_scale"], threshold=limit
            )
            selected.update(chosen.tolist())
        best = shares.max(axis=0)
        order = np.argsort(-best, kind="stable").tolist()
        candidates = [
            Candidate(
                number,
                float(best[index]),
                prompts[int(shares[:, index].argmax())],
                index in selected,
            )
            for number, index in enumerate(order, start=1)
        ]
        note = (
            f"SAM cut out {len(records)} masks without knowing the prompt; CLIP selected "
            f"{len(selected)}."
        )
        return [
            masks_view(
                image,
                [decode_record(records[index]) for index in order],
                names=[str(c.number) if c.number <= 12 or c.is_kept else "" for c in candidates],
                is_selected=[each.is_kept for each in candidates],
                title="Automatic masks",
                note=note,
            ),
            list_view(
                candidates,
                title="Share of the softmax, prompt",
                threshold=limit,
                note="The shares of all masks of an image sum to 1 for each prompt: they compare "
                "its masks with each other."
                if candidates
                else "There is no mask to choose from.",
            ),
        ]

    return view


def clip_surgery_sam_viewer(
    patches: tuple[EncodingStore, Mapping[str, str]],
    texts: TextFeatures,
    *,
    prompts: Sequence[str],
    settings: Mapping[str, Any],
    truth_folder: str | Path,
) -> Viewer:
    """Show the similarity map of every prompt that is used, and the points made from it.

    Args:
        patches: Stored patch features, and the key of each image's.
        texts: Features of texts.
        prompts: Phrases of the prompt set.
        settings: `switches`, `threshold`, `downsample`.
        truth_folder: Folder of the warped truth masks.
    """
    switches = settings["switches"]
    used = list(prompts[:1] if switches["first_prompt_only"] else prompts)
    text_features = np.stack([texts.ensemble(prompt) for prompt in used])
    redundant = texts.ensemble("")

    def view(row: Any, image: np.ndarray) -> list[View]:
        height, width = image.shape[:2]
        similarity = similarity_map(
            patches[0].get(patches[1][row.image_id])["tokens"],
            text_features,
            redundant_feature=redundant,
            norm_axis=switches["norm_axis"],
        )[1:]
        grid = round(len(similarity) ** 0.5)
        cells = grid // settings["downsample"]
        views = []
        for prompt, column in zip(used, similarity.T, strict=True):
            points, labels = points_from_map(
                column,
                height_px=height,
                width_px=width,
                threshold=settings["threshold"],
                downsample=settings["downsample"],
            )
            note = (
                f"Of {cells} × {cells} cells, those in the top "
                f"{100 * (1 - settings['threshold']):.0f} % of the map's range belong to it, and "
                "as many of the lowest do not."
                if len(points)
                else "The map is the same everywhere: there is no place to point at."
            )
            views += [
                map_view(
                    column.reshape(grid, grid),
                    image_size_hw=(height, width),
                    title=f"Similarity to '{prompt}'",
                    note=f"CLIP Surgery, {grid} × {grid} patches; bright: more alike.",
                    truth=truth_of(truth_folder, row.image_id),
                ),
                points_view(image, points, labels, title="Points for SAM", note=note),
            ]
        if len(used) < len(prompts):
            left = ", ".join(f"'{prompt}'" for prompt in prompts[1:])
            first = views[0]
            note = f"{first.note} As published, only the first prompt is used, not {left}."
            views[0] = replace(first, note=note)
        return views

    return view


def saa_plus_viewer(
    boxes: pd.DataFrame,
    maps: pd.DataFrame,
    *,
    saliency: tuple[EncodingStore, Mapping[str, str]],
    limits: Mapping[str, float],
    wanted: Any,
    settings: Mapping[str, Any],
    truth_folder: str | Path,
    floor: float,
) -> Viewer:
    """Show SAA+'s boxes and why they were dropped, saliency, best masks and anomaly map.

    Args:
        boxes: The shard's boxes table.
        maps: The shard's anomaly maps table.
        saliency: Stored saliency maps for one product an image, and the key of each image's.
        limits: Threshold of each image's anomaly map.
        wanted: The prompt set's prompts of SAA+.
        settings: `switches`, thresholds, `binarise`.
        truth_folder: Folder of the warped truth masks.
        floor: Floor that the boxes were stored down to.
    """
    of_image = _by_image(boxes)
    rows = {row.image_id: row for row in maps.itertuples()}
    switches = settings["switches"]
    rule, _ = saa_plus.parse_rule(settings["binarise"])

    def view(row: Any, image: np.ndarray) -> list[View]:
        size = image.shape[:2]
        stored = rows[row.image_id]
        told = prompts_of_category(wanted, row.category)
        asked = captions(told, object_comma=switches["object_comma"])
        detections = of_image(row.image_id)
        product = stored_detections(detections, [asked.object_caption], floor=floor)[0]
        found = _saa_plus_boxes(
            stored_detections(detections, asked.defect_captions, floor=floor),
            asked.filter_phrases,
            max_area=stored.object_area * told.area_ratio,
            settings=settings,
            size=size,
        )
        candidates = _numbered(found)
        shown = boxes_view(
            image,
            candidates,
            title="Boxes of the detector",
            note=f"Product: {100 * stored.object_area:.3g} % of the image, so a defect may take "
            f"{100 * stored.object_area * told.area_ratio:.3g} %.",
        )
        largest = _product_box(product, n_objects=told.n_objects, settings=settings, size=size)
        shown = replace(shown, boxes=(*largest, *shown.boxes))
        values, truth = anomaly_map(stored), truth_of(truth_folder, row.image_id)
        limit = limits[row.image_id]
        return [
            shown,
            list_view(
                candidates,
                title="Score, words (prompt)",
                threshold=settings["box_threshold"],
                note=f"Words of the prompt that score above {settings['text_threshold']:g}."
                if candidates
                else f"No box has a score above {floor:g}.",
            ),
            _saliency_view(saliency, row.image_id, n_objects=told.n_objects, size=size),
            _best_masks_view(image, stored, max_masks=told.max_masks),
            map_view(
                values,
                image_size_hw=size,
                title="Anomaly map",
                note=f"Scores of overlapping masks, averaged. {_RULE_WORDS[rule]}.",
                threshold=limit,
                above=saa_plus.binarise(values, limit, above=rule in ("union", "good")),
                truth=truth,
            ),
        ]

    return view


def pixel_difference_viewer(
    manifest: pd.DataFrame,
    references: Mapping[str, np.ndarray],
    *,
    limits: Mapping[str, float],
    images_folder: str | Path,
    truth_folder: str | Path,
    settings: Mapping[str, Any],
) -> Viewer:
    """Show the reference, and where the image differs from it by how much.

    Args:
        manifest: Scored images.
        references: Reference image of each category.
        limits: Threshold of each image.
        images_folder: Folder of the aligned images.
        truth_folder: Folder of the warped truth masks.
        settings: `smoothing_sigma_px`, `min_area_px`.
    """
    about = manifest.set_index("image_id")

    def view(row: Any, image: np.ndarray) -> list[View]:
        image_row = about.loc[row.image_id]
        reference = image_view(references[image_row["category"]], title="Reference")
        values = difference_of(
            row,
            image_row,
            references=references,
            images_folder=images_folder,
            settings=settings,
        )
        if values is None:
            note = f"Alignment: {row.status}. Other size than the image: nothing to compare."
            return [replace(reference, note=note)]
        limit = limits[row.image_id]
        return [
            replace(reference, note=f"Alignment of the image: {row.status}."),
            map_view(
                values,
                image_size_hw=image.shape[:2],
                title="Difference to the reference",
                note=f"Smoothed over {settings['smoothing_sigma_px']:g} px; regions below "
                f"{settings['min_area_px']} px are left out.",
                threshold=limit,
                above=values > limit,
                truth=truth_of(truth_folder, row.image_id),
            ),
        ]

    return view


def few_shot_viewer(
    map_of: Callable[[Any], np.ndarray],
    *,
    limits: Mapping[str, float],
    truth_folder: str | Path,
    settings: Mapping[str, Any],
) -> Viewer:
    """Show how little each place looks like what is remembered of good parts.

    Args:
        map_of: Gives the score map of an image.
        limits: Threshold of each image.
        truth_folder: Folder of the warped truth masks.
        settings: The method block.
    """

    def view(row: Any, image: np.ndarray) -> list[View]:
        values, limit = map_of(row), limits[row.image_id]
        return [
            map_view(
                values,
                image_size_hw=image.shape[:2],
                title="Unlike any good part",
                note=f"At most {settings['n_good']} good parts are remembered; smoothed over "
                f"{settings['smoothing_sigma_px']:g} px; regions below {settings['min_area_px']} "
                "px are left out.",
                threshold=limit,
                above=values > limit,
                truth=truth_of(truth_folder, row.image_id),
            )
        ]

    return view


def adapted_sam_viewer(
    map_of: Callable[[Any], np.ndarray],
    table: pd.DataFrame,
    *,
    truth_folder: str | Path,
    settings: Mapping[str, Any],
) -> Viewer:
    """Show how likely the decoder that did not see the image takes each pixel for defective.

    Args:
        map_of: Gives the defect map of an image.
        table: Fold and threshold of every image, a thresholds table.
        truth_folder: Folder of the warped truth masks.
        settings: The method block.
    """
    about = table.set_index("image_id")

    def view(row: Any, image: np.ndarray) -> list[View]:
        values, own = map_of(row), about.loc[row.image_id]
        return [
            map_view(
                values,
                image_size_hw=image.shape[:2],
                title="Defective, says the decoder",
                note=f"This image is in fold {int(own['fold']) + 1} of {settings['n_folds']}; the "
                "decoder was trained on the others. Regions below "
                f"{settings['min_area_px']} px are left out.",
                threshold=own["threshold"],
                above=values > own["threshold"],
                truth=truth_of(truth_folder, row.image_id),
            )
        ]

    return view


# -------------------------------------------------------------------------------------------- parts


def _by_image(table: pd.DataFrame) -> Callable[[str], pd.DataFrame]:
    groups = dict(tuple(table.groupby("image_id")))
    nothing = table.iloc[:0]
    return lambda image_id: groups.get(image_id, nothing)


def _weighed_box(
    detection: Detection, index: int, label: str, style: BoxStyle, size: tuple[int, int]
) -> Candidate:
    corners = boxes_to_pixels(detection.boxes[index : index + 1], image_size_hw=size)[0]
    text = f"{label.strip() or 'no word'} ({detection.caption.strip(' .')})"
    box = tuple(map(float, corners))
    return Candidate(0, float(detection.scores[index]), text, style is _KEPT, box, style)


def _numbered(found: Sequence[Candidate]) -> list[Candidate]:
    """Sort candidates, kept ones first, best first, and number them."""
    ordered = sorted(found, key=lambda each: (not each.is_kept, -each.score))
    return [replace(each, number=number) for number, each in enumerate(ordered, start=1)]


def _saa_plus_boxes(
    detections: Sequence[Detection],
    filter_phrases: Sequence[str],
    *,
    max_area: float,
    settings: Mapping[str, Any],
    size: tuple[int, int],
) -> list[Candidate]:
    """Weigh every stored box as `saa_plus.propose` does, and remember why it was dropped."""
    found = []
    for detection, filter_phrase in zip(detections, filter_phrases, strict=True):
        passed = select_boxes(detection, box_threshold=settings["box_threshold"])
        high = set(passed.indices.tolist())
        areas = detection.boxes[:, 2] * detection.boxes[:, 3]
        for index in range(len(detection.scores)):
            label = phrase(
                detection.tokens, detection.token_scores[index], settings["text_threshold"]
            )
            if index not in high:
                style = _TOO_LOW
            elif not 0 < areas[index] < np.float32(max_area):
                style = _TOO_LARGE
            elif filter_phrase and filter_phrase in label:
                style = _NAMED_ALIKE
            else:
                style = _KEPT
            found.append(_weighed_box(detection, index, label, style, size))
    return found


def _product_box(
    detection: Detection,
    *,
    n_objects: int,
    settings: Mapping[str, Any],
    size: tuple[int, int],
) -> tuple[Candidate, ...]:
    """The largest box of the product, which limits the defects; none where none was found."""
    proposals = saa_plus.propose(
        [detection],
        [""],
        max_area=1.0 / n_objects,
        box_threshold=settings["box_threshold"],
        text_threshold=settings["text_threshold"],
    )
    if not len(proposals.boxes):
        return ()
    index = int((proposals.boxes[:, 2] * proposals.boxes[:, 3]).argmax())
    corners = boxes_to_pixels(proposals.boxes[index : index + 1], image_size_hw=size)[0]
    box = tuple(map(float, corners))
    score = float(proposals.scores[index])
    # Its number lies beyond those that are written into the picture.
    return (Candidate(10**6, score, detection.caption, True, box, _PRODUCT),)


def _saliency_view(
    saliency: tuple[EncodingStore, Mapping[str, str]],
    image_id: str,
    *,
    n_objects: int,
    size: tuple[int, int],
) -> View:
    if n_objects > 1:
        return View(
            "Saliency",
            note=f"The {n_objects} products of the image are compared with each other; that map is "
            "not stored.",
        )
    grid = saliency[0].get(saliency[1][image_id])["saliency"]
    return map_view(
        resize_saliency(grid, height_px=size[0], width_px=size[1]),
        image_size_hw=size,
        title="Saliency",
        note="Bright: unlike the rest of the image. It raises the score of a mask.",
    )


def _best_masks_view(image: np.ndarray, stored: Any, *, max_masks: int) -> View:
    """The masks that make up the anomaly map, with their raised scores."""
    size = {"height_px": int(stored.height_px), "width_px": int(stored.width_px)}
    masks = [decode_mask(counts, **size) for counts in stored.mask_rles]
    return masks_view(
        image,
        masks,
        names=[f"{score:.2f}" for score in stored.mask_scores],
        is_selected=[False] * len(masks),
        title="Masks in the anomaly map",
        note=f"Of {stored.n_boxes} kept boxes {len(masks)}, at most {max_masks}; the numbers are "
        "their scores, raised by saliency.",
    )
