"""Verdicts of a system, or of people, in a table: CSV or Parquet, one row per verdict."""

from __future__ import annotations

import csv
import difflib
import functools
import io
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from realitycheck.core.constants import LABELS, NO_PROMPT
from realitycheck.datasets.groups import unicode_text
from realitycheck.datasets.records import Fault, make_image_id
from realitycheck.methods.imported.names import Prediction

#: What a table may say of a verdict; the first two must be there.
COLUMNS = ("image", "label", "score", "reasoning", "rater", "repeat", "seconds", "cost_usd")


class Said(NamedTuple):
    """One verdict.

    Attributes:
        label: OK or NOK; None: no answer.
        score: 0 to 1, or None.
        reasoning: In words, or None.
        rater: Who said it, safe as a path; `NO_PROMPT` where nobody is named.
        repeat: The how-manieth verdict of this rater on the image, as the table counts.
        seconds: Time that it took, or None.
        cost_usd: What it cost, or None.
    """

    label: str | None
    score: float | None
    reasoning: str | None
    rater: str
    repeat: int
    seconds: float | None
    cost_usd: float | None


def read_verdicts(
    path: Path, *, labels: Mapping[str, str], columns: Mapping[str, str]
) -> tuple[list[Prediction], list[Fault]]:
    """Read a table of verdicts.

    Args:
        path: The file; Parquet by its ending, else CSV parted by comma, semicolon or tab.
        labels: What other words in the column of labels mean, by the word.
        columns: Names of the columns in the file, where they are others than `COLUMNS`.

    Returns:
        A prediction for each row, whose content is a `Said`; and every fault.
    """
    rows, faults = _rows(path)
    names = {name: columns.get(name, name) for name in COLUMNS}
    head = next(rows, (0, {}))[1] if not faults else {}
    faults += _head_faults(path, head, names)
    if faults:
        return [], faults
    words = {label.lower(): label for label in LABELS} | {
        word.strip().lower(): label for word, label in labels.items()
    }
    predictions = []
    has_rater, without_rater = set(), []
    for line, row in rows:
        given = {name: _text(row.get(column)) for name, column in names.items()}
        said, problems = _said(given, names, words)
        faults += [Fault(path, f"line {line}: {each}", "correct the line") for each in problems]
        if said is None:
            continue
        if said.rater == NO_PROMPT:
            without_rater.append(line)
        else:
            has_rater.add(said.rater)
        predictions.append(Prediction((given["image"],), path, f" (line {line})", said))
    if has_rater and without_rater:
        problem = f"line {without_rater[0]}: expected a rater in every row, found none"
        problem += f" in {len(without_rater)}" if len(without_rater) > 1 else ""
        faults.append(Fault(path, problem, "name the rater"))
    faults += _raters_of_one_name(path, names["rater"])
    if not predictions and not faults:
        faults.append(Fault(path, "expected verdicts, found no row", "export it again"))
    return predictions, faults


def doubled_verdicts(by_image: Mapping[str, list[Prediction]]) -> list[Fault]:
    """Give a fault for each verdict that stands twice: same image, rater and repeat."""
    faults = []
    for image_id, found in by_image.items():
        places = defaultdict(list)
        for each in found:
            places[each.content.rater, each.content.repeat].append(each)
        for (rater, repeat), same in places.items():
            if len(same) > 1:
                who = "" if rater == NO_PROMPT else f" by {rater}"
                lines = ", ".join(f"{each.names[0]!r}{each.place}" for each in same[:4])
                faults.append(
                    Fault(
                        same[0].where,
                        f"expected one verdict on {image_id}{who}, found {len(same)} with the "
                        f"repeat {repeat}: {lines}",
                        "keep one, or number them in the column repeat",
                    )
                )
    return faults


def raters_of(path: Path, *, column: str) -> list[str]:
    """Raters that a table names, sorted, safe as paths; none where it cannot be read."""
    return sorted({path_name(rater) for rater in _values(path, column)})


def has_repeats(path: Path, *, column: str) -> bool:
    """Whether a table tells repeats apart; not, where it cannot be read."""
    return len(_values(path, column)) > 1


def _values(path: Path, column: str) -> frozenset[str]:
    """What stands in a column; nothing where the table cannot be read."""
    try:
        found = path.stat()
    except OSError:
        return frozenset()
    return _values_of(path, column, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=64)
def _values_of(path: Path, column: str, _mtime_ns: int, _size: int) -> frozenset[str]:
    rows, faults = _rows(path)
    return frozenset() if faults else frozenset({_text(row.get(column)) for _, row in rows} - {""})


