"""Tables between stages: how they are checked, written, read and put together.

A table is Parquet, keys first, one observation per row. It is checked against its schema when it is
written, appears in one step, is read only as it was written (`parquet`), holds no time stamp, and
carries in its metadata the package version and the digests of what it was computed from. So the
same inputs give the same bytes.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from realitycheck.core.parquet import ArtifactError, open_parquet, write_parquet
from realitycheck.core.provenance import ARTIFACT_FORMAT, package_version

METADATA_KEY = b"realitycheck"

#: Rows of a table that are held in memory where all of them need not be.
PART_ROWS = 2048


@dataclass(frozen=True)
class Schema:
    """Columns of a table.

    Attributes:
        name: The table's name in messages.
        fields: Column types, keys first.
        keys: Columns that name a row; their combination is unique.
        allowed: Closed lists of values of some columns.
        unit_interval: Columns whose values lie within 0 and 1.
    """

    name: str
    fields: tuple[tuple[str, pa.DataType], ...]
    keys: tuple[str, ...]
    allowed: Mapping[str, Collection[str]] = field(default_factory=dict)
    unit_interval: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Column names in order."""
        return [name for name, _ in self.fields]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.schema([pa.field(n, t) for n, t in self.fields])


TEXT, INTEGER, REAL, BOOLEAN = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def write_table(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    schema: Schema,
    facts: Mapping[str, Any],
    sort: bool = True,
) -> None:
    """Check a table against its schema and write it as Parquet, in one step.

    Args:
        rows: The rows; other columns than the schema's are refused.
        path: File to write.
        schema: The contract.
        facts: What the numbers were computed from: settings digest, weights digests, device,
            precision, seed. Stored in the file's metadata; must hold no time of day.
        sort: Whether rows are sorted by the keys; a table for people keeps its order.

    Raises:
        ArtifactError: If a column is missing or foreign, a key is repeated, or a value lies outside
            its range; names the file, the column, the first offender and their number.
    """
    arrow = _checked(rows, schema, where=path, sort=sort)
    write_parquet(path, [arrow], schema=schema.arrow.with_metadata(_described(schema, facts)))


def write_parts(
    rows: Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    schema: Schema,
    facts: Mapping[str, Any],
    part_rows: int = PART_ROWS,
) -> None:
    """Write rows as they come, so that memory does not grow with their number; see `write_table`.

    Args:
        rows: The rows, sorted by the schema's keys.
        path: File to write.
        schema: The contract.
        facts: As for `write_table`.
        part_rows: Rows that are held at a time.

    Raises:
        ArtifactError: As for `write_table`, and if the rows are not sorted.
    """

    def parts() -> Iterator[pa.Table]:
        last: tuple[Any, ...] = ()
        pending = iter(rows)
        while part := list(itertools.islice(pending, part_rows)):
            table = _checked(part, schema, where=path)
            keys = [tuple(row[key] for key in schema.keys) for row in part]
            in_order = [last, *keys]
            for before, after in itertools.pairwise(in_order):
                if before >= after:
                    raise ArtifactError(
                        f"{path}: expected rows sorted by {', '.join(schema.keys)}, each once, "
                        f"found {after} after {before}"
                    )
            last = keys[-1]
            yield table

    write_parquet(path, parts(), schema=schema.arrow.with_metadata(_described(schema, facts)))


