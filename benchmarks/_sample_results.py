"""A folder of made-up results in the form that a run leaves them, to draw pages from.

Plates with scratches and chips; a method with masks under two prompts, and one that answers with a
reason. Verdicts and masks are drawn by chance: some parts are missed, some wrongly rejected, some
get no answer. Scores and tables are computed from them as in a run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.core.constants import AREA_SUFFIX
from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.core.schemas import (
    DEFECTS,
    MANIFEST,
    MASKS,
    PANELS,
    SCORES,
    TRANSFORMS,
    TRUTH,
    VERDICTS,
)
from realitycheck.core.tables import write_table
from realitycheck.report.figures.registry import wanted_figures
from realitycheck.report.results import KEYS, Results
from realitycheck.report.tables.audit import AUDIT, audit_text
from realitycheck.report.tables.registry import wanted_tables
from realitycheck.report.text import write_report_table
from realitycheck.stages.evaluate import score_areas, score_defects, score_labels, score_masks
from realitycheck.stages.plot import draw_figures
from realitycheck.stages.tabulate import write_tables

DATASET = "plates"
DATASETS = {DATASET: {"name": "Painted plates"}}
METHODS = {
    "finder": {"kind": "grounded_sam", "label": "GroundingDINO + SAM"},
    f"finder{AREA_SUFFIX}": {
        "kind": "grounded_sam",
        "label": "GroundingDINO + SAM",
        "verdict_by": "area",
    },
    "asker": {"kind": "lvlm", "name": "A vision language model", "model": "example"},
    "inspectors": {"kind": "imported", "name": "Inspectors", "has_raters": True},
}
MASK_RUNS = [("finder", "plain"), ("finder", "words")]
AREA_RUNS = [(f"finder{AREA_SUFFIX}", "plain")]
FLOOR_RUN = ("whole_image", "none")
ASKED_RUN = ("asker", "basic")
#: Inspectors who judge every part twice, and how often they are right.
RATERS = {("inspectors", "anna"): 0.97, ("inspectors", "ben"): 0.9, ("inspectors", "carl"): 0.8}
LIMITS = {
    **{"max_slip_rate": 0.02, "max_overkill_rate": 0.05},
    **{"max_seconds_per_part": None, "max_cost_per_part_usd": None},
}
LINE = {
    "defect_rate": [0.01],
    "parts_per_day": 5000,
    "cost_usd": {"escape": 100, "false_reject": 5, "check": 0.5, "inspection": 0.01},
}
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
    has_masks: bool = True,
    has_answers: bool = True,
    has_raters: bool = False,
    n_panels: int = 2,
    has_figures: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Write a finished run's files below a folder.

    Args:
        folder: The folder of all results.
        n_ok: Good parts.
        n_nok: Defective parts.
        image_size_px: Height of the images; they are a quarter wider.
        has_truth: Whether somebody drew where the defects are.
        has_masks: Whether a method with masks took part.
        has_answers: Whether a vision language model was asked.
        has_raters: Whether inspectors judged the parts.
        n_panels: Parts of which there is a picture of what the first method saw.
        has_figures: Whether the figures are drawn, too.
        seed: Of everything drawn.

    Returns:
        Arguments of `write_page` for these results.
    """
    rng = np.random.default_rng(seed)
    ids = [f"plate/OK/{number:04d}" for number in range(n_ok)]
    for number in range(n_nok):
        ids.append(f"plate/NOK/{DEFECT_TYPES[number % 2]}/{number:04d}")
    images, transforms, truths = [], [], []
    masks: dict[tuple[str, str], list[dict]] = {run: [] for run in (*MASK_RUNS, FLOOR_RUN)}
    for image_id in ids:
        defect_type = image_id.split("/")[2] if "/NOK/" in image_id else None
        is_known = has_truth or defect_type is None
        image, truth = _draw_plate(rng, size_px=image_size_px, defect_type=defect_type)
        write_png(image, image_file(folder / "aligned" / DATASET, image_id))
        if defect_type and has_truth:
            write_png(truth, image_file(folder / "truth" / DATASET, image_id))
        height, width = truth.shape
        keys = {"dataset": DATASET, "image_id": image_id}
        sizes = {"width_px": width, "height_px": height}
        about = {"category": "plate", "label": "NOK" if defect_type else "OK"}
        drawn = {"mask_path": "mask.png" if defect_type and has_truth else None}
        images.append(
            dict.fromkeys(MANIFEST.columns)
            | (keys | sizes | about | drawn)
            | {"defect_type": defect_type, "split": "test", "image_path": f"{image_id}.png"}
            | {"bit_depth": 8, "n_channels": 3, "sha256": "0" * 64}
        )
        still = {f"m{r}{c}": float(r == c) for r in range(3) for c in range(3)}
        row = keys | sizes | still | {"category": "plate", "status": "not_requested"}
        transforms.append(dict.fromkeys(TRANSFORMS.columns) | row | {"pixels_sha256": "0" * 64})
        pixels = {"truth_px": int(truth.sum()) if is_known else None, "undecided_px": 0}
        pixels |= {"lost_px": 0, "status": "complete" if is_known else "not_drawn"}
        pixels |= {"has_truth": is_known, "pixels_sha256": "0" * 64}
        truths.append(dict.fromkeys(TRUTH.columns) | keys | pixels)
        for run, rows in masks.items():
            if run == FLOOR_RUN:
                rows.append(_mask_row(keys, run, np.ones_like(truth), score=None))
                continue
            mask = _guess(rng, truth, hit_rate=0.85 if run[1] == "plain" else 0.6)
            rows.append(_mask_row(keys, run, mask, score=float(rng.random())))
    facts = {"settings_digest": "5e77" * 16, "code": "c0de" * 4, "seed": seed}
    for rows, path, schema in (
        (images, f"manifests/{DATASET}", MANIFEST),
        (transforms, f"aligned/{DATASET}/transforms", TRANSFORMS),
        (truths, f"truth/{DATASET}/truth", TRUTH),
    ):
        write_table(rows, folder / f"{path}.parquet", schema=schema, facts=facts)
    scores = _scores_of_masks(folder, masks, images, truths, facts) if has_masks else []
    said = {ASKED_RUN: _answers(rng, images)} if has_answers else {}
    if has_raters:
        said |= {run: _judged(rng, images, run, share) for run, share in RATERS.items()}
    for run, answers in said.items():
        path = folder / "verdicts" / DATASET / "/".join(run) / "labels.parquet"
        write_table(answers, path, schema=VERDICTS, facts=facts)
        scores += score_labels(pd.DataFrame(images), pd.DataFrame(answers))
    scores = pd.DataFrame(scores)
    for (method, prompt), rows in scores.groupby(["method", "prompt"]):
        path = folder / "scores" / DATASET / method / prompt / "images.parquet"
        write_table(rows, path, schema=SCORES, facts=facts)
    shown = MASK_RUNS[0] if has_masks and n_panels else None
    if shown:
        _write_panels(folder, [*ids[:n_ok][:1], *ids[n_ok:]][:n_panels])
    runs = [tuple(row) for row in scores[KEYS].drop_duplicates().itertuples(index=False)]
    present = ("agreement",) if has_raters else ()
    names = _write_tables(folder, runs, present)
    figures = wanted_figures(present, [DATASET] if has_masks else []) if has_figures else {}
    draw_figures(_results(folder, runs), figures)
    record = {"digest": "d16e" * 8, "files": {"weights": {"path": "resources/sam.pth"}}}
    record |= {"licences": ["Apache-2.0"]}
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "weights" / "sam.json").write_text(json.dumps(record), encoding="utf-8")
    shown_runs = [*MASK_RUNS, *AREA_RUNS] if has_masks else []
    shown_runs += list(said)
    return {
        "runs": [
            {
                **{"dataset": DATASET, "method": method, "prompt": prompt},
                "masks_of": None if (method, prompt) in said else MASK_RUNS[0][0],
                "has_panels": (method, prompt) == shown,
            }
            for method, prompt in shown_runs
        ],
        "datasets": DATASETS,
        "methods": METHODS,
        "tables": names,
        "figures": figures,
        "about": {
            "title": DATASETS[DATASET]["name"],
            "settings_digest": "5e77" * 4,
            "results_dir": "results",
            "intervals": "95 % confidence, 200 bootstrap resamples, seed 0",
            "networks": {"sam": "vit_b"} if has_masks else {},
            "licences": {DATASET: "drawn here"},
            "asked": [[DATASET, "plain", "text-prompted segmenters", "defect"]],
        },
        "benchmarks_folder": folder / "benchmarks",
    }


