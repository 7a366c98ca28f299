"""For each data set, method and prompt: is it fit for the product, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from realitycheck.core.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema
from realitycheck.core.tries_file import Count, Tried
from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.line import Rates, informedness
from realitycheck.metrics.readiness import (
    PRACTICABLE_PARTS,
    Evidence,
    Requirements,
    decide_all,
)
from realitycheck.report.results import KEYS, Results
from realitycheck.report.tables.base import typed_table
from realitycheck.report.text import (
    TableText,
    bounded,
    interval_text,
    percent_text,
    score_text,
    split_notes,
    table_by_run,
    with_unit,
)


class Decision(NamedTuple):
    """How a decision is shown: its word, its mark, and what follows from it."""

    word: str
    mark: str
    follows: str


#: In the order that a reader wants them.
DECISIONS = {
    "ready": Decision("Ready", "✔", "may inspect by itself"),
    "assist": Decision("Assist", "◐", "may inspect if people re-check what it rejects"),
    "cannot_tell": Decision("Cannot tell", "?", "the parts at hand prove neither"),
    "not_ready": Decision("Not ready", "✖", "must not inspect"),
    "did_not_judge": Decision("Did not judge", "–", "has no verdict on most parts"),
}

READINESS = Schema(
    "readiness",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("decision", TEXT),
        ("reason", TEXT),  # one sentence with its numbers
        ("n_ok", INTEGER),
        ("n_nok", INTEGER),
        ("n_answered", INTEGER),
        ("slip_rate", REAL),  # null where unanswered parts make it a range
        ("slip_rate_low", REAL),  # one-sided bounds; unanswered parts count as right, as wrong
        ("slip_rate_high", REAL),
        ("overkill_rate", REAL),
        ("overkill_rate_low", REAL),
        ("overkill_rate_high", REAL),
        ("f2", REAL),
        ("f2_floor", REAL),
        ("seconds_per_part", REAL),  # null where a step was not timed
        ("cost_per_part_usd", REAL),  # paid to a service; 0 where none is asked
        ("max_slip_rate", REAL),
        ("max_overkill_rate", REAL),
        ("max_seconds_per_part", REAL),
        ("max_cost_per_part_usd", REAL),
        ("recheck_share", REAL),  # of the parts at hand, rejected or without a verdict
        ("more_nok_needed", INTEGER),  # further parts that would settle it; null: none would
        ("more_ok_needed", INTEGER),
        ("f2_low", REAL),
        ("f2_high", REAL),
        ("is_no_better_than_floor", BOOLEAN),
        ("seconds_note", TEXT),  # the steps that it adds up, or why it is not known
        ("uses_test_truth", BOOLEAN),
        ("training_unknown", BOOLEAN),
        ("transductive", BOOLEAN),
        ("confidence", REAL),
        ("n_tries", INTEGER),  # everything tried on the parts; the decision holds for all of it
        ("n_named_before", INTEGER),  # tries that were named before any was scored; 0: none were
        ("is_named_before", BOOLEAN),  # whether this is one; then the decision holds among them
        ("tries_note", TEXT),  # how many were tried, and since when they are counted
        ("decision_alone", TEXT),  # as if this one were the only try
        ("slip_rate_high_among", REAL),  # upper bounds that decide among all tries
        ("overkill_rate_high_among", REAL),
        ("excluded", TEXT),  # which of ready and assist the parts rule out, by commas
        ("still_open", TEXT),  # which they neither prove nor rule out
        ("confidence_among", REAL),  # of the upper bounds that decide among all tries
        ("max_recheck_share", REAL),
        ("defect_rate_low", REAL),  # of the line; null where it is not known
        ("defect_rate_high", REAL),
        ("informedness", REAL),  # 1 - slip - overkill, 0 without any model at every mixture
        ("informedness_low", REAL),  # one-sided bounds
        ("informedness_high", REAL),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
        ("note", TEXT),
    ),
    ("dataset", "method", "prompt"),
    {"decision": frozenset(DECISIONS), "decision_alone": frozenset(DECISIONS)},
    ("slip_rate", "slip_rate_low", "slip_rate_high", "overkill_rate", "overkill_rate_low")
    + ("overkill_rate_high", "f2", "recheck_share", "slip_rate_high_among")
    + ("overkill_rate_high_among",),
)
SCHEMAS = {"readiness": READINESS}
SETTINGS = ("requirements", "lines")

#: Beginnings of the notes of Table 2 that a decision does not rest on.
_BESIDE_A_DECISION = (
    "published value",
    "the study gives",
    "no variation among",
    "no better than no model",
    "NOK by predicted area",
)


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `readiness_table`."""
    table = readiness_table(
        results.table("classification"),
        results.handed["part_times"](),
        requirements=results.facts["requirements"],
        defect_rates={name: line["defect_rate"] for name, line in results.facts["lines"].items()},
        tried=results.handed["tried"](),
    )
    return {"readiness": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"readiness": [readiness_text(tables["readiness"])]}


