"""Where the page's numbers come from, and how long they took, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from realitycheck.report.text import MISSING, TableText, plain_table, prompt_text


def provenance_tables(about: Mapping[str, Any]) -> dict[str, TableText | None]:
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
        "asked": plain_table(
            "What was asked",
            ["Data set", "Prompt", "Whom", "Words"],
            about["asked"],
            n_text_columns=4,
        )
        if about["asked"]
        else None,
        "runs": plain_table(
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
        "networks": plain_table(
            "Networks",
            ["Network", "Size", "Files", "Digest of the weights", "Licence of the weights"],
            about["networks"],
            n_text_columns=5,
        )
        if about["networks"]
        else None,
        "licences": plain_table(
            "Licences", ["What", "Licence"], about["licences"], n_text_columns=2
        ),
        "versions": plain_table("Software", ["Package", "Version"], versions, n_text_columns=2),
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


def runtime_table(runtimes: Sequence[Mapping[str, Any]]) -> TableText | None:
    """How long the jobs of each rule took."""
    if not runtimes:
        return None
    rows = [
        [
            row["rule"].replace("_", " "),
            str(row["n_jobs"]),
            duration_text(row["seconds"]),
            duration_text(row["seconds"] / row["n_jobs"]),
            MISSING if row["max_rss_mb"] is None else f"{row['max_rss_mb']:,.0f} MB",
        ]
        for row in runtimes
    ]
    total = sum(row["seconds"] for row in runtimes)
    return plain_table(
        "Time and memory of the jobs",
        ["Step", "Jobs", "Time of all", "Time of one", "Most memory"],
        rows,
        n_text_columns=1,
        legend=[
            f"From the workflow's benchmark files; all jobs together: {duration_text(total)}. "
            "Steps that a later run found up to date count with the time they once took."
        ],
    )


def duration_text(seconds: float) -> str:
    """Print a time for people."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
