"""The page: one HTML file that shows decision, tables, figures, every image, and where all is from.

Style, program and data stand in the file itself. A content security policy forbids any request to
anywhere and any program but the page's own, so neither a file name nor a model's answer can act.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import jinja2
import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.report.page.gallery import Gallery
from realitycheck.report.page.tables import (
    audit_findings,
    audit_passed,
    breakdown_tables,
    comparison_tables,
    detection_tables,
    pixel_tables,
    runtime_table,
)
from realitycheck.report.tables.domain_gap import domain_gap_text
from realitycheck.report.tables.self_test import self_test_text, verdict
from realitycheck.report.tables.study_text import table_text
from realitycheck.report.text import (
    MISSING,
    TableText,
    percent_text,
    prompt_text,
    score_text,
    simple_table,
    without_empty_columns,
)

TEMPLATE, STYLE, PROGRAM = "page.html", "page.css", "page.js"

#: Decisions in the order that a reader wants them: word, mark, what follows.
DECISIONS = {
    "ready": ("Ready", "✔", "may inspect by itself"),
    "assist": ("Assist", "◐", "may inspect if people re-check what it rejects"),
    "cannot_tell": ("Cannot tell", "?", "the parts at hand prove neither"),
    "not_ready": ("Not ready", "✖", "must not inspect"),
    "did_not_judge": ("Did not judge", "–", "has no verdict on most parts"),
}
#: Cards that are always shown.
_N_CARDS = 6
#: What the bounds of a number say about its limit.
STATES = {
    "within": "within the limit",
    "unproven": "limit not proven",
    "over": "over the limit",
}


@dataclass(frozen=True)
class PageTables:
    """The tables that the page shows; the last two where a run has them."""

    segmentation: pd.DataFrame
    classification: pd.DataFrame
    readiness: pd.DataFrame
    detection_probability: pd.DataFrame
    detection_bins: pd.DataFrame
    breakdown: pd.DataFrame
    comparison: pd.DataFrame
    pixel_scores: pd.DataFrame
    audit: pd.DataFrame
    self_test: pd.DataFrame | None = None
    domain_gap: pd.DataFrame | None = None


@dataclass(frozen=True)
class FigureOnPage:
    """A picture with its words.

    Attributes:
        source: Address that holds the picture.
        title: Heading.
        caption: What it shows.
        alt: What a reader who cannot see it needs to know.
        width_px: Width of the picture.
        height_px: Height of the picture.
    """

    source: str
    title: str
    caption: str
    alt: str
    width_px: int
    height_px: int


def render_page(
    tables: PageTables,
    gallery: Gallery,
    *,
    figures: Sequence[FigureOnPage],
    about: Mapping[str, Any],
) -> str:
    """Make the page's HTML.

    Args:
        tables: The tables.
        gallery: Images and what methods said of them, with their pictures.
        figures: The figures, in their order.
        about: What is known of the run, for people: title, version, settings_digest, results_dir,
            intervals, untrained (a warning, or ""), asked, networks and licences (rows of tables),
            versions, runs (with the facts of their predictions), runtimes, pictures_folder (None
            where the page holds its pictures), n_pictures, picture_side_px, max_mb.

    Returns:
        The whole file.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    program = _read(PROGRAM)
    # Sections that nothing is known for are left out; a reader should not meet an empty heading.
    context = {
        "about": about,
        "style": _read(STYLE),
        "program": program,
        "program_hash": _hash(program),
        "products": _products(tables),
        "states": STATES,
        "confidence": f"{100 * tables.readiness['confidence'].iloc[0]:g}\u00a0%",
        "result_tables": _result_tables(tables),
        "figures": figures,
        "breakdowns": breakdown_tables(tables.breakdown),
        "comparisons": comparison_tables(tables.comparison),
        "detection": detection_tables(tables.detection_probability, tables.detection_bins),
        "pixels": pixel_tables(tables.pixel_scores),
        "self_test": _self_test(tables),
        "domain_gap": None if tables.domain_gap is None else domain_gap_text(tables.domain_gap),
        "findings": audit_findings(tables.audit),
        "passed": audit_passed(tables.audit),
        "provenance": _provenance(about),
        "runtimes": runtime_table(about["runtimes"]),
        "n_images": gallery.n_images,
        "n_results": gallery.n_results,
        "data": _as_script(gallery.packed()),
        "pictures": _as_script(gallery.pictures),
    }
    return environment.get_template(TEMPLATE).render(context)


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(program: str) -> str:
    digest = hashlib.sha256(program.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _as_script(value: Any) -> str:
    """Write JSON that can stand between script tags: no "<" in it ends them."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# ----------------------------------------------------------------------------------------- decision


def _products(tables: PageTables) -> list[dict[str, Any]]:
    """Cards of each data set, the best decision first, with a sentence above them."""
    counts = tables.classification.set_index(["dataset", "method", "prompt"])
    products = []
    for dataset, rows in tables.readiness.groupby("dataset", sort=False):
        order = list(DECISIONS)
        ranked = rows.assign(
            rank=[order.index(decision) for decision in rows["decision"]],
            worst=rows["slip_rate_high"].fillna(1.0) + rows["overkill_rate_high"].fillna(1.0),
        ).sort_values(["rank", "worst"], kind="stable")
        cards = [
            _card(row, counts.loc[(dataset, row["method"], row["prompt"])])
            for _, row in ranked.iterrows()
        ]
        first = ranked.iloc[0]
        # Many methods that are out of the question would push all else off the screen.
        n_shown = max(_N_CARDS, int((ranked["decision"] != "not_ready").sum()))
        products.append(
            {
                "name": first["dataset_name"],
                "n_ok": int(first["n_ok"]),
                "n_nok": int(first["n_nok"]),
                "answer": _answer(ranked),
                "limits": _limits(first),
                "cards": cards[:n_shown],
                "folded": cards[n_shown:],
            }
        )
    return products


def _answer(rows: pd.DataFrame) -> str:
    """Sum up the decisions of a data set in one sentence."""
    n = len(rows)
    counts = rows["decision"].value_counts()
    what = "method" if n == 1 else "methods and prompts"
    ready = [_name(row) for _, row in rows[rows["decision"] == "ready"].iterrows()]
    if ready:
        verb = "meets" if len(ready) == 1 else "meet"
        return f"Yes: of {n} {what} tried, {_list(ready)} {verb} every limit."
    if counts.get("not_ready", 0) == n:
        which = "the one method" if n == 1 else f"none of the {n} methods and prompts"
        return f"No: {which} tried {'is not' if n == 1 else 'is'} ready."
    parts = []
    for decision, one, more in (
        ("assist", "can assist people who re-check", "can assist people who re-check"),
        ("cannot_tell", "cannot be told from so few parts", "cannot be told from so few parts"),
        ("not_ready", "is not ready", "are not ready"),
        ("did_not_judge", "did not judge most parts", "did not judge most parts"),
    ):
        if counts.get(decision, 0):
            parts.append(f"{counts[decision]} {one if counts[decision] == 1 else more}")
    start = "Not by itself" if counts.get("assist", 0) else "Not on this evidence"
    return f"{start}: of {n} {what} tried, none is ready; {', '.join(parts)}."


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _name(row: Mapping[str, Any]) -> str:
    name, prompt = row["method_name"], row["prompt"]
    return name if prompt == NO_PROMPT else f"{name} ({prompt})"


def _limits(row: pd.Series) -> str:
    limits = [
        f"slip rate at most {_limit(row['max_slip_rate'])}",
        f"overkill rate at most {_limit(row['max_overkill_rate'])}",
    ]
    if pd.notna(row["max_seconds_per_part"]):
        limits.append(f"at most {row['max_seconds_per_part']:g} s a part")
    if pd.notna(row["max_cost_per_part_usd"]):
        limits.append(f"at most {row['max_cost_per_part_usd']:g} USD a part")
    return ", ".join(limits)


def _limit(value: float) -> str:
    return f"{100 * value:g}\u00a0%"


def _card(row: pd.Series, counts: pd.Series) -> dict[str, Any]:
    word, mark, follows = DECISIONS[row["decision"]]
    facts = [
        _rate_fact("Slip", row, counts, "slip_rate", "fn", "n_nok", "defective parts passed"),
        _rate_fact("Overkill", row, counts, "overkill_rate", "fp", "n_ok", "good parts rejected"),
    ]
    f2 = score_text(row["f2"])
    if pd.isna(row["f2"]) and pd.notna(row["f2_low"]):
        f2 = f"{row['f2_low']:.2f}–{row['f2_high']:.2f}"
    facts.append(
        {
            "name": "F2",
            "value": f2,
            "words": f"no model at all reaches {score_text(row['f2_floor'])}",
            "state": None,
        }
    )
    if pd.notna(row["seconds_per_part"]):
        facts.append(_limit_fact("Time", row, "seconds_per_part", "s a part"))
    if pd.notna(row["cost_per_part_usd"]) and row["cost_per_part_usd"] > 0:
        facts.append(_limit_fact("Cost", row, "cost_per_part_usd", "USD a part"))
    return {
        "decision": row["decision"],
        "word": word,
        "mark": mark,
        "follows": follows,
        "name": row["method_name"],
        "prompt": None if row["prompt"] == NO_PROMPT else row["prompt"],
        "reason": row["reason"],
        "facts": facts,
        "recheck": percent_text(row["recheck_share"])
        if row["decision"] == "assist" and pd.notna(row["recheck_share"])
        else None,
        "n_all": int(row["n_ok"] + row["n_nok"]),
        "note": row["note"] if pd.notna(row["note"]) else "",
        "filters": [
            {"words": words, "filter": json.dumps(_filter(row) | {"outcome": outcome})}
            for n, words, outcome in (
                (counts["fn"], f"the {_parts(counts['fn'])} missed", "slip"),
                (counts["fp"], f"the {_parts(counts['fp'])} wrongly rejected", "overkill"),
            )
            if n
        ],
    }


def _parts(n: float) -> str:
    return "one part" if n == 1 else f"{n:.0f} parts"


def _filter(row: pd.Series) -> dict[str, str]:
    prompt = "" if row["prompt"] == NO_PROMPT else row["prompt"]
    return {"dataset": row["dataset"], "method": row["method"], "prompt": prompt}


def _rate_fact(
    name: str,
    row: pd.Series,
    counts: pd.Series,
    column: str,
    wrong: str,
    n_column: str,
    words: str,
) -> dict[str, Any]:
    """A rate with its counts, and whether its bounds lie within the limit."""
    n = int(row[n_column])
    if not n:
        return {"name": name, "value": MISSING, "words": "no such part at hand", "state": None}
    low, high, limit = row[f"{column}_low"], row[f"{column}_high"], row[f"max_{column}"]
    is_within = row[f"{column}_high_among"] <= limit
    value = percent_text(row[column])
    if pd.isna(row[column]):
        best, worst = counts[f"{column}_best"], counts[f"{column}_worst"]
        value = f"{100 * best:.1f}–{percent_text(worst)}"
    return {
        "name": name,
        "value": value,
        "words": f"{counts[wrong]:.0f} of {n} {words}; bounds {percent_text(low)} and "
        f"{percent_text(high)}",
        "state": "within" if is_within else "over" if low > limit else "unproven",
        "bar": {
            "value": None if pd.isna(row[column]) else _on_scale(row[column]),
            "low": _on_scale(low),
            "high": _on_scale(high),
            "limit": _on_scale(limit),
        },
    }


def _on_scale(rate: float) -> float:
    """Place of a rate on a bar in per cent of its length; by the root, so that 2 % can be seen."""
    return round(100 * float(rate) ** 0.5, 2)


def _limit_fact(name: str, row: pd.Series, column: str, unit: str) -> dict[str, Any]:
    limit = row[f"max_{column}"]
    known = pd.notna(limit)
    return {
        "name": name,
        "value": f"{row[column]:.2g} {unit}",
        "words": f"limit {limit:g}" if known else "no limit was set",
        "state": ("within" if row[column] <= limit else "over") if known else None,
    }


def _self_test(tables: PageTables) -> dict[str, Any] | None:
    """Say in a sentence whether the easy data set was easy, with the table behind it."""
    if tables.self_test is None:
        return None
    return {
        "passed": bool(tables.self_test["passed"].all()),
        "sentence": verdict(tables.self_test),
        "table": replace(self_test_text(tables.self_test), legend=[]),
    }


# ------------------------------------------------------------------------------------------- tables


def _result_tables(tables: PageTables) -> list[TableText]:
    found = []
    if len(tables.segmentation):
        text = table_text(tables.segmentation, "Table 1. How well masks fit: IoU")
        found.append(without_empty_columns(text))
    text = table_text(tables.classification, "Table 2. How good verdicts are: F2, slip, overkill")
    found.append(without_empty_columns(text))
    return found


# --------------------------------------------------------------------------------------- provenance


def _provenance(about: Mapping[str, Any]) -> dict[str, TableText | None]:
    """What every number was computed from, as tables."""
    runs = [
        [
            run["dataset_name"],
            run["method_name"],
            prompt_text(run["prompt"]),
            _short(run["facts"].get("settings_digest")),
            _short(run["facts"].get("code")),
            _each(run["facts"].get("device")),
            _each(run["facts"].get("precision")),
            _each(run["facts"].get("seed")),
        ]
        for run in about["runs"]
    ]
    versions = [[name, version] for name, version in about["versions"].items()]
    return {
        "asked": simple_table(
            "What was asked",
            ["Data set", "Prompt", "Whom", "Words"],
            about["asked"],
            n_text_columns=4,
        )
        if about["asked"]
        else None,
        "runs": simple_table(
            "Where each method's predictions come from",
            [
                *("Data set", "Method", "Prompt", "Settings digest", "Code digest", "Device"),
                *("Precision", "Seed"),
            ],
            runs,
            n_text_columns=8,
            legend=[
                "Every Parquet file carries these facts in its metadata, with the digests in full."
            ],
        )
        if runs
        else None,
        "networks": simple_table(
            "Networks",
            ["Network", "Size", "Files", "Digest of the weights", "Licence of the weights"],
            about["networks"],
            n_text_columns=5,
        )
        if about["networks"]
        else None,
        "licences": simple_table(
            "Licences", ["What", "Licence"], about["licences"], n_text_columns=2
        ),
        "versions": simple_table("Software", ["Package", "Version"], versions, n_text_columns=2),
    }


def _short(digest: Any) -> str:
    if isinstance(digest, list):
        return ", ".join(_short(one) for one in digest)
    return MISSING if not digest else str(digest)[:12]


def _each(value: Any) -> str:
    """Print a fact; several where shards differ in it."""
    if value is None:
        return MISSING
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
