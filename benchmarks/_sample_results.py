"""A folder of made-up results in the form that a run leaves them, to draw pages from.

Plates with scratches and chips; a method with masks under two prompts, and one that answers with a
reason. Verdicts and masks are drawn by chance: some parts are missed, some wrongly rejected, some
get no answer. Tables 1 and 2 are the project's own; those of evidence are filled in their form.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.artifacts import (
    AUDIT,
    BREAKDOWN,
    COMPARISON,
    DETECTION_BINS,
    DETECTION_CURVE,
    DETECTION_PROBABILITY,
    MANIFEST,
    MASKS,
    PANELS,
    PIXEL_TABLE,
    READINESS,
    SCORES,
    TRANSFORMS,
    TRUTH,
    VERDICTS,
    encode_mask,
    image_file,
    write_table,
)
from realitycheck.images import write_png
from realitycheck.metrics.iou import score_mask
from realitycheck.report.tables import classification_table, segmentation_table

DATASET = "plates"
DATASETS = {DATASET: {"name": "Painted plates"}}
METHODS = {
    "finder": {"kind": "grounded_sam"},
    "finder_area": {"kind": "grounded_sam", "verdict_by": "area"},
    "asker": {"kind": "lvlm", "name": "A vision language model", "model": "example"},
}
MASK_RUNS = [("finder", "plain"), ("finder", "words")]
AREA_RUNS = [("finder_area", "plain")]
ASKED_RUN = ("asker", "basic")
DEFECT_TYPES = ("scratch", "chip_off")
#: A model's answer is foreign text; this one tries to break out of where it is shown.
HOSTILE = "</script><script>document.title='taken over'</script><img src=x onerror=alert(1)>"


def write_sample(
    folder: Path,
    *,
    n_ok: int,
    n_nok: int,
    image_size_px: int = 128,
    has_truth: bool = True,
    has_answers: bool = True,
    n_panels: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """Write a finished run's files below a folder.

    Args:
        folder: The folder of all results.
        n_ok: Good parts.
        n_nok: Defective parts.
        image_size_px: Height of the images; they are a quarter wider.
        has_truth: Whether somebody drew where the defects are.
        has_answers: Whether a vision language model was asked.
        n_panels: Parts of which there is a picture of what the first method saw.
        seed: Of everything drawn.

    Returns:
        Arguments of `write_page` for these results, `figures` and `about` among them.
    """
    rng = np.random.default_rng(seed)
    ids = [f"plate/OK/{number:04d}" for number in range(n_ok)]
    for number in range(n_nok):
        ids.append(f"plate/NOK/{DEFECT_TYPES[number % 2]}/{number:04d}")
    images, truths, masks = [], [], {run: [] for run in MASK_RUNS}
    scores: dict[tuple[str, str], list[dict]] = {}
    for image_id in ids:
        is_nok = "/NOK/" in image_id
        defect_type = image_id.split("/")[2] if is_nok else None
        image, truth = _draw_plate(rng, size_px=image_size_px, defect_type=defect_type)
        write_png(image, image_file(folder / "aligned" / DATASET, image_id))
        height, width = truth.shape
        is_known = has_truth or not is_nok
        if is_nok and has_truth:
            write_png(truth, image_file(folder / "truth" / DATASET, image_id))
        label = "NOK" if is_nok else "OK"
        images.append(
            dict.fromkeys(MANIFEST.columns)
            | {
                **{"dataset": DATASET, "image_id": image_id, "category": "plate", "label": label},
                **{"defect_type": defect_type, "split": "test", "image_path": f"{image_id}.png"},
                **{"width_px": width, "height_px": height, "bit_depth": 8, "n_channels": 3},
                **{"sha256": "0" * 64},
            }
        )
        truths.append(
            {
                **{"dataset": DATASET, "image_id": image_id, "has_truth": is_known},
                **{"truth_px": int(truth.sum()) if is_known else None, "undecided_px": 0},
                "pixels_sha256": "0" * 64,
            }
        )
        about = {
            **{"dataset": DATASET, "image_id": image_id, "category": "plate", "label": label},
            "defect_type": defect_type,
        }
        for method, prompt in MASK_RUNS:
            mask = _guess(rng, truth, hit_rate=0.85 if prompt == "plain" else 0.6)
            run = {"method": method, "prompt": prompt}
            status = "ok" if mask.any() else "no_box"
            masks[method, prompt].append(
                dict.fromkeys(MASKS.columns)
                | {"dataset": DATASET, "image_id": image_id, **run, "status": status}
                | {"mask_height_px": height, "mask_width_px": width, "mask_rle": encode_mask(mask)}
                | {"score": float(rng.random()) if mask.any() else None}
                | {"n_regions": int(mask.any())}
            )
            measured = dict.fromkeys(("iou", "intersection_px", "union_px", "truth_px"))
            measured["predicted_px"] = int(mask.sum())
            if is_known:
                found = score_mask(mask, truth.astype(np.uint8) * 255, ignore_border="ignore")
                measured = found._asdict()
                if not is_nok:
                    measured["iou"] = None
            row = dict.fromkeys(SCORES.columns) | about | run | measured
            row |= {"score": masks[method, prompt][-1]["score"], "status": status}
            said = "NOK" if mask.any() else "OK"
            scores.setdefault((method, prompt), []).append(row | {"label_predicted": said})
            if (f"{method}_area", prompt) in AREA_RUNS:
                said = "NOK" if mask.sum() > 0.01 * mask.size else "OK"
                other = {"method": f"{method}_area", "label_predicted": said}
                scores.setdefault((f"{method}_area", prompt), []).append(row | other)
    still = {f"m{r}{c}": float(r == c) for r in range(3) for c in range(3)}
    transforms = [
        dict.fromkeys(TRANSFORMS.columns)
        | still
        | {k: image[k] for k in ("dataset", "image_id", "category", "width_px", "height_px")}
        | {"status": "not_requested", "pixels_sha256": "0" * 64}
        for image in images
    ]
    facts = {"settings_digest": "5e77" * 16, "code": "c0de" * 4, "seed": seed}
    write_table(images, folder / "manifests" / f"{DATASET}.parquet", schema=MANIFEST, facts=facts)
    path = folder / "aligned" / DATASET / "transforms.parquet"
    write_table(transforms, path, schema=TRANSFORMS, facts=facts)
    write_table(truths, folder / "truth" / DATASET / "truth.parquet", schema=TRUTH, facts=facts)
    for (method, prompt), rows in masks.items():
        path = folder / "predictions" / DATASET / method / prompt / "masks.parquet"
        device = {"device": "cpu", "precision": "float32"}
        write_table(rows, path, schema=MASKS, facts=facts | device)
    if has_answers:
        answers = _answers(rng, images)
        path = folder / "verdicts" / DATASET / "/".join(ASKED_RUN) / "labels.parquet"
        write_table(answers, path, schema=VERDICTS, facts=facts)
        scores[ASKED_RUN] = [_score_of(answer, images) for answer in answers]
    runs = []
    for (method, prompt), rows in scores.items():
        path = folder / "scores" / DATASET / method / prompt / "images.parquet"
        write_table(rows, path, schema=SCORES, facts=facts)
        masked = None if method == "asker" else "finder"
        has_panels = (method, prompt) == MASK_RUNS[0] and n_panels > 0
        runs.append(
            {
                **{"dataset": DATASET, "method": method, "prompt": prompt, "masks_of": masked},
                "has_panels": has_panels,
            }
        )
    if n_panels:
        _write_panels(folder, [*ids[:n_ok][:1], *ids[n_ok:]][:n_panels])
    _write_tables(folder, pd.DataFrame(sum(scores.values(), [])), has_truth=has_truth)
    record = {"digest": "d16e" * 8, "files": {"weights": {"path": "resources/sam.pth"}}}
    record |= {"licences": ["Apache-2.0"], "is_untrained": False}
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "weights" / "sam.json").write_text(json.dumps(record), encoding="utf-8")
    return {
        "runs": runs,
        "datasets": DATASETS,
        "methods": METHODS,
        "figures": [],
        "about": {
            "title": DATASETS[DATASET]["name"],
            "settings_digest": "5e77" * 4,
            "results_dir": "results",
            "intervals": "95 % confidence, 200 bootstrap resamples, seed 0",
            "networks": {"sam": "vit_b"},
            "formats": {DATASET: "folder"},
            "asked": [[DATASET, "plain", "text-prompted segmenters", "defect"]],
        },
        "benchmarks_folder": folder / "benchmarks",
    }


def _draw_plate(
    rng: np.random.Generator, *, size_px: int, defect_type: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a plate of coarse paint and the truth of its defect."""
    height, width = size_px, size_px * 5 // 4
    coarse = rng.normal(0, 14, (height // 8 + 1, width // 8 + 1)).astype(np.float32)
    paint = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    paint = paint[..., None] + rng.normal(0, 5, (height, width, 1)) + np.array([96.0, 120.0, 138.0])
    image = np.clip(paint, 0, 255).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    if defect_type:
        x, y = rng.integers(width // 5, width * 4 // 5), rng.integers(height // 5, height * 4 // 5)
        length = int(np.exp(rng.uniform(np.log(size_px / 24), np.log(size_px / 3))))
        if defect_type == "scratch":
            dx, dy = rng.integers(-length, length + 1, 2)
            cv2.line(mask, (int(x), int(y)), (int(x + dx), int(y + dy)), 1, max(1, size_px // 64))
            mask[y, x] = 1
        else:
            cv2.circle(mask, (int(x), int(y)), max(1, length // 3), 1, -1)
        image[mask > 0] = (225, 222, 210) if defect_type == "scratch" else (40, 36, 34)
    return image, mask.astype(bool)


def _guess(rng: np.random.Generator, truth: np.ndarray, *, hit_rate: float) -> np.ndarray:
    """Mark the defect with a margin, or miss it; now and then mark something on a good part."""
    size = truth.shape[0]
    if truth.any():
        # Small defects are missed more often.
        chance = hit_rate * min(1.0, truth.sum() / (0.0012 * truth.size))
        if rng.random() > chance:
            return np.zeros_like(truth)
        side = 2 * int(rng.integers(0, max(1, size // 48) + 1)) + 1
        return cv2.dilate(truth.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)
    mask = np.zeros(truth.shape, np.uint8)
    if rng.random() < 0.12:
        centre = (int(rng.integers(size)), int(rng.integers(size)))
        cv2.circle(mask, centre, int(rng.integers(2, max(3, size // 10))), 1, -1)
    return mask.astype(bool)


def _answers(rng: np.random.Generator, images: list[dict]) -> list[dict]:
    rows = []
    for number, image in enumerate(images):
        method, prompt = ASKED_RUN
        row = dict.fromkeys(VERDICTS.columns) | {"sample": 0, "method": method, "prompt": prompt}
        row |= {"dataset": DATASET, "image_id": image["image_id"], "status": "answered"}
        is_right = rng.random() < 0.9
        label = image["label"] if is_right else {"OK": "NOK", "NOK": "OK"}[image["label"]]
        row |= {"label_predicted": label, "score": 0.9 if label == "NOK" else 0.1}
        row["reasoning"] = (
            "A bright line runs over the paint." if label == "NOK" else "Even paint, no marks."
        )
        if number == 0:
            row["reasoning"] += HOSTILE
        if number % 17 == 3:
            row |= {"label_predicted": None, "score": None, "reasoning": None, "status": "refused"}
        rows.append(row | {"cost_usd": 0.004, "latency_s": 2.0})
    return rows


def _score_of(answer: Mapping[str, Any], images: list[dict]) -> dict[str, Any]:
    image = next(one for one in images if one["image_id"] == answer["image_id"])
    keys = ("dataset", "image_id", "method", "prompt", "label_predicted", "score", "status")
    about = {key: image[key] for key in ("category", "label", "defect_type")}
    return dict.fromkeys(SCORES.columns) | {key: answer[key] for key in keys} | about


def _write_panels(folder: Path, image_ids: list[str]) -> None:
    method, prompt = MASK_RUNS[0]
    place = Path("predictions") / DATASET / method / prompt
    rows = []
    for image_id in image_ids:
        path = image_file(place / "panels", image_id)
        panel = np.full((300, 800, 3), 255, np.uint8)
        cv2.putText(panel, "boxes, points, mask", (30, 160), 0, 1.5, (20, 20, 20), 3)
        write_png(panel, folder / path)
        keys = {"dataset": DATASET, "image_id": image_id, "method": method, "prompt": prompt}
        rows.append(keys | {"path": path.as_posix()})
    write_table(rows, folder / place / "panels.parquet", schema=PANELS, facts={})


def _write_tables(folder: Path, scores: pd.DataFrame, *, has_truth: bool) -> None:
    described = {"datasets": DATASETS, "methods": METHODS, "seed": 0, "n_resamples": 200}
    segmentation = segmentation_table(scores, **described)
    classification = classification_table(scores, **described)
    tables = folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    segmentation.to_parquet(tables / "segmentation.parquet")
    classification.to_parquet(tables / "classification.parquet")
    tried = classification[~classification["is_floor"]]
    for schema, stem, rows in (
        (READINESS, "readiness", [_readiness_row(row) for _, row in tried.iterrows()]),
        (DETECTION_PROBABILITY, "detection_probability", _detection_rows(tried, has_truth)),
        (DETECTION_CURVE, "detection_curve", _curve_rows(has_truth)),
        (DETECTION_BINS, "detection_bins", _bin_rows(has_truth)),
        (BREAKDOWN, "breakdown", _breakdown_rows(tried)),
        (COMPARISON, "comparison", _comparison_rows(tried)),
        (PIXEL_TABLE, "pixel_scores", []),
        (AUDIT, "audit", _audit_rows()),
    ):
        complete = [dict.fromkeys(schema.columns) | row for row in rows]
        write_table(complete, tables / f"{stem}.parquet", schema=schema, facts={})


def _keys(row: Any) -> dict[str, Any]:
    names = ("dataset", "method", "prompt", "dataset_name", "method_name")
    return {name: row[name] for name in names}


def _readiness_row(row: pd.Series) -> dict[str, Any]:
    names = set(READINESS.columns) & set(row.index)
    is_sure = row["slip_rate_low"] > 0.02
    decision = "not_ready" if is_sure else "cannot_tell"
    reason = (
        f"It lets defective parts pass: {row['fn']:.0f} of {row['n_nok']}."
        if is_sure
        else f"{row['n_nok']} defective parts are too few to tell."
    )
    limits = {"max_slip_rate": 0.02, "max_overkill_rate": 0.05}
    more = {} if is_sure else {"more_nok_needed": 149, "more_ok_needed": 0}
    row = {n: row[n] for n in names} | {"confidence": 0.95}
    return {**row, **limits, **more, "decision": decision, "reason": reason}


def _detection_rows(tried: pd.DataFrame, has_truth: bool) -> list[dict]:
    rows = []
    for _, row in tried[tried["method"] == "finder"].iterrows():
        known = {"unit": "px", "status": "no_defects", "reason": "nobody drew a defect"}
        known |= {"n_defects": 0, "n_hits": 0, "n_misses": 0}
        if has_truth and row["prompt"] == "plain":
            known |= {"n_defects": 40, "n_hits": 28, "n_misses": 12, "status": "estimated"}
            known |= {"reason": "half of the defects of 30 px are found, 90 % of those of 120 px"}
            known |= {"a50": 30.0, "a90": 120.0, "a90_95": 190.0, "slope": 1.6, "intercept": -5.4}
        elif has_truth:
            known |= {"n_defects": 40, "n_hits": 33, "n_misses": 7, "status": "too_few_misses"}
            known |= {"reason": "cannot be estimated: 7 misses, and 10 are needed"}
        rows.append(_keys(row) | known)
    return rows


def _curve_rows(has_truth: bool) -> list[dict]:
    sizes = np.geomspace(5, 900, 40) if has_truth else []
    keys = {"dataset": DATASET, "method": "finder", "prompt": "plain"}
    rows = []
    for size in sizes:
        low, middle, high = (
            1 / (1 + np.exp(-1.6 * np.log(size / at))) for at in (47.0, 30.0, 19.0)
        )
        limits = {"probability_low": low, "probability_high": high}
        rows.append(keys | {"size": size, "probability": middle} | limits)
    return rows


def _bin_rows(has_truth: bool) -> list[dict]:
    if not has_truth:
        return []
    rows = []
    for prompt in ("plain", "words"):
        keys = {"dataset": DATASET, "method": "finder", "prompt": prompt}
        for low, high, hits in ((5, 20, 2), (20, 80, 6), (80, 300, 9), (300, 900, 10)):
            limits = {
                "recall_low": max(0, hits / 10 - 0.25),
                "recall_high": min(1, hits / 10 + 0.2),
            }
            counts = {"n_defects": 10, "n_hits": hits, "recall": hits / 10}
            rows.append(keys | {"size_low": low, "size_high": high} | counts | limits)
    return rows


def _breakdown_rows(tried: pd.DataFrame) -> list[dict]:
    rows = []
    for _, row in tried.iterrows():
        for rank, value in enumerate(DEFECT_TYPES):
            n = row["n_nok"] // 2
            counts = {"n_images": n, "n_nok": n, "n_answered": n, "n_scored": n, "rank": rank}
            rates = {"slip_rate": 0.2, "slip_rate_high": 0.5}
            if n:
                rows.append(_keys(row) | {"by": "defect_type", "value": value} | counts | rates)
    return rows


def _comparison_rows(tried: pd.DataFrame) -> list[dict]:
    rows = []
    tried = tried.reset_index(drop=True)
    for a in range(len(tried)):
        for b in range(a + 1, len(tried)):
            one, other = tried.loc[a], tried.loc[b]
            about = {"other_method": other["method"], "other_prompt": other["prompt"]}
            about |= {"other_method_name": other["method_name"], "quantity": "verdict"}
            numbers = {"n": one["n_images"], "value": 0.8, "other_value": 0.7, "difference": 0.1}
            numbers |= {"difference_low": 0.02, "difference_high": 0.18, "n_pairs": 6}
            tests = {"p_value": 0.004 * (a + b), "p_value_holm": min(1.0, 0.024 * (a + b))}
            rows.append(_keys(one) | about | numbers | tests | {"test": "exact McNemar"})
    return rows


def _audit_rows() -> list[dict]:
    about = {"dataset": DATASET, "dataset_name": DATASETS[DATASET]["name"]}
    found = {
        "method": "finder",
        "prompt": "words",
        "method_name": "GroundingDINO + SAM",
        "check": "prompt_names_defects",
        "finding": "the prompt says 'scratch', which is a type of defect of the scored images",
        "n_affected": 6,
        "example": "plate/NOK/scratch/0000",
        "consequence": "The rates of this method hold for known types of defect only.",
    }
    clean = {"method": "*", "prompt": "*", "check": "size_by_label", "n_affected": 0}
    return [about | found, about | clean | {"finding": "nothing"}]
