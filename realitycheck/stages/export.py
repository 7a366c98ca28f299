"""Stage 7: predictions and truth in the forms that other tools read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.files import write_atomically
from realitycheck.core.masks import mask_like, masks_of
from realitycheck.core.pictures import read_warped
from realitycheck.core.provenance import package_version
from realitycheck.core.schemas import MANIFEST, MASKS, SCORES, TRANSFORMS, TRUTH, VERDICTS
from realitycheck.core.tables import read_table
from realitycheck.report.csv_text import csv_text
from realitycheck.report.page.outlines import regions_of
from realitycheck.report.tables.base import method_name

#: What the CSV file says of an answer.
ANSWER_COLUMNS = (
    *("reasoning", "finish_reason", "model_returned", "tokens_in", "tokens_out", "cost_usd"),
)
#: The one category: where a tool compares predictions with the truth, they must share it.
CATEGORY = {"id": 1, "name": "defect", "supercategory": "defect"}


def export_dataset(
    dataset: str,
    files: Mapping[str, Any],
    outputs: Mapping[str, Any],
    *,
    methods: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the truth and every method's masks of a data set as COCO JSON, and all images as CSV.

    Args:
        dataset: The data set's id.
        files: `manifest`, `transforms` and `truth` tables, and, one per run, `masks`, `scores` and
            `verdicts`.
        outputs: `truth` and `table`, and, in the order of the masks in `files`, `masks` and
            `results`.
        methods: What is said of each method.
    """
    manifest = read_table(files["manifest"], schema=MANIFEST)
    images = aligned_images(manifest, read_table(files["transforms"], schema=TRANSFORMS))
    with_truth = images.merge(read_table(files["truth"], schema=TRUTH), on=["dataset", "image_id"])
    write_coco(
        outputs["truth"],
        with_truth,
        truth_annotations(with_truth, Path(files["truth"]).parent),
        description=f"Ground truth of {dataset}; undecided pixels are left out",
        version=package_version(),
    )
    written = zip(files["masks"], outputs["masks"], outputs["results"], strict=True)
    for path, as_data_set, as_results in written:
        method, prompt = Path(path).parts[-3:-1]
        masks = read_table(path, schema=MASKS)
        write_coco(
            as_data_set,
            images,
            mask_annotations(images, masks),
            description=f"What {method} marks under the prompt {prompt} on {dataset}",
            version=package_version(),
        )
        write_coco_results(as_results, mask_annotations(images, masks))
    # Scores and the verdicts behind them lie in folders of the same method and prompt.
    verdicts = {Path(path).parts[-3:-1]: path for path in files["verdicts"]}
    runs = (
        (
            read_table(path, schema=SCORES),
            read_table(verdicts[run], schema=VERDICTS) if run in verdicts else None,
        )
        for path in files["scores"]
        for run in [Path(path).parts[-3:-1]]
    )
    write_images_csv(outputs["table"], manifest, runs, methods=methods)


def aligned_images(manifest: pd.DataFrame, transforms: pd.DataFrame) -> pd.DataFrame:
    """Give the manifest the sizes of the aligned images, which masks and truth lie on."""
    sizes = transforms[["image_id", "width_px", "height_px"]]
    return manifest.drop(columns=["width_px", "height_px"]).merge(sizes, on="image_id")


def truth_annotations(
    images: pd.DataFrame, folder: str | Path
) -> Iterator[tuple[int, np.ndarray, dict[str, Any]]]:
    """Read the truth of each image, in the form that `write_coco` takes.

    Undecided pixels are no defect here, and what alignment moved beyond the image is not in it.

    Args:
        images: Manifest and truth table in one, in the order of the export.
        folder: Folder of the warped truth masks.

    Yields:
        Place of the image, mask (bool, (H, W)), further fields of its annotations.
    """
    for place, row in enumerate(images.itertuples()):
        if row.has_truth and row.truth_px > row.lost_px:
            mask = read_warped(folder, row.image_id) == 255
            type_ = {} if pd.isna(row.defect_type) else {"defect_type": row.defect_type}
            yield place, mask, {"attributes": type_}


def mask_annotations(
    images: pd.DataFrame, masks: pd.DataFrame
) -> Iterator[tuple[int, np.ndarray, dict[str, Any]]]:
    """Give each mask of a method, in the form that `write_coco` takes.

    Args:
        images: Manifest, in the order of the export.
        masks: Masks of one method and prompt.

    Yields:
        As `truth_annotations`; the image's score, where the method gives one, is that of each
        annotation.
    """
    places = {row.image_id: (place, row) for place, row in enumerate(images.itertuples())}
    for (image_id, mask), row in zip(masks_of(masks), masks.itertuples(), strict=True):
        place, image = places[image_id]
        if mask.any():
            like = np.empty((int(image.height_px), int(image.width_px), 0), np.uint8)
            score = {} if pd.isna(row.score) else {"score": float(row.score)}
            yield place, mask_like(like, mask), {"attributes": {}} | score


