"""Stage 6: predictions beside the truth, one row per image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.core.masks import DEFECT, UNDECIDED, connected_regions, decode_mask, masks_of
from realitycheck.core.pictures import read_warped
from realitycheck.core.schemas import NOT_JUDGED, VERDICTS
from realitycheck.core.tables import check_rows
from realitycheck.methods.thresholds import cross_fit_thresholds
from realitycheck.metrics.baselines import floor_label
from realitycheck.metrics.iou import score_mask, with_lost_truth


def score_masks(
    manifest: pd.DataFrame,
    truth: pd.DataFrame,
    masks: pd.DataFrame,
    *,
    truth_folder: str | Path,
    ignore_border: str,
) -> Iterator[dict[str, Any]]:
    """Score each mask against the truth; any mask is the verdict NOK.

    The IoU is undefined on good images and on defective ones that nobody drew a mask for. A mask of
    another size than the image is scored at its own size, with the truth brought to it by nearest
    neighbour. Defect pixels that alignment moved beyond the image count as truth that is not found.
    An image that the method could not judge has no verdict and no predicted pixels, not even none.

    Args:
        manifest: Scored images.
        truth: Their truth table.
        masks: Masks of one method and prompt.
        truth_folder: Folder of the warped truth masks.
        ignore_border: What undecided pixels count as.

    Yields:
        Rows of the scores table.

    Raises:
        ArtifactError: If truth or masks have other images than the manifest.
    """
    check_rows(truth, manifest["image_id"], where="truth table")
    check_rows(masks, manifest["image_id"], where="masks table")
    about = _by_image(manifest.merge(truth, on=["dataset", "image_id"]))
    verdicts = _by_image(masks)
    for image_id, mask in masks_of(masks):
        image, verdict = about[image_id], verdicts[image_id]
        measured: dict[str, Any] = dict.fromkeys(
            ("iou", "intersection_px", "union_px", "truth_px", "lost_px")
        ) | {"predicted_px": int(mask.sum())}
        if image["has_truth"]:
            drawn = image["mask_path"] is not None and not pd.isna(image["mask_path"])
            pixels = (
                read_warped(truth_folder, image_id) if drawn else np.zeros(mask.shape, np.uint8)
            )
            lost_px = int(image["lost_px"])
            if pixels.shape != mask.shape:
                height, width = mask.shape
                lost_px = math.ceil(lost_px * mask.size / pixels.size)
                pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST)
            score = with_lost_truth(score_mask(mask, pixels, ignore_border=ignore_border), lost_px)
            measured = score._asdict() | {"lost_px": lost_px}
            if image["label"] == "OK":
                measured["iou"] = None
        label = "NOK" if mask.any() else "OK"
        if verdict["status"] in NOT_JUDGED:
            label = None
            measured |= dict.fromkeys(("iou", "intersection_px", "union_px", "predicted_px"))
        yield _row(image, verdict) | {
            "image_id": image_id,
            "label_predicted": label,
            **measured,
        }


def score_defects(
    manifest: pd.DataFrame,
    truth: pd.DataFrame,
    masks: pd.DataFrame,
    *,
    truth_folder: str | Path,
    ignore_border: str,
    min_covered_share: float,
    pixel_pitch_mm: float | None = None,
) -> Iterator[dict[str, Any]]:
    """Tell of each defect whether a method finds it.

    A defect is a connected region (8 neighbours) of the truth mask of the aligned image, with what
    alignment moved beyond the canvas. It is found if at least `min_covered_share` of its area is
    predicted, and beyond the canvas nothing is. A mask of another size than the
    image is brought to it by nearest neighbour, so that a defect has the same area for every
    method.

    Args:
        manifest: Scored images.
        truth: Their truth table.
        masks: Masks of one method and prompt.
        truth_folder: Folder of the warped truth masks.
        ignore_border: `foreground` makes undecided pixels part of a defect.
        min_covered_share: Least share of a defect's area, above 0.
        pixel_pitch_mm: Side of a pixel of the reference, onto which images are aligned; None: not
            known.

    Yields:
        Rows of the defects table.
    """
    about = manifest.merge(truth, on=["dataset", "image_id"])
    drawn = about[about["has_truth"] & (about["label"] == "NOK") & about["mask_path"].notna()]
    about = drawn.set_index("image_id")
    verdicts = masks.set_index("image_id")
    for image_id, mask in masks_of(masks[masks["image_id"].isin(about.index)]):
        image, verdict = about.loc[image_id], verdicts.loc[image_id]
        pixels = read_warped(truth_folder, image_id)
        defective = pixels == DEFECT
        if ignore_border == "foreground":
            defective |= pixels == UNDECIDED
        if mask.shape != pixels.shape:
            height, width = pixels.shape
            mask = cv2.resize(
                mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
            ).astype(bool)
        on_canvas = np.ones(mask.shape, bool)
        if image["lost_px"]:
            defective, mask, on_canvas = (
                _on_whole_canvas(image, each) for each in (defective, mask, on_canvas)
            )
            defective |= _whole_truth(image)
        regions, _, areas = connected_regions(defective)
        covered = np.bincount(regions[mask], minlength=len(areas) + 1)
        lost = np.bincount(regions[~on_canvas], minlength=len(areas) + 1)
        for number, area in enumerate(areas.tolist(), start=1):
            share = float(covered[number] / area)
            yield {
                **{key: verdict[key] for key in ("dataset", "method", "prompt")},
                **{key: image[key] for key in ("category", "group", "defect_type")},
                "image_id": image_id,
                "defect_id": number,
                "area_px": area,
                "lost_px": int(lost[number]),
                "area_mm2": None if pixel_pitch_mm is None else area * pixel_pitch_mm**2,
                "covered_share": share,
                "is_hit": share >= min_covered_share,
            }


def score_areas(
    scores: pd.DataFrame, method: str, *, max_overkill_rate: float, n_folds: int = 5, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Judge each image by the area of its mask: NOK above what good images reach.

    The threshold of an image comes from good images of its category in other folds, so that no
    image is judged by a threshold that it, or another view of its part, helped to set. A category
    with fewer than two good parts has none, and its images stay without a verdict, as do images
    that the method could not judge.

    Args:
        scores: Scores of one method with masks, and one prompt.
        method: Name that the new rows go by.
        max_overkill_rate: Share of good images that the threshold may reject.
        n_folds: Folds of good images.
        seed: Of the folds.

    Yields:
        The rows with other verdicts; `no_threshold` is the status of those without.
    """
    images = scores.astype(object).where(scores.notna(), None)
    for _, own in images.groupby("category", sort=True):
        limits = _area_limits(own, max_overkill_rate, n_folds=n_folds, seed=seed)
        for row in own.to_dict("records"):
            if row["predicted_px"] is None:
                verdict = {}
            elif row["image_id"] in limits:
                is_nok = row["predicted_px"] > limits[row["image_id"]]
                verdict = {"label_predicted": "NOK" if is_nok else "OK"}
            else:
                verdict = {"label_predicted": None, "status": "no_threshold"}
            yield row | {"method": method} | verdict


