"""The two result tables: one row a data set, method and prompt, from one row an image.

Each statistic carries its interval and the number of images it is taken over. An image without an
answer makes a score a range, from all such images wrong (`*_worst`) to all right (`*_best`); the
score's own column then is missing, and its interval reaches from the worst case's lower limit to
the best case's upper limit.
"""

import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.methods.floors import FLOORS, f2_floor, verdict_floors
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
    Interval,
    clopper_pearson,
    f2_interval,
    mean_iou_interval,
    pooled_iou_interval,
)
from realitycheck.metrics.iou import pooled_iou
from realitycheck.names import MASK_FLOORS, NO_PROMPT
from realitycheck.report.published import find_published, load_published

KEYS = ["dataset", "method", "prompt"]
SCORE_COLUMNS = [
    *("dataset", "image_id", "method", "prompt", "category", "group", "label"),
    *("label_predicted", "iou", "intersection_px", "union_px", "truth_px", "predicted_px"),
    *("lost_px", "defect_type", "status"),
]
MASK_KINDS = (
    *("grounded_sam", "sam_clip", "clip_surgery_sam", "saa_plus", "pixel_difference"),
    *("few_shot", "adapted_sam"),
    *MASK_FLOORS,
)
METHOD_NAMES = {
    "grounded_sam": "GroundingDINO + SAM",
    "sam_clip": "SAM + CLIP",
    "clip_surgery_sam": "CLIPSurgery + SAM",
    "saa_plus": "SAA+",
    "pixel_difference": "Pixel difference",
    "few_shot": "Few good parts",
    "adapted_sam": "SAM, adapted",
    "lvlm": "LVLM",
    "resnet_mlp": "ResNet + MLP",
    "clip_zero_shot": "CLIP zero-shot",
    "tuned_clip": "CLIP, tuned prompt",
    "reject_everything": "Floor: reject everything",
    "accept_everything": "Floor: accept everything",
    "coin_at_prevalence": "Floor: coin at the prevalence",
    "whole_image": "Floor: whole image",
}

_DATASET_KEYS = {"name", "published_as", "note"}
_METHOD_KEYS = {"kind", "name", "variant", "model", "uses_test_truth", "note", "verdict_by"}
_AREA_NOTE = "NOK by predicted area, above a threshold from good images of other folds"
_UNJUDGED_WORDS = {
    "not_comparable": "not comparable: not aligned, and of another size than the reference"
}
_NO_VARIATION = "no variation among the images to estimate an interval from"
_DESCRIPTION = {
    "dataset_name": "string",
    "method_name": "string",
    "kind": "string",
    "variant": "string",
    "model": "string",
    "uses_test_truth": "boolean",
    "is_floor": "boolean",
    "status_counts": "string",
    "n_groups": "Int64",
    "confidence": "float64",
    "note": "string",
}
# What is known of a run's answers beside its verdicts.
ANSWER_COLUMNS = {
    "n_samples": "Int64",  # answers of an image that its verdict is the majority of
    "fleiss_kappa": "float64",  # agreement of the samples beyond chance
    "flip_rate": "float64",  # share of images whose samples do not all agree
    "cost_per_1000_parts_usd": "float64",  # missing where an answer has no price
}
# Column types in their order; the part before the description is the contract of the artifact.
SEGMENTATION_COLUMNS = {
    "dataset": "string",
    "method": "string",
    "prompt": "string",
    "n_images": "int64",
    "n_defective": "int64",
    "mean_iou": "float64",
    "mean_iou_low": "float64",
    "mean_iou_high": "float64",
    "pooled_iou": "float64",
    "ok_with_mask_rate": "float64",  # share of good images with at least one predicted pixel
    "published_iou": "float64",
    "iou_minus_published": "float64",
    "n_scored": "int64",  # defective images with truth and mask: what the IoU is taken over
    "n_without_truth": "int64",  # defective images with no mask, or with an empty one
    "n_lost": "int64",  # of the scored ones: alignment moved defect pixels out of the image
    "n_without_prediction": "int64",  # of the scored ones; they make the IoU a range
    "mean_iou_worst": "float64",
    "mean_iou_best": "float64",
    "mean_iou_interval": "string",
    "median_iou": "float64",
    "zero_iou_rate": "float64",  # share of scored images whose defect is missed altogether
    "pooled_iou_low": "float64",
    "pooled_iou_high": "float64",
    "ok_with_mask_rate_worst": "float64",
    "ok_with_mask_rate_best": "float64",
    "iou_floor": "float64",  # mean IoU of the whole image as the mask, on the same images
    "is_no_better_than_floor": "boolean",  # mean_iou_high is not above it
    "published_source": "string",
    **_DESCRIPTION,
}
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


