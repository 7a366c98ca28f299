"""Classification."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import MASK_FLOORS
from realitycheck.metrics.baselines import f2_floor
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
from realitycheck.metrics.intervals import (
    clopper_pearson,
    f2_interval,
)
from realitycheck.report.tables.base import (
    _DESCRIPTION,
    _NO_VARIATION,
    ANSWER_COLUMNS,
    KEYS,
    _check_scores,
    _count_columns,
    _count_notes,
    _describe,
    _is_no_better,
    _published_as,
    _range,
    _rows,
    _status_counts,
    _typed,
    _why,
    _with_floors,
    _without_unknown,
    categories_of,
    groups_of,
    rows_by_run,
    stream_of,
)
from realitycheck.report.tables.published import find_published, load_published
from realitycheck.report.text import (
    _difference,
    _score_range,
    _with_bound,
    _with_interval,
    score_text,
)

_CLASSIFICATION_HEADER = [
    *("Data set", "Method", "Prompt", "F2 [interval]", "Best floor", "NOK / OK", "Precision"),
    *("Slip rate (bound)", "Overkill rate (bound)", "Study's F2", "Difference"),
]

_CONFUSION_HEADER = [
    *("Data set", "Method", "Prompt", "NOK rejected (tp)", "NOK passed (fn)"),
    *("OK rejected (fp)", "OK passed (tn)", "Answered", "Not answered"),
]


def _classification_row(row: pd.Series) -> list[str]:
    words = row["published_words"]
    return [
        _with_interval(row, "f2"),
        score_text(row["f2_floor"]),
        f"{row['n_nok']} / {row['n_ok']}",
        _score_range(row, "precision"),
        _with_bound(row, "slip_rate"),
        _with_bound(row, "overkill_rate"),
        words if pd.notna(words) else score_text(row["published_f2"]),
        _difference(row["f2_minus_published"]),
    ]


CLASSIFICATION_COLUMNS = {
    "dataset": "string",
    "method": "string",
    "prompt": "string",
    "n_ok": "int64",
    "n_nok": "int64",
    "n_answered": "int64",
    "tp": "float64",  # float: the coin's counts are expected values
    "fp": "float64",
    "fn": "float64",
    "tn": "float64",
    "precision": "float64",
    "recall": "float64",
    "f2": "float64",
    "f2_low": "float64",
    "f2_high": "float64",
    "f2_floor": "float64",  # best F2 that no model at all reaches on the same images
    "slip_rate": "float64",
    "slip_rate_high": "float64",  # one-sided upper bound
    "overkill_rate": "float64",
    "overkill_rate_high": "float64",  # one-sided upper bound
    "published_f2": "float64",
    "f2_minus_published": "float64",
    "is_no_better_than_floor": "boolean",  # f2_high is not above f2_floor
    "n_images": "int64",
    "n_unanswered_ok": "int64",
    "n_unanswered_nok": "int64",
    "f2_worst": "float64",
    "f2_best": "float64",
    "f2_interval": "string",
    "precision_worst": "float64",
    "precision_best": "float64",
    "precision_low": "float64",
    "precision_high": "float64",
    "recall_worst": "float64",
    "recall_best": "float64",
    "recall_low": "float64",
    "recall_high": "float64",
    "slip_rate_worst": "float64",
    "slip_rate_best": "float64",
    "slip_rate_low": "float64",  # one-sided lower bound
    "overkill_rate_worst": "float64",
    "overkill_rate_best": "float64",
    "overkill_rate_low": "float64",  # one-sided lower bound
    "published_words": "string",
    "published_source": "string",
    "verdict_by": "string",  # model; any mask; area: of the mask
    "unanswered_status": "string",  # why images have no verdict, with their numbers
    **ANSWER_COLUMNS,
    **_DESCRIPTION,
}

CONFUSION_COLUMNS = [
    *("dataset", "method", "prompt", "n_images", "n_ok", "n_nok", "n_answered"),
    *("tp", "fp", "fn", "tn", "n_unanswered_nok", "n_unanswered_ok", "unanswered_status"),
    *("dataset_name", "method_name", "kind", "verdict_by", "is_floor"),
]


def classification_table(
    scores: pd.DataFrame,
    *,
    datasets: Mapping[str, Mapping[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
    seed: int,
    answers: pd.DataFrame | None = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Make Table 2: how good verdicts are, one row a data set, method and prompt.

    NOK is the positive class. F2 has a bootstrap interval over images (or groups), stratified by
    label and category; precision and recall have two-sided Clopper-Pearson intervals, slip and
    overkill rate one-sided bounds, which take images as independent. The floors of each data
    set that `scores` does not bring are added, from its numbers of good and defective images; a
    mask floor has no row, its verdict being that of "reject everything".

    Source: section 4.2 and Table 2 of the study; the floors are ours.

    Args:
        scores: As for `segmentation_table`; a missing `label_predicted` is an unanswered image.
        datasets: As for `segmentation_table`.
        methods: As for `segmentation_table`; besides, `verdict_by` says `area` of a method that
            judges by the area of another one's masks.
        seed: As for `segmentation_table`.
        answers: What is known of the answers behind the verdicts, at most one row a data set,
            method and prompt, columns `KEYS`, `ANSWER_COLUMNS` and `note`.
        n_resamples: Number of bootstrap resamples.
        confidence: Confidence of all intervals and of each one-sided bound, inside (0, 1).

    Returns:
        The table, columns `CLASSIFICATION_COLUMNS`.

    Raises:
        ValueError: As for `segmentation_table`.
    """
    _check_scores(scores, datasets, methods)
    published, studied = load_published()
    known = {} if answers is None else {tuple(row[k] for k in KEYS): row for row in _rows(answers)}
    rows = []
    for key, images in rows_by_run(scores, datasets, methods):
        about = _describe(key, images, datasets, methods)
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
        row["is_no_better_than_floor"] = _is_no_better(row, "f2_high", "f2_floor")
        row |= {name: answered.get(name) for name in ANSWER_COLUMNS}
        row["verdict_by"] = (
            "area"
            if by_area
            else "any mask"
            if methods.get(key[1], {}).get("gives_masks")
            else "model"
        )
        unanswered = images.loc[images["label_predicted"].isna(), "status"]
        row["unanswered_status"] = _status_counts(unanswered)
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
                _published_as(datasets, key[0]),
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
            study = studied[_published_as(datasets, key[0])]
            notes += _count_notes(study, n_nok=row["n_nok"], n_ok=row["n_ok"])
            if found["words"]:
                notes.append(f"the study gives no number but the words '{found['words']}'")
        row["note"] = "; ".join(notes)
        rows.append(row)
    rows = _with_floors(rows, datasets, confidence=confidence)
    return _typed(rows, CLASSIFICATION_COLUMNS)


def confusion_table(classification: pd.DataFrame) -> pd.DataFrame:
    """Take the counts out of Table 2: verdicts against labels, and who gave none.

    Args:
        classification: From `classification_table`.

    Returns:
        One row a data set, method and prompt, columns `CONFUSION_COLUMNS`.
    """
    return classification[CONFUSION_COLUMNS].copy()


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
            f"{n_unanswered} of {row['n_images']} images unanswered{_why(unanswered)}: "
            "ranges are from all of them wrong to all right"
        )
    if not row["n_ok"]:
        notes.append("no good part is scored: overkill rate, precision and F2 are not known")
    if not row["n_nok"]:
        notes.append("no defective part is scored: slip rate, precision and F2 are not known")
    if row["is_no_better_than_floor"]:
        notes.append("no better than no model")
    if "point" in row["f2_interval"]:
        notes.append(_NO_VARIATION)
    if row["n_groups"] < row["n_images"]:
        notes.append(
            f"{row['n_images']} images of {row['n_groups']} groups: the bounds of the rates take "
            "images as independent"
        )
    return notes