def _area_limits(
    images: pd.DataFrame, max_overkill_rate: float, *, n_folds: int, seed: int
) -> dict[str, float]:
    """Largest area, in pixels, with which each image passes; empty if it cannot be set."""
    groups = dict(zip(images["image_id"], images["group"].fillna(images["image_id"]), strict=True))
    good = images[(images["label"] == "OK") & images["predicted_px"].notna()]
    if len({groups[image_id] for image_id in good["image_id"]}) < 2:
        return {}
    fit = cross_fit_thresholds(
        dict(zip(good["image_id"], good["predicted_px"].astype(float), strict=True)),
        max_overkill_rate=max_overkill_rate,
        n_folds=n_folds,
        seed=seed,
        groups=groups,
    )
    # A defective image among the views of a part with good ones is judged as those are.
    by_group = {groups[image_id]: limit for image_id, limit in fit.by_image.items()}
    return {image_id: by_group.get(groups[image_id], fit.others) for image_id in images["image_id"]}


def score_labels(manifest: pd.DataFrame, verdicts: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Put each verdict beside the label.

    Several samples of an image become one verdict: that of most answers, NOK where they are split
    evenly, since a part in doubt is checked again; the score is their mean.

    Args:
        manifest: Scored images.
        verdicts: Verdicts of one method and prompt, one or several per image.

    Yields:
        Rows of the scores table, without pixel counts.

    Raises:
        ArtifactError: If the verdicts are of other images than the manifest.
    """
    check_rows(verdicts, manifest["image_id"], where="verdicts table")
    about = _by_image(manifest)
    for image_id, samples in verdicts.groupby("image_id", sort=True):
        answered = samples[samples["label_predicted"].notna()]
        n_nok = int((answered["label_predicted"] == "NOK").sum())
        first = (answered if len(answered) else samples).iloc[0].to_dict()
        first["score"] = answered["score"].astype(float).mean() if len(answered) else None
        label = None
        if len(answered):
            label = "NOK" if 2 * n_nok >= len(answered) else "OK"
        yield _row(about[image_id], first) | {
            "image_id": image_id,
            "label_predicted": label,
            **dict.fromkeys(("iou", "intersection_px", "union_px", "truth_px", "predicted_px")),
            "lost_px": None,
        }


def _whole_truth(image: Any) -> np.ndarray:
    """Defect pixels of an image on the canvas that holds all of them, bool."""
    return decode_mask(
        image["whole_rle"],
        height_px=int(image["whole_height_px"]),
        width_px=int(image["whole_width_px"]),
    )


def _on_whole_canvas(image: Any, mask: np.ndarray) -> np.ndarray:
    """Lay a mask, bool (H, W), onto the canvas of `_whole_truth`, nothing around it."""
    whole = np.zeros((int(image["whole_height_px"]), int(image["whole_width_px"])), bool)
    top, left = int(image["top_px"]), int(image["left_px"])
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return whole


def _by_image(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows of a table by image id; many times as fast to look up as in the table."""
    return {row["image_id"]: row for row in table.to_dict("records")}


def _row(image: Any, verdict: Any) -> dict[str, Any]:
    return {
        **{key: verdict[key] for key in ("dataset", "method", "prompt", "score", "status")},
        **{key: image[key] for key in ("category", "group", "label", "defect_type")},
    }


def floor_verdicts(manifest: pd.DataFrame, *, floor: str, prompt: str) -> pd.DataFrame:
    """Verdicts of a baseline, the same on every image.

    Args:
        manifest: Scored images.
        floor: `reject_everything` or `accept_everything`.
        prompt: What the key `prompt` holds.

    Returns:
        A verdicts table.
    """
    table = manifest[["dataset", "image_id"]].assign(
        method=floor,
        prompt=prompt,
        sample=0,
        label_predicted=floor_label(floor),
        status="answered",
    )
    return table.reindex(columns=VERDICTS.columns)
