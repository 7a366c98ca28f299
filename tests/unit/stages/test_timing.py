"""Seconds of a part: every step behind it, and none that was not timed."""

import pytest

from realitycheck.core.schemas import ENCODINGS, MASKS
from realitycheck.core.tables import gather, write_table
from realitycheck.stages.timing import (
    OWN_STEP,
    median_seconds,
    part_time,
    timed_steps,
)


def encodings(path, latencies, **facts):
    rows = [
        {
            "dataset": "chips",
            "image_id": f"{path.stem}/{number}",
            "key": "k",
            "storage_error": None,
            "latency_s": each,
        }
        for number, each in enumerate(latencies)
    ]
    write_table(rows, path, schema=ENCODINGS, facts=facts)
    return path


def masks(path, latencies, **facts):
    rows = [
        dict.fromkeys(MASKS.columns)
        | {
            "dataset": "chips",
            "image_id": f"{path.stem}/{number}",
            "method": "m",
            "prompt": "p",
            "status": "ok",
            "latency_s": each,
        }
        for number, each in enumerate(latencies)
    ]
    write_table(rows, path, schema=MASKS, facts=facts)
    return path


def test_steps_add_up_along_the_way(tmp_path):
    """The encoder's time travels through the tables of later steps to the mask."""
    encoder = encodings(tmp_path / "encoder", [1.0, 2.0, 30.0])
    cut = encodings(tmp_path / "cut", [0.5, 0.5], seconds=timed_steps({"image encoder": encoder}))
    found = timed_steps({"automatic masks": cut})
    assert found == {"image encoder": 2.0, "automatic masks": 0.5}
    part = part_time(masks(tmp_path / "masks", [0.25, 0.25], seconds=found))
    assert part.seconds == 2.75
    assert part.note == f"image encoder 2 s, automatic masks 0.5 s, {OWN_STEP} 0.25 s"


def test_step_that_was_not_timed_makes_the_time_unknown(tmp_path):
    """Half a sum would pass for the whole."""
    encoder = encodings(tmp_path / "encoder", [None, None])
    steps = timed_steps({"image encoder": encoder})
    part = part_time(masks(tmp_path / "masks", [0.25], seconds=steps))
    assert part == (None, "not timed: image encoder")


def test_shards_are_averaged(tmp_path):
    """Each GPU has its own speed."""
    paths = [
        masks(tmp_path / name, [0.1], seconds={"image encoder": seconds})
        for name, seconds in (("a", 1.0), ("b", 3.0))
    ]
    gather(paths, tmp_path / "all", schema=MASKS)
    assert part_time(tmp_path / "all").seconds == pytest.approx(2.1)
    shards = [encodings(tmp_path / f"e{n}", [float(n)]) for n in (1, 2, 3)]
    assert timed_steps({"image encoder": shards}) == {"image encoder": 2.0}


def test_own_time_may_stand_with_the_steps(tmp_path):
    """A classifier is timed over all images at once."""
    path = masks(tmp_path / "m", [None], seconds={OWN_STEP: 0.5})
    assert part_time(path).seconds == 0.5


def test_median_of_nothing_is_nothing():
    """A shard without images has no time."""
    assert median_seconds([3.0, 1.0, 2.0]) == 2.0
    assert median_seconds([]) is None
