"""Compare our stages with the four methods as published: on the packages, each alone.

All get the same weights and images: the published way, which computes in float32 always, and ours
in each precision. Each runs in a process of its own, so that its peak memory can be told; they take
turns within one run, so that what else the machine does falls on all. Prints, for each step and in
total, the time (on the wall and of the processor; the loading of weights is left out everywhere) as
medians over the repeats, each on images of its own; the ratios to the published way; and, for each
method, the IoU of its masks with the published ones. With `--count`, each step's
multiply-accumulates are counted before, in a run of its own, and set against the speed of matrix
products that is measured here. Ends with 1 if float32 changes masks.

Usage: python benchmarks/compare_published.py --size vit_b --n-images 1 --repeats 3
"""

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from _full_size import Clock, peak_memory_mb, product_speed, write_networks
from _our_way import METHODS, OurWay, Run, add_run_arguments, drawn_run
from _published_way import PublishedWay

#: Largest ratio of the times, and least mean IoU of the masks, at each precision of ours.
AIMS = {"float32": (0.33, 0.995), "bfloat16": (0.18, 0.97)}
PUBLISHED = "published"


def work(conn: Connection, *, side: str, run: Run, folder: str, threads: int, counts: bool) -> None:
    """Run steps in this process as they are called for; the answer to None ends it."""
    import torch

    torch.set_num_threads(threads)
    Clock.counts = counts
    try:
        way = PublishedWay(run) if side == PUBLISHED else OurWay(run, folder)
        steps = way.steps()
        while (name := conn.recv()) is not None:
            clock = steps[name][1]()
            gc.collect()
            conn.send(clock.gmac if counts else (clock.wall_s, clock.processor_s))
        conn.send((way.masks, peak_memory_mb(), getattr(way, "n_boxes", 0)))
    except Exception:
        conn.send(traceback.format_exc())
        raise


class Side:
    """One of the two ways, in a process of its own."""

    def __init__(self, side: str, run: Run, *, folder: str, threads: int, counts: bool = False):
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe()
        options = {"side": side, "run": run, "folder": folder, "threads": threads, "counts": counts}
        self._process = context.Process(target=work, args=(theirs,), kwargs=options, daemon=True)
        self._process.start()
        theirs.close()
        way = PublishedWay(run) if side == PUBLISHED else OurWay(run, folder)
        self.names = list(way.steps())

    def ask(self, name: str | None) -> Any:
        """Run a step and give its seconds, or products; for None, end and give what was found."""
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