def segmentation_table(
    scores: pd.DataFrame,
    *,
    datasets: Mapping[str, Mapping[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
    seed: int,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Make Table 1: how well masks fit, one row a data set, method and prompt.

    The IoU is averaged over the defective images that have ground truth; `pooled_iou` is over the
    same images; defect pixels that alignment moved out of the image are in both unions. Intervals:
    bootstrap over images (or groups), stratified by category. A method that gives verdicts but no
    mask has no row.

    Source: section 4.1 and Table 1 of the study.

    Args:
        scores: One row an image, data set, method and prompt, columns `SCORE_COLUMNS`. A missing
            `truth_px` says that the image has no ground truth, a missing `predicted_px` that the
            method gave no mask; a missing group stands for a part of its own.
        datasets: Description of each data set by its id, all keys optional: `name` for people,
            `published_as` (industrial_sat, mvtec_ad or oxford_iiit_pet), `note`. Rows come in
            this order.
        methods: Description of each method by its id, all keys optional: `kind` (the id if not
            given), `name` for people, `variant`, `model`, `uses_test_truth`, `note`. Rows come in
            this order, floors last.
        seed: Seed of the bootstrap. Each row has its own stream, made of the seed and its keys,
            so a method that is added moves no other row.
        n_resamples: Number of bootstrap resamples.
        confidence: Confidence of all intervals, inside (0, 1).

    Returns:
        The table, columns `SEGMENTATION_COLUMNS`.

    Raises:
        ValueError: If columns are missing, images appear twice or not under every method, labels
            contradict each other, or a description is not understood.
    """
    _check_scores(scores, datasets, methods)
    published, studied = load_published()
    floors = _iou_floors(scores, methods)
    rows = []
    for key, images in rows_by_run(scores, datasets, methods):
        about = _describe(key, images, datasets, methods)
        if about["kind"] not in MASK_KINDS and images["predicted_px"].isna().all():
            continue

        def stream(quantity: str, key: tuple = key) -> np.random.Generator:
            return stream_of(seed, *key, quantity)

        row = dict(zip(KEYS, key, strict=True))
        row |= _mask_statistics(images, stream, n_resamples=n_resamples, confidence=confidence)
        row |= about | {"confidence": confidence, "iou_floor": floors.get(key[0], np.nan)}
        row["is_no_better_than_floor"] = _is_no_better(row, "mean_iou_high", "iou_floor")
        unjudged = images.loc[images["predicted_px"].isna(), "status"]
        notes = [*about["notes"], *_mask_notes(row, unjudged)]
        found = find_published(
            published,
            _published_as(datasets, key[0]),
            metric="mean_iou",
            kind=about["kind"],
            prompt=key[2],
            model=about["model"],
        )
        row["published_iou"] = found["value"] if found else np.nan
        row["published_source"] = found["source"] if found else None
        row["iou_minus_published"] = row["mean_iou"] - row["published_iou"]
        if found:
            notes += _count_notes(studied[_published_as(datasets, key[0])], n_nok=row["n_scored"])
        row["note"] = "; ".join(notes)
        rows.append(row)
    return _typed(rows, SEGMENTATION_COLUMNS)


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
        row["verdict_by"] = _verdict_by(about["kind"], by_area=by_area)
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


def _mask_statistics(
    images: pd.DataFrame,
    stream: Callable[[str], np.random.Generator],
    *,
    n_resamples: int,
    confidence: float,
) -> dict[str, Any]:
    """Compute the numbers of one row of Table 1."""
    is_nok = (images["label"] == "NOK").to_numpy()
    has_truth = images["truth_px"].fillna(0).to_numpy(dtype=float) > 0
    is_predicted = images["predicted_px"].notna().to_numpy()
    scored = images[is_nok & has_truth]
    ious = scored["iou"].to_numpy(dtype=float, na_value=np.nan)
    is_answered = scored["predicted_px"].notna().to_numpy()
    worst, best = np.where(is_answered, ious, 0.0), np.where(is_answered, ious, 1.0)
    settings = {
        "groups": groups_of(scored),
        "n_resamples": n_resamples,
        "confidence": confidence,
    }
    categories = categories_of(scored)
    low = mean_iou_interval(worst, categories, rng=stream("mean_iou"), **settings)
    high = low
    if not is_answered.all():
        high = mean_iou_interval(best, categories, rng=stream("mean_iou"), **settings)
    is_point = bool(is_answered.all()) and len(scored) > 0
    pooled = Interval(np.nan, np.nan, np.nan, "undefined")
    if is_point:
        intersection = scored["intersection_px"].to_numpy(dtype=float)
        union = scored["union_px"].to_numpy(dtype=float)
        pooled = pooled_iou_interval(
            intersection, union, categories=categories, rng=stream("pooled_iou"), **settings
        )
    good = images[~is_nok]
    n_flagged = int((good["predicted_px"].fillna(0).astype(float) > 0).sum())
    n_silent = int(good["predicted_px"].isna().sum())
    flagged_best = n_flagged / len(good) if len(good) else np.nan
    flagged_worst = (n_flagged + n_silent) / len(good) if len(good) else np.nan
    return {
        "n_images": len(images),
        "n_defective": len(scored),
        "mean_iou": low.estimate if is_point else np.nan,
        "mean_iou_low": low.low,
        "mean_iou_high": high.high,
        "pooled_iou": pooled_iou(intersection, union) if is_point else np.nan,
        "ok_with_mask_rate": flagged_best if n_silent == 0 else np.nan,
        "n_scored": int(is_answered.sum()),
        "n_without_truth": int((is_nok & ~has_truth).sum()),
        "n_lost": int((scored["lost_px"].fillna(0).to_numpy(dtype=float) > 0).sum()),
        "n_without_prediction": int((is_nok & has_truth & ~is_predicted).sum()),
        "mean_iou_worst": low.estimate,
        "mean_iou_best": high.estimate,
        "mean_iou_interval": low.kind if low.kind == high.kind else f"{low.kind}, {high.kind}",
        "median_iou": float(np.median(ious)) if is_point else np.nan,
        "zero_iou_rate": float((ious == 0).mean()) if is_point else np.nan,
        "pooled_iou_low": pooled.low,
        "pooled_iou_high": pooled.high,
        "ok_with_mask_rate_worst": flagged_worst,
        "ok_with_mask_rate_best": flagged_best,
    }


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


def _without_unknown(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what nobody knows where no good, or no defective, part is scored."""
    for count, names in (("n_ok", ("overkill_rate",)), ("n_nok", ("slip_rate", "recall"))):
        if not row[count]:
            unknown = [key for key in row if key.startswith((*names, "precision", "f2"))]
            row |= dict.fromkeys(unknown, np.nan) | {"f2_interval": "undefined"}
    return row


def _is_no_better(row: dict[str, Any], high: str, floor: str) -> bool | None:
    """Tell whether an upper limit is not above the best floor; None for floors themselves."""
    is_known = np.isfinite(row[high]) and np.isfinite(row[floor])
    if row["is_floor"] or not is_known:
        return None
    return bool(row[high] <= row[floor] + 1e-12)


def _iou_floors(scores: pd.DataFrame, methods: Mapping) -> dict[str, float]:
    """Mean IoU of the best mask floor of each data set, where there is one."""
    kinds = {name: methods.get(name, {}).get("kind", name) for name in set(scores["method"])}
    is_floor = scores["method"].map(kinds).isin(MASK_FLOORS) & (scores["label"] == "NOK")
    means = scores[is_floor].groupby(["dataset", "method"])["iou"].mean()
    return means.groupby("dataset").max().to_dict()


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


def _with_floors(rows: list[dict], datasets: Mapping, *, confidence: float) -> list[dict]:
    """Put the floors that are missing behind the rows of each data set."""
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
                "method_name": METHOD_NAMES[floor],
                "kind": floor,
                "uses_test_truth": False,
                "is_floor": True,
                "verdict_by": _verdict_by(floor, by_area=False),
                "unanswered_status": "",
                "status_counts": "",
                "confidence": confidence,
                "note": "expected counts" if floor == "coin_at_prevalence" else "",
            }
            complete.append(row)
    return complete


def _mask_notes(row: dict, unjudged: Iterable[str]) -> list[str]:
    notes = []
    if row["is_no_better_than_floor"]:
        notes.append("no better than no model")
    n_drawn = row["n_scored"] + row["n_without_prediction"]
    if n_drawn == 0:
        notes.append("no defective image has ground truth, so there is no IoU")
    elif row["n_without_truth"]:
        notes.append(
            f"IoU over {n_drawn} of {n_drawn + row['n_without_truth']} defective "
            f"images: {row['n_without_truth']} have no ground truth"
        )
    if row["n_lost"]:
        notes.append(
            f"alignment moved defects of {row['n_lost']} of {n_drawn} defective images out "
            "of the image, wholly or in part: those pixels count as not found"
        )
    if row["n_without_prediction"]:
        notes.append(
            f"{row['n_without_prediction']} of {n_drawn} defective images got no mask"
            f"{_why(unjudged)}: the range is from IoU 0 to IoU 1 for them"
        )
    if "point" in row["mean_iou_interval"] and row["n_scored"]:
        notes.append(_NO_VARIATION)
    return notes


def _why(statuses: Iterable[str]) -> str:
    """Say why images of some statuses could not be judged."""
    reasons = [_UNJUDGED_WORDS[status] for status in sorted(set(statuses) & set(_UNJUDGED_WORDS))]
    return f" ({', '.join(reasons)})" if reasons else ""


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


def _count_notes(study: dict, *, n_nok: int, n_ok: int | None = None) -> list[str]:
    """Say when a published value was taken over other numbers of images than ours."""
    is_same = n_nok == study["n_nok"] and n_ok in (None, study["n_ok"])
    if is_same:
        return []
    theirs = f"{study['n_nok']} defective"
    ours = f"{n_nok}"
    if n_ok is not None:
        theirs, ours = f"{theirs} and {study['n_ok']} good", f"{ours} and {n_ok}"
    return [f"published value over {theirs} images of {study['name']}, ours over {ours}"]


def _describe(
    key: tuple[str, str, str], images: pd.DataFrame, datasets: Mapping, methods: Mapping
) -> dict[str, Any]:
    """Gather what a row says about itself."""
    dataset, method, _ = key
    settings = methods.get(method, {})
    kind = settings.get("kind", method)
    variant = settings.get("variant")
    uses_test_truth = bool(settings.get("uses_test_truth", False))
    notes = [settings.get("note"), datasets[dataset].get("note")]
    if uses_test_truth:
        notes.append("uses the ground truth of the test images to set its threshold")
    if settings.get("verdict_by") == "area":
        notes.append(_AREA_NOTE)
    groups = groups_of(images)
    n_groups = len(images)
    if groups is not None:
        named = [group for group in groups if group is not None]
        n_groups = len(set(named)) + len(groups) - len(named)
    return {
        "dataset_name": dataset_name(dataset, datasets),
        "method_name": method_name(method, methods),
        "kind": kind,
        "variant": variant,
        "model": settings.get("model"),
        "uses_test_truth": uses_test_truth,
        "is_floor": kind in FLOORS,
        "status_counts": _status_counts(images["status"]),
        "n_groups": n_groups,
        "notes": [note for note in notes if note],
    }


def _status_counts(status: pd.Series) -> str:
    """Put the statuses of images into words, the most frequent first."""
    counts = status.fillna("none").astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} {count}" for value, count in ordered)


def _verdict_by(kind: str, *, by_area: bool) -> str:
    if by_area:
        return "area"
    return "any mask" if kind in MASK_KINDS else "model"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def dataset_name(dataset: str, datasets: Mapping[str, Mapping[str, Any]]) -> str:
    """Name of a data set for people."""
    return datasets[dataset].get("name") or dataset


def method_name(method: str, methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Name of a method for people, with its variant, and how it judges where that is by area."""
    settings = methods.get(method, {})
    name = settings.get("name") or METHOD_NAMES.get(settings.get("kind", method), method)
    variant = settings.get("variant")
    if not settings.get("name") and variant not in (None, "published"):
        name = f"{name} ({variant})"
    return f"{name} (area)" if settings.get("verdict_by") == "area" else name


def _published_as(datasets: Mapping, dataset: str) -> str | None:
    return datasets[dataset].get("published_as")


def rows_by_run(
    scores: pd.DataFrame, datasets: Mapping, methods: Mapping
) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Split scores by key, in the order of the descriptions, floors last."""
    dataset_rank = {name: rank for rank, name in enumerate(datasets)}
    method_rank = {name: rank for rank, name in enumerate(methods)}
    prompt_rank = {name: rank for rank, name in enumerate(dict.fromkeys(scores["prompt"]))}

    def rank(item: tuple[Hashable, pd.DataFrame]) -> tuple:
        dataset, method, prompt = item[0]
        kind = methods.get(method, {}).get("kind", method)
        place = method_rank.get(method, len(method_rank))
        return dataset_rank[dataset], kind in FLOORS, place, method, prompt_rank[prompt]

    groups = [
        (tuple(key), images) for key, images in scores.groupby(KEYS, sort=False, observed=True)
    ]
    return sorted(groups, key=rank)


def categories_of(images: pd.DataFrame) -> list[str]:
    """Category of each row, as strata of a bootstrap."""
    return images["category"].fillna("").astype(str).tolist()


def groups_of(images: pd.DataFrame) -> list[str | None] | None:
    """Group of each row, or None where no row has one."""
    if images["group"].isna().all():
        return None
    return [None if pd.isna(group) else str(group) for group in images["group"]]


def stream_of(seed: int, *key: str) -> np.random.Generator:
    """Make a generator of its own for each number, so that rows do not depend on each other."""
    return np.random.default_rng([seed, zlib.crc32("\0".join(key).encode())])


def _typed(rows: list[dict], columns: dict[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=object).astype(dtype)
            for name, dtype in columns.items()
        }
    )
    return table


def _check_scores(scores: pd.DataFrame, datasets: Mapping, methods: Mapping) -> None:
    """Refuse scores from which a table would come out wrong."""
    missing = [name for name in SCORE_COLUMNS if name not in scores.columns]
    if missing:
        raise ValueError(
            f"the scores need the columns {', '.join(SCORE_COLUMNS)}, but {', '.join(missing)} "
            "are missing"
        )
    for column in (*KEYS, "image_id"):
        if scores[column].isna().any():
            n_bad = int(scores[column].isna().sum())
            raise ValueError(
                f"scores: each row needs its {column}, but {n_bad} of {len(scores)} have none"
            )
    for what, described, allowed in (
        ("data set", datasets, _DATASET_KEYS),
        ("method", methods, _METHOD_KEYS),
    ):
        for name, settings in described.items():
            unknown = sorted(set(settings) - allowed)
            if unknown:
                raise ValueError(
                    f"description of {what} {name!r}: expected only the keys "
                    f"{', '.join(sorted(allowed))}, but found {', '.join(unknown)}"
                )
    unknown = sorted(set(scores["dataset"]) - set(datasets))
    if unknown:
        raise ValueError(
            f"the scores hold the data set {unknown[0]!r}, which is not described; described are "
            f"{', '.join(datasets) or 'none'}"
        )
    _check_published_names(datasets)
    is_repeated = scores.duplicated([*KEYS, "image_id"])
    if is_repeated.any():
        first = scores[is_repeated].iloc[0]
        raise ValueError(
            f"scores: one row an image is expected, but {int(is_repeated.sum())} rows repeat one "
            f"(first: {_place(first)}); gather the samples of an image into one verdict before"
        )
    is_contradictory = scores["predicted_px"].notna() & scores["iou"].isna()
    is_contradictory &= (scores["label"] == "NOK") & (scores["truth_px"].fillna(0) > 0)
    if is_contradictory.any():
        first = scores[is_contradictory].iloc[0]
        raise ValueError(
            "scores: an image with a predicted and a true mask needs an IoU, but "
            f"{int(is_contradictory.sum())} have none (first: {_place(first)})"
        )
    _check_same_images(scores)


def _check_published_names(datasets: Mapping) -> None:
    _, studied = load_published()
    for name in datasets:
        published_as = _published_as(datasets, name)
        if published_as is not None and published_as not in studied:
            raise ValueError(
                f"data set {name!r}: published_as must be one of {', '.join(studied)}, but is "
                f"{published_as!r}"
            )


def _check_same_images(scores: pd.DataFrame) -> None:
    """Refuse a comparison of methods that did not see the same images."""
    for dataset, rows in scores.groupby("dataset", sort=False, observed=True):
        labels = rows.groupby("image_id")["label"].nunique(dropna=False)
        if (labels > 1).any():
            raise ValueError(
                f"scores of {dataset}: an image has one true label, but {int((labels > 1).sum())} "
                f"have two (first: {labels.index[labels > 1][0]})"
            )
        n_images = rows["image_id"].nunique()
        for key, part in rows.groupby(KEYS, sort=False, observed=True):
            if len(part) != n_images:
                absent = sorted(set(rows["image_id"]) - set(part["image_id"]))
                raise ValueError(
                    f"scores of {'/'.join(map(str, key))}: all methods of a data set must be "
                    f"scored on the same {n_images} images, but {len(absent)} are missing (first: "
                    f"{absent[0]}); score them, an unanswered image being a row without a verdict"
                )


def _place(row: pd.Series) -> str:
    return f"{row['dataset']}/{row['method']}/{row['prompt']}, image {row['image_id']}"
