"""How many labels of the truth would have to be wrong for a decision to change, and whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.labels import (
    MAX_LABELS,
    Tipping,
    label_doubt,
    threshold_distance,
    tipping_labels,
)
from realitycheck.metrics.readiness import Evidence, Requirements, decision_of
from realitycheck.report.results import KEYS, Notes, Results
from realitycheck.report.tables.base import Section, typed_table
from realitycheck.report.tables.readiness import DECISIONS
from realitycheck.report.text import MISSING, TableText, table_by_run

LABELS = Schema(
    "labels",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("decision", TEXT),
        ("n_wrong_labels", INTEGER),  # fewest that change the decision; null: more than n_searched
        ("decision_then", TEXT),
        ("n_searched", INTEGER),
        ("n_images", INTEGER),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
    ),
    ("dataset", "method", "prompt"),
    {"decision": frozenset(DECISIONS), "decision_then": frozenset(DECISIONS)},
)
LABEL_IMAGES = Schema(
    "label images",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("place", INTEGER),  # 1: the most doubtful of those whose labels change the decision
        ("image_id", TEXT),
        ("label", TEXT),
        ("label_predicted", TEXT),
        ("n_against", INTEGER),  # verdicts of all methods and prompts that contradict the label
        ("n_verdicts", INTEGER),
        ("distance", REAL),  # of its score from the threshold, in spans of the scores
    ),
    ("dataset", "method", "prompt", "place"),
)
SCHEMAS = {"labels": LABELS, "label_images": LABEL_IMAGES}
SETTINGS = ("requirements", "lines")

#: Images that a cell names before it says how many there are more.
_N_NAMED = 3
_LIMITS = ("max_slip_rate", "max_overkill_rate", "max_seconds_per_part", "max_cost_per_part_usd")


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the tables of a run; see `labels_tables`."""
    labels, images = labels_tables(
        results.scores(results.runs("compared")),
        results.table("readiness"),
        methods=results.methods,
    )
    return {"labels": labels, "label_images": images}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the tables into words."""
    return {"labels": [labels_text(tables["labels"], tables["label_images"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table, if any method was tried."""
    shown = texts(tables)["labels"] if len(tables["labels"]) else []
    return Section(shown, heading="If labels are wrong")


