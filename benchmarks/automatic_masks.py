"""Compare SAM's automatic masks as the package makes them with ours, from the same embedding.

The package's `SamAutomaticMaskGenerator` and ours take turns on the same images and weights, in one
process; ours in float32 and in bfloat16. The image encoder, which `encoder.py` compares, has run
before, in float32. Prints the median time of each and its ratio to the package's, and how the masks
agree: the share of the package's masks of which ours has one from the same point with an IoU of
0.95, and the mean and least IoU of these.

Usage: python benchmarks/automatic_masks.py --size vit_b --repeats 3
"""

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _full_size import SIZES, Clock, drawn_image, print_ratios, write_networks

from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.automatic_masks import MaskGrid, propose_masks
from realitycheck.models.sam.model import PARTS

#: Largest ratios to the package's time.
AIMS = {"float32": 0.35, "bfloat16": 0.25}


def pairs(ours: list[dict[str, Any]], package: list[dict[str, Any]]) -> list[float]:
    """IoU of each of the package's masks with the mask of the same point that fits it best."""
    from pycocotools import mask as coco

    by_point: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    for record in ours:
        by_point.setdefault(tuple(np.round(record["point"], 3)), []).append(record)
    found = []
    for record in package:
        left = by_point.get(tuple(np.round(record["point_coords"][0], 3)), [])
        if not left:
            found.append(0.0)
            continue
        others = [each["rle"] for each in left]
        each = coco.iou([record["segmentation"]], others, [0] * len(others))[0]
        found.append(float(each.max()))
        left.pop(int(each.argmax()))
    return found


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="vit_b")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="images, another one each time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=Path, help="folder that keeps the drawn weights")
    parser.add_argument(
        "--others",
        choices=("full", "miniature"),
        default="miniature",
        help="size of the other networks of that folder, which play no part here",
    )
    options = parser.parse_args()

    import torch
    from segment_anything import SamAutomaticMaskGenerator
    from segment_anything.modeling import Sam

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        networks = write_networks(
            options.networks or scratch,
            size=options.size,
            others=options.others,
            seed=options.seed,
            device=options.device,
        )
        model = networks.sam(*PARTS)
        models = {
            precision: replace(networks, precision=precision).sam("prompt_encoder", "mask_decoder")
            for precision in AIMS
        }
    side = model.dimensions.image_size_px
    # The masks of an untrained SAM of real size span the image: without suppression of overlaps.
    overlap = 0.7 if options.size == "miniature" else 1.0
    grid = MaskGrid(
        points_per_side=options.points_per_side, points_per_batch=128, box_nms_thresh=overlap
    )
    whole = Sam(
        model.image_encoder,
        model.prompt_encoder,
        model.mask_decoder,
        pixel_mean=sam.PIXEL_MEAN,
        pixel_std=sam.PIXEL_STD,
    )
    generator = SamAutomaticMaskGenerator(
        whole.eval().to(options.device),
        points_per_side=options.points_per_side,
        box_nms_thresh=overlap,
        output_mode="coco_rle",
    )
    embedding = np.empty(0)

    def keep(image: np.ndarray) -> None:
        """Stand for the predictor's `set_image`: the embedding is there already."""
        predictor = generator.predictor
        predictor.original_size = predictor.input_size = image.shape[:2]
        predictor.features = sam.embedding_tensor(model, embedding)
        predictor.is_image_set = True

    generator.predictor.set_image = keep

    def by_ours(image: np.ndarray, *, precision: str) -> list[dict[str, Any]]:
        return propose_masks(models[precision], embedding, image_size_hw=image.shape[:2], grid=grid)

    ways = {"package": generator.generate}
    ways |= {precision: partial(by_ours, precision=precision) for precision in AIMS}
    seconds = {way: [] for way in ways}
    ious, n_masks = {way: [] for way in ways}, {way: 0 for way in ways}
    for index in range(options.repeats):
        image = drawn_image(f"part {index}", image_size_px=side, seed=options.seed)
        embedding = sam.encode_image(model, image)
        records = {}
        for way, propose in ways.items():
            with torch.inference_mode(), Clock() as clock:
                records[way] = propose(image)
            seconds[way].append(clock.wall_s)
            n_masks[way] += len(records[way])
            if way != "package":
                ious[way] += pairs(records[way], records["package"])
    print(
        f"{options.size}, {side} px, {options.points_per_side} points per side, {options.device}, "
        f"{options.threads} threads, torch {torch.__version__}; medians of {options.repeats}"
    )
    print_ratios(seconds, n_masks, ious, what="masks", aims=AIMS)


if __name__ == "__main__":
    main()
