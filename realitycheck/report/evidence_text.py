"""The tables of evidence for people, and how they are written beside Parquet and CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.artifacts import Schema, write_table, write_text
from realitycheck.names import NO_PROMPT
from realitycheck.report.csv_text import csv_text
from realitycheck.report.table_text import (
    MISSING,
    TableText,
    percent_text,
    render_latex,
    render_markdown,
    score_text,
)

DECISION_WORDS = {
    "ready": "ready",
    "assist": "assist",
    "not_ready": "not ready",
    "cannot_tell": "cannot tell",
}
CHECK_WORDS = {
    "reference_is_scored": "Reference among the scored images",
    "group_in_two_splits": "One part in training and in scored images",
    "group_in_two_folds": "One part in two folds",
    "near_duplicate_across_splits": "Near-duplicates across splits",
    "near_duplicate_parts": "Near-duplicates among scored images",
    "size_by_label": "Size or depth tells the label",
    "threshold_on_scored": "Threshold fitted on scored images",
    "prompt_names_defects": "Prompt names defects of the scored images",
    "truth_by_rule": "Truth read by a rule",
    "defects_lost": "Defects out of the image after alignment",
}
_BY_WORDS = {"category": "Category", "defect_type": "Defect type", "defect_size": "Defect size"}
_QUANTITY_WORDS = {"iou": "Mean IoU", "f2": "F2", "verdict": "Right verdicts"}
_UNITS = {"px": "px", "mm2": "mm²"}
#: Of comparisons, those below this p value are set in the table, and at least so many others.
_SIGNIFICANT, _N_SHOWN = 0.05, 5


def readiness_text(table: pd.DataFrame) -> TableText:
    """Decisions, each with its reason as a footnote."""
    header = [
        *("Data set", "Method", "Prompt", "Decision", "NOK / OK", "Answered"),
        *("Slip rate (bound)", "Overkill rate (bound)", "Time a part", "Cost a part"),
        *("Checked again", "NOK / OK wanted"),
    ]

    def cells(row: pd.Series) -> list[str]:
        return [
            DECISION_WORDS[row["decision"]],
            f"{row['n_nok']} / {row['n_ok']}",
            f"{row['n_answered']} of {row['n_nok'] + row['n_ok']}",
            _bounded(row, "slip_rate"),
            _bounded(row, "overkill_rate"),
            _with_unit(row["seconds_per_part"], "s"),
            _with_unit(row["cost_per_part_usd"], "USD"),
            percent_text(row["recheck_share"]) if row["decision"] == "assist" else MISSING,
            f"{_further(row['more_nok_needed'])} / {_further(row['more_ok_needed'])}",
        ]

    first = table.iloc[0] if len(table) else None
    limits = [] if first is None else [_limits(first)]
    return text_by_run(
        "Readiness: can the product be inspected this way",
        header,
        table,
        cells,
        n_text_columns=4,
        notes=lambda row: [row["reason"], *_split(row["note"])],
        legend=[
            *limits,
            "Ready: the upper bounds of slip and overkill rate, time and cost meet their limits. "
            "Assist: slip's does, overkill's does not, and a person checks again what is rejected. "
            "Not ready: slip's lower bound is above its limit, or the method is no better than no "
            "model. Bounds are one-sided; a part without a verdict counts as wrong in upper ones.",
            "Time: medians of all steps of one part, alignment left out. Cost: what a service is "
            "paid. Wanted: further parts that would settle it if the observed rates hold; ∞: none "
            "would.",
        ],
    )


def _limits(row: pd.Series) -> str:
    parts = [
        f"slip rate {percent_text(row['max_slip_rate'])}",
        f"overkill rate {percent_text(row['max_overkill_rate'])}",
    ]
    for name, unit in (("max_seconds_per_part", "s"), ("max_cost_per_part_usd", "USD")):
        if pd.notna(row[name]):
            parts.append(f"{row[name]:g} {unit} a part")
    return f"Limits: {', '.join(parts)}; at {row['confidence'] * 100:g} % confidence."


def detection_texts(table: pd.DataFrame, bins: pd.DataFrame) -> list[TableText]:
    """Sizes that are found, or why they cannot be told, and the raw recall by size."""
    sizes = [
        *("Data set", "Method", "Prompt", "Defects found", "Area a50", "a90", "a90/95"),
    ]

    def cells(row: pd.Series) -> list[str]:
        unit = _UNITS[row["unit"]]
        found = f"{row['n_hits']} of {row['n_defects']}"
        return [found, *(_with_unit(row[name], unit) for name in ("a50", "a90", "a90_95"))]

    shares = sorted(set(table["min_covered_share"]))
    estimated = text_by_run(
        "Probability of detection against defect size",
        sizes,
        table,
        cells,
        n_text_columns=3,
        notes=lambda row: (
            ([] if row["status"] == "estimated" else [row["reason"]]) + _split(row["note"])
        ),
        legend=[
            "A defect is a connected region of the truth; it is found if at least "
            f"{' or '.join(percent_text(share) for share in shares)} of its area is predicted. "
            "a50, a90: area found with probability 0.5, 0.9; a90/95: upper 95 % confidence bound "
            "of a90 by the likelihood ratio. Defects count as independent."
        ],
    )
    names = table.set_index(["dataset", "method", "prompt"])
    keyed = bins.merge(
        names[["dataset_name", "method_name", "unit"]].reset_index(),
        on=["dataset", "method", "prompt"],
        how="left",
    )

    def recall(row: pd.Series) -> list[str]:
        return [
            f"{row['size_low']:,g}–{row['size_high']:,g} {_UNITS[row['unit']]}",
            f"{row['n_hits']} of {row['n_defects']}",
            percent_text(row["recall"])
            + (
                f" [{percent_text(row['recall_low'])}, {percent_text(row['recall_high'])}]"
                if row["n_defects"]
                else ""
            ),
        ]

    raw = text_by_run(
        "Defects found by size",
        ["Data set", "Method", "Prompt", "Area", "Found", "Share [interval]"],
        keyed,
        recall,
        n_text_columns=4,
        legend=["Intervals: two-sided Clopper–Pearson."],
    )
    return [estimated, raw] if len(bins) else [estimated]


def breakdown_text(table: pd.DataFrame) -> TableText:
    """Scores by category, defect type and defect size."""
    header = [
        *("Data set", "Method", "Prompt", "By", "Value", "NOK / OK", "IoU [interval]"),
        *("Slip rate (bound)", "Overkill rate (bound)", "Good parts with a mask", "Its area"),
    ]

    def cells(row: pd.Series) -> list[str]:
        iou = score_text(row["mean_iou"])
        if pd.notna(row["mean_iou_low"]):
            iou += f" [{row['mean_iou_low']:.2f}, {row['mean_iou_high']:.2f}]"
        return [
            _BY_WORDS[row["by"]],
            str(row["value"]).replace("_", " "),
            f"{row['n_nok']} / {row['n_images'] - row['n_nok']}",
            iou,
            _bounded(row, "slip_rate"),
            _bounded(row, "overkill_rate"),
            percent_text(row["ok_with_mask_rate"]),
            percent_text(row["ok_mask_area_share"]),
        ]

    return text_by_run(
        "Scores by category, defect type and defect size",
        header,
        table,
        cells,
        n_text_columns=5,
        legend=[
            "Bounds of the rates are one-sided upper ones. Its area: mean share of the image that "
            "the mask of a good part covers, over those with a mask. Good parts have no defect "
            "type and no size."
        ],
    )


def comparison_text(table: pd.DataFrame) -> TableText:
    """Differences that are not put down to chance, and the nearest of the others."""
    shown = []
    legend = [
        "Difference: first minus second, with its bootstrap interval, on the parts that both were "
        "scored on. p: paired permutation for IoU and F2, exact McNemar for verdicts, corrected by "
        "Holm for all pairs of a data set and quantity."
    ]
    for (_, quantity), own in table.groupby(["dataset", "quantity"], sort=False):
        ordered = own.sort_values(["p_value_holm", "p_value"], kind="stable")
        n_clear = int((ordered["p_value_holm"] < _SIGNIFICANT).sum())
        shown.append(ordered.head(max(n_clear, _N_SHOWN)))
        legend.append(
            f"{own['dataset_name'].iloc[0]}, {_QUANTITY_WORDS[quantity]}: {n_clear} of {len(own)} "
            f"differences have a corrected p below {_SIGNIFICANT}; "
            f"{len(own) - len(shown[-1])} further pairs stand in the CSV file only."
        )
    header = [
        *("Data set", "Quantity", "First", "Second", "Parts", "First's", "Second's"),
        *("Difference [interval]", "p", "p (Holm)"),
    ]
    rows, rules, last = [], [], None
    for own in shown:
        for _, row in own.iterrows():
            is_new = row["dataset"] != last
            if is_new and rows:
                rules.append(len(rows))
            last = row["dataset"]
            difference = _signed(row["difference"])
            if pd.notna(row["difference_low"]):
                low, high = _signed(row["difference_low"]), _signed(row["difference_high"])
                difference += f" [{low}, {high}]"
            rows.append(
                [
                    row["dataset_name"] if is_new else "",
                    _QUANTITY_WORDS[row["quantity"]],
                    named_run(row["method_name"], row["prompt"]),
                    named_run(row["other_method_name"], row["other_prompt"]),
                    str(row["n"]),
                    score_text(row["value"]),
                    score_text(row["other_value"]),
                    difference,
                    _p(row["p_value"]),
                    _p(row["p_value_holm"]),
                ]
            )
    return _as_text("Differences on the same parts", header, rows, 4, legend, rules)


def pixel_text(table: pd.DataFrame) -> TableText:
    """Pixel scores of methods that give a value for each pixel."""
    header = [
        *("Data set", "Method", "Prompt", "Images", "Defective", "AUROC", "AUPRO", "Best F1"),
    ]

    def cells(row: pd.Series) -> list[str]:
        counts = [str(row["n_images"]), str(row["n_defective"])]
        return [*counts, *(score_text(row[name]) for name in ("auroc", "aupro", "f1_max"))]

    return text_by_run(
        "Pixel scores of score maps",
        header,
        table,
        cells,
        n_text_columns=3,
        notes=lambda row: _split(row["note"]),
        legend=[
            "Mean over the categories with ground truth. AUROC: 0.5 is chance. AUPRO: up to a "
            "false positive rate of 0.3. Best F1: its threshold is taken from the truth of the "
            "same images (uses_test_truth), so it is better than on new parts."
        ],
    )


def audit_text(table: pd.DataFrame) -> TableText:
    """What the audit found, with what follows from it; clean checks in one sentence."""
    found = table[table["n_affected"] > 0]
    clean = table[table["n_affected"] == 0]
    legend = [
        f"{name}: nothing found by the checks: {', '.join(CHECK_WORDS[c].lower() for c in checks)}."
        for name, checks in clean.groupby("dataset_name", sort=False)["check"]
    ]

    def cells(row: pd.Series) -> list[str]:
        return [CHECK_WORDS[row["check"]], row["finding"], row["example"], str(row["n_affected"])]

    return text_by_run(
        "Audit",
        ["Data set", "Method", "Prompt", "Check", "Finding", "Example", "Images"],
        found,
        cells,
        n_text_columns=6,
        notes=lambda row: [row["consequence"]],
        legend=legend,
    )


def write_evidence(
    tables: Mapping[str, tuple[pd.DataFrame, Schema]],
    texts: Sequence[TableText],
    folder: str | Path,
    *,
    stem: str,
    facts: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write a table of evidence for machines and for people.

    Args:
        tables: Tables by file name without ending; that of the name `stem` also becomes CSV, the
            others are Parquet only.
        texts: What people read, one below the other.
        folder: Where to write.
        stem: File name without its ending, also LaTeX's label ("tab:" before it).
        facts: What the numbers were computed from.
        notes: Lines below each text.
    """
    folder = Path(folder)
    for name, (table, schema) in tables.items():
        write_table(table, folder / f"{name}.parquet", schema=schema, facts=facts, sort=False)
    main = tables[stem][0]
    write_text(csv_text(main), folder / f"{stem}.csv")
    write_text("\n".join(render_markdown(each, notes) for each in texts), folder / f"{stem}.md")
    labels = [
        f"tab:{stem}{'' if number == 0 else f'_{number + 1}'}" for number in range(len(texts))
    ]
    parts = [
        render_latex(each, label, notes=notes) for each, label in zip(texts, labels, strict=True)
    ]
    write_text("\n".join(parts), folder / f"{stem}.tex")