def readiness_table(
    classification: pd.DataFrame,
    times: pd.DataFrame,
    *,
    requirements: Mapping[str, Any],
    defect_rates: Mapping[str, Sequence[float] | None] | None = None,
    tried: Mapping[str, Tried] | None = None,
) -> pd.DataFrame:
    """Decide for each data set, method and prompt whether it is fit for the product.

    Args:
        classification: Table 2, baselines among it; they get no row.
        times: Seconds of a part, columns `KEYS`, `seconds_per_part` and `seconds_note`; a run that
            is not there was not timed.
        requirements: The limits by name.
        defect_rates: Of the line of each data set, one share or the ends of a range; None where it
            is not known.
        tried: What was ever tried on the parts of each data set, the table's rows among it; None:
            these rows, as far as they judged something.

    Returns:
        The table, columns of `READINESS`.
    """
    known = {tuple(row[k] for k in KEYS): row for row in times.to_dict("records")}
    rows = []
    scored = classification[~classification["is_floor"].astype(bool)]
    for dataset, own in scored.groupby("dataset", sort=False):
        found = own.to_dict("records")
        timed = [known.get(tuple(row[k] for k in KEYS), {}) for row in found]
        evidence = [_evidence(row, time) for row, time in zip(found, timed, strict=True)]
        rate = (defect_rates or {}).get(dataset)
        ends = (rate[0], rate[-1]) if rate else None
        limits = Requirements(**requirements, defect_rate=ends)
        known_tries = (tried or {}).get(dataset) or _at_hand(found)
        decisions = _decide_among(known_tries, found, evidence, limits)
        for row, time, about, (alone, among) in zip(found, timed, evidence, decisions, strict=True):
            rows.append(
                {name: row[name] for name in READINESS.columns if name in row}
                | dict(requirements)
                | {
                    "decision": among.decision,
                    "reason": among.reason,
                    "recheck_share": among.recheck_share,
                    "more_nok_needed": among.more_nok_needed,
                    "more_ok_needed": among.more_ok_needed,
                    "n_tries": known_tries.count.n_tries,
                    "n_named_before": len(known_tries.count.family),
                    "is_named_before": known_tries.is_named(row["method"], row["prompt"]),
                    "tries_note": known_tries.count.words(),
                    "decision_alone": alone.decision,
                    "excluded": ", ".join(among.excluded),
                    "still_open": ", ".join(among.still_open),
                    "confidence_among": among.confidence,
                    "defect_rate_low": ends[0] if ends else None,
                    "defect_rate_high": ends[1] if ends else None,
                    "seconds_per_part": about.seconds_per_part,
                    "seconds_note": time.get("seconds_note") or "not timed",
                    "note": _decision_note(row["note"]),
                    "cost_per_part_usd": about.cost_per_part_usd,
                }
                | _bounds_among(about, among.confidence)
                | _informedness(about, row["confidence"])
            )
    return typed_table(rows, READINESS)


