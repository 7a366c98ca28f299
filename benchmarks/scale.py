"""Plan and evaluate a data set of very many images, and say how long that takes and what it holds.

    python benchmarks/scale.py --n-images 100000

Manifest, truth and masks are generated, in a folder that is deleted afterwards. Planning is a dry
run of the whole workflow over a folder of so many files. Each step of the evaluation runs in a
process of its own, by the calls of its script, once with a tenth of the images and once with all of
them: where memory is flat, the two peaks are close.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from _full_size import Clock, peak_memory_mb

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import MaskReading, encode_mask
from realitycheck.core.provenance import in_shard, shard_names
from realitycheck.core.schemas import MANIFEST, MASKS, REFERENCES, SCORES, TRUTH
from realitycheck.core.tables import gather, read_table, read_together, write_parts, write_table
from realitycheck.datasets.inventory import inventory
from realitycheck.report.tables.segmentation import segmentation_table
from realitycheck.stages.evaluate import score_masks
from realitycheck.stages.prepare import manifest_digests

REPOSITORY = Path(__file__).resolve().parents[1]
DATASET = "parts"
SIZE_PX = 64
NOK_SHARE = 10  # one of so many is defective
N_RUNS = 3
N_MASKS = 50  # different ones


def settings(n_shards: int) -> dict[str, Any]:
    """Settings of a run on a folder of images."""
    return {
        "datasets": {DATASET: {"format": "folder", "root": "data", "shards": n_shards}},
        "prompts": {DATASET: {"plain": {"segmentation": ["scratch"]}}},
        "methods": {"grounded_sam": {}, "pixel_difference": {}},
        "models": {name: {"variant": "everyday"} for name in ("sam", "grounding_dino")},
    }


def image_rows(n_images: int) -> Iterator[dict[str, Any]]:
    """Rows of the manifest, in the order of their keys."""
    for number in range(n_images):
        label = "NOK" if number < n_images // NOK_SHARE else "OK"
        image_id = f"product/{label}/{number:07d}"
        path = f"data/{label}/{number:07d}.png"
        mask_path = f"data/masks/{number:07d}.png" if label == "NOK" else None
        yield {
            "dataset": DATASET,
            "image_id": image_id,
            "category": "product",
            "label": label,
            "defect_type": "scratch" if label == "NOK" else None,
            "split": "test",
            "group": None,
            "image_path": path,
            "mask_path": mask_path,
            "width_px": SIZE_PX,
            "height_px": SIZE_PX,
            "bit_depth": 8,
            "n_channels": 3,
            "sha256": f"{number:064x}",
            "mask_sha256": f"{number:064x}" if mask_path else None,
            "mask_reading": MaskReading(("0",)).to_text() if mask_path else None,
        }


def prepared(folder: Path, n_images: int) -> None:
    """Write a folder of empty files, and what the prepare stage writes of one with images."""
    rows = sorted(image_rows(n_images), key=lambda row: row["image_id"])
    for sub in ("OK", "NOK", "masks"):
        (folder / "data" / sub).mkdir(parents=True)
    for row in rows:
        for path in filter(None, (row["image_path"], row["mask_path"])):
            (folder / path).touch()
    manifests = folder / "results" / "manifests"
    reference = {
        "dataset": DATASET,
        "category": "product",
        "image_id": rows[-1]["image_id"],
        "image_path": rows[-1]["image_path"],
        "sha256": rows[-1]["sha256"],
        "is_scored": True,
    }
    write_parts(rows, manifests / f"{DATASET}.parquet", schema=MANIFEST, facts={})
    write_table([], manifests / DATASET / "train.parquet", schema=MANIFEST, facts={})
    write_table(
        [reference], manifests / DATASET / "references.parquet", schema=REFERENCES, facts={}
    )
    digests = manifest_digests(
        pd.DataFrame(rows), pd.DataFrame([], columns=MANIFEST.columns), pd.DataFrame([reference])
    )
    signature = inventory(folder / "data")
    record = {"trigger": signature, "signature": signature, **digests}
    record["counts"] = {"test": n_images, "train": 0}
    (manifests / DATASET / "digests.json").write_text(json.dumps(record))
    weights = folder / "results" / "weights"
    weights.mkdir()
    for network in ("sam", "grounding_dino"):
        (weights / f"{network}.json").write_text(json.dumps({"digest": "0"}))
    (manifests / "checked.json").write_text("{}")


def plan(folder: Path, n_shards: int, *options: str) -> str:
    """Plan the whole workflow; say how long it took, and how many jobs there are."""
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings(n_shards)), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--configfile", "settings.yaml", "--cores", "1", "--dry-run", *options]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode != 0:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    totals = [line.split() for line in done.stdout.splitlines() if line.startswith("total ")]
    return f"wall {wall:.1f} s, processor {processor:.1f} s, {totals[-1][1]} jobs"


def mask_rows(n_images: int, shard: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows of the masks of a run, every image with a region of its own shape."""
    rng = np.random.default_rng(0)
    counts = [
        encode_mask(rng.random((SIZE_PX, SIZE_PX)) < 0.1 * (number % 3))
        for number in range(N_MASKS)
    ]
    for number, row in enumerate(sorted(image_rows(n_images), key=lambda row: row["image_id"])):
        if shard is None or in_shard(row["image_id"], shard):
            yield {
                "dataset": DATASET,
                "image_id": row["image_id"],
                "method": "grounded_sam",
                "prompt": "plain",
                "mask_height_px": SIZE_PX,
                "mask_width_px": SIZE_PX,
                "mask_rle": counts[number % N_MASKS],
                "score": 0.5,
                "n_regions": 1,
                "status": "ok",
                "latency_s": 0.1,
            }