def _checked(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]],
    schema: Schema,
    *,
    where: str | Path,
    sort: bool = True,
) -> pa.Table:
    """Check rows and, where that is wanted, sort them by their keys."""
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if not len(table) and not len(table.columns):
        table = pd.DataFrame({name: [] for name in schema.columns})
    check_table(table, schema, where=where)
    table = table[schema.columns]
    if sort:
        table = table.sort_values(list(schema.keys), kind="stable")
    if not len(table):
        # Arrow converts no empty column to a column of lists.
        return schema.arrow.empty_table()
    try:
        return pa.Table.from_pandas(table, schema=schema.arrow, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ArtifactError(
            f"{where}: a column of the {schema.name} table holds values of another type than its "
            f"schema says ({'; '.join(map(str, error.args))})"
        ) from error


def _described(schema: Schema, facts: Mapping[str, Any]) -> dict[bytes, bytes]:
    described = {
        "artifact": schema.name,
        "format": ARTIFACT_FORMAT,
        "version": package_version(),
        **facts,
    }
    return {METADATA_KEY: json.dumps(described, sort_keys=True, default=str).encode()}


def check_table(table: pd.DataFrame, schema: Schema, *, where: str | Path) -> None:
    """Check columns, keys and ranges of a table; see `write_table`."""
    missing = [c for c in schema.columns if c not in table.columns]
    foreign = [c for c in table.columns if c not in schema.columns]
    if missing or foreign:
        raise ArtifactError(
            f"{where}: a {schema.name} table has the columns {', '.join(schema.columns)}; "
            f"missing: {', '.join(missing) or 'none'}; not known: {', '.join(foreign) or 'none'}"
        )
    keys = table[list(schema.keys)]
    if keys.isna().any(axis=None):
        raise ArtifactError(f"{where}: the keys {', '.join(schema.keys)} must be filled everywhere")
    repeated = keys.duplicated()
    if repeated.any():
        first = ", ".join(map(str, keys[repeated].iloc[0]))
        raise ArtifactError(
            f"{where}: each {', '.join(schema.keys)} may occur once, but {int(repeated.sum())} of "
            f"{len(table)} rows repeat one (first: {first})"
        )
    for column, values in schema.allowed.items():
        bad = ~table[column].isin(values) & table[column].notna()
        _refuse(bad, table, column, f"one of {', '.join(sorted(values))}", schema, where)
    for column in schema.unit_interval:
        numbers = pd.to_numeric(table[column])
        bad = ((numbers < 0) | (numbers > 1)) & numbers.notna()
        _refuse(bad, table, column, "within 0 and 1", schema, where)


def _refuse(
    bad: pd.Series, table: pd.DataFrame, column: str, expected: str, schema: Schema, where: Any
) -> None:
    if bad.any():
        first = table[bad].iloc[0]
        row = ", ".join(str(first[k]) for k in schema.keys)
        raise ArtifactError(
            f"{where}: {column} must be {expected}, but {int(bad.sum())} of {len(table)} rows are "
            f"not (first: {row}: {first[column]!r})"
        )


def read_table(
    path: str | Path, *, schema: Schema, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a table and make sure that it is the one asked for.

    Raises:
        ArtifactError: If the file is no such table; says what it is and what to do.
    """
    with _opened(path, schema, columns) as file:
        return file.read(columns=list(columns or schema.columns)).to_pandas()


def read_parts(
    path: str | Path,
    *,
    schema: Schema,
    part_rows: int = PART_ROWS,
    columns: Sequence[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Read a table some rows at a time, in their order; see `read_table`."""
    with _opened(path, schema, columns) as file:
        for batch in file.iter_batches(part_rows, columns=list(columns or schema.columns)):
            yield batch.to_pandas()


def read_together(*tables: tuple[str | Path, Schema]) -> Iterator[tuple[pd.DataFrame, ...]]:
    """Read tables with one row per image side by side, some images at a time.

    Args:
        tables: Path and schema of each.

    Raises:
        ArtifactError: If they have different numbers of rows.
    """
    numbers = {}
    for path, schema in tables:
        with _opened(path, schema) as file:
            numbers[str(path)] = file.metadata.num_rows
    if len(set(numbers.values())) > 1:
        found = ", ".join(f"{path} {number}" for path, number in numbers.items())
        raise ArtifactError(f"expected one row for each image in every table, found: {found}")
    yield from zip(*(read_parts(path, schema=schema) for path, schema in tables), strict=True)


@contextlib.contextmanager
def _opened(
    path: str | Path, schema: Schema, columns: Sequence[str] | None = None
) -> Iterator[pq.ParquetFile]:
    """Open a table's file and make sure that it is the table asked for."""
    with open_parquet(path) as file:
        missing = [c for c in columns or schema.columns if c not in file.schema_arrow.names]
        if missing:
            raise ArtifactError(
                f"{path}: expected a {schema.name} table, but the columns {', '.join(missing)} are "
                "not there; it was written by another version: delete it and run again"
            )
        yield file


def read_shards(
    paths: Iterable[str | Path], *, schema: Schema, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read the tables of several shards as one."""
    tables = [read_table(path, schema=schema, columns=columns) for path in paths]
    return pd.concat(tables, ignore_index=True)


def read_facts(path: str | Path) -> dict[str, Any]:
    """Metadata that `write_table` stored: version, digests, device, precision."""
    with open_parquet(path) as file:
        raw = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    return json.loads(raw) if raw else {}


def is_written_from(path: str | Path, *, schema: Schema, facts: Mapping[str, Any]) -> bool:
    """Whether a table is there, undamaged, and was written from just these facts."""
    try:
        with open_parquet(path) as file:
            written = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    except ArtifactError:
        return False
    return written == _described(schema, facts)[METADATA_KEY]


def merged_facts(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Facts of the tables of shards as one; a fact that differs becomes a list."""
    facts = [read_facts(p) for p in paths]
    merged: dict[str, Any] = {}
    for key in sorted({k for f in facts for k in f} - {"artifact", "format", "version"}):
        values = [f.get(key) for f in facts]
        distinct = [v for i, v in enumerate(values) if v not in values[:i]]
        merged[key] = distinct[0] if len(distinct) == 1 else distinct
    return merged


def gather(
    paths: Iterable[str | Path],
    path: str | Path,
    *,
    schema: Schema,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Merge shard tables into one, some rows at a time; `facts`, if not those of the shards."""
    paths = list(paths)

    def rows_of(shard: str | Path) -> Iterator[dict[str, Any]]:
        with _opened(shard, schema) as file:
            for batch in file.iter_batches(PART_ROWS // len(paths) + 1, columns=schema.columns):
                yield from batch.to_pylist()

    rows = heapq.merge(*map(rows_of, paths), key=lambda row: [row[key] for key in schema.keys])
    write_parts(rows, path, schema=schema, facts=merged_facts(paths) if facts is None else facts)


def check_rows(table: pd.DataFrame, image_ids: Iterable[str], *, where: str | Path) -> None:
    """Check that a table has a row for every image of the manifest and no other.

    Raises:
        ArtifactError: With counts and the first offenders.
    """
    wanted, found = set(image_ids), set(table["image_id"])
    if wanted != found:
        lost, extra = sorted(wanted - found), sorted(found - wanted)
        raise ArtifactError(
            f"{where}: expected one row for each of {len(wanted)} images; {len(lost)} are missing "
            f"(first: {lost[:1]}), {len(extra)} are not in the manifest (first: {extra[:1]})"
        )