def path_name(rater: str) -> str:
    """What a rater is called in paths and tables."""
    return make_image_id([rater])


def _raters_of_one_name(path: Path, column: str) -> Iterator[Fault]:
    by_name = defaultdict(list)
    for rater in sorted(_values(path, column)):
        by_name[path_name(rater)].append(rater)
    for name, raters in by_name.items():
        if len(raters) > 1:
            problem = f"the raters {', '.join(map(repr, raters))} would both be called {name!r}"
            yield Fault(path, problem, "give them names that differ in letters or digits")
        if name == NO_PROMPT:
            problem = f"no rater can be called {raters[0]!r}, which stands for nobody in paths"
            yield Fault(path, problem, "give another name")


# -------------------------------------------------------------------------------------- the file


def _rows(path: Path) -> tuple[Iterator[tuple[int, dict[str, Any]]], list[Fault]]:
    """The first row, which names the columns, and then each row with its line, by column."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return _parquet_rows(path), []
        data = path.read_bytes()
    except OSError as error:
        problem = f"expected a table of verdicts, but it cannot be read ({error.strerror})"
        return iter(()), [Fault(path, problem, "correct the path")]
    except ValueError as error:
        problem = f"expected a Parquet file, but {error}"
        return iter(()), [Fault(path, problem, "export it again")]
    text, _ = unicode_text(data)
    if text is None:
        problem = "expected text in UTF-8 or UTF-16, found another encoding"
        return iter(()), [Fault(path, problem, "save it as UTF-8 (in Excel: 'CSV UTF-8')")]
    return _csv_rows(path, text)


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    from realitycheck.core.parquet import read_foreign

    table = read_foreign(path)

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        yield 0, dict.fromkeys(table.column_names)
        line = 0
        for batch in table.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                line += 1
                yield line, row

    return rows()


def _csv_rows(path: Path, text: str) -> tuple[Iterator[tuple[int, dict[str, Any]]], list[Fault]]:
    head, _, _ = text.partition("\n")
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        problem = f"line {reader.line_num}: expected a table, but {error}"
        return iter(()), [Fault(path, problem, "save it as CSV again")]
    uneven = [line for line, row in rows if None in row or None in row.values()]
    faults = [
        Fault(
            path, f"line {line}: expected {len(names)} fields, found another number", "correct it"
        )
        for line in uneven
    ]
    return iter([(1, dict.fromkeys(names)), *rows]), faults


def _head_faults(path: Path, head: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Fault]:
    if not head:
        return
    there = ", ".join(head)
    for name in ("image", "label"):
        if names[name] not in head:
            problem = f"expected a column {names[name]!r}, found {there}"
            yield Fault(path, problem, f"rename it, or set columns: {{{name}: …}}")
    others = [column for column in head if column not in names.values()]
    for name, column in names.items():
        if name in ("image", "label") or column in head:
            continue
        if column != name:
            problem = f"expected the column {column!r} that columns names, found {there}"
            yield Fault(path, problem, "correct the setting")
        elif close := difflib.get_close_matches(name, others, n=1, cutoff=0.75):
            problem = f"found a column {close[0]!r}, which may be meant as {name!r}"
            yield Fault(path, problem, f"rename it, or remove it, or set columns: {{{name}: …}}")


# --------------------------------------------------------------------------------------- one row


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def _said(
    given: Mapping[str, str], names: Mapping[str, str], words: Mapping[str, str]
) -> tuple[Said | None, list[str]]:
    problems = []

    def number(name: str, most: float) -> float | None:
        text = given[name]
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= most or math.isinf(value):
            limit = f"from 0 to {most:g}" if most < math.inf else "of 0 or more"
            problems.append(f"expected a number {limit} in {names[name]}, found {text!r}")
            return None
        return value

    if not given["image"]:
        problems.append(f"expected the name of an image in {names['image']}, found none")
    label = words.get(given["label"].lower())
    if given["label"] and label is None:
        known = ", ".join(dict.fromkeys(words))
        problems.append(
            f"expected one of {known} in {names['label']}, found {given['label']!r}; or say in "
            "labels what it means"
        )
    score, repeat = number("score", 1), number("repeat", math.inf)
    if repeat is not None and repeat != int(repeat):
        problems.append(f"expected a whole number in {names['repeat']}, found {given['repeat']!r}")
    said = Said(
        label=label,
        score=score if label else None,
        reasoning=given["reasoning"] or None,
        rater=path_name(given["rater"]) if given["rater"] else NO_PROMPT,
        repeat=int(repeat or 0),
        seconds=number("seconds", math.inf),
        cost_usd=number("cost_usd", math.inf),
    )
    return (None if problems else said), problems
