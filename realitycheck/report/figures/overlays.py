"""Figures in the study's form: truth and every method's mask in yellow, one row per image."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.core.files import image_file
from realitycheck.core.masks import connected_regions, decode_mask, mask_like
from realitycheck.core.pictures import read_aligned, read_warped
from realitycheck.core.schemas import MASKS, NOT_JUDGED
from realitycheck.core.tables import read_table
from realitycheck.core.views import DARK, check_drawable, draw_overlay
from realitycheck.report.figures.style import (
    head_inches,
    new_figure,
    place_axes,
    styled,
    write_head,
    write_text,
)
from realitycheck.report.results import Results
from realitycheck.report.tables.base import (
    dataset_name,
    method_name,
    weights_notes,
)
from realitycheck.report.text import named_run
from realitycheck.report.words import STATUS_WORDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "truth and prediction"
CAPTION = (
    "In yellow the truth, then what each method marks. The images are chosen by the rule that "
    "stands below them, never by hand."
)
ALT = "Rows of images with yellow masks; the gallery shows every image with its numbers."

_CELL_INCHES = 1.55
_LABEL_INCHES = 1.15
# A truth region below this share of the image is hard to see in a cell of some 4 cm.
_SMALL_SHARE = 0.01
_INSET_SHARE = 0.42  # side of the enlarged view, as a share of the cell's shorter side
_LEAST_ZOOM = 2.0

LoadImage = Callable[[str], tuple[np.ndarray, np.ndarray | None, Mapping[str, np.ndarray]]]


def plot(results: Results, dataset: str, *, title: str) -> Figure:
    """Draw truth and every method's mask of a few images of a data set, chosen by rule.

    Only methods of the data set are named, in the title's place its name.
    """
    runs = [run for run in results.runs("shown_masks") if run[0] == dataset]
    scores = results.scores(runs)
    settings = results.facts["report"]
    chosen, rule = shown_images(
        dataset, scores, n_images=settings["n_overlays"], seed=settings["seed"]
    )
    wanted = list(chosen["image_id"])
    keys = [f"{method}/{prompt}" for _, method, prompt in runs]
    paths = results.files_of("masks", runs)
    masks = {key: _some_masks(path, wanted) for key, path in zip(keys, paths, strict=True)}
    used = {method: results.methods[method] for _, method, _ in runs}
    names = [
        named_run({"method_name": method_name(method, used), "prompt": prompt}).replace(" (", "\n(")
        for _, method, prompt in runs
    ]
    truth_folder, images = (results.folder / name / dataset for name in ("truth", "aligned"))

    def load(image_id: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
        image = read_aligned(images, image_id)
        is_drawn = image_file(truth_folder, image_id).is_file()
        truth = read_warped(truth_folder, image_id) if is_drawn else None
        # A method may mark on a square of its own (SAA+ with `eval_resolution` 400).
        return image, truth, {key: mask_like(image, masks[key][image_id]) for key in keys}

    rows = scores[scores["image_id"].isin(wanted)]
    return plot_overlays(
        chosen,
        load,
        methods=dict(zip(keys, names, strict=True)),
        cell_notes=iou_notes(rows.assign(method=rows["method"] + "/" + rows["prompt"])),
        title=dataset_name(dataset, results.datasets),
        footnote=" ".join(
            [rule, "Yellow: defect (truth), predicted (methods).", *weights_notes(used)]
        ),
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


def _some_masks(path: str | Path, image_ids: Sequence[str]) -> dict[str, np.ndarray]:
    table = read_table(path, schema=MASKS)
    rows = table[table["image_id"].isin(image_ids)]
    return {
        row.image_id: decode_mask(
            row.mask_rle, height_px=int(row.mask_height_px), width_px=int(row.mask_width_px)
        )
        for row in rows.itertuples()
    }


def choose_images(
    scores: pd.DataFrame,
    n_random: int = 2,
    *,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Choose the images of an overlay figure by rule, never by hand.

    Of the defective images with ground truth: the best, the median and the worst by the mean of
    their IoU over all rows (methods and prompts), then a random draw among the others. Ties are
    broken by `image_id`. The median of an even number is the better of the middle two.

    Args:
        scores: One row per image and method of one data set, columns image_id, category,
            defect_type, label, iou, truth_px; rows without an IoU count as 0, since there the
            method found nothing that could be scored.
        n_random: Number of images drawn at random.
        rng: Source of chance. The draw does not depend on the order of the rows.

    Returns:
        One row per image, best first: image_id, reason ("best", "median", "worst", "random"),
        mean_iou, category, defect_type. Fewer rows where there are fewer images; none where no
        defective image has ground truth.
    """
    has_truth = (scores["label"] == "NOK") & (scores["truth_px"].fillna(0) > 0)
    scored = scores[has_truth].assign(iou=lambda rows: rows["iou"].astype(float).fillna(0.0))
    images = (
        scored.groupby("image_id", sort=True)
        .agg(
            mean_iou=("iou", "mean"),
            category=("category", "first"),
            defect_type=("defect_type", "first"),
        )
        .reset_index()
        .sort_values(["mean_iou", "image_id"], ascending=[False, True], kind="stable")
        .reset_index(drop=True)
    )
    n_images = len(images)
    places: dict[int, str] = {}
    for place, reason in ((0, "best"), ((n_images - 1) // 2, "median"), (n_images - 1, "worst")):
        if n_images and place not in places:
            places[place] = reason
    others = [place for place in range(n_images) if place not in places]
    drawn = rng.choice(len(others), size=min(n_random, len(others)), replace=False)
    for position in sorted(drawn):
        places[others[position]] = "random"
    order = ("best", "median", "worst", "random")
    chosen = sorted(places, key=lambda place: (order.index(places[place]), place))
    columns = ["image_id", "reason", "mean_iou", "category", "defect_type"]
    table = images.iloc[chosen].assign(reason=[places[place] for place in chosen])
    return table[columns].reset_index(drop=True)


def iou_notes(scores: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Word the IoU of each image and method for the cells of `plot_overlays`.

    Args:
        scores: One row per image and method of one data set and prompt, columns image_id, method,
            iou, predicted_px, status.

    Returns:
        By (image_id, method): "IoU 0.83"; with the status where it is not "ok"; "nothing found",
        "no mask" or why the image could not be judged where there is no IoU to give.

    Raises:
        ValueError: If an image and method has two rows.
    """
    notes: dict[tuple[str, str], str] = {}
    for row in scores.to_dict("records"):
        key = (row["image_id"], row["method"])
        if key in notes:
            raise ValueError(
                f"one row per image and method is expected, but {key[0]} under {key[1]} has two; "
                "choose one prompt"
            )
        if row["status"] in NOT_JUDGED:
            notes[key] = f"not judged: {STATUS_WORDS[row['status']].short}"
            continue
        if pd.isna(row["predicted_px"]):
            note = "no mask"
        elif pd.isna(row["iou"]):
            note = "no ground truth" if row["predicted_px"] else "nothing found"
        else:
            note = f"IoU {row['iou']:.2f}"
        status = row["status"]
        is_plain = pd.isna(status) or status == "ok"
        notes[key] = note if is_plain else f"{note} ({str(status).replace('_', ' ')})"
    return notes


def plot_overlays(
    chosen: pd.DataFrame,
    load: LoadImage,
    *,
    methods: Mapping[str, str],
    cell_notes: Mapping[tuple[str, str], str] | None = None,
    title: str = "",
    footnote: str = "",
    zoom_small: bool = True,
    cell_px: int = 480,
) -> Figure:
    """Draw images, ground truth and each method's mask side by side, one row per image.

    Only one image is in memory at full size; what is drawn is a cell of `cell_px`. Where the
    true defect covers less than 1 % of the image, each cell of the row also shows the
    surroundings of its largest region enlarged, in a corner away from it.

    Source: figures 4 to 6 of the study.

    Args:
        chosen: Images and their order, columns image_id, reason, category, defect_type (as
            `choose_images` gives them).
        load: Gives for an image_id the image (uint8 RGB, (H, W, 3)), the ground truth (bool, or
            uint8 with 255 for the defect, (H, W); None without one) and the mask of each method
            (bool, (H, W)).
        methods: Names for people of the methods to show, by the key that `load` uses.
        cell_notes: Text below the cell of (image_id, method), such as "IoU 0.83".
        title: Title of the figure.
        footnote: Text below: how the images were chosen, where the numbers come from.
        zoom_small: Whether small defects are shown enlarged.
        cell_px: Longer side of a cell in pixels.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no image or no method, or `load` gives something else.
    """
    if len(chosen) == 0 or not methods:
        raise ValueError(
            f"an overlay figure needs images and methods, but got {len(chosen)} images and "
            f"{len(methods)} methods"
        )
    titles = ["Image", "Ground truth", *methods.values()]
    rows = [
        _overlay_row(record, load, methods=methods, zoom_small=zoom_small, cell_px=cell_px)
        for record in chosen.to_dict("records")
    ]
    heights = [_CELL_INCHES * min(1.6, max(0.4, row[0].shape[0] / row[0].shape[1])) for row in rows]
    gap, note_height = 0.06, 0.2
    width = _LABEL_INCHES + len(titles) * (_CELL_INCHES + gap) + 0.1
    title_lines = [_wrap(name, 20) for name in titles]
    heads = 0.16 * max(text.count("\n") + 1 for text in title_lines) + 0.06
    foot_lines = textwrap.wrap(footnote, int(width * 17)) if footnote else []
    top = head_inches(title=title) + heads
    bottom = 0.15 * len(foot_lines) + 0.08
    height = top + sum(heights) + note_height * len(rows) + bottom
    with styled():
        figure = new_figure(width, height)
        y = write_head(figure, title=title)
        for column, text in enumerate(title_lines):
            x = _LABEL_INCHES + column * (_CELL_INCHES + gap) + _CELL_INCHES / 2
            write_text(figure, x, y + heads - 0.05, text, va="bottom", weight="bold")
        y += heads
        for record, cells, row_height in zip(chosen.to_dict("records"), rows, heights, strict=True):
            label = {"ha": "left", "va": "top", "size": 7}
            write_text(figure, 0.08, y + 0.02, str(record["reason"]), weight="bold", **label)
            write_text(figure, 0.08, y + 0.17, _row_label(record), **label)
            for column, (method, cell) in enumerate(
                zip([None, None, *methods], cells, strict=True)
            ):
                x = _LABEL_INCHES + column * (_CELL_INCHES + gap)
                axes = place_axes(figure, x, y, width=_CELL_INCHES, height=row_height)
                axes.imshow(cell, interpolation="antialiased", aspect="equal")
                axes.set_axis_off()
                note = (cell_notes or {}).get((record["image_id"], method), "") if method else ""
                write_text(
                    figure, x + _CELL_INCHES / 2, y + row_height + 0.02, note, va="top", size=7
                )
            y += row_height + note_height
        for number, line in enumerate(foot_lines):
            write_text(
                figure, 0.08, y + 0.15 * number, line, ha="left", va="top", size=6.5, color="#444"
            )
    return figure


def _overlay_row(
    record: dict[str, Any],
    load: LoadImage,
    *,
    methods: Mapping[str, str],
    zoom_small: bool,
    cell_px: int,
) -> list[np.ndarray]:
    """Load one image and draw its cells at cell size: image, truth, then each method."""
    image, truth, masks = load(record["image_id"])
    missing = [method for method in methods if method not in masks]
    if missing:
        raise ValueError(
            f"image {record['image_id']}: expected the masks of {', '.join(methods)}, but "
            f"{', '.join(missing)} are missing"
        )
    empty = np.zeros(image.shape[:2], dtype=bool)
    if truth is not None and truth.dtype != np.bool_:
        truth = truth == 255
    layers = [empty, empty if truth is None else truth, *(masks[method] for method in methods)]
    for layer in layers:
        check_drawable(image, layer)
    scale = cell_px / max(image.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in image.shape[:2])
    cells = [draw_overlay(image, layer, size_px=size) for layer in layers]
    window = _small_defect_window(truth) if zoom_small and truth is not None else None
    if window is not None:
        cells = [
            _with_inset(cell, image, layer, window)
            for cell, layer in zip(cells, layers, strict=True)
        ]
    return cells


def _small_defect_window(truth: np.ndarray) -> tuple[int, int, int, int] | None:
    """Find the square around the largest region of a small defect.

    Returns:
        Its y_min, x_min, y_max, x_max in pixels, maximum excluded, or None where the defect is
        absent, large, or too long for a square that would enlarge it.
    """
    height, width = truth.shape
    if not 0 < truth.mean() < _SMALL_SHARE:
        return None
    _, boxes, sizes = connected_regions(truth)
    x, y, region_width, region_height = boxes[np.argmax(sizes)]
    shorter = min(height, width)
    side = max(round(2.2 * max(region_width, region_height)), round(shorter / 16), 12)
    if side > shorter * _INSET_SHARE / _LEAST_ZOOM:
        return None
    y_min = int(np.clip(y + region_height / 2 - side / 2, 0, height - side))
    x_min = int(np.clip(x + region_width / 2 - side / 2, 0, width - side))
    return y_min, x_min, y_min + side, x_min + side


def _with_inset(
    cell: np.ndarray, image: np.ndarray, mask: np.ndarray, window: tuple[int, int, int, int]
) -> np.ndarray:
    """Frame a window of the image and show it enlarged in the corner away from it."""
    y_min, x_min, y_max, x_max = window
    height, width = cell.shape[:2]
    scale = height / image.shape[0]
    side = round(_INSET_SHARE * min(height, width))
    part = np.ascontiguousarray(image[y_min:y_max, x_min:x_max])
    inset = draw_overlay(part, mask[y_min:y_max, x_min:x_max], size_px=(side, side))
    is_low, is_right = (
        (y_min + y_max) / 2 * scale > height / 2,
        (x_min + x_max) / 2 * scale > width / 2,
    )
    top = 0 if is_low else height - side
    left = 0 if is_right else width - side
    drawn = cell.copy()
    frame = [round(value * scale) for value in (x_min, y_min, x_max, y_max)]
    thickness = max(1, round(min(height, width) / 240))
    for colour, extra in ((DARK, 2), ((255, 255, 255), 0)):
        cv2.rectangle(drawn, frame[:2], frame[2:], colour, thickness + extra)
    drawn[top : top + side, left : left + side] = inset
    corner = (left, top), (left + side - 1, top + side - 1)
    for colour, extra in ((DARK, 2), ((255, 255, 255), 0)):
        cv2.rectangle(drawn, *corner, colour, thickness + extra)
    return drawn


def _row_label(record: dict[str, Any]) -> str:
    parts = [_wrap(str(record["image_id"]).rpartition("/")[2], 19)]
    kinds = [record.get("category"), record.get("defect_type")]
    about = ", ".join(str(kind) for kind in kinds if kind is not None and not pd.isna(kind))
    return "\n".join([*parts, *([_wrap(about, 19)] if about else [])])


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=True)) or text
