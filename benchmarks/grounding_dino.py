"""Compare GroundingDINO with several prompts as the package runs it with ours.

The package's `predict` runs the whole network for each prompt; ours runs the image backbone once
for all of them, in float32 and in bfloat16. All take turns on the same images and weights, in one
process. Prints the median time of each and its ratio to the package's, and how the kept boxes
agree: matched one to one by their IoU, the share of the package's boxes that ours finds again, with
an IoU of 0.95, and the mean and least IoU of these.

Usage: python benchmarks/grounding_dino.py --size vit_b --repeats 3
"""

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from _full_size import SIZES, Clock, drawn_image, print_ratios, write_networks

from realitycheck.models.grounding_dino import model as grounding_dino

PROMPTS = ("defect", "void", "crack", "dark spot", "delamination")
#: Largest ratios to the package's time.
AIMS = {"float32": 0.60, "bfloat16": 0.45}


def iou(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of a box (cx, cy, w, h) with others, (N, 4)."""
    low = np.maximum(one[:2] - one[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(one[:2] + one[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    return common / np.maximum(np.prod(one[2:]) + np.prod(others[:, 2:], axis=1) - common, 1e-12)


def matched(boxes: np.ndarray, others: np.ndarray) -> list[float]:
    """IoU of each box with the best of the others, each of which serves once."""
    left, found = list(range(len(others))), []
    for box in boxes:
        if not left:
            found.append(0.0)
            continue
        each = iou(box, others[left])
        best = int(each.argmax())
        found.append(float(each[best]))
        left.pop(best)
    return found


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=SIZES, default="vit_b", help="miniature, or the detector's full size"
    )
    parser.add_argument("--n-prompts", type=int, default=5, choices=range(1, len(PROMPTS) + 1))
    parser.add_argument("--repeats", type=int, default=3, help="images, another one each time")
    parser.add_argument("--image-size-px", type=int, default=1024)
    parser.add_argument("--box-threshold", type=float, default=0.35)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=Path, help="folder that keeps the drawn weights")
    options = parser.parse_args()

    import torch
    from groundingdino.util.inference import predict

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        networks = write_networks(
            options.networks or scratch,
            size=options.size,
            others="miniature" if options.size == "miniature" else "full",
            seed=options.seed,
            device=options.device,
        )
        models = {
            precision: replace(networks, detector_precision=precision).grounding_dino()
            for precision in AIMS
        }
    prompts = PROMPTS[: options.n_prompts]
    model = models["float32"]
    size = model.dimensions

    def by_package(image: np.ndarray) -> list[np.ndarray]:
        pixels = grounding_dino.preprocess(
            image, short_side_px=size.short_side_px, long_side_limit_px=size.long_side_limit_px
        )
        found = []
        for prompt in prompts:
            boxes, _, _ = predict(
                model.network,
                pixels,
                prompt,
                box_threshold=options.box_threshold,
                text_threshold=0.25,
                device=options.device,
            )
            found.append(boxes.numpy())
        return found

    def by_ours(image: np.ndarray, *, precision: str) -> list[np.ndarray]:
        found = grounding_dino.detect(models[precision], image, prompts)
        return [
            grounding_dino.select_boxes(each, box_threshold=options.box_threshold).boxes
            for each in found
        ]

    ways = {"package": by_package}
    ways |= {precision: partial(by_ours, precision=precision) for precision in AIMS}
    seconds = {way: [] for way in ways}
    ious, n_boxes = {way: [] for way in ways}, {way: 0 for way in ways}
    for index in range(options.repeats + 1):
        image = drawn_image(f"part {index}", image_size_px=options.image_size_px, seed=options.seed)
        boxes = {}
        for way, detect in ways.items():
            with Clock() as clock:
                boxes[way] = detect(image)
            n_boxes[way] += sum(map(len, boxes[way]))
            if index:  # the first one warms up
                seconds[way].append(clock.wall_s)
            for one, other in zip(boxes["package"], boxes[way], strict=True):
                ious[way] += matched(one, other)
    print(
        f"GroundingDINO {networks.variants['grounding_dino']}, {len(prompts)} prompts, "
        f"{options.image_size_px} px, {options.device}, {options.threads} threads, torch "
        f"{torch.__version__}; medians of {options.repeats}"
    )
    print_ratios(seconds, n_boxes, ious, what="boxes", aims=AIMS)


if __name__ == "__main__":
    main()
