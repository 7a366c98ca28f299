"""The page: one HTML file that shows decision, tables, figures, every image, and where all is from.

Style, program and data stand in the file itself. A content security policy forbids any request to
anywhere and any program but the page's own, so neither a file name nor a model's answer can act.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.report.page.card_facts import gain_fact, label_facts, line_facts
from realitycheck.report.page.gallery import Gallery
from realitycheck.report.page.provenance import provenance_tables, runtime_table
from realitycheck.report.results import KEYS
from realitycheck.report.tables.audit import audit_findings, audit_passed
from realitycheck.report.tables.base import Section
from realitycheck.report.tables.best_of import best_sentence
from realitycheck.report.tables.readiness import DECISIONS
from realitycheck.report.tables.registry import TABLE_MODULES
from realitycheck.report.tables.self_test import verdict
from realitycheck.report.text import MISSING, named_run, percent_text, score_text

TEMPLATE, STYLE, PROGRAM = "page.html", "page.css", "page.js"

#: Cards that are always shown.
_N_CARDS = 6
#: What the bounds of a number say about its limit.
STATES = {
    "within": "within the limit",
    "unproven": "limit not proven",
    "over": "over the limit",
}


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
    tables: Mapping[str, pd.DataFrame],
    gallery: Gallery,
    *,
    names: Sequence[str],
    figures: Sequence[FigureOnPage],
    about: Mapping[str, Any],
) -> str:
    """Make the page's HTML.

    Args:
        tables: The run's tables by name, in the order that they are shown in, and the further
            tables that some have.
        names: Names of the tables themselves.
        gallery: Images and what methods said of them, with their pictures.
        figures: The figures, in their order.
        about: What is known of the run, for people: title, version, settings_digest, results_dir,
            intervals, weights (whose files, or ""), asked, networks and licences (rows of tables),
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
    sections = [section for name in names if (section := _section(name, tables))]
    tested = tables.get("self_test")
    context = {
        "about": about,
        "style": _read(STYLE),
        "program": program,
        "program_hash": _hash(program),
        "products": [
            product | {"best": best_sentence(tables["best_of"], product["dataset"])}
            for product in _products(tables)
        ],
        "states": STATES,
        "confidence": f"{100 * tables['readiness']['confidence'].iloc[0]:g}\u00a0%",
        "result_tables": [text for s in sections if s.place == "tables" for text in s.texts],
        "figures": figures,
        "evidence": [section for section in sections if section.place == "evidence"],
        "self_test": None
        if tested is None
        else {"passed": bool(tested["passed"].all()), "sentence": verdict(tested)},
        "findings": audit_findings(tables["audit"]),
        "passed": audit_passed(tables["audit"]),
        "provenance": provenance_tables(about),
        "runtimes": runtime_table(about["runtimes"]),
        "n_images": gallery.n_images,
        "n_results": gallery.n_results,
        "data": _as_script(gallery.packed()),
        "pictures": _as_script(gallery.pictures),
    }
    return environment.get_template(TEMPLATE).render(context)


def _section(name: str, tables: Mapping[str, pd.DataFrame]) -> Section | None:
    """What the page shows of a table; None where it has no section or nothing to say."""
    section = getattr(TABLE_MODULES.open(name), "section", None)
    shown = section(tables) if section else None
    return shown if shown and shown.texts else None


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


def _products(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Cards of each data set, the best decision first, with a sentence above them."""
    counts = tables["classification"].set_index(["dataset", "method", "prompt"])
    products = []
    for dataset, rows in tables["readiness"].groupby("dataset", sort=False):
        order = list(DECISIONS)
        ranked = rows.assign(
            rank=[order.index(decision) for decision in rows["decision"]],
            worst=rows["slip_rate_high"].fillna(1.0) + rows["overkill_rate_high"].fillna(1.0),
        ).sort_values(["rank", "worst"], kind="stable")
        cards = [
            _card(row, counts.loc[(dataset, row["method"], row["prompt"])]) | _beside(row, tables)
            for _, row in ranked.iterrows()
        ]
        first = ranked.iloc[0]
        # Many methods that are out of the question would push all else off the screen.
        n_shown = max(_N_CARDS, int((ranked["decision"] != "not_ready").sum()))
        products.append(
            {
                "dataset": dataset,
                "name": first["dataset_name"],
                "n_ok": int(first["n_ok"]),
                "n_nok": int(first["n_nok"]),
                "answer": _answer(ranked),
                "limits": _limits(first),
                "tries": first["tries_note"],
                "cards": cards[:n_shown],
                "folded": cards[n_shown:],
            }
        )
    return products


def _answer(rows: pd.DataFrame) -> str:
    """Sum up the decisions of a data set in one sentence."""
    n, n_tries = len(rows), int(rows["n_tries"].max())
    counts = rows["decision"].value_counts()
    what = "method" if n == 1 else "methods and prompts"
    tried = f"tried, {n_tries} in all on these parts" if n_tries > n else "tried"
    ready = [named_run(row) for _, row in rows[rows["decision"] == "ready"].iterrows()]
    if ready:
        verb = "meets" if len(ready) == 1 else "meet"
        return f"Yes: of {n} {what} {tried}, {_list(ready)} {verb} every limit."
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
    return f"{start}: of {n} {what} {tried}, none is ready; {', '.join(parts)}."


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _limits(row: pd.Series) -> str:
    limits = [
        f"slip rate at most {_limit(row['max_slip_rate'])}",
        f"overkill rate at most {_limit(row['max_overkill_rate'])}",
    ]
    if pd.notna(row["max_seconds_per_part"]):
        limits.append(f"at most {row['max_seconds_per_part']:g} s per part")
    if pd.notna(row["max_cost_per_part_usd"]):
        limits.append(f"at most {row['max_cost_per_part_usd']:g} USD per part")
    if pd.notna(row["max_recheck_share"]):
        limits.append(f"at most {_limit(row['max_recheck_share'])} checked again")
    return ", ".join(limits)


def _limit(value: float) -> str:
    return f"{100 * value:g}\u00a0%"


def _beside(row: pd.Series, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What a card says of the line and of labels, from tables of their own."""
    own = {
        name: table[(table[KEYS] == row[KEYS]).all(axis=1)]
        for name, table in tables.items()
        if name in ("line", "labels", "label_images")
    }
    return {
        "line": line_facts(own["line"].to_dict("records")),
        "labels": label_facts(own["labels"].iloc[0], own["label_images"]),
    }


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
            "words": f"no model at all reaches {score_text(row['f2_floor'])} with "
            f"{row['n_nok']} defective and {row['n_ok']} good parts",
            "state": None,
        }
    )
    facts += filter(None, [gain_fact(row)])
    if pd.notna(row["seconds_per_part"]):
        facts.append(_limit_fact("Time", row, "seconds_per_part", "s per part"))
    if pd.notna(row["cost_per_part_usd"]) and row["cost_per_part_usd"] > 0:
        facts.append(_limit_fact("Cost", row, "cost_per_part_usd", "USD per part"))
    return {
        "decision": row["decision"],
        "word": word,
        "mark": mark,
        "follows": follows,
        "name": row["method_name"],
        "prompt": None if row["prompt"] == NO_PROMPT else row["prompt"],
        "reason": row["reason"],
        "alone": DECISIONS[row["decision_alone"]].word.lower()
        if row["decision_alone"] != row["decision"]
        else "",
        "among": int(row["n_named_before"] if row["is_named_before"] else row["n_tries"]),
        "facts": facts,
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
