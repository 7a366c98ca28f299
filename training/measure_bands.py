"""Measure the methods on drawn pets, for the bands of the self-test.

    python -m training.measure_bands --n-cats 24

The pets come from a seed that the demo does not use. A band is the mean IoU less three standard
errors of a set of 10 cats, the demo's; `realitycheck/report/tables/self_test.yaml` holds the
result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from realitycheck.datasets.synthetic.drawn_sets import image_rng
from realitycheck.datasets.synthetic.pets import SET_NAME, draw_pet
from realitycheck.methods.clip_surgery_sam import algorithm as clip_surgery_sam
from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.sam_clip import algorithm as sam_clip
from realitycheck.models import saliency
from realitycheck.models.checkpoints.known import SHIPPED_FOLDER
from realitycheck.models.clip import model as clip
from realitycheck.models.clip import surgery as clip_surgery
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.automatic_masks import MaskGrid, propose_masks
from realitycheck.models.sam.load import load_sam

SEED = 2000
#: As in the demo's settings, but for SAA+'s rule `union`, which looks at no truth; how they were
#: chosen says `training/README.md`.
BOX_THRESHOLD = 0.25
GRID = MaskGrid(points_per_side=8, pred_iou_thresh=0.5, stability_score_thresh=0.7)
SURGERY = {"clip_input_size": 288, "threshold": 0.85}
SAA_PLUS = {"n_objects": 1, "max_masks": 1, "area_ratio": 1.1, "box_threshold": 0.1}
_SIZE = (256, 256)


def measure(n_cats: int) -> dict[str, list[float]]:
    """IoU of every method on every cat."""
    segmenter = load_sam(SHIPPED_FOLDER / "sam.safetensors", variant="everyday")
    detector = grounding_dino.load_grounding_dino(
        SHIPPED_FOLDER / "grounding_dino.safetensors",
        text_encoder=SHIPPED_FOLDER / "bert",
        variant="everyday",
    )
    model = clip.load_clip(SHIPPED_FOLDER / "clip.safetensors", variant="everyday")
    bare = clip.encode_text(model, ["cat"])
    ensemble = clip.text_ensemble(model, "cat")[None]
    redundant = clip.text_ensemble(model, "")
    backbone = saliency.load_saliency(SHIPPED_FOLDER / "resnet.safetensors", variant="everyday")
    slips, surgery = sam_clip.PUBLISHED, clip_surgery_sam.REPAIRED
    found: dict[str, list[float]] = {}
    for index in range(n_cats):
        name = f"test/NOK/cat/{index:04d}"
        drawn = draw_pet(image_rng(SET_NAME, name, seed=SEED), "cat")
        embedding = sam.encode_image(segmenter, drawn.image)
        detections = grounding_dino.detect(detector, drawn.image, ["cat"], floor=0.05)
        decode_boxes = sam.box_decoder(segmenter, embedding, image_size_hw=_SIZE)
        results = {
            "grounded_sam": grounded_sam.segment(
                detections, decode_boxes, image_size_hw=_SIZE, box_threshold=BOX_THRESHOLD
            ),
            "saa_plus": saa_plus.segment(
                detections[0],
                detections,
                filter_phrases=[""],
                decode_boxes=decode_boxes,
                saliency=saliency.saliency_map(backbone, drawn.image, bgr=False),
                image_size_hw=_SIZE,
                **SAA_PLUS,
            ).segmentation,
        }
        masks = [
            clip.decode_mask(record["rle"])
            for record in propose_masks(segmenter, embedding, image_size_hw=_SIZE, grid=GRID)
        ]
        crops = [
            clip.crop_mask(
                drawn.image,
                mask,
                swap_canvas=slips.swap_canvas,
                inclusive_bbox=slips.inclusive_bbox,
            )
            for mask in masks
        ]
        results["sam_clip"] = sam_clip.segment(
            clip.encode_crops(model, crops), bare, masks=masks, image_size_hw=_SIZE
        )
        pixels = clip_surgery.surgery_input(
            drawn.image,
            double_norm=surgery.double_norm,
            clip_input_size=SURGERY["clip_input_size"],
        )
        tokens = clip_surgery.encode_tokens(model, pixels[None])[0]

        def decode(points: np.ndarray, labels: np.ndarray, embedding=embedding) -> np.ndarray:  # noqa: ANN001
            return sam.decode_points(segmenter, embedding, points, labels, image_size_hw=_SIZE)[0][
                0
            ]

        results["clip_surgery_sam"] = clip_surgery_sam.segment(
            tokens,
            ensemble,
            redundant_feature=redundant,
            decode_points=decode,
            image_size_hw=_SIZE,
            norm_axis=surgery.norm_axis,
            first_prompt_only=surgery.first_prompt_only,
            threshold=SURGERY["threshold"],
        )
        for method, result in results.items():
            shared = (result.mask & drawn.mask).sum()
            iou = float(shared / (result.mask | drawn.mask).sum())
            found.setdefault(method, []).append(iou)
        means = {method: round(float(np.mean(ious)), 3) for method, ious in found.items()}
        print(f"{index + 1} cats: {means}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description="Measure the methods on drawn pets.")
    parser.add_argument("--n-cats", type=int, default=24)
    found = measure(parser.parse_args(arguments).n_cats)
    for method, ious in found.items():
        mean, error = np.mean(ious), np.std(ious, ddof=1) / np.sqrt(10)
        print(f"{method}: mean {mean:.3f}, band {max(mean - 3 * error, 0):.2f}")


if __name__ == "__main__":
    main()