def write_coco(
    path: str | Path,
    images: pd.DataFrame,
    annotations: Iterable[tuple[int, np.ndarray, Mapping[str, Any]]],
    *,
    description: str,
    version: str,
) -> dict[str, int]:
    """Write a data set in COCO's form, one annotation per connected region, image by image.

    Regions are polygons along the edges of pixels, which every tool reads; filled again by
    pycocotools they give the mask back to the pixel. An image without a region is listed, too.

    Source: COCO's data format, "object detection".

    Args:
        path: File to write.
        images: One row per image: image_id, width_px and height_px of the aligned image, label.
        annotations: Place of an image in `images`, its mask, and further fields.
        description: What the file holds.
        version: Version of this package.

    Returns:
        n_images and n_annotations.
    """
    listed = [
        {
            "id": place + 1,
            "file_name": f"{row.image_id}.png",
            "width": int(row.width_px),
            "height": int(row.height_px),
            "label": row.label,
        }
        for place, row in enumerate(images.itertuples())
    ]
    head = {
        "info": {"description": description, "version": version},
        "licenses": [],
        "categories": [CATEGORY],
        "images": listed,
    }
    n_written = 0

    def write(temporary: str) -> None:
        nonlocal n_written
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "annotations": [')
            for place, mask, fields in annotations:
                for region in regions_of(mask):
                    n_written += 1
                    annotation = {
                        "id": n_written,
                        "image_id": place + 1,
                        "category_id": CATEGORY["id"],
                        "segmentation": [region.polygon.ravel().tolist()],
                        "bbox": list(region.box),
                        "area": region.area_px,
                        "iscrowd": 0,
                        **fields,
                    }
                    file.write(",\n" if n_written > 1 else "\n")
                    file.write(json.dumps(annotation, ensure_ascii=False))
            file.write("\n]}\n")

    write_atomically(path, write)
    return {"n_images": len(listed), "n_annotations": n_written}


def write_coco_results(
    path: str | Path, annotations: Iterable[tuple[int, np.ndarray, Mapping[str, Any]]]
) -> int:
    """Write predictions as COCO's array of results, one entry per connected region.

    Image and category ids are those of the truth that `write_coco` writes. There is no box: a
    reader takes it, and the area, from the mask. A method that gives no score has 1 in every entry.

    Source: COCO's results format, "object segmentation", with run lengths.

    Args:
        path: File to write.
        annotations: As `mask_annotations` yields them.

    Returns:
        Number of entries.
    """
    from pycocotools import mask as coco

    n_written = 0

    def write(temporary: str) -> None:
        nonlocal n_written
        with open(temporary, "w", encoding="utf-8") as file:
            file.write("[")
            for place, mask, fields in annotations:
                for region in regions_of(mask):
                    (lengths,) = coco.frPyObjects([region.polygon.ravel().tolist()], *mask.shape)
                    entry = {
                        "image_id": place + 1,
                        "category_id": CATEGORY["id"],
                        "segmentation": lengths | {"counts": lengths["counts"].decode("ascii")},
                        "score": fields.get("score", 1.0),
                    }
                    file.write(("," if n_written else "") + "\n" + json.dumps(entry))
                    n_written += 1
            file.write("\n]\n")

    write_atomically(path, write)
    return n_written


def write_images_csv(
    path: str | Path,
    images: pd.DataFrame,
    runs: Iterable[tuple[pd.DataFrame, pd.DataFrame | None]],
    *,
    methods: Mapping[str, Mapping[str, Any]],
) -> int:
    """Write all that is known of each image under each method, one row per image and run.

    Args:
        path: File to write.
        images: Manifest of the scored images.
        runs: Scores of each method and prompt, and the verdicts behind them, one or several per
            image; None for a method with masks.
        methods: What is said of each method.

    Returns:
        Number of rows.
    """
    n_rows = 0

    def write(temporary: str) -> None:
        nonlocal n_rows
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            for scores, answers in runs:
                table = image_rows(images, scores, answers)
                names = [method_name(method, methods) for method in table["method"]]
                table.insert(table.columns.get_loc("method") + 1, "method_name", names)
                file.write(csv_text(table, has_header=n_rows == 0))
                n_rows += len(table)

    write_atomically(path, write)
    return n_rows


def image_rows(
    images: pd.DataFrame, scores: pd.DataFrame, answers: pd.DataFrame | None
) -> pd.DataFrame:
    """Put all that is known of each image under one method into one row.

    Args:
        images: Manifest of the scored images.
        scores: Scores of one method and prompt.
        answers: Verdicts behind them, one or several per image; None for a method with masks.

    Returns:
        One row per image: keys, label, label_predicted, outcome (slip, overkill, correct or
        no_verdict), scores, facts of the image, and of an answer `ANSWER_COLUMNS`: of the first
        sample, and the cost of all.
    """
    known = [name for name in images.columns if name not in scores.columns or name == "image_id"]
    table = scores.merge(images[known].drop(columns=["split"]), on="image_id")
    table.insert(table.columns.get_loc("label_predicted") + 1, "outcome", _outcomes(table))
    if answers is None:
        return table.assign(**dict.fromkeys(ANSWER_COLUMNS))
    first = answers.sort_values("sample").drop_duplicates("image_id")
    cost = answers.groupby("image_id")["cost_usd"].sum(min_count=1)
    first = first[["image_id", *ANSWER_COLUMNS]].drop(columns="cost_usd")
    table = table.merge(first, on="image_id", how="left")
    return table.assign(cost_usd=table["image_id"].map(cost))


def _outcomes(table: pd.DataFrame) -> list[str]:
    names = {("NOK", "OK"): "slip", ("OK", "NOK"): "overkill"}
    return [
        "no_verdict" if pd.isna(said) else names.get((label, said), "correct")
        for label, said in zip(table["label"], table["label_predicted"], strict=True)
    ]
