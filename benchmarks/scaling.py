"""Measure how the cost of an image changes with their number, and that of a prompt with theirs.

Runs every step of stages 3 and 4 on 10, 100 and 1,000 images, and with 1, 5 and 20 phrases, each
time in a process of its own, so that its peak memory can be told. The counts go up and down again,
so that what else the machine does falls on all of them. Prints the time of the processor for each
image, and the peak memory, with their ratios to those of the fewest images; and for each prompt
what one more costs beside those before it.

Usage: python benchmarks/scaling.py --size miniature --counts 10 100 1000
"""

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from _full_size import SIZES, Networks, peak_memory_mb, write_images, write_networks
from _our_way import OurWay, Run, run_steps

#: Largest departure of the cost of an image, and of the memory, from those of the fewest images.
AIM = 0.10
PHRASES = (
    *("defect", "void", "crack", "dark spot", "delamination", "scratch", "stain", "hole"),
    *("bent lead", "dent", "chip", "burr", "fold", "thread", "colour", "glue", "cut", "poke"),
    *("broken edge", "contamination"),
)
#: Images that warm a process up before those that count.
N_WARM = 2
#: Drawings that take turns: many images then show what few do.
N_DRAWN = 10


def measure(
    networks: Networks,
    *,
    n_images: int,
    n_phrases: int,
    image_size_px: int,
    threads: int,
    grid: int,
) -> dict[str, Any]:
    """Run all steps on some images.

    Returns:
        Seconds of the processor of all steps (`all`) and of those that a prompt's edit runs again
        (`prompted`), and the peak memory in MB (`memory_mb`).
    """
    import torch

    torch.set_num_threads(threads)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (N_WARM, n_images):
            images_folder = Path(folder) / f"images_{count}"
            run = Run(
                networks=networks,
                images_folder=images_folder,
                transforms=write_images(
                    images_folder,
                    n_images=count,
                    image_size_px=image_size_px,
                    n_drawn=N_DRAWN,
                    seed=0 if count == n_images else 1,
                ),
                phrases=PHRASES[:n_phrases],
                variant="repaired",
                points_per_side=grid,
            )
            ours = OurWay(run, Path(folder) / f"run_{count}", keeps_masks=False)
            steps = ours.steps()
            clocks = run_steps(steps)
            prompted = ours.prompted_steps()
            seconds = {
                "all": sum(clock.processor_s for clock in clocks.values()),
                "prompted": sum(clocks[name].processor_s for name in prompted),
            }
    return {**seconds, "memory_mb": peak_memory_mb()}


def alone(networks: Networks, **options: Any) -> dict[str, Any]:
    """Call `measure` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, networks, **options).result()


def main() -> None:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="miniature", help="size of SAM")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000], help="of images")
    parser.add_argument(
        "--prompts", type=int, nargs="+", default=[1, 5, 20], help=f"at most {len(PHRASES)}"
    )
    parser.add_argument("--image-size-px", type=int, default=96)
    parser.add_argument("--points-per-side", type=int, default=4)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--networks", type=Path, help="folder that keeps the drawn weights")
    options = parser.parse_args()
    if max(options.prompts) > len(PHRASES):
        parser.error(f"--prompts: at most {len(PHRASES)}, found {max(options.prompts)}")

    common = {
        "image_size_px": options.image_size_px,
        "threads": options.threads,
        "grid": options.points_per_side,
    }
    counts, prompts = sorted(set(options.counts)), sorted(set(options.prompts))
    by_count: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    by_prompts: dict[int, list[dict[str, Any]]] = {count: [] for count in prompts}
    with tempfile.TemporaryDirectory() as scratch:
        networks = replace(
            write_networks(
                options.networks or scratch,
                size=options.size,
                others="miniature" if options.size == "miniature" else "full",
                device=options.device,
            ),
            precision=options.precision,
        )
        for count in [*counts, *counts[-2::-1]]:
            by_count[count].append(alone(networks, n_images=count, n_phrases=1, **common))
        for count in [*prompts, *prompts[-2::-1]]:
            if count == 1:  # measured above
                by_prompts[count] = by_count[counts[0]]
                continue
            by_prompts[count].append(alone(networks, n_images=counts[0], n_phrases=count, **common))

    def middle(found: list[dict[str, Any]], what: str) -> float:
        return median(each[what] for each in found)

    print(
        f"SAM {options.size}, {options.precision}, images of {options.image_size_px} px, "
        f"{options.points_per_side} points per side, {options.device}, {options.threads} threads"
    )
    base = middle(by_count[counts[0]], "all") / counts[0], middle(by_count[counts[0]], "memory_mb")
    for count, found in by_count.items():
        cost, memory = middle(found, "all") / count, middle(found, "memory_mb")
        print(
            f"{count:6d} images: {cost:8.3f} s an image (processor), ratio {cost / base[0]:.3f}; "
            f"peak memory {memory:6.0f} MB, ratio {memory / base[1]:.3f}   (aim 1 ± {AIM:.2f})"
        )
    before = 0
    for count, found in by_prompts.items():
        cost = middle(found, "prompted") / counts[0]
        known = middle(by_prompts[before], "prompted") / counts[0] if before else 0.0
        print(
            f"{count:6d} prompts: {cost:8.3f} s an image (processor), "
            f"{(cost - known) / (count - before):8.4f} s for each prompt beyond {before}"
        )
        before = count


if __name__ == "__main__":
    main()