def _scores_of_masks(
    folder: Path,
    masks: Mapping[tuple[str, str], list[dict]],
    images: list[dict],
    truths: list[dict],
    facts: Mapping[str, Any],
) -> list[dict]:
    """Write the masks of each run and its defects; give the scores, those by area behind."""
    networks = {"device": "cpu", "precision": "float32", "weights": {"sam": "d16e" * 8}}
    scores = []
    tables = [pd.DataFrame(rows) for rows in (images, truths)]
    places = {"truth_folder": folder / "truth" / DATASET, "ignore_border": "ignore"}
    for (method, prompt), rows in masks.items():
        place = f"{DATASET}/{method}/{prompt}"
        path = folder / "predictions" / place / "masks.parquet"
        write_table(rows, path, schema=MASKS, facts=facts | networks)
        found = list(score_masks(*tables, pd.DataFrame(rows), **places))
        scores += found
        if (method, prompt) != FLOOR_RUN:
            defects = score_defects(*tables, pd.DataFrame(rows), **places, min_covered_share=0.1)
            path = folder / "scores" / place / "defects.parquet"
            write_table(list(defects), path, schema=DEFECTS, facts=facts)
        if (f"{method}{AREA_SUFFIX}", prompt) in AREA_RUNS:
            name = f"{method}{AREA_SUFFIX}"
            scores += score_areas(pd.DataFrame(found), name, max_overkill_rate=0.05)
    return scores