def text_by_run(
    caption: str,
    header: list[str],
    table: pd.DataFrame,
    cells: Callable[[pd.Series], list[str]],
    *,
    n_text_columns: int,
    legend: Sequence[str],
    notes: Callable[[pd.Series], list[str]] = lambda row: [],
) -> TableText:
    """Set a row a run: its names, a name that stands above already left out, then its cells."""
    rows, marks, rules = [], [], []
    letters: dict[str, str] = {}
    last: tuple[Any, ...] = (None, None, None)
    for _, row in table.iterrows():
        key = (row["dataset"], row["method"], row["prompt"])
        is_new = key[0] != last[0]
        if is_new and rows:
            rules.append(len(rows))
        names = [row["dataset_name"] if is_new else ""]
        is_repeated = key == last
        names += ["", ""] if is_repeated else [row["method_name"], _prompt(row["prompt"])]
        last = key
        rows.append([*names, *cells(row)])
        for note in notes(row):
            letters.setdefault(note, _letter(len(letters)))
        marks.append(", ".join(letters[note] for note in notes(row)))
    text = _as_text(caption, header, rows, n_text_columns, legend, rules)
    text.marks[:] = marks
    text.footnotes.extend((letter, note) for note, letter in letters.items())
    return text


def _as_text(
    caption: str,
    header: list[str],
    rows: list[list[str]],
    n_text_columns: int,
    legend: Sequence[str],
    rules: list[int],
) -> TableText:
    return TableText(
        caption=caption,
        header=header,
        rows=rows,
        bold=[[False] * len(header) for _ in rows],
        marks=[""] * len(rows),
        footnotes=[],
        legend=list(legend),
        n_text_columns=n_text_columns,
        rules_before=rules,
    )


