"""Measure what a prompt edit costs, after a full run of all four methods on one data set.

Draws images, runs every step of stages 3 and 4 in this process, changes the phrase of the prompt
set and runs what the workflow runs again. Prints, for each method and in total, how often SAM's
image encoder ran in the second run, and what the second run took: as a share of the method's own
part of the first run, and of the first run of all four. Steps that methods share count in full for
each of them, and once in the total.

Usage: python benchmarks/prompt_edit.py --size vit_b --n-images 2
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from _full_size import peak_memory_mb, write_images, write_networks
from _our_way import METHODS, OurWay, Run, add_run_arguments, run_steps, sums

#: Largest shares of the first run of all four methods.
AIMS = {"grounded_sam": 0.05, "sam_clip": 0.01, "clip_surgery_sam": 0.01, "saa_plus": 0.15}


def main() -> None:
    """Run, edit, run again and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_arguments(parser, n_images=2)
    options = parser.parse_args()

    import torch
    from segment_anything.modeling import ImageEncoderViT

    torch.set_num_threads(options.threads)
    others = options.others or ("miniature" if options.size == "miniature" else "full")
    n_passes = 0

    def count(module: torch.nn.Module, inputs: tuple, _output: object) -> None:
        nonlocal n_passes
        if isinstance(module, ImageEncoderViT):
            n_passes += len(inputs[0])

    with tempfile.TemporaryDirectory() as folder:
        images_folder = Path(folder) / "images"
        first = Run(
            networks=write_networks(
                options.networks or folder, size=options.size, others=others, seed=options.seed
            ),
            images_folder=images_folder,
            transforms=write_images(
                images_folder,
                n_images=options.n_images,
                image_size_px=options.image_size_px,
                seed=options.seed,
            ),
            phrases=("defect",),
            variant=options.variant,
            points_per_side=options.points_per_side,
        )
        ours = OurWay(first, folder)
        hook = torch.nn.modules.module.register_module_forward_hook(count)
        steps = ours.steps()
        before = run_steps(steps)
        n_first, n_passes = n_passes, 0
        print(
            f"SAM {options.size}, other networks {others}, {options.variant}, {options.n_images} "
            f"images of {options.image_size_px} px, {options.threads} threads; "
            f"{ours.n_boxes} boxes and {ours.n_masks} automatic masks in all"
        )
        ours.edit(replace(first, phrases=("crack",)))
        again = ours.prompted_steps()
        after = run_steps(again)
        hook.remove()
    for name, clock in before.items():
        repeated = f"{after[name].processor_s:9.2f}" if name in after else "        -"
        print(f"{name:26} first {clock.processor_s:9.2f} s   again {repeated} s (processor)")
    print(f"passes of SAM's image encoder: first {n_first}, after the edit {n_passes}")
    whole = sums(before, steps)
    for method in (*METHODS, "total"):
        part = sums(after, [n for n in again if method in (*again[n][0], "total")])
        own = sums(before, [n for n in steps if method in (*steps[n][0], "total")])
        shares = [part[1] / own[1], part[0] / whole[0], part[1] / whole[1]]
        aim = f"   (aim {AIMS[method]:.2f})" if method in AIMS else ""
        print(
            f"{method:18} share of its own first run {shares[0]:.3f}   of all: wall "
            f"{shares[1]:.3f}   processor {shares[2]:.3f}{aim}"
        )
    print(f"peak memory {peak_memory_mb():.0f} MB")


if __name__ == "__main__":
    main()
