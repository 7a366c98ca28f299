"""How long a part takes: the steps behind a mask or a verdict, each timed where it was done.

An encoding is shared by several methods and made once, so a method's own time is only the last step
of what a part costs. Each table therefore carries in its metadata the seconds of the steps before
it, and the sum is what an inspection of one more part would take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from realitycheck.core.parquet import open_parquet, read_frame
from realitycheck.core.tables import read_facts

#: Name of a run's own step, the last one.
OWN_STEP = "mask or verdict"

Seconds = dict[str, float | None]
Item = TypeVar("Item")


class PartTime(NamedTuple):
    """Time of one part.

    Attributes:
        seconds: Sum of the steps' medians; None where a step was not timed.
        note: The steps with their seconds, the longest first, or what was not timed.
    """

    seconds: float | None
    note: str


def timed_steps(steps: Mapping[str, str | Path | Sequence[str | Path]]) -> Seconds:
    """Gather the time of the steps whose tables a job reads, and of those before them.

    Args:
        steps: Table of each step, or its shards, by the step's name for people.

    Returns:
        Median seconds of an image by step, in their order; None where nothing was timed. A table
        without a column `latency_s` carries its own time in its metadata.
    """
    found: Seconds = {}
    for name, paths in steps.items():
        shards = [paths] if isinstance(paths, str | Path) else list(paths)
        found |= _noted(shards)
        own = []
        for path in shards:
            with open_parquet(path) as file:
                if "latency_s" in file.schema_arrow.names:
                    own.append(file.read(columns=["latency_s"]).to_pandas())
        if own:
            found[name] = _median(pd.concat(own))
    return found


def median_seconds(seconds: Sequence[float]) -> float | None:
    """Median of seconds; None without any."""
    return _median(pd.DataFrame({"latency_s": list(seconds)}, dtype=float))


def part_time(path: str | Path) -> PartTime:
    """Tell how long a run takes for one part.

    Several answers about one part add up. Alignment, which all methods share, is not among the
    steps.

    Args:
        path: Masks or verdicts table of the run.
    """
    steps = _noted([path])
    table = read_frame(path, ["image_id", "latency_s"])
    by_part = table.groupby("image_id")["latency_s"].agg(lambda each: each.sum(min_count=1))
    if OWN_STEP not in steps:
        steps[OWN_STEP] = _median(by_part.to_frame())
    unknown = [name for name, seconds in steps.items() if seconds is None]
    if unknown:
        return PartTime(None, f"not timed: {', '.join(unknown)}")
    longest_first = sorted(steps.items(), key=lambda step: (-step[1], step[0]))
    told = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in longest_first if seconds)
    return PartTime(float(sum(steps.values())), told)


def _noted(paths: Sequence[str | Path]) -> Seconds:
    """Steps in the metadata of tables; those of several shards are averaged."""
    noted: list[Mapping[str, Any]] = []
    for path in paths:
        found = read_facts(path).get("seconds", {})
        noted += [found] if isinstance(found, Mapping) else found
    by_step: dict[str, list[float | None]] = {}
    for shard in noted:
        for name, seconds in shard.items():
            by_step.setdefault(name, []).append(seconds)
    return {
        name: None if None in each else float(sum(each) / len(each))
        for name, each in by_step.items()
    }


def _median(table: pd.DataFrame) -> float | None:
    seconds = table["latency_s"].dropna()
    return float(seconds.median()) if len(seconds) else None
