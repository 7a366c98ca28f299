"""How much of a run goes into planning and scheduling, and not into its jobs.

    python benchmarks/workflow_overhead.py --n-images 300

Runs every mask method on synthetic images with miniature networks, in a folder that is deleted
afterwards. With full-size networks the jobs take longer and their number stays, so that the share
printed here is an upper bound. Planning and scheduling is the processor time of Snakemake's main
process, which does nothing else; it is compared with that of the run and of every process that it
started, the start of a process for each job among it. These hardly depend on other load.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


def settings_of(n_images: int, n_shards: int) -> dict[str, Any]:
    """Settings of a run of every mask method on synthetic scans."""
    n_nok = max(3, n_images // 4)
    return {
        "datasets": {
            "chips": {
                "format": "synthetic_sat",
                "n_ok": max(3, n_images - n_nok),
                "n_nok": n_nok,
                "n_train": 5,
                "image_size_px": 96,
                "shards": n_shards,
            }
        },
        "prompts": {"chips": {"plain": {"segmentation": ["defect"], "saa_plus": "auto"}}},
        "methods": {
            "grounded_sam": {},
            "sam_clip": {"points_per_side": 4},
            "clip_surgery_sam": {"clip_input_size": 64},
            "saa_plus": {},
            "pixel_difference": {},
            "few_shot": {"input_size_px": 64},
            "adapted_sam": {"n_folds": 3, "n_steps": 2},
        },
        "models": {
            name: {"variant": "everyday"}
            for name in ("sam", "grounding_dino", "clip", "saliency", "resnet")
        },
        "compute": {"device": "cpu", "threads": 1},
        "evaluation": {"n_resamples": 1000},
    }


def run(folder: Path, settings: dict[str, Any]) -> tuple[float, float, float]:
    """Run the workflow; return seconds on the wall, and of a processor: main process, and all."""
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--configfile", "settings.yaml", "--cores", "1"]
    started = time.perf_counter()
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
    seconds = 0.0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            times = watched.cpu_times()
            seconds = times.user + times.system
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    if process.wait() != 0:
        raise SystemExit((folder / "said.txt").read_text()[-4000:])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, seconds, used.ru_utime + used.ru_stime


def main() -> None:
    """Run, and print shares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-images", type=int, default=300)
    parser.add_argument("--n-shards", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="realitycheck-overhead-") as name:
        folder = Path(name)
        wall, planning, processor = run(folder, settings_of(options.n_images, options.n_shards))
        n_jobs = len(list((folder / "benchmarks").rglob("*.tsv")))
    print(f"{options.n_images} images, {options.n_shards} shards: {n_jobs} jobs in {wall:.0f} s")
    print(f"processor time of all processes {processor:.1f} s")
    print(f"of planning and scheduling {planning:.1f} s, {planning / n_jobs:.2f} s a job")
    print(f"share of planning and scheduling: {100 * planning / processor:.1f} %")


if __name__ == "__main__":
    main()