def write_inputs(folder: Path, n_images: int, n_shards: int) -> None:
    """Write what the evaluation reads."""
    rows = sorted(image_rows(n_images), key=lambda row: row["image_id"])
    write_parts(rows, folder / "manifest.parquet", schema=MANIFEST, facts={})
    truth = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    truth[10:20, 10:20] = 255
    for row in rows:
        if row["mask_path"]:
            write_png(truth, image_file(folder / "truth", row["image_id"]))
    truth_rows = (
        dict.fromkeys(TRUTH.columns)
        | {
            "dataset": DATASET,
            "image_id": row["image_id"],
            "has_truth": True,
            "truth_px": 100 if row["mask_path"] else 0,
            "undecided_px": 0,
            "lost_px": 0,
            "status": "complete",
            "pixels_sha256": row["sha256"],
        }
        for row in rows
    )
    write_parts(truth_rows, folder / "truth" / "truth.parquet", schema=TRUTH, facts={})
    for shard in shard_names(n_shards):
        path = folder / "shards" / f"{shard}.parquet"
        write_parts(mask_rows(n_images, shard), path, schema=MASKS, facts={})


def gather_masks(folder: Path, n_shards: int) -> None:
    """As the rule `gather_masks` does."""
    paths = [folder / "shards" / f"{shard}.parquet" for shard in shard_names(n_shards)]
    gather(paths, folder / "masks.parquet", schema=MASKS)


def score(folder: Path) -> None:
    """As the rules `score_masks` do, for one run."""
    truth = folder / "truth" / "truth.parquet"
    tables = (
        (folder / "manifest.parquet", MANIFEST),
        (truth, TRUTH),
        (folder / "masks.parquet", MASKS),
    )
    parts = read_together(*tables)
    rows = (score_masks(*part, truth_folder=truth.parent, ignore_border="ignore") for part in parts)
    write_parts(chain.from_iterable(rows), folder / "scores.parquet", schema=SCORES, facts={})


def tabulate(folder: Path) -> None:
    """As the rule `tabulate` makes Table 1, with several runs."""
    scores = read_table(folder / "scores.parquet", schema=SCORES)
    runs = [scores.assign(prompt=f"prompt{number}") for number in range(N_RUNS)]
    segmentation_table(
        pd.concat(runs, ignore_index=True),
        datasets={DATASET: {}},
        methods={"grounded_sam": {}},
        seed=0,
        n_resamples=1000,
    )


def _report(work: Callable[[], None], pipe: Any) -> None:
    with Clock() as clock:
        work()
    pipe.send((clock, peak_memory_mb()))


def measured(work: Callable[[], None]) -> tuple[Clock, float]:
    """Time and peak memory in MB of some work in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_report, args=(work, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit("a step of the evaluation failed; see above") from None
    finally:
        process.join()


def evaluate(folder: Path, n_images: int, n_shards: int) -> dict[str, tuple[Clock, float]]:
    """Measure each step of the evaluation."""
    write_inputs(folder, n_images, n_shards)
    return {
        "gather_masks": measured(partial(gather_masks, folder, n_shards)),
        "score_masks": measured(partial(score, folder)),
        f"tabulate: Table 1 ({N_RUNS} runs)": measured(partial(tabulate, folder)),
    }


def main() -> None:
    """Plan, evaluate, and print figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-images", type=int, default=100_000)
    parser.add_argument("--n-shards", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="realitycheck-scale-") as name:
        folder = Path(name)
        prepared(folder, options.n_images)
        print(f"{options.n_images} images, {options.n_shards} shards")
        print(f"plan, inputs to be checked: {plan(folder, options.n_shards)}")
        # By dates alone the inputs count as checked, so that all that follows is planned, too.
        by_dates = plan(folder, options.n_shards, "--rerun-triggers", "mtime")
        print(f"plan, inputs checked: {by_dates}")
        few, many = (
            evaluate(folder / str(n), n, options.n_shards)
            for n in (options.n_images // 10, options.n_images)
        )
        for step, (clock, memory_mb) in many.items():
            print(
                f"{step}: wall {clock.wall_s:.1f} s, processor {clock.processor_s:.1f} s, "
                f"peak memory {memory_mb:.0f} MB (with a tenth of the images {few[step][1]:.0f} MB)"
            )


if __name__ == "__main__":
    main()
