"""A run that was killed, or whose store was damaged, ends with the same tables."""

import contextlib
import os
import shutil
import signal
from base64 import urlsafe_b64encode

import numpy as np
import pytest
from safetensors.numpy import load_file

from realitycheck.core.provenance import shard_names

TABLE_FILES = [
    f"{name}{ending}"
    for name in ("segmentation", "classification")
    for ending in (".parquet", ".csv", ".md", ".tex")
]
#: Columns of arrays, which pandas does not compare.
LISTS = ["token_scores", "tokens", "relative_box"]


def same_tables(run, other):
    """Names of tables whose bytes agree."""
    return [
        name
        for name in TABLE_FILES
        if (run.results / "tables" / name).read_bytes()
        == (other.results / "tables" / name).read_bytes()
    ]


#: Targets of everything but what is drawn from tables, and where the latter lies.
COMPUTED = ("tables", "detections")
DRAWN = ("figures/", "exports/", "report")
#: Jobs that end before each kill, and the seconds from then on.
N_KILLS = 5
MOMENTS = np.stack(
    [
        np.random.default_rng(5).integers(1, 6, N_KILLS),
        np.random.default_rng(6).uniform(0, 1.5, N_KILLS).round(2),
    ],
    axis=1,
).tolist()


def lasting(paths):
    """Paths without what a killed job was writing, under a name that nothing looks for."""
    return {path for path in paths if "/.writing-" not in path}


