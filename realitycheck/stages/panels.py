"""Stage 7: panels of what a method saw, from what the earlier stages stored; no network runs.

A viewer is the counterpart of a segmenter: a function from a row of the transforms table and its
image to the views of the panel between the truth and the final mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.artifacts import (
    ANOMALY_MAPS,
    BOXES,
    ENCODINGS,
    MANIFEST,
    MASKS,
    SCORES,
    THRESHOLDS,
    TRANSFORMS,
    decode_mask,
    image_file,
    read_table,
    write_atomically,
)
from realitycheck.images import read_image
from realitycheck.methods import saa_plus
from realitycheck.methods.saa_plus_prompts import captions
from realitycheck.methods.switches import switched
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
    mask_view,
    masks_view,
    plot_panel,
    points_view,
    result_words,
    save_panel,
)
from realitycheck.report.tables import METHOD_NAMES, NO_PROMPT
from realitycheck.stages.align import read_references
from realitycheck.stages.automatic_masks import unpacked_masks
from realitycheck.stages.clip_encodings import TextFeatures
from realitycheck.stages.detect import stored_detections
from realitycheck.stages.encode import keys_of
from realitycheck.stages.pixel_difference import difference_of
from realitycheck.stages.report import UNTRAINED, read_scores, shown_images
from realitycheck.stages.saa_plus import anomaly_map
from realitycheck.stages.saa_plus_prompts import prompts_of_category
from realitycheck.store import EncodingStore

Viewer = Callable[[Any, np.ndarray], list[View]]

_KEPT = BoxStyle("kept", "#ffdd00", is_dashed=False)
_PRODUCT = BoxStyle("product", "#56b4e9", is_dashed=False)
_TOO_LOW = BoxStyle("score too low", "white")
_TOO_LARGE = BoxStyle("too large", "#ff8c69")
_NAMED_ALIKE = BoxStyle("named like the product", "#56b4e9")

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
    banner: str,
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
        banner: Warning on top, or nothing.
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
            image = read_image(image_file(images_folder, row.image_id))
            found, score = masks.loc[row.image_id], scores.loc[row.image_id]
            figure = plot_panel(
                [
                    image_view(image, note=f"{image.shape[1]} × {image.shape[0]} px, aligned."),
                    _truth_view(image, truth_of(truth_folder, row.image_id), score),
                    *viewer(row, image),
                    _final_view(image, found),
                ],
                title=title,
                subtitle=_subtitle(row.image_id, score),
                caption=result_words(score, threshold=limits.get(row.image_id)),
                banner=banner,
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
        chosen, _ = shown_images(dataset, read_scores(shown), n_images=n_overlays, seed=seed)
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
    """Word `title` and `banner` of the panels of a run.

    Args:
        dataset: The data set's id.
        method: Name of the method block.
        prompt: Name of the prompt set.
        methods: What is said of each method.
        datasets: What is said of each data set.
    """
    about = methods[method]
    name = about.get("name") or METHOD_NAMES[about["kind"]]
    details = [f"{about['variant']} variant"] if "variant" in about else []
    details += [] if prompt == NO_PROMPT else [f"prompt set {prompt}"]
    told = f" ({', '.join(details)})" if details else ""
    return {
        "title": f"{name}{told} on {datasets[dataset]['name']}",
        "banner": UNTRAINED if about.get("note") else "",
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


def truth_of(folder: str | Path, image_id: str) -> np.ndarray | None:
    """Warped truth of an image, bool (H, W); None where there is no file."""
    path = image_file(folder, image_id)
    return read_image(path)[..., 0] == 255 if path.is_file() else None


def _truth_view(image: np.ndarray, truth: np.ndarray | None, score: Any) -> View:
    if truth is not None and truth.any():
        return mask_view(image, truth, title="Ground truth", note=f"{int(truth.sum())} px.")
    is_good = score["label"] == "OK"
    note = "A good part: there is no defect." if is_good else "Nobody drew where the defect is."
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
            data set: `manifest`, `references` (pixel_difference).
        settings: The method block.
        asked: Phrases of the prompt set, or, for SAA+, its prompts.
        texts: CLIP's features of texts, stored by the segment stage.
        limits: Threshold of each image (saa_plus, pixel_difference).
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


# ------------------------------------------------------------------------------------------ viewers


def grounded_sam_viewer(
    boxes: pd.DataFrame, *, prompts: Sequence[str], settings: Mapping[str, Any], floor: float
) -> Viewer:
    """Show GroundingDINO's boxes, kept or not, with their scores and phrases.

    Args:
        boxes: The shard's boxes table.
        prompts: Phrases of the prompt set.
        settings: Variant, switches and thresholds.
        floor: Floor that the boxes were stored down to.
    """
    of_image = _by_image(boxes)
    switches = switched("grounded_sam", settings["variant"], settings["switches"])
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
                    strip_special=switches.strip_special,
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
                title="Score, prompt: words",
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
        settings: Variant, switches, `threshold`, `downsample`.
        truth_folder: Folder of the warped truth masks.
    """
    switches = switched("clip_surgery_sam", settings["variant"], settings["switches"])
    used = list(prompts[:1] if switches.first_prompt_only else prompts)
    text_features = np.stack([texts.ensemble(prompt) for prompt in used])
    redundant = texts.ensemble("")

    def view(row: Any, image: np.ndarray) -> list[View]:
        height, width = image.shape[:2]
        similarity = similarity_map(
            patches[0].get(patches[1][row.image_id])["tokens"],
            text_features,
            redundant_feature=redundant,
            norm_axis=switches.norm_axis,
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
        settings: Variant, switches, thresholds, `binarise`.
        truth_folder: Folder of the warped truth masks.
        floor: Floor that the boxes were stored down to.
    """
    of_image = _by_image(boxes)
    rows = {row.image_id: row for row in maps.itertuples()}
    switches = switched("saa_plus", settings["variant"], settings["switches"])
    rule, _ = saa_plus.parse_rule(settings["binarise"])

    def view(row: Any, image: np.ndarray) -> list[View]:
        size = image.shape[:2]
        stored = rows[row.image_id]
        told = prompts_of_category(wanted, row.category)
        asked = captions(told, object_comma=switches.object_comma)
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
        union = "every pixel of its masks" if rule == "union" else f"rule {settings['binarise']}"
        return [
            shown,
            list_view(
                candidates,
                title="Score, prompt: words",
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
                note=f"Scores of overlapping masks, averaged; marked by {union}.",
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


# -------------------------------------------------------------------------------------------- parts


def _by_image(table: pd.DataFrame) -> Callable[[str], pd.DataFrame]:
    groups = dict(tuple(table.groupby("image_id")))
    nothing = table.iloc[:0]
    return lambda image_id: groups.get(image_id, nothing)


def _weighed_box(
    detection: Detection, index: int, label: str, style: BoxStyle, size: tuple[int, int]
) -> Candidate:
    corners = boxes_to_pixels(detection.boxes[index : index + 1], image_size_hw=size)[0]
    text = f"{detection.caption.strip(' .')}: {label.strip() or '(no word)'}"
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
        note=f"The best {max_masks} at most of {stored.n_boxes} kept boxes, with the scores that "
        "saliency raised.",
    )
