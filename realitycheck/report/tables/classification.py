"""Table 2: how good verdicts are, with the baselines and the study's values beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import MASK_FLOORS, NO_PROMPT
from realitycheck.core.schemas import VERDICTS
from realitycheck.core.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema, read_table
from realitycheck.metrics.agreement import agreement_of
from realitycheck.metrics.baselines import f2_floor, verdict_floors
from realitycheck.metrics.classification import (
    Confusion,
    best_case,
    confusion,
    f_beta,
    overkill_rate,
    precision,
    recall,
    slip_rate,
    worst_case,
)
from realitycheck.metrics.intervals import clopper_pearson, f2_interval
from realitycheck.report.results import KEYS, Notes, Results
from realitycheck.report.tables.base import (
    BASELINE_NAMES,
    DESCRIPTION,
    NO_VARIATION,
    Section,
    categories_of,
    check_scores,
    count_notes,
    dataset_name,
    describe,
    gives_masks,
    groups_of,
    is_no_better,
    published_as,
    rows_by_run,
    status_counts,
    stream_of,
    typed_table,
    why_unjudged,
)
from realitycheck.report.tables.published import find_published, load_published
from realitycheck.report.tables.study_text import study_text
from realitycheck.report.text import (
    MISSING,
    TableText,
    confidence_text,
    percent_text,
    score_range,
    score_text,
    signed,
    split_notes,
    table_by_run,
    with_bound,
    with_interval,
)

# What is known of a run's answers beside its verdicts.
ANSWER_COLUMNS = (
    ("n_samples", INTEGER),  # answers of an image that its verdict is the majority of
    ("fleiss_kappa", REAL),  # agreement of the samples beyond chance
    ("flip_rate", REAL),  # share of images whose samples do not all agree
    ("cost_per_1000_parts_usd", REAL),  # missing where an answer has no price
)
_ANSWER_NAMES = [name for name, _ in ANSWER_COLUMNS]

CLASSIFICATION = Schema(
    "classification",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("n_ok", INTEGER),
        ("n_nok", INTEGER),
        ("n_answered", INTEGER),
        ("tp", REAL),  # float: the coin's counts are expected values
        ("fp", REAL),
        ("fn", REAL),
        ("tn", REAL),
        ("precision", REAL),
        ("recall", REAL),
        ("f2", REAL),
        ("f2_low", REAL),
        ("f2_high", REAL),
        ("f2_floor", REAL),  # best F2 that no model at all reaches on the same images
        ("slip_rate", REAL),
        ("slip_rate_high", REAL),  # one-sided upper bound
        ("overkill_rate", REAL),
        ("overkill_rate_high", REAL),  # one-sided upper bound
        ("published_f2", REAL),
        ("f2_minus_published", REAL),
        ("is_no_better_than_floor", BOOLEAN),  # f2_high is not above f2_floor
        ("n_images", INTEGER),
        ("n_unanswered_ok", INTEGER),
        ("n_unanswered_nok", INTEGER),
        ("f2_worst", REAL),
        ("f2_best", REAL),
        ("f2_interval", TEXT),
        ("precision_worst", REAL),
        ("precision_best", REAL),
        ("precision_low", REAL),
        ("precision_high", REAL),
        ("recall_worst", REAL),
        ("recall_best", REAL),
        ("recall_low", REAL),
        ("recall_high", REAL),
        ("slip_rate_worst", REAL),
        ("slip_rate_best", REAL),
        ("slip_rate_low", REAL),  # one-sided lower bound
        ("overkill_rate_worst", REAL),
        ("overkill_rate_best", REAL),
        ("overkill_rate_low", REAL),  # one-sided lower bound
        ("published_words", TEXT),
        ("published_source", TEXT),
        ("verdict_by", TEXT),  # model; any mask; area: of the mask
        ("unanswered_status", TEXT),  # why images have no verdict, with their numbers
        *ANSWER_COLUMNS,
        *DESCRIPTION,
    ),
    ("dataset", "method", "prompt"),
)
SCHEMAS = {"classification": CLASSIFICATION}
SETTINGS = ("evaluation",)

_AGREEMENT, _COST = "Fleiss' κ (flips)", "USD / 1,000 parts"


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `classification_table`."""
    table = classification_table(
        results.scores(results.runs("labels")),
        datasets=results.datasets,
        methods=results.methods,
        answers=answer_facts(results.files["verdicts"]),
        **results.facts["evaluation"],
    )
    return {"classification": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words, once more in the study's shape."""
    table = tables["classification"]
    text = classification_text(table)
    return {"classification": [text], "classification_study": [study_text(table, text.caption)]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table."""
    caption = "Table 2. How good verdicts are: F2, slip, overkill"
    return Section([classification_text(tables["classification"], caption)], place="tables")


def classification_text(
    table: pd.DataFrame, caption: str = "Classification: F2 of verdicts on parts"
) -> TableText:
    """Format one row per run: F2, the rates with their bounds, and what is known of answers."""

    def cells(row: pd.Series) -> list[str]:
        words, flips = row["published_words"], row["flip_rate"]
        return [
            with_interval(row, "f2"),
            score_text(row["f2_floor"]),
            f"{row['n_nok']} / {row['n_ok']}",
            score_range(row, "precision"),
            with_bound(row, "slip_rate"),
            with_bound(row, "overkill_rate"),
            words if pd.notna(words) else score_text(row["published_f2"]),
            signed(row["f2_minus_published"]),
            MISSING
            if pd.isna(flips)
            else f"{score_text(row['fleiss_kappa'])} ({percent_text(flips)})",
            score_text(row["cost_per_1000_parts_usd"]),
        ]

    confidence = confidence_text(table)
    text = table_by_run(
        f"{caption}{_mixture(table)}",
        [
            *("Data set", "Method", "Prompt", "F2 [interval]", "Best baseline", "NOK / OK"),
            *("Precision", "Slip rate (bound)", "Overkill rate (bound)", "Study's F2"),
            *("Difference", _AGREEMENT, _COST),
        ],
        table,
        cells,
        n_text_columns=3,
        notes=lambda row: split_notes(row["note"]),
        legend=[
            f"NOK is the positive class. F2 with its {confidence} bootstrap interval, stratified "
            "by label and category; best baseline: the highest F2 without any model on the same "
            "images. Slip rate: defective parts that pass; overkill rate: good parts that are "
            f"rejected; in brackets their one-sided {confidence} Clopper–Pearson upper bounds."
        ],
    )
    for column, words in _LEGENDS.items():
        if column in text.header:
            text.legend.append(words)
    return text


def _mixture(table: pd.DataFrame) -> str:
    """Say of which mixture of parts F2 is, which another line does not have."""
    sets = table.drop_duplicates("dataset")
    shares = [
        (row["dataset_name"], f"{100 * row['n_nok'] / (row['n_nok'] + row['n_ok']):.3g}\u00a0%")
        for _, row in sets.iterrows()
    ]
    if not shares:
        return ""
    named = shares[0][1] if len(shares) == 1 else ", ".join(f"{n} {share}" for n, share in shares)
    return f"; F2 holds at this share of defective parts: {named}"


_LEGENDS = {
    "Difference": "Difference: our value minus the study's.",
    _AGREEMENT: "Fleiss' κ: agreement of repeated answers on one part beyond chance; flips: share "
    "of parts whose answers do not all agree. The verdict of a part is that of most of its "
    "answers, NOK where they are split evenly.",
    _COST: "USD: price of all answers, whatever their status, for 1,000 parts.",
}


def answer_facts(paths: Sequence[str | Path]) -> pd.DataFrame:
    """What is known of the answers of several runs: repeats, their agreement, their cost.

    The cost of 1,000 parts is that of all answers, whatever their status, over the parts; it is
    missing where nothing was asked and where an answer has no price.

    Args:
        paths: Verdicts tables, one per run.

    Returns:
        One row per run, columns `KEYS`, those of `ANSWER_COLUMNS` and `note`.
    """
    rows = []
    for path in paths:
        verdicts = read_table(path, schema=VERDICTS)
        if verdicts.empty:
            continue
        agreement = agreement_of(verdicts)
        came_back = verdicts[["latency_s", "cost_usd"]].notna().any(axis=1)
        has_cost = came_back.any() and verdicts.loc[came_back, "cost_usd"].notna().all()
        cost = 1000 * verdicts["cost_usd"].sum() / agreement.n_images if has_cost else None
        n_without_key = int((verdicts["finish_reason"] == "no_key").sum())
        note = "not asked: no key" if n_without_key == len(verdicts) else ""
        if 0 < n_without_key < len(verdicts):
            note = f"{n_without_key} of {len(verdicts)} questions not asked: no key"
        facts = {
            "n_samples": agreement.n_samples,
            "fleiss_kappa": agreement.fleiss_kappa,
            "flip_rate": agreement.flip_rate,
            "cost_per_1000_parts_usd": cost,
        }
        rows.append({key: verdicts[key].iloc[0] for key in KEYS} | facts | {"note": note})
    return pd.DataFrame(rows, columns=[*KEYS, *_ANSWER_NAMES, "note"])


def classification_table(
    scores: pd.DataFrame,
    *,
    datasets: Notes,
    methods: Notes,
    seed: int,
    answers: pd.DataFrame | None = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Make Table 2: how good verdicts are, one row per data set, method and prompt.

    NOK is the positive class. F2 has a bootstrap interval over images (or groups), stratified by
    label and category; precision and recall have two-sided Clopper-Pearson intervals, slip and
    overkill rate one-sided bounds, which take images as independent. The baselines of each data
    set that `scores` does not bring are added, from its numbers of good and defective images; a
    mask baseline has no row, its verdict being that of "reject everything".

    Source: section 4.2 and Table 2 of the study; the baselines are ours.

    Args:
        scores: As for `segmentation_table`; a missing `label_predicted` is an unanswered image.
        datasets: As for `segmentation_table`.
        methods: As for `segmentation_table`; besides, `verdict_by` says `area` of a method that
            judges by the area of another one's masks.
        seed: As for `segmentation_table`.
        answers: What is known of the answers behind the verdicts, at most one row per data set,
            method and prompt, columns `KEYS`, those of `ANSWER_COLUMNS` and `note`.
        n_resamples: Number of bootstrap resamples.
        confidence: Confidence of all intervals and of each one-sided bound, inside (0, 1).

    Returns:
        The table, columns of `CLASSIFICATION`.

    Raises:
        ValueError: As for `segmentation_table`.
    """
    check_scores(scores, datasets, methods)
    published, studied = load_published()
    known = (
        {}
        if answers is None
        else {tuple(row[k] for k in KEYS): row for row in answers.to_dict("records")}
    )
    rows = []
    for key, images in rows_by_run(scores, datasets, methods):
        about = describe(key, images, datasets, methods)
        if about["kind"] in MASK_FLOORS:
            continue
        answered = known.get(key, {})
        by_area = methods.get(key[1], {}).get("verdict_by") == "area"
        counts = confusion(images["label"], images["label_predicted"])
        interval = _f2_range(
            images, stream_of(seed, *key, "f2"), n_resamples=n_resamples, confidence=confidence
        )
        row = dict(zip(KEYS, key, strict=True)) | about | {"confidence": confidence}
        row |= _verdict_statistics(counts, interval, confidence=confidence)
        row["is_no_better_than_floor"] = is_no_better(row, "f2_high", "f2_floor")
        row |= {name: answered.get(name) for name in _ANSWER_NAMES}
        masked = gives_masks(key[1], methods, images)
        row["verdict_by"] = "area" if by_area else "any mask" if masked else "model"
        unanswered = images.loc[images["label_predicted"].isna(), "status"]
        row["unanswered_status"] = status_counts(unanswered)
        notes = [
            *about["notes"],
            *filter(None, [answered.get("note")]),
            *_verdict_notes(row, unanswered),
        ]
        # The study judges by masks as such.
        found = (
            None
            if by_area
            else find_published(
                published,
                published_as(datasets, key[0]),
                metric="f2",
                kind=about["kind"],
                prompt=key[2],
                model=about["model"],
            )
        )
        row["published_f2"] = found["value"] if found else np.nan
        row["published_words"] = found["words"] if found else None
        row["published_source"] = found["source"] if found else None
        row["f2_minus_published"] = row["f2"] - row["published_f2"]
        if found:
            study = studied[published_as(datasets, key[0])]
            notes += count_notes(study, n_nok=row["n_nok"], n_ok=row["n_ok"])
            if found["words"]:
                notes.append(f"the study gives no number but the words '{found['words']}'")
        row["note"] = "; ".join(notes)
        rows.append(row)
    rows = _with_floors(rows, datasets, confidence=confidence)
    return typed_table(rows, CLASSIFICATION)


def _without_unknown(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what nobody knows where no good, or no defective, part is scored."""
    for count, names in (("n_ok", ("overkill_rate",)), ("n_nok", ("slip_rate", "recall"))):
        if not row[count]:
            unknown = [key for key in row if key.startswith((*names, "precision", "f2"))]
            row |= dict.fromkeys(unknown, np.nan) | {"f2_interval": "undefined"}
    return row


def _count_columns(counts: Confusion) -> dict[str, Any]:
    return {
        "n_images": round(counts.n_ok + counts.n_nok),
        "n_ok": round(counts.n_ok),
        "n_nok": round(counts.n_nok),
        "n_answered": round(counts.n_answered),
        "n_unanswered_ok": int(counts.unanswered_ok),
        "n_unanswered_nok": int(counts.unanswered_nok),
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "tn": counts.tn,
    }


def _range(name: str, worst: float, best: float) -> dict[str, float]:
    """Give a value only where the worst and the best case agree."""
    value = worst if worst == best else np.nan
    return {name: value, f"{name}_worst": worst, f"{name}_best": best}


def _with_floors(rows: list[dict], datasets: Notes, *, confidence: float) -> list[dict]:
    """Put the baselines that are missing behind the rows of each data set."""
    complete: list[dict] = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        own = [row for row in rows if row["dataset"] == dataset]
        complete += own
        n_nok, n_ok = own[0]["n_nok"], own[0]["n_ok"]
        present = {row["kind"] for row in own}
        for floor, counts in verdict_floors(n_nok, n_ok).items():
            if floor in present:
                continue
            value = f_beta(counts)
            row = dict(zip(KEYS, (dataset, floor, NO_PROMPT), strict=True))
            row |= _count_columns(counts)
            for name, rate in (
                ("precision", precision),
                ("recall", recall),
                ("slip_rate", slip_rate),
                ("overkill_rate", overkill_rate),
            ):
                row |= _range(name, rate(counts), rate(counts))
            row |= _range("f2", value, value)
            row |= {"f2_interval": "undefined", "f2_floor": f2_floor(n_nok, n_ok)}
            row = _without_unknown(row) | {
                "dataset_name": dataset_name(dataset, datasets),
                "method_name": BASELINE_NAMES[floor],
                "kind": floor,
                **dict.fromkeys(("uses_test_truth", "training_unknown", "transductive"), False),
                "is_floor": True,
                "verdict_by": "model",
                "unanswered_status": "",
                "status_counts": "",
                "confidence": confidence,
                "note": "expected counts" if floor == "coin_at_prevalence" else "",
            }
            complete.append(row)
    return complete


def _f2_range(
    images: pd.DataFrame, rng: np.random.Generator, *, n_resamples: int, confidence: float
) -> tuple[float, float, str]:
    """Bound F2 from the worst case's lower to the best case's upper limit."""
    truth = images["label"].to_numpy(dtype=object)
    verdict = images["label_predicted"].to_numpy(dtype=object)
    is_unanswered = images["label_predicted"].isna().to_numpy()
    wrong = np.where(truth == "NOK", "OK", "NOK")
    state = rng.bit_generator.state
    limits = []
    for filled in (
        np.where(is_unanswered, wrong, verdict),
        np.where(is_unanswered, truth, verdict),
    ):
        rng.bit_generator.state = state  # the same resamples for both ends of the range
        limits.append(
            f2_interval(
                truth,
                filled,
                categories=categories_of(images),
                groups=groups_of(images),
                rng=rng,
                n_resamples=n_resamples,
                confidence=confidence,
            )
        )
    low, high = limits
    return low.low, high.high, low.kind if low.kind == high.kind else f"{low.kind}, {high.kind}"


def _verdict_statistics(
    counts: Confusion, f2_limits: tuple[float, float, str], *, confidence: float
) -> dict[str, Any]:
    """Compute the numbers of one row of Table 2 from whole counts."""
    worst, best = worst_case(counts), best_case(counts)
    row: dict[str, Any] = _count_columns(counts)
    for name, rate in (("precision", precision), ("recall", recall)):
        row |= _range(name, rate(worst), rate(best))
    for name, rate in (("slip_rate", slip_rate), ("overkill_rate", overkill_rate)):
        row |= _range(name, rate(worst), rate(best))
    row |= _range("f2", f_beta(worst), f_beta(best))
    row["f2_low"], row["f2_high"], row["f2_interval"] = f2_limits

    def bound(n_hits: float, n_trials: float, side: str) -> tuple[float, float]:
        return clopper_pearson(int(n_hits), int(n_trials), confidence=confidence, side=side)

    row["precision_low"] = bound(worst.tp, worst.tp + worst.fp, "two-sided")[0]
    row["precision_high"] = bound(best.tp, best.tp + best.fp, "two-sided")[1]
    row["recall_low"] = bound(worst.tp, worst.n_nok, "two-sided")[0]
    row["recall_high"] = bound(best.tp, best.n_nok, "two-sided")[1]
    row["slip_rate_low"] = bound(best.fn, best.n_nok, "lower")[0]
    row["slip_rate_high"] = bound(worst.fn, worst.n_nok, "upper")[1]
    row["overkill_rate_low"] = bound(best.fp, best.n_ok, "lower")[0]
    row["overkill_rate_high"] = bound(worst.fp, worst.n_ok, "upper")[1]
    row["f2_floor"] = f2_floor(int(counts.n_nok), int(counts.n_ok))
    return _without_unknown(row)


def _verdict_notes(row: dict, unanswered: Iterable[str]) -> list[str]:
    notes = []
    n_unanswered = row["n_unanswered_ok"] + row["n_unanswered_nok"]
    if n_unanswered:
        notes.append(
            f"{n_unanswered} of {row['n_images']} images unanswered{why_unjudged(unanswered)}: "
            "ranges are from all of them wrong to all right"
        )
    if not row["n_ok"]:
        notes.append("no good part is scored: overkill rate, precision and F2 are not known")
    if not row["n_nok"]:
        notes.append("no defective part is scored: slip rate, precision and F2 are not known")
    if row["is_no_better_than_floor"]:
        notes.append("no better than no model in F2, at this mixture of parts")
    if "point" in row["f2_interval"]:
        notes.append(NO_VARIATION)
    if row["n_groups"] < row["n_images"]:
        notes.append(
            f"{row['n_images']} images of {row['n_groups']} groups: the bounds of the rates take "
            "images as independent"
        )
    return notes
