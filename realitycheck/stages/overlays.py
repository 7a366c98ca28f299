"""Stage 7: truth and masks laid over images that a rule chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.files import image_file
from realitycheck.core.masks import decode_mask, mask_like
from realitycheck.core.pictures import read_aligned, read_warped
from realitycheck.core.schemas import MASKS
from realitycheck.core.tables import read_table
from realitycheck.report.figures.iou_distribution import iou_notes
from realitycheck.report.figures.overlays import choose_images, plot_overlays
from realitycheck.report.tables.base import BASELINE_NAMES
from realitycheck.stages.report import untrained_banner, untrained_notes


def overlay_figure(
    dataset: str,
    scores: pd.DataFrame,
    *,
    mask_tables: Mapping[tuple[str, str], str | Path],
    images_folder: str | Path,
    truth_folder: str | Path,
    methods: Mapping[str, Mapping[str, Any]],
    title: str,
    n_images: int,
    seed: int,
) -> matplotlib.figure.Figure:
    """Draw truth and every method's mask of a few images, chosen by rule.

    Args:
        dataset: The data set's id.
        scores: Scores of its runs.
        mask_tables: Masks table of each (method, prompt).
        images_folder: Folder of the aligned images.
        truth_folder: Folder of the warped truth masks.
        methods: What is said of each method.
        title: Name of the data set for people.
        n_images: Rows of the figure.
        seed: Of the random draw among the rows.
    """
    chosen, rule = shown_images(dataset, scores, n_images=n_images, seed=seed)
    wanted = list(chosen["image_id"])
    masks = {run: _some_masks(path, wanted) for run, path in mask_tables.items()}
    names = {
        f"{method}/{prompt}": _column_title(method, prompt, methods.get(method, {}))
        for method, prompt in mask_tables
    }

    def load(image_id: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
        image = read_aligned(images_folder, image_id)
        is_drawn = image_file(truth_folder, image_id).is_file()
        truth = read_warped(truth_folder, image_id) if is_drawn else None
        # A method may mark on a square of its own (SAA+ with `eval_resolution` 400).
        return image, truth, {f"{m}/{p}": mask_like(image, masks[m, p][image_id]) for m, p in masks}

    rows = scores[scores["image_id"].isin(wanted)]
    notes = iou_notes(rows.assign(method=rows["method"] + "/" + rows["prompt"]))
    used = {method: methods.get(method, {}) for method, _ in mask_tables}
    return plot_overlays(
        chosen,
        load,
        methods=names,
        cell_notes=notes,
        title=title,
        banner=untrained_banner(used),
        footnote=f"{rule} Yellow: defect (truth), predicted (methods). "
        + " ".join(untrained_notes(used)),
    )


def shown_images(
    dataset: str, scores: pd.DataFrame, *, n_images: int, seed: int
) -> tuple[pd.DataFrame, str]:
    """Choose the images of a data set that are shown, by rule.

    Args:
        dataset: The data set's id.
        scores: Scores of its runs.
        n_images: How many, at most.
        seed: Of the random draw among them.

    Returns:
        The images in the form of `choose_images`, and the rule in words.
    """
    rng = np.random.default_rng([seed, len(dataset)])
    chosen = choose_images(scores, n_random=max(0, n_images - 3), rng=rng).head(n_images)
    if not chosen.empty:
        return chosen, (
            "Defective images chosen by rule: best, median and worst mean IoU over the methods "
            f"shown, the others drawn with seed {seed}."
        )
    rule = f"Defective images drawn with seed {seed}; nobody drew where their defects are."
    defective = scores[scores["label"] == "NOK"]
    if defective.empty:
        rule = f"Good images drawn with seed {seed}; there are no defective ones."
    shown = scores if defective.empty else defective
    return _drawn_images(shown, n_images=n_images, rng=rng), rule


def _drawn_images(scores: pd.DataFrame, *, n_images: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw among the images of a data set without truth, in the form of `choose_images`.

    They are drawn in the order of their ids and shown in it.
    """
    images = scores.drop_duplicates("image_id").sort_values("image_id")
    places = rng.choice(len(images), size=min(n_images, len(images)), replace=False)
    chosen = images.iloc[sorted(places)].assign(reason="random", mean_iou=np.nan)
    columns = ["image_id", "reason", "mean_iou", "category", "defect_type"]
    return chosen[columns].reset_index(drop=True)


def _column_title(method: str, prompt: str, about: Mapping[str, Any]) -> str:
    name = about.get("name") or about.get("label") or BASELINE_NAMES.get(method, method)
    return name if prompt == NO_PROMPT else f"{name}\n({prompt})"


def _some_masks(path: str | Path, image_ids: Sequence[str]) -> dict[str, np.ndarray]:
    table = read_table(path, schema=MASKS)
    rows = table[table["image_id"].isin(image_ids)]
    return {
        row.image_id: decode_mask(
            row.mask_rle, height_px=int(row.mask_height_px), width_px=int(row.mask_width_px)
        )
        for row in rows.itertuples()
    }