def take_turns(steps: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Merge the steps of all ways so that they come forward evenly."""
    keyed = [
        ((index + 1 - 0.5 * (way != PUBLISHED)) / len(names), way, name)
        for way, names in steps.items()
        for index, name in enumerate(names)
    ]
    return [(way, name) for _, way, name in sorted(keyed, key=lambda each: each[0])]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def counted(run: Run, folder: str, *, threads: int) -> dict[tuple[str, str], float]:
    """Multiply-accumulates of each step of both ways, in 10^9: the same on every machine."""
    found = {}
    for way in (PUBLISHED, "float32"):
        side = Side(way, run, folder=f"{folder}/counted_{way}", threads=threads, counts=True)
        for name in side.names:
            found[way, name] = side.ask(name)
            print(f"{way} {name}: {found[way, name]:.1f} GMAC", file=sys.stderr, flush=True)
        side.ask(None)
    return found


def print_products(
    gmac: dict[tuple[str, str], float], seconds: dict[tuple[str, str], Any], *, options: Any
) -> None:
    """Print each step's products, and the share of the machine's speed of products it reaches.

    Per second on the wall, and per second of the processor: the first counts a core that waits as
    lost, the second hardly depends on what else the machine does.
    """
    import torch

    torch.set_num_threads(options.threads)
    sides = {"cpu": 2048, "cuda": 8192}
    clocks = (time.perf_counter, time.process_time)
    for way in (PUBLISHED, *options.precisions):
        precision = "float32" if way == PUBLISHED else way
        side = sides[options.device]
        speeds = np.array(
            [product_speed(options.device, precision, side=side, clock=clock) for clock in clocks]
        )
        print(
            f"{way:9} products of matrices in {precision}: {speeds[0]:.1f} GMAC/s on the wall, "
            f"{speeds[1]:.1f} GMAC/s of the processor"
        )
        alike = PUBLISHED if way == PUBLISHED else "float32"
        steps = {name: n for (whose, name), n in gmac.items() if whose == alike}
        for name, n in [*steps.items(), ("all", sum(steps.values()))]:
            names = steps if name == "all" else [name]
            spent = sum(np.median(seconds[way, each], axis=0) for each in names)
            wall, processor = n / spent / speeds
            print(
                f"{way:9} {name:26} {n:10.1f} GMAC   share of that speed: wall {wall:.2f}   "
                f"processor {processor:.2f}"
            )


def main() -> None:
    """Run both ways in turns and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_arguments(parser, n_images=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--precisions", nargs="+", default=list(AIMS), choices=AIMS, help="of our way"
    )
    parser.add_argument("--count", action="store_true", help="count multiply-accumulates as well")
    options = parser.parse_args()

    others = options.others or ("miniature" if options.size == "miniature" else "full")
    ways = [PUBLISHED, *options.precisions]
    seconds: dict[tuple[str, str], list[Any]] = defaultdict(list)
    peaks: dict[str, float] = defaultdict(float)
    ious: dict[tuple[str, str], list[float]] = defaultdict(list)
    areas: dict[str, list[int]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        networks = write_networks(
            options.networks or folder,
            size=options.size,
            others=others,
            seed=options.seed,
            device=options.device,
        )
        gmac = {}
        if options.count:
            run = drawn_run(options, networks, folder, repeat=0)
            gmac = counted(run, folder, threads=options.threads)
        for repeat in range(options.repeats):
            run = drawn_run(options, networks, folder, repeat=repeat)
            sides = {
                way: Side(
                    way,
                    run
                    if way == PUBLISHED
                    else replace(run, networks=replace(networks, precision=way)),
                    folder=f"{folder}/{repeat}_{way}",
                    threads=options.threads,
                )
                for way in ways
            }
            for way, name in take_turns({way: side.names for way, side in sides.items()}):
                found = np.array(sides[way].ask(name))
                print(f"{way} {name}: {found[1]:.1f} s (processor)", file=sys.stderr, flush=True)
                seconds[way, name].append(found)
            results = {way: side.ask(None) for way, side in sides.items()}
            for way, (masks, peak, _) in results.items():
                peaks[way] = max(peaks[way], peak)
                for method in METHODS:
                    for image_id, mask in results[PUBLISHED][0][method].items():
                        ious[way, method].append(overlap(mask, masks[method][image_id]))
                        areas[method].append(int(mask.sum()))

    print(
        f"SAM {options.size}, other networks {others}, {options.variant}, {options.n_images} "
        f"images of {options.image_size_px} px, {options.points_per_side} points per side, "
        f"{options.device}, {options.threads} threads; medians of {options.repeats}; load of the "
        f"machine {os.getloadavg()[0]:.1f}"
    )
    for (way, name), found in seconds.items():
        wall, processor = np.median(found, axis=0)
        print(f"{way:9} {name:26} wall {wall:9.2f} s   processor {processor:9.2f} s")
    if gmac:
        print_products(gmac, seconds, options=options)
    for method in METHODS:
        print(f"{method:18} masks as published: mean area {np.mean(areas[method]):.0f} px")
    is_close = True
    totals = {
        way: np.sum([found for key, found in seconds.items() if key[0] == way], axis=0)
        for way in ways
    }
    for way in options.precisions:
        aim, least_iou = AIMS[way]
        wall, processor = np.median(totals[way] / totals[PUBLISHED], axis=0)
        print(
            f"{way:9} time to published: wall {wall:.3f}   processor {processor:.3f}   (aim "
            f"{aim:.2f})   memory {peaks[way] / peaks[PUBLISHED]:.3f} ({peaks[way]:.0f} MB of "
            f"{peaks[PUBLISHED]:.0f} MB)   {results[way][2]} boxes"
        )
        for method in METHODS:
            found = ious[way, method]
            print(f"{way:9} {method:18} IoU mean {np.mean(found):.5f} least {min(found):.5f}")
        mean = np.mean([ious[way, method] for method in METHODS])
        print(f"{way:9} all methods: IoU mean {mean:.5f} (aim {least_iou})")
        is_close = is_close and (way != "float32" or mean >= least_iou)
    if not is_close:
        sys.exit(1)


if __name__ == "__main__":
    main()
