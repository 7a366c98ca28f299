"""SAA+: boxes from several prompts, regularised by what is known of the product.

Boxes that are too large or that name the product itself are dropped, SAM turns the others into
masks, a saliency map raises the masks that stand out, and the best few are laid over each other.
The result is an anomaly map; `binarise` and its neighbours turn maps into masks.

Everything works on stored detections, stored embeddings and a stored saliency map.

Source: Cao et al. (2023), "Segment Any Anomaly without Training via Hybrid Prompt Regularization",
and the repository Segment-Any-Anomaly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from realitycheck.methods.base import Segmentation
from realitycheck.methods.thresholds import fit_threshold
from realitycheck.models.grounding_dino.model import (
    Detection,
    boxes_to_pixels,
    phrase,
    select_boxes,
)

#: Strength of the saliency in a mask's score.
SALIENCY_WEIGHT = 3.0
#: Side of the square on which the published evaluation compares maps, in pixels.
EVALUATION_SIZE_PX = 400


@dataclass(frozen=True)
class SaaPlusVariant:
    """The published code's slips, each a switch.

    Attributes:
        bgr: SAM and the saliency network see swapped colour channels; the detector sees the right
            ones (deviation D1).
        object_comma: A comma stays behind the object's name in its caption (D2).
        cubic_maps: Maps are brought to the evaluation's size by bicubic interpolation, which
            overshoots, instead of linear (D16).
    """

    bgr: bool = True
    object_comma: bool = True
    cubic_maps: bool = True


PUBLISHED = SaaPlusVariant()
REPAIRED = SaaPlusVariant(bgr=False, object_comma=False, cubic_maps=False)
VARIANTS = {"published": PUBLISHED, "repaired": REPAIRED}


class Proposals(NamedTuple):
    """Boxes that passed the filters of one or more passes.

    Attributes:
        boxes: cx, cy, w, h relative to the image, float32, (N, 4).
        scores: float32, (N,).
        largest_area: Largest w · h among them, relative; 1 where there is none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    largest_area: float


def propose(
    detections: Sequence[Detection],
    filter_phrases: Sequence[str],
    *,
    max_area: float,
    box_threshold: float = 0.1,
    text_threshold: float = 0.1,
) -> Proposals:
    """Choose boxes by score, area and label, pass after pass, without suppressing overlaps.

    A box stays if its score is above `box_threshold`, its relative area above 0 and below
    `max_area`, and its label does not contain the pass's filter phrase. The label is the decoded
    text with `[CLS]` and `[SEP]`, and the phrase may lie within a longer word (deviation D15). The
    limits act on boxes, not on masks as in the article (D6).

    Args:
        detections: One per pass.
        filter_phrases: One per pass; empty drops none.
        max_area: Upper limit of w · h, relative to the image.
        box_threshold: Score, 0 to 1.
        text_threshold: A word belongs to a box's label if its score is above this.

    Returns:
        The chosen boxes.
    """
    boxes, scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
    for detection, filter_phrase in zip(detections, filter_phrases, strict=True):
        chosen = select_boxes(detection, box_threshold=box_threshold)
        areas = chosen.boxes[:, 2] * chosen.boxes[:, 3]
        keep = (areas < np.float32(max_area)) & (areas > 0)
        if filter_phrase:
            keep &= np.array(
                [
                    filter_phrase not in phrase(detection.tokens, row, text_threshold)
                    for row in chosen.token_scores
                ],
                bool,
            )
        boxes.append(chosen.boxes[keep])
        scores.append(chosen.scores[keep])
    united = np.concatenate(boxes)
    largest = float((united[:, 2] * united[:, 3]).max()) if len(united) else 1.0
    return Proposals(united, np.concatenate(scores), largest)


def rescore(masks: np.ndarray, scores: np.ndarray, *, saliency: np.ndarray) -> np.ndarray:
    """Raise the scores of masks that stand out: score · exp(3 · mean saliency inside the mask).

    Args:
        masks: bool, (N, H, W); an empty one keeps its score.
        scores: float, (N,).
        saliency: float, (H, W), 0 to 1.

    Returns:
        float32, (N,).
    """
    factors = [
        np.exp(SALIENCY_WEIGHT * float(saliency[mask].mean(dtype=np.float64))) if mask.any() else 1
        for mask in masks
    ]
    return (np.asarray(scores, np.float64) * np.asarray(factors, np.float64)).astype(np.float32)


def best_masks(scores: np.ndarray, *, max_masks: int) -> np.ndarray:
    """Indices of the best scores, ascending by score; of equal ones the later are taken.

    Raises:
        ValueError: If no mask may be taken.
    """
    if max_masks < 1:
        raise ValueError(f"max_masks: expected at least 1, found {max_masks}")
    return np.argsort(scores, kind="stable")[-max_masks:]