def labels_tables(
    scores: pd.DataFrame, readiness: pd.DataFrame, *, methods: Notes
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find the fewest wrong labels with which each decision is another one.

    The labels of one method's decision are changed at a time; what other methods are found to be,
    and with that the confidence that each is given among all tries, stays.

    Args:
        scores: Scores of every method and prompt that has a decision, one row per image.
        readiness: The decisions.
        methods: Descriptions; `verdict_by` says `area` of a method that judges by area.

    Returns:
        A row per decision, columns of `LABELS`, and a row per image whose label it hangs on,
        columns of `LABEL_IMAGES`.
    """
    rows, images = [], []
    for dataset, decided in readiness.groupby("dataset", sort=False):
        of_run = {
            key: own.sort_values("image_id")
            for key, own in scores[scores["dataset"] == dataset].groupby(["method", "prompt"])
        }
        verdicts = {key: _verdicts(own) for key, own in of_run.items()}
        for row in decided.to_dict("records"):
            key = row["method"], row["prompt"]
            own = of_run[key]
            is_nok = (own["label"] == "NOK").tolist()
            distance = threshold_distance(
                verdicts[key],
                _values(own, methods.get(row["method"], {}).get("verdict_by") == "area"),
                own["category"].fillna("").astype(str).tolist(),
            )
            found = tipping_labels(
                is_nok,
                verdicts[key],
                _decider(row),
                doubt=label_doubt(is_nok, list(verdicts.values()), distance=distance),
            )
            names = (*KEYS, "decision", "dataset_name", "method_name")
            rows.append(
                {name: row[name] for name in names}
                | {"n_searched": MAX_LABELS, "n_images": len(own)}
                | (
                    {"n_wrong_labels": found.n_labels, "decision_then": found.decision}
                    if found
                    else {}
                )
            )
            images += _images(row, own, found, verdicts, distance)
    return typed_table(rows, LABELS), typed_table(images, LABEL_IMAGES)


def _verdicts(scores: pd.DataFrame) -> list[bool | None]:
    """Whether each part is rejected; None without a verdict."""
    return [None if pd.isna(v) else v == "NOK" for v in scores["label_predicted"]]


def _values(scores: pd.DataFrame, by_area: bool) -> np.ndarray:
    """What a method judges by: its score, or the area that it marks."""
    is_scored = scores["score"].notna().any() and not by_area
    return scores["score" if is_scored else "predicted_px"].to_numpy(float, na_value=np.nan)


def _decider(row: Mapping[str, Any]) -> Callable[[Evidence], str]:
    """The decision of counts, all else of a row being as it is."""
    known = {name: None if pd.isna(row[name]) else row[name] for name in row}
    ends = (known["defect_rate_low"], known["defect_rate_high"])
    limits = Requirements(
        **{name: known[name] for name in (*_LIMITS, "max_recheck_share")},
        defect_rate=None if None in ends else ends,
    )
    beside = {name: known[name] for name in ("seconds_per_part", "cost_per_part_usd")}

    def decide(evidence: Evidence) -> str:
        return decision_of(
            replace(evidence, **beside),
            limits,
            confidence=known["confidence"],
            confidence_upper=known["confidence_among"],
        )

    return decide


def _images(
    row: Mapping[str, Any],
    scores: pd.DataFrame,
    found: Tipping | None,
    verdicts: Mapping[Any, Sequence[bool | None]],
    distance: np.ndarray,
) -> list[dict[str, Any]]:
    """The images whose labels a decision hangs on."""
    rows = []
    for place, part in enumerate(found.parts if found else (), start=1):
        image = scores.iloc[part]
        said = [own[part] for own in verdicts.values() if own[part] is not None]
        rows.append(
            {name: row[name] for name in KEYS}
            | {name: image[name] for name in ("image_id", "label", "label_predicted")}
            | {"place": place, "distance": distance[part], "n_verdicts": len(said)}
            | {"n_against": sum(verdict != (image["label"] == "NOK") for verdict in said)}
        )
    return rows


# ------------------------------------------------------------------------------------------- words


def labels_text(table: pd.DataFrame, images: pd.DataFrame) -> TableText:
    """Format one row per decision, with the first of the images that it hangs on."""
    header = [
        "Data set",
        "Method",
        "Prompt",
        "Decision",
        "With wrong labels",
        "Most likely those of",
    ]
    header.append("Wrong labels needed")
    named = {tuple(key): own["image_id"].tolist() for key, own in images.groupby(KEYS)}

    def cells(row: pd.Series) -> list[str]:
        parts = named.get(tuple(row[k] for k in KEYS), [])
        shown = ", ".join(parts[:_N_NAMED])
        if len(parts) > _N_NAMED:
            shown += f" and {len(parts) - _N_NAMED} more"
        then = row["decision_then"]
        return [
            DECISIONS[row["decision"]].word.lower(),
            MISSING if pd.isna(then) else DECISIONS[then].word.lower(),
            shown or MISSING,
            f"> {row['n_searched']}" if pd.isna(then) else f"{row['n_wrong_labels']:.0f}",
        ]

    return table_by_run(
        "Wrong labels: how many of the truth's labels would change a decision",
        header,
        table,
        cells,
        n_text_columns=6,
        legend=[
            "Wrong labels needed: the fewest labels of the truth that would have to be wrong (good "
            "for defective, or the other way) for the decision to be another one; found by trying "
            "all ways. Most likely those of: of all such sets the one whose labels most methods "
            "contradict, and then whose scores lie nearest to the threshold; table label_images "
            "has all of them. Look at these parts first."
        ],
    )
