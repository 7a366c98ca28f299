"""Compare SAM's image encoder as the package runs it with ours, in float32 and in bfloat16.

All take turns on the same images and weights, in one process. Prints the median time of each, the
time of its first image (where it compiles), its ratio to the package's, how far embeddings are from
the package's (root mean square of the difference over that of the embedding), and the IoU of masks
decoded from both, one for each of some boxes drawn with a seed.

Usage: python benchmarks/encoder.py --size vit_b --repeats 3
"""

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from _full_size import SIZES, Clock, drawn_image, write_networks

from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.model import PARTS

PACKAGE = "package, float32"
N_BOXES = 12


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def main() -> None:
    """Run the encoders in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="vit_b")
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
    parser.add_argument("--compiled", action="store_true", help="ours compiled, too")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        networks = write_networks(
            options.networks or scratch,
            size=options.size,
            others=options.others,
            seed=options.seed,
            device=options.device,
        )
        models = {
            precision: replace(networks, precision=precision).sam(*PARTS)
            for precision in ("float32", "bfloat16")
        }
        if options.compiled:
            for precision in ("float32", "bfloat16"):
                model = replace(networks, precision=precision).sam("image_encoder")
                model.is_compiled = True
                models[f"{precision}, compiled"] = model
    side = models["float32"].dimensions.image_size_px

    def by_package(image: np.ndarray) -> np.ndarray:
        model = models["float32"]
        inputs = sam.preprocess(image, image_size_px=side)[0][None].to(model.device)
        with torch.inference_mode():
            return model.image_encoder(inputs)[0].cpu().numpy()

    ways = {
        PACKAGE: by_package,
        **{f"ours, {kind}": partial(sam.encode_image, model) for kind, model in models.items()},
    }
    rng = np.random.default_rng(options.seed)
    seconds = {way: [] for way in ways}
    warm_up_s = {}
    differences = {way: [] for way in ways}
    ious = {way: [] for way in ways}
    for index in range(options.repeats + 1):
        image = drawn_image(f"part {index}", image_size_px=side, seed=options.seed)
        corners = np.sort(rng.uniform(0, side, (N_BOXES, 2, 2)), axis=1).reshape(N_BOXES, 4)
        found, masks = {}, {}
        for way, encode in ways.items():
            with Clock() as clock:
                found[way] = encode(image)
            if index:
                seconds[way].append(clock.wall_s)
            else:
                warm_up_s[way] = clock.wall_s
            masks[way], _, _ = sam.decode_boxes(
                models["float32"], found[way], corners, image_size_hw=image.shape[:2]
            )
        size = np.sqrt(np.mean(found[PACKAGE] ** 2))
        for way in ways:
            error = np.sqrt(np.mean((found[way] - found[PACKAGE]) ** 2))
            differences[way].append(float(error / size))
            pairs = zip(masks[way], masks[PACKAGE], strict=True)
            ious[way] += [iou(one, other) for one, other in pairs]
    print(
        f"{options.size}, {side} px, {options.device}, {options.threads} threads, torch "
        f"{torch.__version__}; medians of {options.repeats}"
    )
    base = median(seconds[PACKAGE])
    for way in ways:
        print(
            f"{way:24s} {median(seconds[way]):8.3f} s   ratio {median(seconds[way]) / base:.2f}   "
            f"first {warm_up_s[way]:6.1f} s   "
            f"embedding {max(differences[way]):.1e}   "
            f"mask IoU mean {np.mean(ious[way]):.4f} least {min(ious[way]):.4f}"
        )


if __name__ == "__main__":
    main()