def _letter(number: int) -> str:
    letter = ""
    while number >= 0:
        letter = chr(ord("a") + number % 26) + letter
        number = number // 26 - 1
    return letter


def _split(note: Any) -> list[str]:
    return [part for part in str(note).split("; ") if part] if pd.notna(note) else []


def _prompt(prompt: str) -> str:
    return MISSING if prompt in (NO_PROMPT, "*") else prompt


def named_run(method: str, prompt: str) -> str:
    """Name a method, with its prompt where it takes one."""
    return method if prompt == NO_PROMPT else f"{method}, {prompt}"


def _bounded(row: pd.Series, name: str) -> str:
    """Rate with its upper bound; the bound alone where the rate is a range."""
    value, high = row[name], row[f"{name}_high"]
    if pd.isna(high):
        return MISSING
    bound = f"≤\u00a0{percent_text(high)}"
    return bound if pd.isna(value) else f"{percent_text(value)} ({bound})"


def _with_unit(value: Any, unit: str) -> str:
    if pd.isna(value):
        return MISSING
    if value == 0:
        return f"0\u00a0{unit}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 1e9 else 0
    return f"{value:,.{min(digits, 6)}f}\u00a0{unit}"


def _further(value: Any) -> str:
    return "∞" if pd.isna(value) else f"{value:,}"


def _signed(value: Any) -> str:
    if pd.isna(value):
        return MISSING
    rounded = round(float(value), 2)
    sign = "−" if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{math.fabs(rounded):.2f}"


def _p(value: Any) -> str:
    if pd.isna(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
