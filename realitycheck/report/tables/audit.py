"""What the audit found, beside every row of the tables that it touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from realitycheck.core.constants import AUDIT_CHECKS
from realitycheck.core.parquet import read_frame
from realitycheck.core.schemas import AUDIT_FINDINGS, MANIFEST, TRUTH, WHOLE_DATASET
from realitycheck.core.tables import INTEGER, TEXT, Schema
from realitycheck.datasets.findings import NOTHING, Finding, count_text, named_defects
from realitycheck.report.results import Results
from realitycheck.report.tables.base import dataset_name, method_name
from realitycheck.report.text import TableText, named_run, table_by_run

AUDIT = Schema(
    "audit",
    (
        ("dataset", TEXT),
        ("method", TEXT),  # "*" with the prompt: the check found nothing in the data set
        ("prompt", TEXT),
        ("check", TEXT),
        ("finding", TEXT),
        ("n_affected", INTEGER),  # images; 0: nothing was found
        ("example", TEXT),
        ("consequence", TEXT),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
    ),
    ("dataset", "method", "prompt", "check"),
    {"check": frozenset(AUDIT_CHECKS)},
)
SCHEMAS = {"audit": AUDIT}
SETTINGS = ()

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
_CONSEQUENCES = {
    "reference_is_scored": "The method is shown this image as its reference and then judges it: "
    "its verdict there says nothing.",
    "group_in_two_splits": "The method's threshold has seen other views of scored parts.",
    "group_in_two_folds": "A verdict has seen another view of its own part.",
    "near_duplicate_across_splits": "The method's threshold has seen nearly the scored picture.",
    "near_duplicate_parts": "Both count as parts of their own, so bounds are too narrow; folds may "
    "have parted them.",
    "size_by_label": "A method can tell the label without looking at the part.",
    "threshold_on_scored": "The score is better than on new parts, where this threshold cannot be "
    "set.",
    "prompt_names_defects": "The prompt knows which defects will come; on other defects the score "
    "may be worse.",
    "truth_by_rule": "Wrong if the rule is: look at a truth mask in the report; `mask_background` "
    "and `mask_orientation` decide.",
    "defects_lost": "No method sees what lies beyond the image: it counts as not found in IoU and "
    "in the probability of detection, and is left out of pixel scores. Align otherwise, or frame "
    "the part with a margin.",
}


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `audit_table`."""
    runs = [
        {
            **run,
            "dataset_name": dataset_name(run["dataset"], results.datasets),
            "method_name": method_name(run["method"], results.methods),
        }
        for run in results.handed["audited_runs"]()
    ]
    folds = zip(results.runs("folds"), results.files["folds"], strict=True)
    table = audit_table(
        results.read("findings", AUDIT_FINDINGS),
        runs,
        results.by_dataset("manifests", MANIFEST),
        {run: read_frame(path, ["image_id", "fold"]) for run, path in folds},
        results.by_dataset("truth", TRUTH),
    )
    return {"audit": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"audit": [audit_text(tables["audit"])]}


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

    return table_by_run(
        "Audit",
        ["Data set", "Method", "Prompt", "Check", "Finding", "Example", "Images"],
        found,
        cells,
        n_text_columns=6,
        notes=lambda row: [row["consequence"]],
        legend=legend,
    )


def audit_findings(audit: pd.DataFrame) -> list[dict[str, Any]]:
    """What the audit found, one entry per finding, with all methods that it touches."""
    found: dict[tuple, dict[str, Any]] = {}
    for _, row in audit[audit["n_affected"] > 0].iterrows():
        key = tuple(row[name] for name in ("dataset", "check", "finding", "consequence"))
        entry = found.setdefault(
            key,
            {
                "title": CHECK_WORDS[row["check"]],
                "dataset": row["dataset_name"],
                "methods": [],
                "finding": row["finding"],
                "n_affected": int(row["n_affected"]),
                "example": row["example"] if pd.notna(row["example"]) else "",
                "consequence": row["consequence"] if pd.notna(row["consequence"]) else "",
            },
        )
        if row["method"] != WHOLE_DATASET:
            entry["methods"].append(named_run(row))
    return list(found.values())


def audit_passed(audit: pd.DataFrame) -> list[str]:
    """Names of the checks that found nothing on any data set."""
    found = set(audit.loc[audit["n_affected"] > 0, "check"])
    return [CHECK_WORDS[check] for check in dict.fromkeys(audit["check"]) if check not in found]


