"""A run that was killed, or whose store was damaged, ends with the same tables."""

import shutil

import numpy as np
from safetensors.numpy import load_file

TABLE_FILES = [
    f"{name}{ending}"
    for name in ("segmentation", "classification")
    for ending in (".parquet", ".csv", ".md", ".tex")
]


def same_tables(run, other):
    """Names of tables whose bytes agree."""
    return [
        name
        for name in TABLE_FILES
        if (run.results / "tables" / name).read_bytes()
        == (other.results / "tables" / name).read_bytes()
    ]


def test_killed_run_loses_nothing(unstarted_run, finished_run):
    """Killed twice at any moment, a plain re-run ends with the tables of an undisturbed run."""
    run = unstarted_run
    moments = np.random.default_rng().uniform(3, 20, size=2).round(2).tolist()
    for seconds in moments:
        assert run.kill_after(seconds), f"the run ended before {seconds} s"
    run.finish(cores=2)
    assert same_tables(run, finished_run) == TABLE_FILES, f"killed after {moments} s"
    assert set(run.written()) == set(finished_run.written())
    assert "Nothing to be done" in run.finish("--dry-run")


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
    """A flipped byte never reaches a mask; the message says what to do, and that is enough."""
    index = "encodings/parts/sam_rgb/0-of-2.parquet"
    key = run.read(index)["key"].iloc[0]
    (entry,) = run.results.rglob(f"{key}.safetensors")
    data = bytearray(entry.read_bytes())
    data[-20] ^= 0xFF
    entry.write_bytes(data)
    others = {p: t for p, t in run.encodings().items() if key not in p}
    shard = run.results / "predictions/parts/grounded_sam/plain/shards/0-of-2.parquet"
    shard.unlink()
    target = str(shard.relative_to(run.folder))
    said = run.fail(target)
    assert "this encoding is missing or damaged; delete the shard tables" in said
    (run.results / index).unlink()
    run.finish(target)
    assert entry.is_file()
    assert {p: t for p, t in run.encodings().items() if key not in p} == others
    original = finished_run.results / entry.relative_to(run.results)
    again, before = (load_file(path) for path in (entry, original))
    assert again.keys() == before.keys()
    assert all(np.array_equal(again[name], before[name]) for name in before)
