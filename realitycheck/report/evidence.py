"""Tables of evidence: readiness, detection probability, breakdowns, comparisons, pixel scores.

Each takes tables of one row an image, a defect or a run, and gives one in the form of its schema in
`realitycheck.artifacts`, rows in the order of the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.artifacts import (
    BREAKDOWN,
    COMPARISON,
    DETECTION_BINS,
    DETECTION_CURVE,
    DETECTION_PROBABILITY,
    PIXEL_TABLE,
    READINESS,
)
from realitycheck.methods.floors import FLOORS
from realitycheck.metrics.classification import (
    confusion,
    overkill_rate,
    slip_rate,
    worst_case,
)
from realitycheck.metrics.detection_probability import (
    bin_of,
    fit_pod,
    pod_band,
    recall_by_size,
    size_edges,
)
from realitycheck.metrics.intervals import clopper_pearson, mean_iou_interval, stratified_bootstrap
from realitycheck.metrics.paired import (
    exact_mcnemar,
    f2_of_sums,
    holm,
    mean_of_sums,
    paired_permutation,
)
from realitycheck.metrics.readiness import Evidence, Requirements, decide
from realitycheck.names import MASK_FLOORS
from realitycheck.report.tables import (
    KEYS,
    categories_of,
    dataset_name,
    groups_of,
    method_name,
    rows_by_run,
    stream_of,
)

#: Beginnings of the notes of Table 2 that a decision does not rest on.
_BESIDE_A_DECISION = (
    "published value",
    "the study gives",
    "no variation among",
    "NOK by predicted area",
)
#: Permutations for each pair that a p value is corrected for: the least corrected p is 1/40.
_PERMUTATIONS_PER_PAIR = 40

Notes = Mapping[str, Mapping[str, Any]]
#: Points of a detection curve.
_N_CURVE_POINTS = 60
#: Confidence of a90/95 and of the band around the curve, which their names say.
_POD_CONFIDENCE = 0.95


# -------------------------------------------------------------------------------------- readiness


def readiness_table(
    classification: pd.DataFrame, times: pd.DataFrame, *, requirements: Mapping[str, Any]
) -> pd.DataFrame:
    """Decide for each data set, method and prompt whether it is fit for the product.

    Args:
        classification: Table 2, floors among it; they get no row.
        times: Seconds of a part, columns `KEYS`, `seconds_per_part` and `seconds_note`; a run that
            is not there was not timed.
        requirements: The four limits by name.

    Returns:
        The table, columns of `READINESS`.
    """
    limits = Requirements(**requirements)
    known = {tuple(row[k] for k in KEYS): row for row in times.to_dict("records")}
    rows = []
    for row in classification.to_dict("records"):
        if row["is_floor"]:
            continue
        time = known.get(tuple(row[k] for k in KEYS), {})
        seconds, cost = _number(time.get("seconds_per_part")), _cost(row)
        better = row["is_no_better_than_floor"]
        evidence = Evidence(
            n_nok=row["n_nok"],
            n_ok=row["n_ok"],
            missed=int(row["fn"]),
            rejected=int(row["fp"]),
            unanswered_nok=row["n_unanswered_nok"],
            unanswered_ok=row["n_unanswered_ok"],
            is_no_better=None if pd.isna(better) else bool(better),
            f2_high=row["f2_high"],
            f2_floor=row["f2_floor"],
            seconds_per_part=seconds,
            cost_per_part_usd=cost,
        )
        found = decide(evidence, limits, confidence=row["confidence"])
        rows.append(
            {name: row[name] for name in READINESS.columns if name in row}
            | dict(requirements)
            | {
                "decision": found.decision,
                "reason": found.reason,
                "recheck_share": found.recheck_share,
                "more_nok_needed": found.more_nok_needed,
                "more_ok_needed": found.more_ok_needed,
                "seconds_per_part": seconds,
                "seconds_note": time.get("seconds_note") or "not timed",
                "note": _decision_note(row["note"]),
                "cost_per_part_usd": cost,
            }
        )
    return _table(rows, READINESS)


def _decision_note(note: str) -> str:
    """What of a row's note in Table 2 a decision rests on; the reason says the rest."""
    parts = [part for part in note.split("; ") if not part.startswith(_BESIDE_A_DECISION)]
    return "; ".join(parts)


