"""Figures in the study's form: masks as yellow overlays, side by side, and the spread of the IoU.

Figures are drawn without pyplot, whose global state would keep every figure of a long run alive.
"""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from realitycheck.images import resize_mask
from realitycheck.names import NO_PROMPT
from realitycheck.report.table_text import BOLD_ABOVE_IOU

YELLOW = (255, 221, 0)
_FILL_OPACITY = 0.45
_DARK = (20, 20, 20)
_FONT_PT = 8.0
_CELL_INCHES = 1.55
_LABEL_INCHES = 1.15
_BANNER_COLOUR = "#b3261e"
# A truth region below this share of the image is hard to see in a cell of some 4 cm.
_SMALL_SHARE = 0.01
_INSET_SHARE = 0.42  # side of the enlarged view, as a share of the cell's shorter side
_LEAST_ZOOM = 2.0
#: Settings of matplotlib that every figure is drawn with.
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": _FONT_PT,
    "svg.hashsalt": "realitycheck",
    "svg.fonttype": "none",
}

LoadImage = Callable[[str], tuple[np.ndarray, np.ndarray | None, Mapping[str, np.ndarray]]]


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
        scores: One row an image and method of one data set, columns image_id, category,
            defect_type, label, iou, truth_px; rows without an IoU count as 0, since there the
            method found nothing that could be scored.
        n_random: Number of images drawn at random.
        rng: Source of chance. The draw does not depend on the order of the rows.

    Returns:
        One row an image, best first: image_id, reason ("best", "median", "worst", "random"),
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
        scores: One row an image and method of one data set and prompt, columns image_id, method,
            iou, predicted_px, status.

    Returns:
        By (image_id, method): "IoU 0.83"; with the status where it is not "ok"; "nothing found"
        or "no mask" where there is no IoU to give.

    Raises:
        ValueError: If an image and method has two rows.
    """
    notes: dict[tuple[str, str], str] = {}
    for row in scores.to_dict("records"):
        key = (row["image_id"], row["method"])
        if key in notes:
            raise ValueError(
                f"one row an image and method is expected, but {key[0]} under {key[1]} has two; "
                "choose one prompt"
            )
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


def draw_overlay(
    image: np.ndarray, mask: np.ndarray, *, size_px: tuple[int, int] | None = None
) -> np.ndarray:
    """Lay a mask over its image: yellow and half transparent, outlined in yellow and dark.

    The image is resized by area, the mask so that any cell it touches keeps it: a defect of one
    pixel stays visible. The outline is drawn after resizing, so it has the same width on every
    image, and its dark rim shows it on bright parts and in black and white.

    Args:
        image: Image, uint8 RGB, shape (H, W, 3).
        mask: Mask, bool, shape (H, W).
        size_px: Height and width of the result; the image's own if not given.

    Returns:
        The overlay, uint8 RGB, of the size asked for.

    Raises:
        ValueError: If the image is not uint8 RGB or the mask is not bool of the same size.
    """
    _check_image(image, mask)
    height, width = size_px or image.shape[:2]
    small = _resize(image, height, width)
    if not mask.any():
        return small
    covered = resize_mask(mask, height, width)
    blend = small.astype(np.float32)
    blend[covered] += _FILL_OPACITY * (np.array(YELLOW, dtype=np.float32) - blend[covered])
    drawn = np.ascontiguousarray(blend.round().astype(np.uint8))
    thickness = max(1, round(min(height, width) / 220))
    contours, _ = cv2.findContours(covered.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _DARK, thickness + 2)
    cv2.drawContours(drawn, contours, -1, YELLOW, thickness)
    return drawn


def plot_overlays(
    chosen: pd.DataFrame,
    load: LoadImage,
    *,
    methods: Mapping[str, str],
    cell_notes: Mapping[tuple[str, str], str] | None = None,
    title: str = "",
    banner: str = "",
    footnote: str = "",
    zoom_small: bool = True,
    cell_px: int = 480,
) -> Figure:
    """Draw images, ground truth and each method's mask side by side, one row an image.

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
        banner: Warning in a red band on top, such as "untrained miniature".
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
    top = (0.3 if banner else 0.0) + (0.32 if title else 0.06) + heads
    bottom = 0.15 * len(foot_lines) + 0.08
    height = top + sum(heights) + note_height * len(rows) + bottom
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        y = write_head(figure, title=title, banner=banner)
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
                box = (x / width, 1 - (y + row_height) / height)
                axes = figure.add_axes((*box, _CELL_INCHES / width, row_height / height))
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