def leave_out_scans(run):
    """Take the generated data set out of the settings, and what is its own out of the results."""
    for name in ("datasets", "prompts"):
        del run.settings[name]["sat"]
    for path in [*run.results.glob("*/sat"), *run.results.glob("*/sat*.parquet")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def end_group(group):
    """End the jobs that went on without their run."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@pytest.mark.long
def test_run_killed_five_times_loses_nothing(unstarted_run, finished_run):
    """With its jobs, or alone, so that they go on beside the next run.

    In the end no file is missing, all tables are those of an undisturbed run, and an edit made then
    runs what it touches. Figures and exports, which only read tables, are left out of it.
    """
    run, n_ended, groups = unstarted_run, 0, []
    undisturbed = finished_run.copy_to(run.folder.parent / "undisturbed")
    for each in (run, undisturbed):
        leave_out_scans(each)
    undisturbed.finish(*COMPUTED, cores=2)
    try:
        for number, (n_finished, delay_s) in enumerate(MOMENTS):
            killed = run.kill_when(n_finished, *COMPUTED, delay_s=delay_s, jobs_too=number % 2 == 0)
            assert killed, f"the run ended before kill {number}, {n_ended} jobs in"
            n_ended += killed[0]
            groups.append(killed[1])
        kept = run.encodings()
        run.finish(*COMPUTED, cores=2)
    finally:
        for group in groups:
            end_group(group)
    assert kept and kept.items() <= run.encodings().items(), "computed before the last kill"
    assert same_tables(run, undisturbed) == TABLE_FILES
    expected = {p for p in undisturbed.written() if not p.startswith(DRAWN)}
    assert lasting(run.written()) == expected
    assert "Nothing to be done" in run.finish("--dry-run", *COMPUTED)
    for each in (run, undisturbed):
        each.settings["methods"]["grounded_sam"]["box_threshold"] = 0.3
        each.settings["prompts"]["parts"]["plain"]["segmentation"] = ["dent"]
    planned = run.planned_jobs(*COMPUTED)
    assert planned == undisturbed.planned_jobs(*COMPUTED)
    assert (planned["detect_boxes"], planned["segment_grounded_sam"]) == (2, 2)


def test_output_of_a_job_that_outlived_its_run_is_made_again(run):
    """Snakemake saw neither its end nor its params: it might be of settings before an edit."""
    shard = "detections/parts/plain/shards/0-of-2.parquet"
    path = run.results / shard
    # As if it was written after the last end that Snakemake saw, and from other settings: the same
    # content, as a copy without its date has it, would count as what Snakemake saw.
    path.write_bytes(path.read_bytes() + b" ")
    assert run.planned_files()["detect_boxes"] == {shard}
    # As if Snakemake had never seen an end of it; the same edit and its undoing change nothing.
    other = "predictions/sat/grounded_sam/plain/masks.parquet"
    record = urlsafe_b64encode(f"results/{other}".encode()).decode()
    (run.folder / ".snakemake" / "metadata" / record).unlink()
    assert other in run.planned_files()["gather_masks_sat"]
    # What the job itself had finished is not computed again.
    entries = run.encodings()
    rows = {p: t for p, t in run.written().items() if "/finished/detect_boxes/" in p}
    run.finish(f"results/{shard}")
    assert {p: t for p, t in run.written().items() if p in rows} == rows
    assert run.encodings() == entries


def test_killed_job_goes_on_with_the_images_it_had_not_finished(run, finished_run):
    """A time limit in the middle of a shard costs an image, not the shard."""
    shards = [f"detections/parts/plain/shards/{name}.parquet" for name in shard_names(2)]
    for shard in shards:
        (run.results / shard).unlink()
    kept = sorted((run.results / "encodings/parts/finished/detect_boxes").rglob("*.json"))
    assert len(kept) == len(run.read("manifests/parts.parquet"))
    for path in kept[::3]:
        path.unlink()
    before = run.written()
    run.finish(*(f"results/{shard}" for shard in shards))
    again = {p for p, t in run.written().items() if before.get(p) != t and "/finished/" in p}
    assert again == {str(path.relative_to(run.results)) for path in kept[::3]}
    for shard in shards:
        assert (
            run.read(shard).drop(columns=LISTS).equals(finished_run.read(shard).drop(columns=LISTS))
        )


def test_deleted_encodings_are_computed_again_when_needed(run, finished_run):
    """The store is safe to delete: nothing asks for it until something depends on it."""
    shutil.rmtree(run.results / "encodings")
    assert "Nothing to be done" in run.finish("--dry-run")
    shard = "predictions/parts/grounded_sam/plain/shards/0-of-2.parquet"
    (run.results / shard).unlink()
    run.finish(f"results/{shard}")
    same = ["image_id", "status", "score", "mask_rle"]
    assert run.read(shard)[same].equals(finished_run.read(shard)[same])
    assert len(run.encodings()) == len(run.read("encodings/parts/sam_rgb/*.parquet"))


def test_damaged_encoding_is_noticed_and_computed_again(run, finished_run):
    """A flipped byte never reaches a mask; the job fails, and another run mends it by itself."""
    index = "encodings/parts/sam_rgb/0-of-2.parquet"
    key = run.read(index)["key"].iloc[0]
    (entry,) = run.results.rglob(f"{key}.safetensors")
    data = bytearray(entry.read_bytes())
    data[-20] ^= 0xFF
    entry.write_bytes(data)
    others = {p: t for p, t in run.encodings().items() if key not in p}
    shutil.rmtree(run.results / "encodings/parts/finished")
    shard = run.results / "predictions/parts/grounded_sam/plain/shards/0-of-2.parquet"
    shard.unlink()
    target = str(shard.relative_to(run.folder))
    said = run.fail(target)
    assert "this encoding is missing or damaged; run again, which computes it anew" in said
    run.finish(target)
    assert {p: t for p, t in run.encodings().items() if key not in p} == others
    original = finished_run.results / entry.relative_to(run.results)
    again, before = (load_file(path) for path in (entry, original))
    assert again.keys() == before.keys()
    assert all(np.array_equal(again[name], before[name]) for name in before)
    same = ["image_id", "status", "score", "mask_rle"]
    assert run.read(target.removeprefix("results/"))[same].equals(
        finished_run.read(target.removeprefix("results/"))[same]
    )