def _at_hand(rows: Sequence[Mapping[str, Any]]) -> Tried:
    """The rows of a table as all that was tried, where nothing else is known."""
    return Tried(Count(n_scored=sum(row["n_answered"] > 0 for row in rows)), {})


def _decide_among(
    tried: Tried,
    rows: Sequence[Mapping[str, Any]],
    evidence: Sequence[Evidence],
    limits: Requirements,
) -> list[tuple[Any, Any]]:
    """Decide for each row alone and among its tries: its family where it was named, else all."""
    count = tried.count
    named = [tried.is_named(row["method"], row["prompt"]) for row in rows]
    decisions: list[Any] = [None] * len(rows)
    for is_named in set(named):
        places = [place for place, own in enumerate(named) if own == is_named]
        told: dict[str, Any] = {"n_tries": max(1, count.n_tries)}
        if is_named:
            date = str(count.family_date)[:10]
            told = {
                "n_tries": len(count.family),
                "among": f"named on {date}, before any was scored",
            }
        found = decide_all(
            [evidence[place] for place in places],
            limits,
            confidence=rows[0]["confidence"],
            **told,
        )
        for place, decision in zip(places, found, strict=True):
            decisions[place] = decision
    return decisions


def _evidence(row: Mapping[str, Any], time: Mapping[str, Any]) -> Evidence:
    return Evidence(
        n_nok=row["n_nok"],
        n_ok=row["n_ok"],
        missed=int(row["fn"]),
        rejected=int(row["fp"]),
        unanswered_nok=row["n_unanswered_nok"],
        unanswered_ok=row["n_unanswered_ok"],
        unanswered_why=_words_of(row["unanswered_status"]),
        seconds_per_part=_number(time.get("seconds_per_part")),
        cost_per_part_usd=_cost(row),
    )


def _words_of(status_counts: Any) -> str:
    """Statuses of images without a verdict, with their numbers, without underscores."""
    return "" if pd.isna(status_counts) else str(status_counts).replace("_", " ")


def _bounds_among(e: Evidence, confidence: float) -> dict[str, float]:
    """Upper bounds that decide among all tries; null without a part."""
    bounds = {}
    for name, wrong, n in (
        ("slip_rate", e.slip_wrong, e.n_nok),
        ("overkill_rate", e.overkill_wrong, e.n_ok),
    ):
        high = clopper_pearson(wrong, n, confidence=confidence, side="upper")[1]
        bounds[f"{name}_high_among"] = high if n else np.nan
    return bounds


def _informedness(e: Evidence, confidence: float) -> dict[str, float]:
    """How much better than no model, with bounds; null without parts of both kinds."""
    rates = Rates.of(e.n_nok, e.n_ok, e.missed, e.rejected, e.unanswered_nok, e.unanswered_ok)
    found = informedness(rates, confidence=confidence) if e.n_nok and e.n_ok else [np.nan] * 3
    return dict(zip(("informedness", "informedness_low", "informedness_high"), found, strict=True))


def _decision_note(note: str) -> str:
    """What of a row's note in Table 2 a decision rests on; the reason says the rest."""
    parts = [part for part in note.split("; ") if not part.startswith(_BESIDE_A_DECISION)]
    return "; ".join(parts)