def overlay(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Lay masks over each other: Σ mask · score / (1 + Σ mask), 0 where there is none.

    The 1 in the divisor halves a pixel that one mask covers (deviation D7).

    Args:
        masks: bool, (K, H, W).
        scores: float, (K,).

    Returns:
        float32, (H, W).
    """
    weighted = np.tensordot(np.asarray(scores, np.float64), masks.astype(np.float64), axes=1)
    return (weighted / (1 + masks.sum(axis=0))).astype(np.float32)


class SaaPlusResult(NamedTuple):
    """What SAA+ says of one image.

    Attributes:
        segmentation: By the rule `union`: every pixel of the masks in the map.
        anomaly_map: float32, (H, W), at least 0.
        object_area: Largest box of the product, relative to the image.
        boxes: Proposed defects: cx, cy, w, h relative to the image, float32, (N, 4).
        scores: Of the boxes, raised by saliency, float32, (N,).
        best: Indices of the masks in the map, ascending by score.
        masks: The masks in the map, bool, (len(best), H, W).
    """

    segmentation: Segmentation
    anomaly_map: np.ndarray
    object_area: float
    boxes: np.ndarray
    scores: np.ndarray
    best: np.ndarray
    masks: np.ndarray


def segment(
    object_detection: Detection,
    defect_detections: Sequence[Detection],
    *,
    filter_phrases: Sequence[str],
    decode_boxes: Callable[[np.ndarray], np.ndarray],
    saliency: np.ndarray | Callable[[np.ndarray], np.ndarray],
    image_size_hw: tuple[int, int],
    n_objects: int = 1,
    max_masks: int = 5,
    area_ratio: float = 0.9,
    box_threshold: float = 0.1,
    text_threshold: float = 0.1,
) -> SaaPlusResult:
    """Turn stored detections into an anomaly map and its union mask.

    Where the detector finds no object, defects may be as large as the image allows and the image is
    taken as one instance; the published code fails there (deviations D3, D4).

    Args:
        object_detection: For `Captions.object_caption`.
        defect_detections: For `Captions.defect_captions`.
        filter_phrases: `Captions.filter_phrases`.
        decode_boxes: From `sam.box_decoder`, bound to the embedding of the variant's colour order.
        saliency: At the size of the image, float, (H, W), 0 to 1; or, for several objects, a
            function from the object masks, bool (M, H, W), to it. An array serves one object only.
        image_size_hw: Height and width of the image in pixels.
        n_objects: See `SaaPlusPrompts`, likewise the next two.
        max_masks: See `SaaPlusPrompts`.
        area_ratio: See `SaaPlusPrompts`.
        box_threshold: See `propose`.
        text_threshold: See `propose`.

    Returns:
        The map, the union mask and what led to it. The score is m / (1 + m) of the map's maximum m:
        it ranks images and says nothing else. Status `no_box` where no box passes, `empty` where
        SAM draws no pixel in those that do.

    Raises:
        ValueError: If `n_objects` is not at least 1, if several objects meet an array, or if a map
            or masks have another size than the image.
    """
    if n_objects < 1:
        raise ValueError(f"n_objects: expected at least 1, found {n_objects}")
    if n_objects > 1 and not callable(saliency):
        raise ValueError(
            f"saliency: {n_objects} objects are compared with each other, so a function of their "
            "masks is expected, found a map; bind saliency_map to the image"
        )
    thresholds = {"box_threshold": box_threshold, "text_threshold": text_threshold}
    objects = propose([object_detection], [""], max_area=1.0 / n_objects, **thresholds)
    found = propose(
        defect_detections,
        filter_phrases,
        max_area=objects.largest_area * area_ratio,
        **thresholds,
    )
    if not len(found.boxes):
        empty = Segmentation(np.zeros(image_size_hw, bool), 0.0, 0, "no_box")
        return SaaPlusResult(
            empty,
            np.zeros(image_size_hw, np.float32),
            objects.largest_area,
            found.boxes,
            found.scores,
            np.zeros(0, np.int64),
            np.zeros((0, *image_size_hw), bool),
        )
    if callable(saliency):
        object_masks = np.zeros((0, *image_size_hw), bool)
        if n_objects > 1 and len(objects.boxes):
            object_masks = _decode(decode_boxes, objects.boxes, image_size_hw=image_size_hw)
        saliency = saliency(object_masks)
    if saliency.shape != tuple(image_size_hw):
        raise ValueError(
            f"saliency: expected the image's shape {tuple(image_size_hw)}, found {saliency.shape}"
        )
    masks = _decode(decode_boxes, found.boxes, image_size_hw=image_size_hw)
    scores = rescore(masks, found.scores, saliency=saliency)
    best = best_masks(scores, max_masks=max_masks)
    anomaly_map = overlay(masks[best], scores[best])
    union = masks[best].any(axis=0)
    peak = float(anomaly_map.max())
    segmentation = Segmentation(
        union,
        peak / (1 + peak),
        int(masks[best].any(axis=(1, 2)).sum()),
        "ok" if union.any() else "empty",
    )
    return SaaPlusResult(
        segmentation, anomaly_map, objects.largest_area, found.boxes, scores, best, masks[best]
    )


def _decode(
    decode_boxes: Callable[[np.ndarray], np.ndarray],
    boxes: np.ndarray,
    *,
    image_size_hw: tuple[int, int],
) -> np.ndarray:
    """Decode relative boxes to masks at the size of the image."""
    masks = np.asarray(decode_boxes(boxes_to_pixels(boxes, image_size_hw=image_size_hw)))
    if masks.shape != (len(boxes), *image_size_hw):
        raise ValueError(
            f"SAM masks: expected shape {(len(boxes), *image_size_hw)}, one a box at the size of "
            f"the image, found {masks.shape}"
        )
    return masks


# ----------------------------------------------------------------------------- from maps to masks


def resize_map(anomaly_map: np.ndarray, *, size_hw: tuple[int, int], cubic: bool) -> np.ndarray:
    """Resize a map; one that has the size already is returned as it is.

    Args:
        anomaly_map: float32, (H, W).
        size_hw: Height and width afterwards.
        cubic: Bicubic, which overshoots, instead of bilinear.

    Returns:
        float32, of the size.
    """
    import cv2

    if anomaly_map.shape == tuple(size_hw):
        return anomaly_map
    height, width = size_hw
    return cv2.resize(
        anomaly_map,
        (width, height),
        interpolation=cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR,
    )


def evaluation_map(
    anomaly_map: np.ndarray,
    *,
    cubic: bool,
    method_size_px: int = EVALUATION_SIZE_PX,
    size_px: int = EVALUATION_SIZE_PX,
) -> np.ndarray:
    """Bring a map to the square on which the published evaluation compares maps.

    The method itself first resizes its map bilinearly, to 400 in the published evaluation (its own
    default is 256); the evaluation then resizes to 400.

    Args:
        anomaly_map: float32, (H, W).
        cubic: See `SaaPlusVariant.cubic_maps`.
        method_size_px: Side after the method's own resize.
        size_px: Side after the evaluation's.

    Returns:
        float32, (size_px, size_px).
    """
    own = resize_map(anomaly_map, size_hw=(method_size_px, method_size_px), cubic=False)
    return resize_map(own, size_hw=(size_px, size_px), cubic=cubic)


class MapRange(NamedTuple):
    """Smallest and largest value over all maps of a class; the normalisation maps them to 0, 1."""

    low: float
    high: float


def map_range(maps: Iterable[np.ndarray]) -> MapRange:
    """Find the smallest and largest value over maps, holding one at a time.

    Raises:
        ValueError: If there is no map.
    """
    low, high = np.inf, -np.inf
    for each in maps:
        low, high = min(low, float(each.min())), max(high, float(each.max()))
    if high < low:
        raise ValueError("maps: expected at least one map, found none")
    return MapRange(low, high)


class BestF1(NamedTuple):
    """The threshold of largest F1.

    Attributes:
        threshold: A pixel is positive if its value is at least this; infinite where all maps are
            constant, so that nothing is positive.
        f1: The largest F1, 0 to 1.
        range: Smallest and largest value over all maps.
    """

    threshold: float
    f1: float
    range: MapRange


def f1max_threshold(
    pairs: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]], *, n_bins: int = 4096
) -> BestF1:
    """Find the threshold with the largest F1 over all pixels of a class, exactly, in little memory.

    F1 = 2 TP / (2 TP + FP + FN), a pixel being positive at or above the threshold. The maps are
    read three times: for their range, for two histograms, and for the values inside the few bins
    that can hold the maximum. It looks at the truth, so a mask made with it is an oracle's.

    Args:
        pairs: A function that starts a reading of all (map, truth): float and bool, each (H, W).
        n_bins: Bins of the histograms; no influence on the result.

    Returns:
        The lowest threshold of largest F1.

    Raises:
        ValueError: If there is no map, sizes differ, or no pixel is truly defective.
    """
    limits = map_range(each for each, _ in pairs())
    if limits.low == limits.high:
        return BestF1(np.inf, 0.0, limits)
    edges = np.linspace(limits.low, limits.high, n_bins + 1)
    positives, negatives = np.zeros(n_bins, np.int64), np.zeros(n_bins, np.int64)
    for each, truth in pairs():
        if each.shape != truth.shape:
            raise ValueError(f"truth: expected the map's shape {each.shape}, found {truth.shape}")
        bins = _bins(each, edges)
        positives += np.bincount(bins[truth], minlength=n_bins)
        negatives += np.bincount(bins[~truth], minlength=n_bins)
    n_true = int(positives.sum())
    if not n_true:
        raise ValueError(
            "truth: no pixel of any image is defective, so no threshold has an F1; use the rule "
            "union or fixed"
        )
    # Counts at or above the lower edge of each bin, and above its upper edge.
    tp, fp = (np.cumsum(each[::-1])[::-1] for each in (positives, negatives))
    tp_next, fp_next = tp - positives, fp - negatives
    at_edges = 2 * tp / (tp + fp + n_true)
    # Inside a bin TP is at most that of its lower edge, and FP at least that of its upper one.
    possible = 2 * tp / np.maximum(tp + fp_next + n_true, 1)
    candidates = possible >= at_edges.max()
    # Equal values are counted, not kept: the background of most maps is one value, repeated.
    inside: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for each, truth in pairs():
        bins = _bins(each, edges)
        for index in np.unique(bins[candidates[bins]]):
            here = bins == index
            inside.setdefault(int(index), []).append(_count(each[here], truth[here]))
    best = (-1.0, np.inf)
    for index in sorted(inside):
        parts = [np.concatenate(columns) for columns in zip(*inside[index], strict=True)]
        levels, place = np.unique(parts[0], return_inverse=True)
        hits, misses = (
            np.bincount(place, weights=counts, minlength=len(levels))[::-1].cumsum()[::-1]
            for counts in parts[1:]
        )
        hits, misses = hits + tp_next[index], misses + fp_next[index]
        f1 = 2 * hits / (hits + misses + n_true)
        top = int(f1.argmax())
        if f1[top] > best[0]:
            best = (float(f1[top]), float(levels[top]))
    return BestF1(best[1], best[0], limits)


def _count(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count defective and other pixels of each value: values, ascending, and both counts."""
    levels, place = np.unique(values, return_inverse=True)
    defective = np.bincount(place, weights=truth, minlength=len(levels))
    return levels, defective, np.bincount(place, minlength=len(levels)) - defective


def _bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each value: edges[b] <= value < edges[b + 1], the last bin closed."""
    found = np.searchsorted(edges, values, side="right") - 1
    return np.clip(found, 0, len(edges) - 2)


def fixed_threshold(level: float, *, limits: MapRange) -> float:
    """Turn a level of the normalised map into a threshold of the map itself.

    Args:
        level: 0 to 1.
        limits: Range over all maps of the class.

    Returns:
        The threshold; infinite where all maps are constant.

    Raises:
        ValueError: If the level is no share.
    """
    if not 0 <= level <= 1:
        raise ValueError(f"binarise: expected a level of 0 to 1 after 'fixed:', found {level}")
    if limits.low == limits.high:
        return np.inf
    return limits.low + level * (limits.high - limits.low)


def good_threshold(maps: Iterable[np.ndarray], *, max_overkill_rate: float) -> float:
    """Set the threshold by good training images, without looking at any truth.

    Args:
        maps: Of good images, read one at a time.
        max_overkill_rate: Share of them that may get a mask.

    Returns:
        The threshold; pixels *above* it are positive, so use `above` with it.
    """
    return fit_threshold((float(each.max()) for each in maps), max_overkill_rate=max_overkill_rate)


BINARISE_RULES = ("union", "f1max", "fixed", "good")


def parse_rule(text: str) -> tuple[str, float | None]:
    """Read a `binarise` setting: "union", "f1max", "good" or "fixed:<level>".

    >>> parse_rule("fixed:0.5")
    ('fixed', 0.5)

    Raises:
        ValueError: If it is none of these.
    """
    rule, _, level = text.partition(":")
    try:
        if rule == "fixed" and 0 <= float(level) <= 1:
            return rule, float(level)
    except ValueError:
        pass
    if rule in BINARISE_RULES and rule != "fixed" and not level:
        return rule, None
    raise ValueError(
        f"binarise: expected union, f1max, good or fixed:<level of 0 to 1>, found {text!r}"
    )


def binarise(anomaly_map: np.ndarray, threshold: float, *, above: bool = False) -> np.ndarray:
    """Turn a map into a mask.

    Args:
        anomaly_map: float, (H, W).
        threshold: In units of the map.
        above: Strictly above instead of at or above.

    Returns:
        bool, (H, W).
    """
    return anomaly_map > threshold if above else anomaly_map >= threshold
