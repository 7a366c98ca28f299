"""Compare the results of two runs: `python benchmarks/same_results.py OLD/results NEW/results`.

For a change that must move no number. Tables are compared by content: rows, columns, integers and
texts exactly, real numbers within a tolerance, durations not at all; pictures by their pixels; the
rest by name. Prints each difference and ends with 1 if there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

#: Columns that tell how long something took, or since when tries are counted.
_UNLIKE = ("latency_s", "seconds", "duration", "tries_note")
#: Folders of internal files, which a changed digest of code renames.
_INTERNAL = ("encodings", "cache", "lvlm")


def differences(old: Path, new: Path, *, tolerance: float) -> Iterator[str]:
    """Yield what differs between two results folders, a line each.

    Args:
        old: Folder of results.
        new: Another one.
        tolerance: Of real numbers, relative and absolute.
    """
    names = [_files(folder) for folder in (old, new)]
    for name in sorted(names[0] ^ names[1]):
        yield f"{name}: only in {old if name in names[0] else new}"
    for name in sorted(names[0] & names[1]):
        if name.endswith(".parquet"):
            yield from _tables(name, old / name, new / name, tolerance)
        elif name.endswith(".png") and not np.array_equal(
            *(cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for folder in (old, new))
        ):
            yield f"{name}: other pixels"


def _files(folder: Path) -> set[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if path.parts[0] not in _INTERNAL}


def _tables(name: str, old: Path, new: Path, tolerance: float) -> Iterator[str]:
    a, b = (pq.read_table(path).to_pandas() for path in (old, new))
    if list(a.columns) != list(b.columns):
        yield f"{name}: columns {sorted(set(a.columns) ^ set(b.columns)) or 'in other order'}"
    if len(a) != len(b):
        yield f"{name}: {len(a)} rows, now {len(b)}"
        return
    for column in [c for c in a.columns if c in b.columns]:
        if any(part in column for part in _UNLIKE):
            continue
        row = _first_other(a[column], b[column], tolerance)
        if row is not None:
            yield f"{name}: {column}, row {row}: {a[column][row]!r}, now {b[column][row]!r}"


def _first_other(a: pd.Series, b: pd.Series, tolerance: float) -> int | None:
    if pd.api.types.is_float_dtype(a) and pd.api.types.is_float_dtype(b):
        same = np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        same = np.array([_plain(x) == _plain(y) for x, y in zip(a, b, strict=True)], bool)
    return None if same.all() else int(np.argmin(same))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def main() -> int:
    """Compare two folders and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    asked = parser.parse_args()
    found = list(differences(asked.old, asked.new, tolerance=asked.tolerance))
    print("\n".join(found) or "no difference")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
