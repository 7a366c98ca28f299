"""What lies in the folder of a program: the request that it reads, the answers that it leaves.

Format 1; docs/methods/command.md describes it. Images are named by plain numbers in an order that
says nothing, so that neither a name breaks a program nor tells it a label.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from realitycheck.core.constants import LABELS
from realitycheck.core.images import write_png
from realitycheck.core.parquet import read_foreign

#: Version of the format, told in each request; raise it when something that is there changes.
FORMAT = 1

#: What may become of an image.
STATUSES = ("answered", "failed")
_COLUMNS = ("index", "label", "score", "reasoning", "seconds", "status")
#: Faults of one kind that a message names one by one.
_N_NAMED = 5


class ExchangeError(ValueError):
    """Answers that are not as the format says; lists every fault."""


class Picture(NamedTuple):
    """An aligned image that is given to a program.

    Attributes:
        path: The aligned image.
        category: Its category.
        height_px: Height in pixels.
        width_px: Width in pixels.
    """

    path: Path
    category: str
    height_px: int
    width_px: int


@dataclass(frozen=True)
class Answer:
    """What a program says of an image.

    Attributes:
        status: `answered` or `failed`.
        label: OK or NOK, if it gives verdicts.
        score: 0 to 1, or None.
        reasoning: In words, or None.
        seconds: Time of the image; None where it was not told.
    """

    status: str = "answered"
    label: str | None = None
    score: float | None = None
    reasoning: str | None = None
    seconds: float | None = None


def file_name(index: int, suffix: str) -> str:
    """Name of an image's file.

    >>> file_name(7, "png")
    '000007.png'
    """
    return f"{index:06d}.{suffix}"


# ----------------------------------------------------------------------------------------- request


def write_request(
    folder: Path,
    request: Mapping[str, Any],
    *,
    images: Sequence[Picture],
    training: Sequence[Picture],
    references: Mapping[str, np.ndarray],
) -> None:
    """Write the folder of a program anew.

    Args:
        folder: The folder; what lies in it is removed.
        request: What stands in `request.json`, besides the format.
        images: Images to judge, in the order of their numbers.
        training: Good training images.
        references: Reference image of each category, uint8 RGB (H, W, 3).
    """
    shutil.rmtree(folder, ignore_errors=True)
    _write_pictures(folder, "images", images)
    _write_pictures(folder, "training", training)
    rows = []
    for index, (category, image) in enumerate(sorted(references.items())):
        name = f"references/{file_name(index, 'png')}"
        write_png(image, folder / name)
        rows.append({"index": index, "file": name, "category": category})
    pd.DataFrame(rows, columns=["index", "file", "category"]).to_parquet(
        folder / "references.parquet"
    )
    for name in ("masks", "maps"):
        (folder / name).mkdir()
    text = json.dumps({"format": FORMAT, **request}, indent=2, ensure_ascii=False)
    (folder / "request.json").write_text(text, encoding="utf-8")


def _write_pictures(folder: Path, name: str, pictures: Sequence[Picture]) -> None:
    (folder / name).mkdir(parents=True)
    rows = []
    for index, picture in enumerate(pictures):
        file = f"{name}/{file_name(index, 'png')}"
        # A copy: a program may write into what it is given.
        shutil.copyfile(picture.path, folder / file)
        rows.append((index, file, picture.category, picture.height_px, picture.width_px))
    columns = ["index", "file", "category", "height_px", "width_px"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / f"{name}.parquet")


# ----------------------------------------------------------------------------------------- answers


def read_answers(folder: Path, images: Sequence[Picture], *, gives: str) -> list[Answer]:
    """Read and check what a program left.

    Args:
        folder: Its folder.
        images: The images that it was given.
        gives: `masks`, `maps` or `verdicts`.

    Returns:
        An answer for each image, in their order; masks and maps stay in the folder.

    Raises:
        ExchangeError: If something is missing or not as the format says; lists everything.
    """
    faults: list[str] = []
    answers = _read_predictions(folder, len(images), faults, needed=gives == "verdicts")
    if gives != "verdicts":
        suffix, check = {"masks": ("png", _mask_fault), "maps": ("npy", _map_fault)}[gives]
        of_kind: dict[str, list[str]] = {}
        for index, picture in enumerate(images):
            path = folder / gives / file_name(index, suffix)
            answer = answers.get(index, Answer())
            if answer.status == "failed":
                continue
            fault = check(path, (picture.height_px, picture.width_px))
            if fault:
                of_kind.setdefault(fault[0], []).append(f"{path.name}{fault[1]}")
        faults += [f"{gives}/: {kind}: {_some(each)}" for kind, each in of_kind.items()]
        known = {file_name(index, suffix) for index in range(len(images))}
        others = sorted(each.name for each in (folder / gives).iterdir() if each.name not in known)
        if others:
            faults.append(
                f"{gives}/: expected {file_name(0, suffix)} to "
                f"{file_name(len(images) - 1, suffix)}, found as well: {_some(others)}"
            )
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise ExchangeError(f"{folder}: the program's answers are not as asked for:\n{listed}")
    return [answers.get(index, Answer()) for index in range(len(images))]


def _read_predictions(
    folder: Path, n_images: int, faults: list[str], *, needed: bool
) -> dict[int, Answer]:
    table = _table(folder, faults, needed=needed)
    if table is None:
        return {}
    name = "predictions"
    if unknown := [str(each) for each in table.columns if each not in _COLUMNS]:
        faults.append(
            f"{name}: columns may be {', '.join(_COLUMNS)}, found as well: {_some(unknown)}"
        )
    wanted = {"index", *(["label"] if needed else [])}
    if absent := sorted(wanted - set(table.columns)):
        faults.append(f"{name}: the column {', '.join(absent)} is missing")
        return {}
    index = pd.to_numeric(table["index"], errors="coerce")
    is_number = index.notna() & (index % 1 == 0) & index.between(0, n_images - 1)
    if not is_number.all():
        found = [repr(each) for each in table.loc[~is_number, "index"]]
        faults.append(
            f"{name}: index must be a whole number from 0 to {n_images - 1}, found {_some(found)}"
        )
    table = table[is_number].assign(index=index[is_number].astype(int))
    doubled = sorted(set(table.loc[table["index"].duplicated(), "index"]))
    if doubled:
        faults.append(f"{name}: more than one row for index {_some(map(str, doubled))}")
    missing = sorted(set(range(n_images)) - set(table["index"]))
    if missing:
        faults.append(f"{name}: no row for index {_some(map(str, missing))}")
    table = table.drop_duplicates("index").reindex(columns=list(_COLUMNS))
    table["status"] = table["status"].astype(object).fillna("answered")
    faults += _value_faults(table, needed=needed)
    return {int(row["index"]): _answer(row) for row in table.to_dict("records")}


def _table(folder: Path, faults: list[str], *, needed: bool) -> pd.DataFrame | None:
    parquet, csv = folder / "predictions.parquet", folder / "predictions.csv"
    there = [path for path in (parquet, csv) if path.is_file()]
    if len(there) == 2:
        faults.append("predictions: found both predictions.parquet and predictions.csv; leave one")
        return None
    if not there:
        if needed:
            faults.append(
                "predictions: expected predictions.parquet or predictions.csv, found none"
            )
        return None
    try:
        if there[0] is parquet:
            return read_foreign(parquet).to_pandas()
        return pd.read_csv(csv, dtype={"label": str, "reasoning": str, "status": str})
    except (OSError, ValueError) as error:
        faults.append(f"{there[0].name}: cannot be read ({error})")
        return None


def _value_faults(table: pd.DataFrame, *, needed: bool) -> Iterator[str]:
    """Find values that the format does not allow."""

    def bad(column: str, is_bad: pd.Series, expected: str) -> Iterator[str]:
        if is_bad.any():
            found = (
                f"index {row['index']}: {row[column]!r}" for _, row in table[is_bad].iterrows()
            )
            yield f"predictions: {column} must be {expected}, found {_some(found)}"

    yield from bad("status", ~table["status"].isin(STATUSES), " or ".join(STATUSES))
    answered = table["status"] == "answered"
    label = table["label"]
    is_bad = ~label.isin(LABELS) & (answered if needed else label.notna())
    yield from bad("label", is_bad, "OK or NOK")
    for column, expected in (("score", "a number from 0 to 1"), ("seconds", "a number from 0 on")):
        value = pd.to_numeric(table[column], errors="coerce").astype(float)
        top = 1.0 if column == "score" else np.finfo(float).max
        fits = value.between(0.0, top)
        yield from bad(column, table[column].notna() & ~fits, expected)


def _answer(row: Mapping[str, Any]) -> Answer:
    def number(name: str) -> float | None:
        value = pd.to_numeric(row[name], errors="coerce")
        return None if pd.isna(value) else float(value)

    def text(name: str) -> str | None:
        return None if pd.isna(row[name]) else str(row[name])

    return Answer(
        str(row["status"]), text("label"), number("score"), text("reasoning"), number("seconds")
    )


def _mask_fault(path: Path, size_hw: tuple[int, int]) -> tuple[str, str] | None:
    """What is wrong with a mask, and at which, or nothing."""
    if not path.is_file():
        return "missing", ""
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if found is None:
        return "cannot be read as PNG", ""
    if found.dtype != np.uint8 or found.ndim != 2:
        n_channels = 1 if found.ndim == 2 else found.shape[2]
        return "expected 8 bits, one channel", f" ({8 * found.itemsize} bits, {n_channels})"
    if found.shape != size_hw:
        return _WRONG_SIZE, _sizes(found.shape, size_hw)
    values = np.unique(found)
    if not set(values.tolist()) <= {0, 255} and not set(values.tolist()) <= {0, 1}:
        return "expected the values 0 and 255, or 0 and 1", f" ({values.min()} to {values.max()})"
    return None


def _map_fault(path: Path, size_hw: tuple[int, int]) -> tuple[str, str] | None:
    """The same of a map."""
    if not path.is_file():
        return "missing", ""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return "cannot be read as NumPy's .npy", f" ({error})"
    if not isinstance(found, np.ndarray) or found.dtype != np.float32:
        return "expected float32", f" ({getattr(found, 'dtype', 'no array')})"
    if found.shape != size_hw:
        return _WRONG_SIZE, _sizes(found.shape, size_hw)
    if not np.isfinite(found).all():
        return "expected finite values", f" ({int((~np.isfinite(found)).sum())} are not)"
    if found.min() < 0 or found.max() > 1:
        return "expected values from 0 to 1", f" ({found.min():.4g} to {found.max():.4g})"
    return None


_WRONG_SIZE = "expected the size of the image, height × width"


def _sizes(found: Sequence[int], expected: Sequence[int]) -> str:
    return f" ({' × '.join(map(str, found))}, expected {' × '.join(map(str, expected))})"


def _some(items: Iterable[str]) -> str:
    """The first few of some items, and how many there are."""
    listed = list(items)
    shown = ", ".join(listed[:_N_NAMED])
    more = len(listed) - _N_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def read_mask(folder: Path, index: int) -> np.ndarray:
    """A checked mask, bool (H, W)."""
    found = cv2.imread(str(folder / "masks" / file_name(index, "png")), cv2.IMREAD_UNCHANGED)
    return found > 0


def read_map(folder: Path, index: int) -> np.ndarray:
    """A checked map, float32 (H, W), 0 to 1."""
    return np.load(folder / "maps" / file_name(index, "npy"), allow_pickle=False)
