"""CSV for people: with every digit, and nothing that a spreadsheet would run."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

#: What a spreadsheet takes for the begin of a formula, alone or after blanks that it drops.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(table: pd.DataFrame, *, has_header: bool = True) -> str:
    """Turn a table into CSV; a text that a spreadsheet would run begins with an apostrophe.

    That is the usual sign for it, which spreadsheets do not show. Numbers, also as texts, stay as
    they are.

    Source: OWASP, "CSV Injection".

    Args:
        table: The table.
        has_header: Whether the names of the columns come first.
    """
    safe = table.rename(columns=_shown)
    texts = [place for place, kind in enumerate(table.dtypes) if not _is_plain(kind)]
    for place in texts:
        safe.isetitem(place, table.iloc[:, place].map(_shown))
    return safe.to_csv(index=False, lineterminator="\n", header=has_header)


def _is_plain(kind: Any) -> bool:
    return pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)


def _shown(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    is_run = _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    # A carriage return alone is left without quotes, and would begin a row of its own.
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if is_run else text