def plot_iou_distribution(
    scores: pd.DataFrame,
    table: pd.DataFrame,
    *,
    rng: np.random.Generator,
    title: str = "",
    banner: str = "",
    footnote: str = "",
) -> Figure:
    """Draw the IoU of every defective image, its mean with its interval, and the study's mean.

    Args:
        scores: One row an image, data set, method and prompt (see `segmentation_table`).
        table: The table made from them; its rows are drawn, in their order.
        rng: Source of chance, only for the vertical spread of the points.
        title: Title of the figure.
        banner: Warning in a red band on top.
        footnote: Text below.

    Returns:
        The figure: a panel a data set with a truth, a line a method and prompt; one sentence where
        nobody drew a truth.

    Raises:
        ValueError: If the table has no row.
    """
    if table.empty:
        raise ValueError("there is no row to draw: the segmentation table is empty")
    table = table[table.groupby("dataset")["n_scored"].transform("max") > 0]
    if table.empty:
        sentence = "No defective part has a ground truth, so there is no IoU."
        return sentence_figure(sentence, title=title)
    panels = list(dict.fromkeys(table["dataset"]))
    n_lines = [int((table["dataset"] == dataset).sum()) for dataset in panels]
    line_height, panel_head, width, left = 0.3, 0.3, 7.2, 2.3
    foot_lines = textwrap.wrap(footnote, int(width * 17)) if footnote else []
    head = (0.3 if banner else 0.0) + (0.32 if title else 0.06)
    bottom = 0.72 + 0.15 * len(foot_lines)
    height = head + sum(n_lines) * line_height + panel_head * len(panels) + bottom
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        y = write_head(figure, title=title, banner=banner)
        axes = None
        for dataset, count in zip(panels, n_lines, strict=True):
            rows = table[table["dataset"] == dataset].reset_index(drop=True)
            y += panel_head + count * line_height
            axes = figure.add_axes(
                (
                    left / width,
                    1 - y / height,
                    1 - (left + 0.2) / width,
                    count * line_height / height,
                )
            )
            _draw_distribution(axes, rows, scores, rng)
            name = f"{rows['dataset_name'].iloc[0]}, n = {rows['n_scored'].max()} defective parts"
            axes.set_title(name, loc="left", weight="bold", size=_FONT_PT, parse_math=False)
            axes.tick_params(labelbottom=dataset == panels[-1])
        axes.set_xlabel("IoU of a defective image")
        unique = {}
        for each in figure.axes:
            handles, labels = each.get_legend_handles_labels()
            unique |= dict(zip(labels, handles, strict=True))
        figure.legend(
            unique.values(),
            unique.keys(),
            ncols=4,
            frameon=False,
            loc="lower center",
            bbox_to_anchor=(0.5, (0.05 + 0.15 * len(foot_lines)) / height),
            fontsize=7,
            handletextpad=0.4,
            columnspacing=1.4,
        )
        for number, line in enumerate(foot_lines):
            write_text(
                figure,
                0.08,
                height - 0.15 * (len(foot_lines) - number),
                line,
                ha="left",
                va="top",
                size=6.5,
                color="#444",
            )
    return figure


