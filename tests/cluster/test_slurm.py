"""The profile for SLURM on a SLURM: jobs get GPUs of their own, and a cancelled one comes again."""

import copy
import re
import shutil
import subprocess
import time

GPU_RULES = {"encode_images": 2, "segment_grounded_sam": 2}
#: A program of one's own, on a node and without a GPU.
PROGRAM = """
import os
import numpy as np
import pandas as pd
from PIL import Image

assert "SLURM_JOB_ID" not in os.environ and os.environ["CUDA_VISIBLE_DEVICES"] == ""
images = pd.read_parquet("images.parquet")
for index, height, width in images[["index", "height_px", "width_px"]].itertuples(index=False):
    Image.fromarray(np.full((height, width), 255, np.uint8)).save(f"masks/{index:06d}.png")
"""
#: The profile's pace suits jobs of minutes.
PACE = (
    *("--slurm-init-seconds-before-status-checks", "5"),
    *("--max-status-checks-per-second", "2", "--latency-wait", "10"),
)


def forget(run):
    """Remove what SAM computed for a data set of two shards, and what followed."""
    for folder in ("encodings", "predictions/parts/grounded_sam", "scores", "tables"):
        path = run.results / folder
        shutil.rmtree(path / "parts" if (path / "parts").exists() else path)


def watch(process, slurm, *, until):
    """Look at the jobs until Snakemake ends; cancel the first one of a rule that runs on a GPU.

    Returns:
        The last that was seen of each job by its number, its GPU among it, and the cancelled one.
    """
    seen, cancelled = {}, None
    while process.poll() is None and time.monotonic() < until:
        for job in slurm.jobs():
            known = seen.setdefault(job["JobId"], {"gpu": None})
            known |= {k: v for k, v in job.items() if v is not None}
            if cancelled is None and job["rule"] == "encode_images" and job["gpu"] is not None:
                cancelled = job["JobId"]
                slurm.ask("scancel", cancelled)
        time.sleep(0.2)
    return seen, cancelled


def test_jobs_get_gpus_of_their_own_and_a_cancelled_one_comes_again(run, finished_run, slurm):
    """Through sbatch, with profiles/slurm as it is: every job of a network asks for a GPU and gets
    one, two at a time different ones; CPU jobs ask for none; and the table is that of one machine.

    The networks run on the processor (compute.device: cpu); SLURM gives its GPUs all the same.
    """
    forget(run)
    targets = [
        f"results/predictions/parts/{name}/masks.parquet"
        for name in ("grounded_sam/plain", "own/none")
    ]
    before = copy.deepcopy(run.settings)
    (run.folder / "program.py").write_text(PROGRAM)
    own = {"command": "python program.py", "gives": "masks", "training": "none"}
    run.settings["methods"]["own"] = {"kind": "command", **own}
    run.settings["datasets"]["parts"]["methods"].append("own")
    profile = str(run.code / "profiles" / "slurm")
    command = run.command(*PACE, "--profile", profile, *targets, cores=None)
    started = time.monotonic()
    with (run.folder / "said.txt").open("w+") as file:
        process = subprocess.Popen(
            command, cwd=run.folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        try:
            seen, cancelled = watch(process, slurm, until=started + 480)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        file.seek(0)
        said = file.read()
    assert process.returncode == 0, said[-6000:]

    of_gpus = {number: job for number, job in seen.items() if job["rule"] in GPU_RULES}
    by_rule = {rule: [job for job in of_gpus.values() if job["rule"] == rule] for rule in GPU_RULES}
    again = {"encode_images": 1}
    assert {rule: len(jobs) for rule, jobs in by_rule.items()} == {
        rule: n + again.get(rule, 0) for rule, n in GPU_RULES.items()
    }
    assert {job["TresPerJob"] for job in of_gpus.values()} == {"gres:gpu:1"}
    assert {job["gpu"] for job in of_gpus.values()} == {0, 1}
    others = [job for job in seen.values() if job["rule"] not in GPU_RULES]
    assert {job["rule"] for job in others} == {"gather_masks_parts", "segment_command_own"}
    assert [job["rule"] for job in others if "TresPerJob" in job or job["gpu"] is not None] == []
    assert all(job["Partition"] == "normal" for job in seen.values())

    assert seen[cancelled]["JobState"] == "CANCELLED"
    assert re.search(r"^ +again  ", said, re.MULTILINE), said
    states = [job["JobState"] for number, job in seen.items() if number != cancelled]
    assert set(states) <= {"COMPLETED", "COMPLETING", "RUNNING"}, "as they were seen last"
    assert set(run.read("predictions/parts/own/none/masks.parquet")["status"]) == {"ok"}
    run.settings = before
    run.finish("results/tables/segmentation.parquet")
    for name in ("segmentation.parquet", "segmentation.csv", "segmentation.md"):
        table = (run.results / "tables" / name).read_bytes()
        assert table == (finished_run.results / "tables" / name).read_bytes()
