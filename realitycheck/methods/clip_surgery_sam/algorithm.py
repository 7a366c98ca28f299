"""CLIP Surgery + SAM: point at the places most like the prompt, and let SAM draw the mask.

The tokens of CLIP Surgery and SAM's embedding know nothing of the prompt and are stored once per
image; `segment` needs those, text features, and SAM's small decoder for one prompt of points.

Sources: Text2Seg, `predict_CLIPS`; CLIP_Surgery, feature surgery and similarity map to points.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realitycheck.methods.base import Segmentation
from realitycheck.models.clip.model import LOGIT_SCALE
from realitycheck.models.clip.surgery import NormAxis, points_from_map, similarity_map


@dataclass(frozen=True)
class ClipSurgeryVariant:
    """The published code's slips and choices, each a switch.

    Attributes:
        surgery: Whether surgery takes place. Text2Seg's literal code loads the plain "ViT-B/16";
            the paper names "CS-ViT-B/16".
        double_norm: Whether the image is normalised twice; see `clip_surgery.surgery_input`.
        norm_axis: `tokens` as published, or `channels`; see `clip_surgery.similarity_map`.
        first_prompt_only: Whether prompts after the first play no part, instead of a union.
        antialias: Whether the tensor resize of `double_norm` filters before it shrinks.
        clip_input_size: Side of CLIP's input in pixels; a point is accurate to about a seventh of
            the image at 224, and to a sixteenth at 512.
    """

    surgery: bool = True
    double_norm: bool = True
    norm_axis: NormAxis = "tokens"
    first_prompt_only: bool = True
    antialias: bool = True
    clip_input_size: int = 224


PUBLISHED = ClipSurgeryVariant()
REPAIRED = ClipSurgeryVariant(double_norm=False, norm_axis="channels", first_prompt_only=False)
PLAIN_CLIP = ClipSurgeryVariant(surgery=False)
VARIANTS = {"published": PUBLISHED, "repaired": REPAIRED, "plain_clip": PLAIN_CLIP}


def segment(
    tokens: np.ndarray,
    text_features: np.ndarray,
    *,
    redundant_feature: np.ndarray,
    decode_points: Callable[[np.ndarray, np.ndarray], np.ndarray],
    image_size_hw: tuple[int, int],
    norm_axis: NormAxis,
    first_prompt_only: bool,
    threshold: float = 0.8,
    downsample: int = 2,
) -> Segmentation:
    """Turn stored tokens and prompts into one mask.

    The score is σ(100 · max S): the probability, at CLIP's logit scale, that the most similar patch
    is called by the prompt and not by the empty phrase. With `norm_axis` `tokens` the features have
    no unit length, and it only ranks images.

    Args:
        tokens: Of one image, from `clip_surgery.encode_tokens`, shape (1 + g², D).
        text_features: One row a prompt, from `clip.text_ensemble`, shape (K, D).
        redundant_feature: The same for the empty phrase, shape (D,).
        decode_points: SAM's decoder on the image's embedding: points (P, 2), x and y in pixels, and
            labels (P,), 1 or 0, of one prompt, to one mask, bool (H, W).
        image_size_hw: Height and width of the image in pixels.
        norm_axis: See `clip_surgery.similarity_map`.
        first_prompt_only: See `ClipSurgeryVariant`.
        threshold: See `clip_surgery.points_from_map`.
        downsample: See `clip_surgery.points_from_map`.

    Returns:
        The union over the prompts used. Status `constant_map` where no prompt's map has a place to
        point at (the published code fails there), `empty` where SAM draws no pixel.

    Raises:
        ValueError: If there is no prompt, or SAM's mask has another size than the image.
    """
    if text_features.ndim != 2 or not len(text_features):
        raise ValueError(
            f"text_features: expected shape (K, D) with K at least 1, found {text_features.shape}; "
            f"give at least one prompt"
        )
    used = text_features[:1] if first_prompt_only else text_features
    similarity = similarity_map(
        tokens, used, redundant_feature=redundant_feature, norm_axis=norm_axis
    )[1:]
    height, width = image_size_hw
    union = np.zeros((height, width), bool)
    n_pointed, n_regions, peaks = 0, 0, []
    for column in similarity.T:
        points, labels = points_from_map(
            column, height_px=height, width_px=width, threshold=threshold, downsample=downsample
        )
        if not len(points):
            continue
        n_pointed += 1
        peaks.append(float(column.max()))
        mask = np.asarray(decode_points(points, labels))
        if mask.shape != union.shape:
            raise ValueError(
                f"SAM mask: expected shape {union.shape} like the image, found {mask.shape}; "
                f"decode one mask at the size of the image"
            )
        n_regions += bool(mask.any())
        union |= mask
    if not n_pointed:
        return Segmentation(union, None, 0, "constant_map")
    score = float(1 / (1 + np.exp(-LOGIT_SCALE * max(peaks))))
    return Segmentation(union, score, n_regions, "ok" if n_regions else "empty")