def audit_table(
    findings: pd.DataFrame,
    runs: Sequence[Mapping[str, Any]],
    manifests: Mapping[str, pd.DataFrame],
    folds: Mapping[tuple[str, str, str], pd.DataFrame],
    truths: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Put what was found beside every row of the tables that it touches.

    Args:
        findings: Audit findings of all data sets.
        runs: Every run with `dataset`, `method`, `prompt`, their names, and what it does:
            `uses_reference`, `uses_training_images`, `uses_test_truth` (why, or nothing), `told`.
        manifests: Scored images of each data set.
        folds: Columns `image_id` and `fold` of each run that has folds.
        truths: Truth table of each data set.

    Returns:
        The table, columns of `AUDIT`. A check that found nothing in a data set has one row there,
        with `*` for method and prompt.
    """
    rows: list[dict[str, Any]] = []
    of_check = {(row["dataset"], row["check"]): row for row in findings.to_dict("records")}
    for dataset, truth in truths.items():
        of_check[dataset, "defects_lost"] = defects_lost(truth)._asdict()
    for dataset in manifests:
        own = [run for run in runs if run["dataset"] == dataset]
        for check in AUDIT_CHECKS:
            touched = list(
                _touched(check, own, of_check.get((dataset, check)), manifests[dataset], folds)
            )
            rows += touched or [_clean(dataset, check, own)]
    return pd.DataFrame(rows, columns=AUDIT.columns)


def _touched(
    check: str,
    runs: Sequence[Mapping[str, Any]],
    found: Mapping[str, Any] | None,
    manifest: pd.DataFrame,
    folds: Mapping[tuple[str, str, str], pd.DataFrame],
) -> Iterator[dict[str, Any]]:
    for run in runs:
        finding = _of_run(check, run, found, manifest, folds)
        if finding.n_affected:
            yield {
                **{key: run[key] for key in ("dataset", "method", "prompt")},
                "check": check,
                **finding._asdict(),
                "consequence": _CONSEQUENCES[check],
                "dataset_name": run["dataset_name"],
                "method_name": run["method_name"],
            }


def _of_run(
    check: str,
    run: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    manifest: pd.DataFrame,
    folds: Mapping[tuple[str, str, str], pd.DataFrame],
) -> Finding:
    if check == "threshold_on_scored":
        why = run["uses_test_truth"]
        return Finding(why, len(manifest), str(manifest["image_id"].iloc[0])) if why else NOTHING
    if check == "prompt_names_defects":
        types = named_defects(run["told"], manifest["defect_type"])
        if not types:
            return NOTHING
        affected = manifest[manifest["defect_type"].isin(types)]
        return Finding(
            f"the prompt names {', '.join(types)}, and {count_text(len(affected), 'scored image')} "
            "show that",
            len(affected),
            str(affected["image_id"].iloc[0]),
        )
    if check == "group_in_two_folds":
        key = (run["dataset"], run["method"], run["prompt"])
        return groups_in_two_folds(folds[key], manifest) if key in folds else NOTHING
    needs = {
        "reference_is_scored": "uses_reference",
        "group_in_two_splits": "uses_training_images",
        "near_duplicate_across_splits": "uses_training_images",
    }
    if found is None or (check in needs and not run[needs[check]]):
        return NOTHING
    return Finding(found["finding"], int(found["n_affected"]), found["example"])


def _clean(dataset: str, check: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "method": WHOLE_DATASET,
        "prompt": WHOLE_DATASET,
        "check": check,
        **NOTHING._asdict(),
        "consequence": "",
        "dataset_name": runs[0]["dataset_name"] if runs else dataset,
        "method_name": "all",
    }


def defects_lost(truth: pd.DataFrame) -> Finding:
    """Find images with defects that alignment moved out of the image.

    Args:
        truth: Truth table of a data set.
    """
    lost = truth[truth["lost_px"] > 0]
    if lost.empty:
        return NOTHING
    defective = truth[truth["truth_px"] > 0]
    n_wholly = int((lost["status"] == "lost").sum())
    first = lost.sort_values("lost_px").iloc[-1]
    return Finding(
        f"alignment moved {int(lost['lost_px'].sum()):,} of {int(truth['truth_px'].sum()):,} "
        f"defect pixels out of the image, in {len(lost)} of {len(defective)} defective images, all "
        f"of them in {n_wholly}",
        len(lost),
        f"{first['image_id']}, {int(first['lost_px']):,} of {int(first['truth_px']):,} px",
    )


def groups_in_two_folds(folds: pd.DataFrame, manifest: pd.DataFrame) -> Finding:
    """Find groups whose images lie in several folds.

    Args:
        folds: Columns `image_id` and `fold` of a verdicts or thresholds table; a missing fold is
            that of no fold.
        manifest: Scored images.
    """
    table = folds.merge(manifest[["image_id", "group"]], on="image_id").dropna(
        subset=["fold", "group"]
    )
    n_folds = table.groupby("group")["fold"].nunique()
    parted = n_folds[n_folds > 1].index
    if not len(parted):
        return NOTHING
    affected = table[table["group"].isin(parted)]["image_id"].unique()
    return Finding(
        f"{count_text(len(parted), 'group')} of views lie in several folds",
        len(affected),
        affected[0],
    )
