"""Measure the shipped networks on held-out everyday scenes, through the product's own loaders.

    python -m training.measure --n-scenes 200

The scenes come from a seed that no training used; no figure here has any part in training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from realitycheck.datasets.synthetic.everyday import Scene
from realitycheck.datasets.synthetic.everyday_parts import NOUNS
from realitycheck.models.checkpoints.known import SHIPPED_FOLDER
from realitycheck.models.checkpoints.read import load_state
from realitycheck.models.clip import model as clip
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import load_sam
from training import resnet, words
from training.scenes import FIRST_HELD_OUT_SEED, scene_of

#: Least score at which a box counts as found, GroundingDINO's usual one.
BOX_THRESHOLD = 0.35


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))


def _box_iou(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    either = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - shared
    return shared / np.maximum(either, 1e-6)


def measure_sam(scenes: Sequence[Scene], folder: Path) -> dict[str, float]:
    """Mean IoU of masks from the true boxes, and from one point each."""
    model = load_sam(folder / "sam.safetensors", variant="everyday")
    by_box, by_point = [], []
    for scene in scenes:
        if not scene.instances:
            continue
        embedding = sam.encode_image(model, scene.image)
        size = scene.image.shape[:2]
        boxes = np.array([instance.box for instance in scene.instances])
        masks, _, _ = sam.decode_boxes(model, embedding, boxes, image_size_hw=size)
        for instance, mask in zip(scene.instances, masks, strict=True):
            truth = scene.identities == instance.identity
            by_box.append(_iou(mask, truth))
            rows, columns = np.nonzero(truth)
            middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            point = np.array([[columns[middle] + 0.5, rows[middle] + 0.5]])
            three, quality, _ = sam.decode_points(
                model, embedding, point, np.ones(1), image_size_hw=size, multimask=True
            )
            by_point.append(_iou(three[int(quality.argmax())], truth))
    return {
        "box_mean_iou": float(np.mean(by_box)),
        "point_mean_iou": float(np.mean(by_point)),
        "n_objects": len(by_box),
    }


def measure_grounding_dino(scenes: Sequence[Scene], folder: Path) -> dict[str, float]:
    """Recall at IoU 0.5 of prompted things by their noun, and false alarms for absent ones."""
    model = grounding_dino.load_grounding_dino(
        folder / "grounding_dino.safetensors", text_encoder=folder / "bert", variant="everyday"
    )
    rng = np.random.default_rng(0)
    found, localised, n_boxes, n_right, alarms = [], [], 0, 0, []
    for scene in scenes:
        nouns = list(dict.fromkeys(instance.noun for instance in scene.instances))
        absent = words.absent_phrase(rng, scene.instances)
        captions = [*nouns, *([absent] if absent in NOUNS else [])]
        size = scene.image.shape[:2]
        for noun, detection in zip(
            captions, grounding_dino.detect(model, scene.image, captions), strict=True
        ):
            boxes = grounding_dino.boxes_to_pixels(detection.boxes, image_size_hw=size)
            kept = boxes[detection.scores > BOX_THRESHOLD]
            if noun not in nouns:
                alarms.append(len(kept) > 0)
                continue
            truths = [np.array(i.box, float) for i in scene.instances if i.noun == noun]
            for truth in truths:
                found.append(bool(len(kept)) and _box_iou(kept, truth).max() >= 0.5)
                localised.append(_box_iou(boxes, truth).max() >= 0.5)
            n_boxes += len(kept)
            n_right += sum(max(_box_iou(box[None], t)[0] for t in truths) >= 0.5 for box in kept)
    return {
        "recall_at_iou_0.5": float(np.mean(found)),
        "recall_of_all_queries": float(np.mean(localised)),
        "precision_at_iou_0.5": n_right / max(n_boxes, 1),
        "alarm_rate_for_absent_things": float(np.mean(alarms)),
        "n_objects": len(found),
    }


def measure_clip(scenes: Sequence[Scene], folder: Path) -> dict[str, float]:
    """Share of crops whose noun is the likeliest of all nouns, with surroundings and without."""
    model = clip.load_clip(folder / "clip.safetensors", variant="everyday")
    texts = np.stack([clip.text_ensemble(model, noun) for noun in NOUNS])
    crops, masked, nouns = [], [], []
    for scene in scenes:
        for instance in scene.instances:
            x_min, y_min, x_max, y_max = instance.box
            crops.append(scene.image[y_min:y_max, x_min:x_max])
            truth = scene.identities == instance.identity
            masked.append(
                clip.crop_mask(scene.image, truth, swap_canvas=False, inclusive_bbox=False)
            )
            nouns.append(list(NOUNS).index(instance.noun))
    right = {}
    for name, images in (("crop", crops), ("masked_crop", masked)):
        likeliest = (clip.encode_crops(model, images) @ texts.T).argmax(axis=1)
        right[f"{name}_accuracy"] = float(np.mean(likeliest == np.array(nouns)))
    return {**right, "n_classes": len(NOUNS), "n_objects": len(nouns)}


def measure_resnet(scenes: Sequence[Scene], folder: Path) -> dict[str, float]:
    """Share of crops whose noun, finish and colour are right."""
    import cv2

    model = resnet.build()
    state = load_state(folder / "resnet.safetensors")
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    model.eval()
    right: dict[str, list[bool]] = {kind: [] for kind in resnet.CLASSES}
    for scene in scenes:
        for instance in scene.instances:
            x_min, y_min, x_max, y_max = instance.box
            crop = cv2.resize(
                scene.image[y_min:y_max, x_min:x_max], (resnet.CROP_PX, resnet.CROP_PX)
            ).astype(np.float32)
            pixels = torch.from_numpy((crop - crop.mean()) / max(crop.std(), 1))
            with torch.inference_mode():
                outputs = model(pixels.permute(2, 0, 1)[None])[0]
            for (kind, names), part in zip(
                resnet.CLASSES.items(),
                outputs.split([len(names) for names in resnet.CLASSES.values()]),
                strict=True,
            ):
                right[kind].append(names[int(part.argmax())] == getattr(instance, kind))
    return {f"{kind}_accuracy": float(np.mean(values)) for kind, values in right.items()}


def measure(folder: Path, *, n_scenes: int, seed: int, only: Sequence[str]) -> dict[str, Any]:
    """Measure networks on held-out scenes.

    Raises:
        ValueError: If the seed belongs to the training sets.
    """
    if seed < FIRST_HELD_OUT_SEED:
        raise ValueError(f"seed: expected {FIRST_HELD_OUT_SEED} or more, found {seed}: training's")
    scenes = [scene_of(seed, index) for index in range(n_scenes)]
    measures = {
        "sam": measure_sam,
        "grounding_dino": measure_grounding_dino,
        "clip": measure_clip,
        "resnet": measure_resnet,
    }
    found = {name: measures[name](scenes, folder) for name in only}
    return {"seed": seed, "n_scenes": n_scenes, **found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure from the command line and keep the figures beside the weights."""
    names = ("sam", "grounding_dino", "clip", "resnet")
    parser = argparse.ArgumentParser(description="Measure the shipped networks.")
    parser.add_argument("--folder", default=str(SHIPPED_FOLDER))
    parser.add_argument("--n-scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=FIRST_HELD_OUT_SEED)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--keep", action="store_true", help="write measured.json")
    given = parser.parse_args(arguments)
    folder = Path(given.folder)
    figures = measure(folder, n_scenes=given.n_scenes, seed=given.seed, only=given.only)
    text = json.dumps(figures, indent=2) + "\n"
    if given.keep:
        (folder / "measured.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