def save_figure(
    figure: Figure, folder: str | Path, *, stem: str, dpi: int = 200, metadata: str = ""
) -> dict[str, Path]:
    """Write a figure as PNG and SVG; the same figure gives the same bytes.

    Args:
        figure: The figure.
        folder: Where to write; created if it is not there.
        stem: File name without its ending.
        dpi: Resolution of the PNG, and of the images inside the SVG, in pixels an inch.
        metadata: Description written into both files.

    Returns:
        The paths by "png" and "svg".
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {ending: folder / f"{stem}.{ending}" for ending in ("png", "svg")}
    with matplotlib.rc_context(STYLE):
        # Without a date and a version, or the bytes would differ between runs.
        figure.savefig(
            paths["png"], dpi=dpi, metadata={"Software": None, "Description": metadata or None}
        )
        figure.savefig(paths["svg"], dpi=dpi, metadata={"Date": None, "Description": metadata})
    return paths


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
        _check_image(image, layer)
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
    _, _, regions, _ = cv2.connectedComponentsWithStats(truth.astype(np.uint8), connectivity=8)
    x, y, region_width, region_height, _ = regions[1 + np.argmax(regions[1:, cv2.CC_STAT_AREA])]
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
    for colour, extra in ((_DARK, 2), ((255, 255, 255), 0)):
        cv2.rectangle(drawn, frame[:2], frame[2:], colour, thickness + extra)
    drawn[top : top + side, left : left + side] = inset
    corner = (left, top), (left + side - 1, top + side - 1)
    for colour, extra in ((_DARK, 2), ((255, 255, 255), 0)):
        cv2.rectangle(drawn, *corner, colour, thickness + extra)
    return drawn


def _draw_distribution(
    axes: Any, rows: pd.DataFrame, scores: pd.DataFrame, rng: np.random.Generator
) -> None:
    labels = []
    for line, row in rows.iterrows():
        is_own = (
            (scores["dataset"] == row["dataset"])
            & (scores["method"] == row["method"])
            & (scores["prompt"] == row["prompt"])
            & (scores["label"] == "NOK")
            & (scores["truth_px"].fillna(0) > 0)
        )
        ious = scores.loc[is_own, "iou"].astype(float).dropna().to_numpy()
        spread = rng.uniform(-0.27, 0.27, size=len(ious))
        axes.scatter(
            ious,
            line + spread,
            s=7,
            color="#5b7c99",
            alpha=0.45,
            linewidths=0,
            label="one image",
            clip_on=False,
        )
        axes.plot(
            [row["mean_iou_low"], row["mean_iou_high"]],
            [line, line],
            color="black",
            lw=1.4,
            solid_capstyle="butt",
        )
        axes.scatter(
            row["mean_iou"],
            line,
            s=26,
            color="black",
            zorder=3,
            label="mean with interval",
            clip_on=False,
        )
        if pd.notna(row["published_iou"]):
            axes.scatter(
                row["published_iou"],
                line,
                s=34,
                marker="D",
                facecolor="#ffdd00",
                edgecolor="black",
                linewidth=0.8,
                zorder=4,
                label="mean in the study",
                clip_on=False,
            )
        prompt = "" if row["prompt"] == NO_PROMPT else f" ({row['prompt']})"
        labels.append(f"{row['method_name']}{prompt}")
    axes.axvline(
        BOLD_ABOVE_IOU,
        color="#777",
        lw=0.8,
        ls=(0, (4, 3)),
        zorder=0,
        label=f"practical value above {BOLD_ABOVE_IOU:.2f}",
    )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(-0.01, 1.01)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#ddd", lw=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure, width and height in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def write_head(figure: Figure, *, title: str, banner: str) -> float:
    """Draw the banner and the title; return how many inches they take from the top."""
    y = 0.0
    width, height = figure.get_size_inches()
    if banner:
        figure.patches.append(
            matplotlib.patches.Rectangle(
                (0, 1 - 0.26 / height),
                1,
                0.26 / height,
                transform=figure.transFigure,
                color=_BANNER_COLOUR,
                figure=figure,
            )
        )
        write_text(figure, width / 2, 0.13, banner, va="center", color="white", weight="bold")
        y += 0.3
    if title:
        write_text(figure, 0.08, y + 0.08, title, ha="left", va="top", size=10, weight="bold")
        y += 0.32
    else:
        y += 0.06
    return y


def sentence_figure(sentence: str, *, title: str = "") -> Figure:
    """Say in the place of a figure why there is none."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(7.2, 0.9)
        write_head(figure, title=title, banner="")
        write_text(figure, 0.08, 0.52, sentence, ha="left", va="top")
    return figure


def write_text(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write text at inches from the left and the top."""
    width, height = figure.get_size_inches()
    style = {"ha": "center", **style}
    # Prompts and file names are the user's: a dollar sign must not start a formula.
    figure.text(x / width, 1 - y / height, text, parse_math=False, **style)


def _row_label(record: dict[str, Any]) -> str:
    parts = [_wrap(str(record["image_id"]).rpartition("/")[2], 19)]
    kinds = [record.get("category"), record.get("defect_type")]
    about = ", ".join(str(kind) for kind in kinds if kind is not None and not pd.isna(kind))
    return "\n".join([*parts, *([_wrap(about, 19)] if about else [])])


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=True)) or text


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image.copy()
    is_smaller = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if is_smaller else cv2.INTER_NEAREST
    return cv2.resize(image, (width, height), interpolation=method)


def _check_image(image: np.ndarray, mask: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"an image must be uint8 RGB (H, W, 3), but is {image.dtype} {image.shape}"
        )
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise ValueError(
            f"a mask must be bool {image.shape[:2]} like its image, but is {mask.dtype} "
            f"{mask.shape}"
        )