def _cost(row: Mapping[str, Any]) -> float | None:
    """What a service is paid for a part: nothing where none is asked."""
    per_thousand = _number(row["cost_per_1000_parts_usd"])
    if per_thousand is not None:
        return per_thousand / 1000
    return None if pd.notna(row["model"]) else 0.0


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def readiness_text(table: pd.DataFrame) -> TableText:
    """Decisions, each with its reason as a footnote."""
    header = [
        *("Data set", "Method", "Prompt", "Decision", "NOK / OK", "Answered"),
        *("Slip rate (bound)", "Overkill rate (bound)", "Time per part", "Cost per part"),
        *("1 − slip − overkill", "Further NOK / OK needed"),
    ]

    def cells(row: pd.Series) -> list[str]:
        return [
            _decision(row),
            f"{row['n_nok']} / {row['n_ok']}",
            f"{row['n_answered']} of {row['n_nok'] + row['n_ok']}",
            bounded(row, "slip_rate"),
            bounded(row, "overkill_rate"),
            with_unit(row["seconds_per_part"], "s"),
            with_unit(row["cost_per_part_usd"], "USD"),
            interval_text(
                score_text(row["informedness"]), row["informedness_low"], row["informedness_high"]
            ),
            f"{_further(row['more_nok_needed'])} / {_further(row['more_ok_needed'])}",
        ]

    first = table.iloc[0] if len(table) else None
    limits = [] if first is None else [_limits(first)]
    return table_by_run(
        "Readiness: can the product be inspected this way",
        header,
        table,
        cells,
        n_text_columns=4,
        notes=lambda row: [row["reason"], *split_notes(row["note"])],
        legend=[
            *limits,
            "Ready: the upper bounds of slip and overkill rate, time and cost meet their limits. "
            "Assist: slip's does, overkill's does not, and a person checks again what is rejected. "
            "Not ready: slip's lower bound is above its limit, or the method is no better than no "
            "model (1 − slip − overkill is not above 0). Did not judge: most parts have no "
            "verdict. Bounds are one-sided; a part without a verdict counts as wrong in upper "
            "ones.",
            *_tried(table),
            "Time: medians of all steps of one part, alignment left out. Cost: what a service is "
            "paid. 1 − slip − overkill: 0 without any model and 1 at best, whatever the mixture of "
            "parts, with one-sided bounds; table line says how many parts of the line pass and are "
            "checked. Needed: further parts that would settle it if the observed rates hold; ∞: "
            f"more than {PRACTICABLE_PARTS:,}, which nobody collects.",
        ],
    )


def _decision(row: pd.Series) -> str:
    """The decision among all tries, and the one alone where that is another."""
    decision, alone = (DECISIONS[row[name]].word.lower() for name in ("decision", "decision_alone"))
    return decision if decision == alone else f"{decision} (alone: {alone})"


def _tried(table: pd.DataFrame) -> list[str]:
    """Say among how many tries the decisions hold."""
    counts = table.drop_duplicates("dataset")
    lines = [
        " ".join(f"{row['dataset_name']}: {row['tries_note']}" for _, row in counts.iterrows())
    ]
    if (counts["n_tries"] > 1).any():
        lines.append(
            "Of all that was tried on the same parts none is wrongly ready or assists at that "
            "confidence, so each is proven at a higher one, which its reason names; bounds in the "
            "columns, and a decision marked alone, are those of one method by itself."
        )
    if table["is_named_before"].any():
        lines.append("What was named before any was scored shares the error among itself only.")
    return lines


def _limits(row: pd.Series) -> str:
    parts = [
        f"slip rate {percent_text(row['max_slip_rate'])}",
        f"overkill rate {percent_text(row['max_overkill_rate'])}",
    ]
    for name, unit in (("max_seconds_per_part", "s"), ("max_cost_per_part_usd", "USD")):
        if pd.notna(row[name]):
            parts.append(f"{row[name]:g} {unit} per part")
    if pd.notna(row["max_recheck_share"]):
        of = "good parts" if pd.isna(row["defect_rate_low"]) else "the line's parts"
        parts.append(f"{percent_text(row['max_recheck_share'])} of {of} checked again")
    return f"Limits: {', '.join(parts)}; at {row['confidence'] * 100:g} % confidence."


def _further(value: Any) -> str:
    return "∞" if pd.isna(value) else f"{value:,}"
