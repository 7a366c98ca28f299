"""What each method does to 1,000 parts of the line, whose defect rate is not the images' own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from realitycheck.core.tables import BOOLEAN, REAL, TEXT, Schema
from realitycheck.metrics.line import (
    EXAMPLE_RATES,
    N_PARTS,
    Costs,
    Figure,
    LineFigures,
    Rates,
    line_figures,
)
from realitycheck.report.results import KEYS, Results
from realitycheck.report.tables.base import Section, typed_table
from realitycheck.report.text import MISSING, TableText, confidence_text, table_by_run

#: Figures with an interval, as columns `name`, `name_low` and `name_high`.
_COUNTS = ("defective", "escapes", "rejects", "good_rejects")
_SHARES = ("ppv", "npv")
_COSTS = ("cost_alone", "cost_checked", "cost_ship_all", "cost_check_all")
_DAYS = ("escapes_per_day", "rejects_per_day")
_FIGURES = tuple(
    (f"{name}{end}", REAL) for name in (*_COUNTS, *_SHARES) for end in ("", "_low", "_high")
)
_COST_FIGURES = tuple((f"{n}_usd{end}", REAL) for n in _COSTS for end in ("", "_low", "_high"))
_DAY_FIGURES = tuple((f"{name}{end}", REAL) for name in _DAYS for end in ("", "_low", "_high"))

LINE = Schema(
    "line",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("defect_rate_low", REAL),  # of the line's parts; the same as the next, or a range
        ("defect_rate_high", REAL),
        ("is_example", BOOLEAN),  # true: the line's own rate is not known
        # Of 1,000 parts of the line. Null: not known; intervals carry both rates' uncertainty.
        *_FIGURES,
        ("escapes_at_most", REAL),  # one-sided
        *_COST_FIGURES,  # for 1,000 parts
        ("missing_costs", TEXT),  # settings that a cost would need, by commas
        ("parts_per_day", REAL),
        *_DAY_FIGURES,
        ("confidence", REAL),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
    ),
    ("dataset", "method", "prompt", "defect_rate_low"),
    unit_interval=("defect_rate_low", "defect_rate_high", *_SHARES),
)
SCHEMAS = {"line": LINE}
SETTINGS = ("lines",)


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `line_table`."""
    tables = (results.table("classification"), results.table("readiness"))
    return {"line": line_table(*tables, lines=results.facts["lines"])}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"line": [line_text(tables["line"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table, if any method was tried."""
    return Section(texts(tables)["line"] if len(tables["line"]) else [], heading="On the line")


def line_table(
    classification: pd.DataFrame, readiness: pd.DataFrame, *, lines: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Say what each method does to 1,000 parts of its product's line.

    Args:
        classification: Table 2, of which the counts are.
        readiness: The decisions; rows and what a part costs are from there.
        lines: Of each data set `defect_rate` (one or two shares, or None), `parts_per_day` and
            `cost_usd`, as `Settings.line_of` gives them.

    Returns:
        The table, columns of `LINE`: a row per method and prompt, or one for each of
        `EXAMPLE_RATES` where the line's own defect rate is not known.
    """
    counts = {tuple(row[k] for k in KEYS): row for row in classification.to_dict("records")}
    rows: list[dict[str, Any]] = []
    for run in readiness.to_dict("records"):
        own = counts[tuple(run[k] for k in KEYS)]
        rows += _rows(run, own, lines[run["dataset"]])
    return typed_table(rows, LINE)


def _rows(
    run: Mapping[str, Any], counts: Mapping[str, Any], line: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    costs = Costs(**line["cost_usd"])
    if costs.inspection is None and pd.notna(run["cost_per_part_usd"]):
        costs = replace(costs, inspection=run["cost_per_part_usd"])
    rates = Rates.of(
        n_nok=counts["n_nok"],
        n_ok=counts["n_ok"],
        missed=int(counts["fn"]),
        rejected=int(counts["fp"]),
        unanswered_nok=counts["n_unanswered_nok"],
        unanswered_ok=counts["n_unanswered_ok"],
    )
    given = line["defect_rate"]
    for rate in [(given[0], given[-1])] if given else [(each, each) for each in EXAMPLE_RATES]:
        found = line_figures(rates, rate, costs=costs, confidence=run["confidence"])
        names = (*KEYS, "confidence", "dataset_name", "method_name")
        yield (
            {name: run[name] for name in names}
            | {"defect_rate_low": rate[0], "defect_rate_high": rate[1], "is_example": not given}
            | _figures(found, line["parts_per_day"])
            | {"missing_costs": ", ".join(f"line.cost_usd.{name}" for name in costs.missing())}
        )


def _figures(found: LineFigures, parts_per_day: float | None) -> dict[str, Any]:
    figures = asdict(found)
    row: dict[str, Any] = {"escapes_at_most": found.escapes_at_most, "parts_per_day": parts_per_day}
    for name in (*_COUNTS, *_SHARES):
        row |= _columns(name, figures[name])
    for name in _COSTS:
        row |= _columns(f"{name}_usd", figures[name])
    if parts_per_day is not None:
        for name in _DAYS:
            per_thousand = figures[name.removesuffix("_per_day")]
            row |= _columns(name, Figure(*(parts_per_day / N_PARTS * v for v in per_thousand)))
    return row


def _columns(name: str, figure: Figure | None) -> dict[str, float]:
    names = (name, f"{name}_low", f"{name}_high")
    return {} if figure is None else dict(zip(names, figure, strict=True))


# ------------------------------------------------------------------------------------------- words


def line_text(table: pd.DataFrame) -> TableText:
    """Format one row per run and defect rate: parts, then costs."""
    header = [
        *("Data set", "Method", "Prompt", "Defective parts", "Pass [interval] (bound)"),
        *("Rejected [interval]", "Good among them [interval]", "Rejects that are defective"),
        *("Passes that are good", "Pass a day", "Rejected a day", "USD, by itself"),
        *("USD, people check rejects", "USD, ship everything", "USD, people check everything"),
    ]

    def cells(row: pd.Series) -> list[str]:
        passed = f"{figure_text(row, 'escapes')} (≤\u00a0{number_text(row['escapes_at_most'])})"
        return [
            rate_text(row),
            passed,
            *(figure_text(row, name) for name in ("rejects", "good_rejects")),
            *(figure_text(row, name, is_share=True) for name in _SHARES),
            *(figure_text(row, name) for name in _DAYS),
            *(figure_text(row, f"{name}_usd") for name in _COSTS),
        ]

    first = set(table.drop_duplicates(KEYS).index)
    return table_by_run(
        f"On the line: what happens to {N_PARTS:,} of its parts",
        header,
        table,
        cells,
        n_text_columns=3,
        notes=lambda row: _notes(row) if row.name in first else [],
        legend=[*_legend(table)],
    )


def _legend(table: pd.DataFrame) -> Iterator[str]:
    named = table.drop_duplicates("dataset")
    for is_example, words in (
        (
            True,
            "The line's defect rate is not known (setting line.defect_rate), so these are examples",
        ),
        (False, "Defect rates are those of the setting line.defect_rate"),
    ):
        own = named[named["is_example"] == is_example]
        if len(own):
            yield f"{words}: {', '.join(own['dataset_name'])}."
    yield (
        f"For {N_PARTS:,} parts of the line, whatever the mixture of the images. In square "
        f"brackets {confidence_text(table)} intervals of each method by itself, which carry the "
        "uncertainty of slip and overkill rate (exact, both rates together), and the whole range "
        "where the defect rate is one; a part without a verdict counts as right at their lower "
        "ends and as wrong at their upper ones; (≤): one-sided upper bound of the defective parts "
        "that pass. Rejected: so many parts people check where a method assists."
    )
    if table[[f"{name}_usd_high" for name in _COSTS]].notna().any(axis=None):
        yield (
            "USD: by itself, rejects are thrown away; people check rejects, and judge rightly; "
            "beside it the cost of no inspection at all, and of people who check every part. What "
            "a part's inspection costs is what a service is paid, unless line.cost_usd.inspection "
            "says it."
        )


def _notes(row: pd.Series) -> list[str]:
    missing = row["missing_costs"]
    return [f"a cost is not known, and no figure made from it: {missing}"] if missing else []


def rate_text(row: Mapping[str, Any]) -> str:
    """Print the line's defect rate, or its range, in per cent."""
    low, high = (f"{100 * row[f'defect_rate_{end}']:.3g}" for end in ("low", "high"))
    return f"{low}\u00a0%" if low == high else f"{low}–{high}\u00a0%"


def figure_text(row: Mapping[str, Any], name: str, *, is_share: bool = False) -> str:
    """Print a figure with its interval in brackets; the interval alone where it is a range."""
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if pd.isna(high):
        return MISSING
    printed = _share_text if is_share else number_text
    if low == high:
        return printed(low)
    ends = (printed(low).removesuffix("\u00a0%"), printed(high))
    return "–".join(ends) if pd.isna(value) else f"{printed(value)} [{', '.join(ends)}]"


def number_text(value: float) -> str:
    """Print a number of parts or of dollars: two decimals below 10, none above 100."""
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _share_text(value: float) -> str:
    return f"{100 * value:.2f}\u00a0%"