def _cost(row: Mapping[str, Any]) -> float | None:
    """What a service is paid for a part: nothing where none is asked."""
    per_thousand = _number(row["cost_per_1000_parts_usd"])
    if per_thousand is not None:
        return per_thousand / 1000
    return None if row["kind"] == "lvlm" else 0.0


# -------------------------------------------------------------------------- detection probability


def detection_tables(
    defects: pd.DataFrame,
    runs: Sequence[tuple[str, str, str]],
    *,
    datasets: Notes,
    methods: Notes,
    min_covered_share: float,
    confidence: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Estimate the probability of detection against defect size.

    Areas are in mm² where every defect of a data set has one, else in pixels. All methods of a data
    set share their size bins.

    Args:
        defects: Defects tables of the runs, as one.
        runs: Every run with masks, floors left out; one without defects has a row as well.
        datasets: Description of each data set.
        methods: Description of each method.
        min_covered_share: Share of its area that finds a defect.
        confidence: Of the recall in each bin.

    Returns:
        Tables with the columns of `DETECTION_PROBABILITY`, `DETECTION_CURVE`, `DETECTION_BINS`.
    """
    rows, curves, bins = [], [], []
    by_run = {tuple(key): own for key, own in defects.groupby(KEYS, sort=False)}
    edges = {}
    for dataset in dict.fromkeys(run[0] for run in runs):
        own = defects[defects["dataset"] == dataset].drop_duplicates(["image_id", "defect_id"])
        edges[dataset] = size_edges(own[_area_column(own)])
    for run in runs:
        own = by_run.get(tuple(run), defects.iloc[:0])
        key = dict(zip(KEYS, run, strict=True))
        column = _area_column(own)
        unit = column.removeprefix("area_")
        areas, hits = own[column].to_numpy(float), own["is_hit"].to_numpy(bool)
        fit = fit_pod(areas, hits, confidence=_POD_CONFIDENCE, unit=_unit_word(unit))
        largest = areas.max() if len(areas) else np.nan
        rows.append(
            key
            | {
                "unit": unit,
                "status": fit.status,
                "reason": fit.reason,
                "n_defects": len(areas),
                "n_hits": fit.n_hits,
                "n_misses": fit.n_misses,
                "intercept": fit.intercept,
                "slope": fit.slope,
                "a50": fit.a50,
                "a90": fit.a90,
                "a90_95": fit.a90_95 if np.isfinite(fit.a90_95) else np.nan,
                "min_covered_share": min_covered_share,
                "smallest": areas.min() if len(areas) else np.nan,
                "largest": largest,
                "n_groups": own["group"].fillna(own["image_id"]).nunique(),
                "dataset_name": dataset_name(run[0], datasets),
                "method_name": method_name(run[1], methods),
                "note": "; ".join(
                    [
                        *_detection_notes(fit.a90, fit.a90_95, largest, methods[run[1]]),
                        *_lost_notes(own),
                    ]
                ),
            }
        )
        bins += [
            key
            | {"size_low": each.low, "size_high": each.high}
            | {name: getattr(each, name) for name in DETECTION_BINS.columns[5:]}
            for each in recall_by_size(areas, hits, edges[run[0]], confidence=confidence)
        ]
        if fit.status == "estimated":
            sizes = np.geomspace(areas.min(), areas.max(), _N_CURVE_POINTS)
            band = pod_band(areas, hits, fit, sizes, confidence=_POD_CONFIDENCE)
            curves += [
                key | {"size": size, "probability": p, "probability_low": a, "probability_high": b}
                for size, (p, a, b) in zip(sizes, band, strict=True)
            ]
    return (
        _table(rows, DETECTION_PROBABILITY),
        _table(curves, DETECTION_CURVE),
        _table(bins, DETECTION_BINS),
    )


def _area_column(defects: pd.DataFrame) -> str:
    has_mm2 = len(defects) > 0 and defects["area_mm2"].notna().all()
    return "area_mm2" if has_mm2 else "area_px"


def _unit_word(unit: str) -> str:
    return {"px": "px", "mm2": "mm²"}[unit]


def _detection_notes(
    a90: float, bound: float, largest: float, about: Mapping[str, Any]
) -> Iterator[str]:
    if about.get("note"):
        yield about["note"]
    if a90 > largest:
        yield "a90 lies beyond the largest defect, where the curve is a guess"
    elif bound > largest and np.isfinite(bound):
        yield "a90/95 lies beyond the largest defect, where the curve is a guess"


def _lost_notes(defects: pd.DataFrame) -> Iterator[str]:
    n_lost = int((defects["lost_px"] > 0).sum())
    if n_lost:
        n_wholly = int((defects["lost_px"] == defects["area_px"]).sum())
        yield (
            f"alignment moved {n_lost} of {len(defects)} defects out of the image, {n_wholly} of "
            "them wholly: what lies beyond it counts as not found"
        )


# -------------------------------------------------------------------------------------- breakdown


def breakdown_table(
    scores: pd.DataFrame,
    mask_sizes: pd.DataFrame,
    *,
    datasets: Notes,
    methods: Notes,
    pixel_pitch_mm: Mapping[str, float | None],
    seed: int,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Break scores down by category, by defect type and by defect size.

    Good parts have no defect type and no size, so their rates stand with the categories. The size
    of a defective image is the sum of its defects' areas, as drawn; bins hold about the same number
    of images. The rest is as in Tables 1 and 2.

    Args:
        scores: Scores of the runs, those of the floor `whole_image` among them: its table says how
            much of each image is defective.
        mask_sizes: Pixels of each mask, columns `KEYS`, `image_id` and `mask_px`.
        datasets: Description of each data set.
        methods: Description of each method.
        pixel_pitch_mm: Side of a pixel of each data set, None where it is not known.
        seed: Of the bootstrap.
        n_resamples: Of the bootstrap.
        confidence: Of intervals and of each one-sided bound.

    Returns:
        The table, columns of `BREAKDOWN`.
    """
    scores = scores.merge(mask_sizes, on=[*KEYS, "image_id"], how="left")
    sized = scores.loc[scores["method"].isin(MASK_FLOORS) & (scores["label"] == "NOK")]
    truth_px = sized.drop_duplicates(["dataset", "image_id"]).set_index(["dataset", "image_id"])
    rows = []
    for key, images in rows_by_run(scores, datasets, methods):
        dataset = key[0]
        px = truth_px.loc[[dataset]]["truth_px"].droplevel(0) if dataset in truth_px.index else {}
        for by, value, rank, part in _parts(images, px, pixel_pitch_mm[dataset]):
            rng = stream_of(seed, *key, by, value)
            rows.append(
                dict(zip(KEYS, key, strict=True))
                | {"by": by, "value": value, "rank": rank}
                | _part_scores(part, rng, n_resamples=n_resamples, confidence=confidence)
                | {
                    "dataset_name": dataset_name(dataset, datasets),
                    "method_name": method_name(key[1], methods),
                }
            )
    return _table(rows, BREAKDOWN)


def _parts(
    images: pd.DataFrame, truth_px: Any, pitch_mm: float | None
) -> Iterator[tuple[str, str, int, pd.DataFrame]]:
    """Parts of a run's images: by what, its value, its rank, and the rows."""
    for rank, (value, part) in enumerate(images.groupby("category", sort=True)):
        yield "category", str(value), rank, part
    defective = images[images["label"] == "NOK"]
    for rank, (value, part) in enumerate(defective.groupby("defect_type", sort=True)):
        yield "defect_type", str(value), rank, part
    sizes = defective["image_id"].map(truth_px).astype(float)
    is_drawn = (sizes > 0).to_numpy()
    sizes, defective = sizes[is_drawn].to_numpy(), defective[is_drawn]
    if pitch_mm is not None:
        sizes = sizes * pitch_mm**2
    edges = size_edges(sizes)
    if not len(edges):
        return
    bins = bin_of(sizes, edges)
    unit = "px" if pitch_mm is None else "mm²"
    for rank, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        part = defective[bins == rank]
        if len(part):
            yield "defect_size", f"{low:,g}–{high:,g} {unit}", rank, part


def _part_scores(
    images: pd.DataFrame, rng: np.random.Generator, *, n_resamples: int, confidence: float
) -> dict[str, Any]:
    scored = images[images["iou"].notna() & (images["label"] == "NOK")]
    iou = mean_iou_interval(
        scored["iou"].to_numpy(float),
        categories_of(scored),
        groups=groups_of(scored),
        rng=rng,
        n_resamples=n_resamples,
        confidence=confidence,
    )
    counts = confusion(images["label"], images["label_predicted"])
    worst = worst_case(counts)
    row: dict[str, Any] = {
        "n_images": len(images),
        "n_nok": int(counts.n_nok),
        "n_answered": int(counts.n_answered),
        "n_scored": len(scored),
        "mean_iou": iou.estimate,
        "mean_iou_low": iou.low,
        "mean_iou_high": iou.high,
    }
    for name, rate, wrong, n, silent in (
        ("slip_rate", slip_rate, worst.fn, counts.n_nok, counts.unanswered_nok),
        ("overkill_rate", overkill_rate, worst.fp, counts.n_ok, counts.unanswered_ok),
    ):
        row[name] = np.nan if silent else rate(counts)
        bound = clopper_pearson(int(wrong), int(n), confidence=confidence, side="upper")[1]
        row[f"{name}_high"] = bound if n else np.nan
    good = images[(images["label"] == "OK") & images["predicted_px"].notna()]
    flagged = good[good["predicted_px"] > 0]
    row["ok_with_mask_rate"] = len(flagged) / len(good) if len(good) else np.nan
    share = flagged["predicted_px"].astype(float) / flagged["mask_px"].astype(float)
    row["ok_mask_area_share"] = float(share.mean()) if len(flagged) else np.nan
    return row


# ------------------------------------------------------------------------------------- comparison


def comparison_table(
    scores: pd.DataFrame,
    *,
    datasets: Notes,
    methods: Notes,
    seed: int,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare every two runs on the parts that both were scored on.

    Mean IoU and F2: paired permutation. Verdicts: exact McNemar on the share of right ones, or,
    where parts have groups, a paired permutation of groups. p values are corrected by Holm within
    a data set and quantity. The interval of the difference is a bootstrap over parts, stratified by
    label and category.

    Args:
        scores: Scores of the runs, floors left out.
        datasets: Description of each data set.
        methods: Description of each method.
        seed: Of bootstrap and permutations.
        n_resamples: Of the bootstrap, and the fewest permutations: there are more where many pairs
            are corrected for, since no p value can fall below their inverse.
        confidence: Of the interval.

    Returns:
        The table, columns of `COMPARISON`.
    """
    rows: list[dict[str, Any]] = []
    runs = [
        (key, images.set_index("image_id").sort_index())
        for key, images in rows_by_run(scores, datasets, methods)
        if methods.get(key[1], {}).get("kind", key[1]) not in FLOORS
    ]
    for dataset in dict.fromkeys(key[0] for key, _ in runs):
        own = [run for run in runs if run[0][0] == dataset]
        for quantity in ("iou", "f2", "verdict"):
            family = []
            compared = own
            if quantity == "iou":  # the masks of verdicts by area are those of the method itself
                compared = [
                    (key, images)
                    for key, images in own
                    if _verdict_by(key, methods) != "area" and not _has_no_mask(images)
                ]
            pairs = list(combinations(compared, 2))
            n_permutations = max(n_resamples, _PERMUTATIONS_PER_PAIR * len(pairs))
            for (key, first), (other, second) in pairs:
                rng = stream_of(seed, quantity, *key, *other[1:])
                family.append(
                    dict(zip(KEYS, key, strict=True))
                    | {"other_method": other[1], "other_prompt": other[2], "quantity": quantity}
                    | _difference(
                        first,
                        second,
                        quantity,
                        rng,
                        n_resamples=n_resamples,
                        n_permutations=n_permutations,
                        confidence=confidence,
                    )
                    | {
                        "dataset_name": dataset_name(dataset, datasets),
                        "method_name": method_name(key[1], methods),
                        "other_method_name": method_name(other[1], methods),
                    }
                )
            for row, corrected in zip(family, holm([r["p_value"] for r in family]), strict=True):
                rows.append(row | {"p_value_holm": corrected, "n_pairs": len(family)})
    return _table(rows, COMPARISON)


def _difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    quantity: str,
    rng: np.random.Generator,
    *,
    n_resamples: int,
    n_permutations: int,
    confidence: float,
) -> dict[str, Any]:
    column = "iou" if quantity == "iou" else "label_predicted"
    both = first[column].notna() & second[column].notna()
    if quantity == "iou":
        both &= first["label"] == "NOK"
    first, second = first[both], second[both]
    statistic = f2_of_sums if quantity == "f2" else mean_of_sums
    one, other = _summands(first, quantity), _summands(second, quantity)
    groups = groups_of(first)
    n_columns = one.shape[1]
    interval = stratified_bootstrap(
        np.hstack([one, other]),
        lambda sums: statistic(sums[..., :n_columns]) - statistic(sums[..., n_columns:]),
        strata=list(zip(first["label"], categories_of(first), strict=True)),
        groups=groups,
        rng=rng,
        n_resamples=n_resamples,
        confidence=confidence,
    )
    if quantity == "verdict" and groups is None:
        test = "exact McNemar"
        right, also_right = one[:, 0] > 0, other[:, 0] > 0
        p_value = exact_mcnemar(int((right & ~also_right).sum()), int((~right & also_right).sum()))
    else:
        test = "paired permutation" if groups is None else "paired permutation of groups"
        p_value = paired_permutation(
            one, other, statistic, rng=rng, groups=groups, n_resamples=n_permutations
        )
    value, other_value = float(statistic(one.sum(axis=0))), float(statistic(other.sum(axis=0)))
    return {
        "n": len(first),
        "value": value,
        "other_value": other_value,
        "difference": value - other_value,
        "difference_low": interval.low,
        "difference_high": interval.high,
        "p_value": p_value if len(first) else np.nan,
        "test": test,
    }


def _summands(images: pd.DataFrame, quantity: str) -> np.ndarray:
    """What a quantity is a function of sums of, float, one row an image."""
    ones = np.ones(len(images))
    if quantity == "iou":
        return np.column_stack([images["iou"].to_numpy(float), ones])
    is_nok = (images["label"] == "NOK").to_numpy()
    is_rejected = (images["label_predicted"] == "NOK").to_numpy()
    if quantity == "verdict":
        return np.column_stack([is_nok == is_rejected, ones]).astype(float)
    counts = [is_nok & is_rejected, ~is_nok & is_rejected, is_nok & ~is_rejected]
    return np.column_stack(counts).astype(float)


def _verdict_by(key: tuple[str, str, str], methods: Notes) -> str | None:
    return methods.get(key[1], {}).get("verdict_by")


def _has_no_mask(images: pd.DataFrame) -> bool:
    return bool(images["predicted_px"].isna().all())


# ----------------------------------------------------------------------------------- pixel scores


def pixel_table(pixels: pd.DataFrame, *, datasets: Notes, methods: Notes) -> pd.DataFrame:
    """Average pixel scores over the categories of a data set, as is usual for MVTec AD.

    Args:
        pixels: Pixel scores tables of the runs, as one.
        datasets: Description of each data set.
        methods: Description of each method.

    Returns:
        The table, columns of `PIXEL_TABLE`; a category without truth takes no part.
    """
    ranks = ({name: i for i, name in enumerate(names)} for names in (datasets, methods))
    of_dataset, of_method = ranks
    groups = sorted(
        pixels.groupby(KEYS, sort=False),
        key=lambda item: (of_dataset[item[0][0]], of_method[item[0][1]], item[0][2]),
    )
    rows = []
    for key, own in groups:
        scored = own[own["auroc"].notna()]
        about = methods[key[1]]
        notes = [about["note"]] if about.get("note") else []
        if scored.empty:
            notes.append("no image with ground truth")
        rows.append(
            dict(zip(KEYS, key, strict=True))
            | {"n_images": int(own["n_images"].sum()), "n_categories": len(scored)}
            | {"n_defective": int(own["n_defective"].sum())}
            | {name: scored[name].mean() for name in ("auroc", "aupro", "f1_max")}
            | {
                "uses_test_truth": True,
                "dataset_name": dataset_name(key[0], datasets),
                "method_name": method_name(key[1], methods),
                "note": "; ".join(notes),
            }
        )
    return _table(rows, PIXEL_TABLE)


# ----------------------------------------------------------------------------------------- common


def _table(rows: list[dict[str, Any]], schema: Any) -> pd.DataFrame:
    """Put rows into the columns of a schema, whole numbers that may be missing as such."""
    table = pd.DataFrame(rows, columns=schema.columns)
    for name, kind in schema.fields:
        if kind == "int64":
            table[name] = table[name].astype("Int64")
        elif kind == "double":
            table[name] = table[name].astype("float64")
    return table


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
