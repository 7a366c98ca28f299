"""SAM's automatic masks from a stored embedding: a grid of points, filters, suppression.

The result equals that of the package's `SamAutomaticMaskGenerator` with one full-image crop, but
the image encoder does not run again, and only masks that pass the first filter (predicted IoU,
known before any mask is drawn at full size) are brought to the image's resolution.

Source: Kirillov et al. (2023), "Segment Anything", appendix B, and `segment_anything.utils.amg`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from realitycheck.models.sam.decoder import DecodedPrompts, ImageDecoder
from realitycheck.models.sam.inference import (
    MASK_THRESHOLD,
    THREE_MASKS,
    embedding_tensor,
    prompts_per_pass,
    scale_points,
    upscale_logits,
)
from realitycheck.models.sam.model import SamModel

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MaskGrid:
    """Settings of the generator; the defaults are SAM's own but for `points_per_side`.

    Attributes:
        points_per_side: Points along each side of the image. Text2Seg's notebook uses 10, SAM's own
            default is 32.
        points_per_batch: Points per pass of the decoder at most; no influence on the result.
        pred_iou_thresh: A mask is kept if its predicted IoU is above this.
        stability_score_thresh: A mask is kept if its stability is at least this.
        stability_score_offset: Logits by which the cutoff is moved up and down for the stability.
        box_nms_thresh: Of two masks whose boxes overlap by more than this IoU, the one with the
            better predicted IoU stays.
    """

    points_per_side: int = 10
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7


def propose_masks(
    sam: SamModel,
    embedding: np.ndarray | Tensor,
    *,
    image_size_hw: tuple[int, int],
    grid: MaskGrid | None = None,
    masks_per_batch: int = 32,
) -> list[dict[str, Any]]:
    """Cut out everything: one prompt per point of a grid, three masks each, the good ones kept.

    Args:
        sam: A model with its prompt encoder and mask decoder.
        embedding: Embedding of the image, float, (C, h, w).
        image_size_hw: Height and width of the image in pixels.
        grid: Settings; None takes the defaults.
        masks_per_batch: Masks brought to the image's size at once; it bounds the memory and has no
            influence on the result.

    Returns:
        One record a mask, by descending predicted IoU: `rle` (COCO: "size" [H, W] and "counts", a
        text), `bbox` ([x, y, w, h] from inclusive pixel indices, so w and h are one less than the
        true extent), `area` (pixels), `predicted_iou`, `stability_score`, `point` ([x, y] in
        pixels, the prompt).

    Raises:
        ValueError: If the grid has no point.
    """
    import torch
    from pycocotools import mask as coco
    from segment_anything.utils.amg import build_point_grid
    from torchvision.ops.boxes import batched_nms

    grid = grid or MaskGrid()
    if grid.points_per_side < 1:
        raise ValueError(f"points_per_side: expected at least 1, found {grid.points_per_side}")
    height, width = (int(side) for side in image_size_hw)
    points = build_point_grid(grid.points_per_side) * np.array([[width, height]])
    features = embedding_tensor(sam, embedding)
    kept: list[_Drawn] = []
    decoder = ImageDecoder(sam, features)
    step = prompts_per_pass(sam, grid.points_per_batch)
    for start in range(0, len(points), step):
        part = points[start : start + step]
        decoded = _decode_points(sam, decoder, part, image_size_hw=(height, width))
        # Qualities are known before anything is drawn: points without a good mask stop here.
        good = torch.nonzero((decoded.qualities[:, THREE_MASKS] > grid.pred_iou_thresh).any(dim=1))
        rows = good.flatten()
        if not len(rows):
            continue
        decoded = DecodedPrompts(
            decoded.qualities[rows], decoded.mask_tokens[rows], decoded.pixels[rows]
        )
        ious = decoded.qualities[:, THREE_MASKS]
        logits = decoder.draw(decoded, THREE_MASKS)
        part = part[rows.cpu().numpy()]
        passed = torch.nonzero(ious.flatten() > grid.pred_iou_thresh).flatten()
        origins = np.repeat(part, ious.shape[1], axis=0)
        flat_logits, flat_ious = logits.flatten(0, 1), ious.flatten()
        for index in passed.split(max(1, masks_per_batch)):
            kept += _draw(
                sam,
                flat_logits[index],
                flat_ious[index],
                origins[index.cpu().numpy()],
                image_size_hw=(height, width),
                grid=grid,
            )
    if not kept:
        return []
    order = batched_nms(
        torch.tensor(np.stack([drawn.box for drawn in kept]), dtype=torch.float32),
        torch.tensor([drawn.predicted_iou for drawn in kept], dtype=torch.float32),
        torch.zeros(len(kept)),
        iou_threshold=grid.box_nms_thresh,
    )
    records = []
    for drawn in (kept[index] for index in order.tolist()):
        x_min, y_min, x_max, y_max = (float(value) for value in drawn.box)
        records.append(
            {
                "rle": {"size": [height, width], "counts": drawn.counts.decode()},
                "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                "area": int(coco.area({"size": [height, width], "counts": drawn.counts})),
                "predicted_iou": drawn.predicted_iou,
                "stability_score": drawn.stability_score,
                "point": [float(drawn.point[0]), float(drawn.point[1])],
            }
        )
    return records


@dataclass(frozen=True)
class _Drawn:
    """A mask that passed both filters; `box` is x_min, y_min, x_max, y_max, inclusive."""

    counts: bytes
    box: np.ndarray
    predicted_iou: float
    stability_score: float
    point: np.ndarray


def _decode_points(
    sam: SamModel, decoder: ImageDecoder, points: np.ndarray, *, image_size_hw: tuple[int, int]
) -> DecodedPrompts:
    """Decode one prompt per point."""
    import torch

    scaled = scale_points(
        points, image_size_hw=image_size_hw, image_size_px=sam.dimensions.image_size_px
    )
    # Double precision up to the position code, as the package's generator has it; Apple's GPUs
    # know no double precision.
    precision = torch.float32 if sam.device.type == "mps" else torch.float64
    prompts = torch.as_tensor(scaled, dtype=precision, device=sam.device)[:, None]
    labels = torch.ones(prompts.shape[:2], dtype=torch.int32, device=sam.device)
    return decoder.decode(points=prompts, labels=labels)


def _draw(
    sam: SamModel,
    logits: Tensor,
    ious: Tensor,
    points: np.ndarray,
    *,
    image_size_hw: tuple[int, int],
    grid: MaskGrid,
) -> list[_Drawn]:
    """Bring masks to the image's size, drop the unstable ones, encode the others."""
    import torch
    from pycocotools import mask as coco
    from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score

    with torch.inference_mode():
        full = upscale_logits(
            logits[:, None],
            image_size_hw=image_size_hw,
            image_size_px=sam.dimensions.image_size_px,
        )[:, 0]
        # Where no logit passes the lower cutoff the score is 0/0; such a mask fails the comparison.
        stability = calculate_stability_score(full, MASK_THRESHOLD, grid.stability_score_offset)
        stable = torch.nonzero(stability >= grid.stability_score_thresh).flatten()
        masks = full[stable] > MASK_THRESHOLD
        boxes = batched_mask_to_box(masks).cpu().numpy()
        pixels = masks.cpu().numpy().astype(np.uint8)
    encoded = coco.encode(np.asfortranarray(pixels.transpose(1, 2, 0))) if len(pixels) else []
    return [
        _Drawn(
            counts=rle["counts"],
            box=box,
            predicted_iou=float(ious[index]),
            stability_score=float(stability[index]),
            point=points[index],
        )
        for rle, box, index in zip(encoded, boxes, stable.tolist(), strict=True)
    ]
