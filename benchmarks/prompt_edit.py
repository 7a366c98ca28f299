"""Measure what a prompt edit costs, after a full run of all four methods on one data set.

Draws images, runs every step of stages 3 and 4 in this process, edits the prompt set and runs what
the workflow runs again. Three edits are made, each of the first run's prompt set: another phrase,
another one of SAA+'s texts, and other texts of SAA+ throughout. Prints, for each edit, how often
SAM's image encoder ran, and what the second run took, for each method and in total: as a share of
the method's own part of the first run, and of the first run of all four; medians over the repeats,
each on images of its own. Steps that methods share count in full for each of them, and once in the
total.

Usage: python benchmarks/prompt_edit.py --size vit_b --n-images 1 --repeats 3
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from _full_size import CATEGORY, Clock, peak_memory_mb, write_networks
from _our_way import METHODS, OurWay, add_run_arguments, drawn_run, run_steps, sums

from realitycheck.methods.saa_plus.prompts import default_prompts

PHRASE, ONE_TEXT, ALL_TEXTS = "another phrase", "another text of SAA+", "all texts of SAA+"
BEFORE = default_prompts(CATEGORY)
OTHER_TEXT = ("bubble. split. lifted layer.", BEFORE.class_name)
AFTER = {
    ONE_TEXT: replace(BEFORE, class_prompts=(OTHER_TEXT, *BEFORE.class_prompts[1:])),
    ALL_TEXTS: replace(
        BEFORE,
        class_name="circuit board",
        object_name="circuit board",
        class_prompts=(OTHER_TEXT, ("fault.", "circuit board")),
    ),
}
EDITS: dict[str, dict[str, Any]] = {
    PHRASE: {"phrases": ("crack",)},
    **{edit: {"saa_plus": {"default": asdict(prompts)}} for edit, prompts in AFTER.items()},
}
#: Largest shares of the first run of all four methods.
AIMS = {
    (PHRASE, "grounded_sam"): 0.05,
    (PHRASE, "sam_clip"): 0.01,
    (PHRASE, "clip_surgery_sam"): 0.01,
    (ONE_TEXT, "saa_plus"): 0.15,
    (ALL_TEXTS, "saa_plus"): 0.15,
}


def shares(
    method: str, *, before: dict[str, Clock], after: dict[str, Clock], of: dict[str, tuple]
) -> tuple[float, float, float]:
    """Tell what a method's steps took again.

    Returns:
        The share of its own first run, by the processor; and of the first run of all, on the wall
        and by the processor.
    """
    own = [name for name in of if method in (*of[name][0], "total")]
    again = sums(after, [name for name in own if name in after])
    whole = sums(before, of)
    return again[1] / sums(before, own)[1], again[0] / whole[0], again[1] / whole[1]


def main() -> None:
    """Run, edit, run again and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_arguments(parser, n_images=1)
    parser.add_argument("--repeats", type=int, default=1)
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

    hook = torch.nn.modules.module.register_module_forward_hook(count)
    rows = (*METHODS, "total")
    found: dict[tuple[str, str], list[tuple]] = {(edit, row): [] for edit in EDITS for row in rows}
    seconds: dict[tuple[str, str], list[float]] = {}
    passes = dict.fromkeys(("first run", *EDITS), 0)
    n_boxes = n_masks = 0
    with tempfile.TemporaryDirectory() as folder:
        networks = write_networks(
            options.networks or folder, size=options.size, others=others, seed=options.seed
        )
        for repeat in range(options.repeats):
            first = drawn_run(options, networks, folder, repeat=repeat)
            ours = OurWay(first, Path(folder) / f"run_{repeat}")
            steps = ours.steps()
            clocks = {}
            for name, change in {"first run": {}, **EDITS}.items():
                ours.edit(replace(first, **change))
                n_before = n_passes
                clocks[name] = run_steps(ours.prompted_steps() if change else steps)
                passes[name] += n_passes - n_before
                for step, clock in clocks[name].items():
                    seconds.setdefault((name, step), []).append(clock.processor_s)
                n_boxes += 0 if change else ours.n_boxes
            n_masks += ours.n_masks
            for (edit, row), values in found.items():
                values.append(shares(row, before=clocks["first run"], after=clocks[edit], of=steps))
    hook.remove()
    print(
        f"SAM {options.size}, other networks {others}, {options.variant}, {options.n_images} "
        f"images of {options.image_size_px} px, {options.threads} threads; medians of "
        f"{options.repeats}; {n_boxes} boxes and {n_masks} automatic masks in all"
    )
    for (name, step), spent in seconds.items():
        print(f"{name:22} {step:26} {np.median(spent):9.2f} s (processor)")
    for name, times in passes.items():
        print(f"{name:22} passes of SAM's image encoder: {times}")
    for (edit, row), values in found.items():
        own, wall, processor = np.median(values, axis=0)
        aim = f"   (aim {AIMS[edit, row]:.2f})" if (edit, row) in AIMS else ""
        print(
            f"{edit:22} {row:18} share of its own first run {own:.3f}   of all: wall {wall:.3f}   "
            f"processor {processor:.3f}{aim}"
        )
    print(f"peak memory {peak_memory_mb():.0f} MB")


if __name__ == "__main__":
    main()
