"""Measure how well every alignment method recovers the true transform of synthetic scans.

Draws good and defective parts of `synthetic_sat`, turned, shifted, scaled and of changed
brightness, aligns each to one reference part and prints, for each method and motion, the corner
error (the largest distance, over the image's four corners, between where the true transform and
the recovered one put them), in pixels.

Usage: python benchmarks/alignment.py --n-images 100 --seed 0
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from realitycheck.alignment import Aligner
from realitycheck.datasets.synthetic.sat import DEFECT_TYPES, SatSettings, draw_part, image_rng

CASES = (
    ("ecc", "similarity"),
    ("ecc", "affine"),
    ("ecc", "homography"),
    ("phase", "similarity"),
    ("features", "similarity"),
    ("none", "similarity"),
)


def corner_error(matrix: np.ndarray, truth: np.ndarray, *, size_px: int) -> float:
    """Give the largest distance of the four corners between two transforms, in pixels."""
    last = size_px - 1
    corners = np.array([[0, 0, 1], [last, 0, 1], [last, last, 1], [0, last, 1]], float).T
    ends = [m @ corners for m in (matrix, truth)]
    a, b = (end[:2] / end[2] for end in ends)
    return float(np.linalg.norm(a - b, axis=0).max())


def main() -> None:
    """Draw, align, compare and print one line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-images", type=int, default=60, help="images, one in three defective")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size-px", type=int, default=512)
    parser.add_argument("--rotation-deg", type=float, default=8.0, help="turned by up to ± this")
    parser.add_argument("--shift-fraction", type=float, default=0.05, help="± share of the width")
    parser.add_argument("--scale-fraction", type=float, default=0.03, help="scale 1 ± this")
    parser.add_argument("--brightness-fraction", type=float, default=0.3, help="gain 1 ± this")
    parser.add_argument("--quarter-turns", action="store_true", help="turn parts by 90° as well")
    options = parser.parse_args()

    still = SatSettings(
        image_size_px=options.image_size_px,
        max_rotation_deg=0.0,
        max_shift_fraction=0.0,
        max_scale_fraction=0.0,
    )
    moved = SatSettings(
        image_size_px=options.image_size_px,
        max_rotation_deg=options.rotation_deg,
        max_shift_fraction=options.shift_fraction,
        max_scale_fraction=options.scale_fraction,
        max_brightness_fraction=options.brightness_fraction,
        quarter_turns=options.quarter_turns,
    )
    # A reference is a real part with its own tolerances and noise, not the drawing.
    reference = draw_part(image_rng("reference", seed=options.seed), settings=still)
    parts = []
    for index in range(options.n_images):
        kind = DEFECT_TYPES[index // 3 % 3] if index % 3 == 2 else None
        rng = image_rng(f"image/{index}", seed=options.seed)
        parts.append(draw_part(rng, defect_type=kind, settings=moved))

    print(
        f"{options.n_images} images of {options.image_size_px} px, seed {options.seed}, "
        f"±{options.rotation_deg:g}°, ±{100 * options.shift_fraction:g} % shift, "
        f"±{100 * options.scale_fraction:g} % scale, "
        f"±{100 * options.brightness_fraction:g} % brightness, "
        f"quarter turns {'yes' if options.quarter_turns else 'no'}"
    )
    print(
        f"{'method':<10}{'motion':<13}{'median_px':>10}{'p95_px':>10}{'max_px':>10}"
        f"{'kept_original':>15}{'residual':>18}{'s_per_image':>13}"
    )
    for method, motion in CASES:
        aligner = Aligner(reference.image, method=method, motion=motion)
        errors, results = [], []
        began = time.perf_counter()
        for part in parts:
            results.append(aligner.align(part.image))
        seconds = (time.perf_counter() - began) / max(len(parts), 1)
        for part, result in zip(parts, results, strict=True):
            truth = np.linalg.inv(reference.matrix) @ part.matrix
            errors.append(corner_error(result.matrix, truth, size_px=options.image_size_px))
        kept = np.mean([result.status == "kept_original" for result in results])
        before = np.median([result.residual_before for result in results])
        after = np.median([result.residual_after for result in results])
        print(
            f"{method:<10}{motion:<13}{np.median(errors):>10.3f}{np.quantile(errors, 0.95):>10.3f}"
            f"{max(errors):>10.3f}{kept:>15.3f}{f'{before:.3f} -> {after:.3f}':>18}{seconds:>13.3f}"
        )


if __name__ == "__main__":
    main()