def _mask_row(
    keys: Mapping[str, str], run: tuple[str, str], mask: np.ndarray, *, score: float | None
) -> dict[str, Any]:
    height, width = mask.shape
    return dict.fromkeys(MASKS.columns) | {
        **keys,
        **{"method": run[0], "prompt": run[1], "n_regions": int(mask.any())},
        **{"mask_height_px": height, "mask_width_px": width, "mask_rle": encode_mask(mask)},
        "score": score if mask.any() else None,
        "status": "ok" if mask.any() else "no_box",
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


def _judged(
    rng: np.random.Generator, images: list[dict], run: tuple[str, str], share_right: float
) -> list[dict]:
    """Two verdicts of a person on each part; of few parts only one."""
    rows = []
    for number, image in enumerate(images):
        for repeat in range(1, 3):
            label = image["label"]
            if rng.random() > share_right:
                label = {"OK": "NOK", "NOK": "OK"}[label]
            row = dict.fromkeys(VERDICTS.columns) | dict(
                zip(("method", "prompt"), run, strict=True)
            )
            row |= {"dataset": DATASET, "image_id": image["image_id"], "sample": repeat}
            is_there = repeat == 1 or number % 29 != 4
            row |= {"label_predicted": label if is_there else None}
            rows.append(row | {"status": "answered" if is_there else "not_asked"})
    return rows


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


def _results(folder: Path, runs: list[tuple[str, str, str]]) -> Results:
    """What the report reads of a run."""
    masked = [(DATASET, *run) for run in (*MASK_RUNS, FLOOR_RUN) if (DATASET, *run) in runs]
    tried = [run for run in runs if run[1] != FLOOR_RUN[0]]
    files = {
        "scores": sorted(folder.glob("scores/*/*/*/images.parquet")),
        "defects": sorted(folder.glob("scores/*/*/*/defects.parquet")),
        "masks": sorted(folder.glob("predictions/*/*/*/masks.parquet")),
        "verdicts": sorted(folder.glob("verdicts/*/*/*/labels.parquet")),
        "pixels": [],
    }
    facts = {
        "datasets": DATASETS,
        "methods": METHODS,
        "runs": {
            "masks": masked,
            "shown_masks": [run for run in masked if run[1] != FLOOR_RUN[0]],
            "labels": runs,
            "area": [(DATASET, *run) for run in AREA_RUNS if (DATASET, *run) in runs],
            "broken_down": runs,
            "compared": tried,
            "repeated": [(DATASET, *run) for run in RATERS if (DATASET, *run) in runs],
        },
        "report": {"n_overlays": 3, "seed": 0},
        "evaluation": {"seed": 0, "n_resamples": 200, "confidence": 0.95},
        "detection": {"min_covered_share": 0.1},
        "requirements": LIMITS,
        "lines": {DATASET: LINE},
        "pixel_pitch_mm": {DATASET: None},
    }
    times = pd.DataFrame(columns=[*KEYS, "seconds_per_part", "seconds_note"])
    return Results(folder, files, facts, {"part_times": lambda: times, "tried": dict})


def _write_tables(
    folder: Path, runs: list[tuple[str, str, str]], present: tuple[str, ...]
) -> list[str]:
    """Write the tables of a run that has what is present; give their names."""
    names = wanted_tables(present)
    write_tables(_results(folder, runs), [name for name in names if name != "audit"], code="c0de")
    audit = pd.DataFrame(_audit_rows(), columns=AUDIT.columns)
    text = {"audit": [audit_text(audit)]}
    write_report_table({"audit": (audit, AUDIT)}, text, folder / "tables", facts={})
    return names


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
    clean |= {"finding": "nothing", "example": None, "consequence": None, "method_name": None}
    return [about | found, about | clean]
