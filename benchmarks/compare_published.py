"""Compare our stages with the four methods as published: on the packages, each alone.

Both ways get the same weights and images. Each runs in a process of its own, so that its peak
memory can be told; the two take turns within one run, so that what else the machine does falls on
both. Prints, for each step and in total, the time (on the wall and of the processor; the loading of
weights is left out on both sides) as medians over the repeats, each on an image of its own; the
ratio of the peak memories; and, for each method, the IoU of the masks of both ways. The published
way computes in float32 always.

Usage: python benchmarks/compare_published.py --size vit_b --n-images 1 --repeats 3
"""

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections import defaultdict
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from _full_size import SIZES, peak_memory_mb, write_images, write_networks
from _our_way import METHODS, OurWay, Run
from _published_way import PublishedWay

#: Largest ratio of the times, and least mean IoU of the masks, at each precision of ours.
AIMS = {"float32": (0.33, 0.995), "bfloat16": (0.18, 0.97)}


def work(conn: Connection, *, side: str, run: Run, folder: str, threads: int) -> None:
    """Run steps in this process as they are called for; the answer to None ends it."""
    import torch

    torch.set_num_threads(threads)
    try:
        way = OurWay(run, folder) if side == "ours" else PublishedWay(run)
        steps = way.steps()
        while (name := conn.recv()) is not None:
            clock = steps[name][1]()
            gc.collect()
            conn.send((clock.wall_s, clock.processor_s))
        conn.send((way.masks, peak_memory_mb(), getattr(way, "n_boxes", 0)))
    except Exception:
        conn.send(traceback.format_exc())
        raise


class Side:
    """One of the two ways, in a process of its own."""

    def __init__(self, side: str, run: Run, *, folder: str, threads: int):
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe()
        options = {"side": side, "run": run, "folder": folder, "threads": threads}
        self._process = context.Process(target=work, args=(theirs,), kwargs=options, daemon=True)
        self._process.start()
        theirs.close()
        way = OurWay(run, folder) if side == "ours" else PublishedWay(run)
        self.names = list(way.steps())

    def ask(self, name: str | None) -> Any:
        """Run a step and return its seconds, or, for None, end and return what was found."""
        try:
            self._conn.send(name)
            answer = self._conn.recv()
        except (EOFError, BrokenPipeError):
            self._process.join()
            sys.exit(
                f"the process of one side ended without an answer to {name or 'the end'!r} "
                f"(exit code {self._process.exitcode}); what it said stands above"
            )
        if isinstance(answer, str):
            sys.exit(answer)
        if name is None:
            self._process.join()
        return answer


def take_turns(published: list[str], ours: list[str]) -> list[tuple[str, str]]:
    """Merge two lists of steps so that both sides come forward evenly."""
    keyed = [((i + 1) / len(published), "published", name) for i, name in enumerate(published)]
    keyed += [((i + 0.5) / len(ours), "ours", name) for i, name in enumerate(ours)]
    return [(side, name) for _, side, name in sorted(keyed, key=lambda each: each[0])]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def main() -> None:
    """Run both ways in turns and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="vit_b", help="size of SAM")
    parser.add_argument(
        "--others",
        choices=("full", "miniature"),
        default=None,
        help="size of the other networks; as real as SAM's by default",
    )
    parser.add_argument("--n-images", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--image-size-px", type=int, default=1024)
    parser.add_argument("--variant", choices=("published", "repaired"), default="published")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="float32", choices=AIMS, help="of ours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=Path, help="folder that keeps the drawn weights")
    options = parser.parse_args()

    others = options.others or ("miniature" if options.size == "miniature" else "full")
    seconds: dict[tuple[str, str], list[Any]] = defaultdict(list)
    peaks: dict[str, float] = {}
    ious: dict[str, list[float]] = {method: [] for method in METHODS}
    areas = dict.fromkeys(METHODS, 0)
    with tempfile.TemporaryDirectory() as folder:
        networks = write_networks(
            options.networks or folder,
            size=options.size,
            others=others,
            seed=options.seed,
            device=options.device,
        )
        for repeat in range(options.repeats):
            images_folder = Path(folder) / f"images_{repeat}"
            run = Run(
                networks=replace(networks, precision=options.precision),
                images_folder=images_folder,
                transforms=write_images(
                    images_folder,
                    n_images=options.n_images,
                    image_size_px=options.image_size_px,
                    seed=options.seed + repeat,
                ),
                phrases=("defect",),
                variant=options.variant,
                points_per_side=options.points_per_side,
            )
            sides = {
                name: Side(name, run, folder=f"{folder}/{repeat}", threads=options.threads)
                for name in ("published", "ours")
            }
            for side, name in take_turns(sides["published"].names, sides["ours"].names):
                found = np.array(sides[side].ask(name))
                print(f"{side} {name}: {found[1]:.1f} s (processor)", file=sys.stderr, flush=True)
                seconds[side, name].append(found)
            results = {name: side.ask(None) for name, side in sides.items()}
            for name, (_, peak, _) in results.items():
                peaks[name] = max(peaks.get(name, 0), peak)
            for method in METHODS:
                for image_id, mask in results["published"][0][method].items():
                    ious[method].append(overlap(mask, results["ours"][0][method][image_id]))
                    areas[method] += int(mask.sum())

    print(
        f"SAM {options.size}, other networks {others}, {options.variant}, {options.precision}, "
        f"{options.n_images} images of {options.image_size_px} px, {options.points_per_side} "
        f"points per side, {options.device}, {options.threads} threads; medians of "
        f"{options.repeats}; load of the machine {os.getloadavg()[0]:.1f}; "
        f"{results['ours'][2]} boxes stored"
    )
    for (side, name), found in seconds.items():
        wall, processor = np.median(found, axis=0)
        print(f"{side:9} {name:26} wall {wall:9.2f} s   processor {processor:9.2f} s")
    for method in METHODS:
        print(
            f"{method:18} least IoU of both ways' masks {min(ious[method]):.5f}, mean "
            f"{np.mean(ious[method]):.5f}, mean area {areas[method] / len(ious[method]):.0f} px"
        )
    totals = {
        side: np.sum([found for key, found in seconds.items() if key[0] == side], axis=0)
        for side in ("published", "ours")
    }
    wall, processor = np.median(totals["ours"] / totals["published"], axis=0)
    aim, least_iou = AIMS[options.precision]
    print(f"time, ours / published: wall {wall:.3f}   processor {processor:.3f}   (aim {aim:.2f})")
    print(
        f"peak memory, ours / published: {peaks['ours'] / peaks['published']:.3f} "
        f"({peaks['ours']:.0f} MB, {peaks['published']:.0f} MB)"
    )
    lowest = min(np.mean(found) for found in ious.values())
    print(f"lowest mean IoU of a method: {lowest:.5f} (must be at least {least_iou})")
    if lowest < least_iou:
        sys.exit(1)


if __name__ == "__main__":
    main()
