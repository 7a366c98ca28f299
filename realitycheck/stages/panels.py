"""Stage 7: panels of what a method saw, from what the earlier stages stored; no network runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.files import image_file, write_atomically
from realitycheck.core.masks import DEFECT, decode_mask
from realitycheck.core.pictures import read_aligned, read_warped
from realitycheck.core.schemas import MASKS, SCORES, TRANSFORMS
from realitycheck.core.tables import read_table
from realitycheck.core.views import View, image_view, mask_view
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.registry import open_part
from realitycheck.report.figures.overlays import shown_images
from realitycheck.report.panels import plot_panel, result_words, save_panel
from realitycheck.report.results import read_tables


def draw_panels(
    files: Mapping[str, str | Path | Sequence[str | Path]],
    run: Run,
    *,
    kind: str,
    image_ids: Iterable[str],
    folder: str | Path,
    results_folder: str | Path,
    title: str,
) -> Iterator[dict[str, Any]]:
    """Draw what a method saw on each image, write it as PNG, and remove other panels.

    Args:
        files: Files by name, lists having one for each shard: `transforms`, `truth`, `masks`,
            `scores`, and those that the kind's block names.
        run: What the job is told.
        kind: Kind of the method.
        image_ids: Images wanted.
        folder: Where the panels go.
        results_folder: Folder that paths in the table are relative to.
        title: Method, prompt and data set, for people.

    Yields:
        Rows of the panels table.
    """
    wanted = set(image_ids)
    _remove_others(folder, wanted)
    masks, scores = (
        read_table(files[name], schema=schema).set_index("image_id")
        for name, schema in (("masks", MASKS), ("scores", SCORES))
    )
    truth_folder = Path(files["truth"]).parent
    limits = Inputs(files).limits() if "thresholds" in files else {}
    segmenter_of, views_of = open_part(kind, "segmenter").open, open_part(kind, "views").views
    for own in files_of_shards(files):
        transforms = read_table(own["transforms"], schema=TRANSFORMS)
        transforms = transforms[transforms["image_id"].isin(wanted)]
        if transforms.empty:
            continue
        inputs = Inputs(own)
        segmenter = segmenter_of(inputs, run, "cpu")
        for row in transforms.itertuples():
            image = read_aligned(inputs.images_folder, row.image_id)
            truth = truth_of(truth_folder, row.image_id)
            found, score = masks.loc[row.image_id], scores.loc[row.image_id]
            figure = plot_panel(
                [
                    image_view(image, note=f"{image.shape[1]} × {image.shape[0]} px."),
                    _truth_view(image, truth, score),
                    *views_of(segmenter, row, image, truth),
                    _final_view(image, found),
                ],
                title=title,
                subtitle=_subtitle(row.image_id, score),
                caption=result_words(score, threshold=limits.get(row.image_id)),
            )
            path = image_file(folder, row.image_id)
            write_atomically(path, partial(save_panel, figure))
            yield {
                **{key: found[key] for key in ("dataset", "method", "prompt")},
                "image_id": row.image_id,
                "path": path.relative_to(results_folder).as_posix(),
            }


def truth_of(folder: str | Path, image_id: str) -> np.ndarray | None:
    """Warped truth of an image, bool (H, W); None where there is no file."""
    is_drawn = image_file(folder, image_id).is_file()
    return read_warped(folder, image_id) == DEFECT if is_drawn else None


def panel_images(
    dataset: str,
    scores: str | Path,
    *,
    shown: Sequence[str | Path],
    panels: str,
    n_overlays: int,
    seed: int,
) -> list[str]:
    """Say which images get a panel.

    Args:
        dataset: The data set's id.
        scores: Scores table of the run.
        shown: Scores tables of all runs of the data set, for `chosen`.
        panels: `chosen`: those of the overlay figure; `all`: every one.
        n_overlays: Rows of the overlay figure.
        seed: Of the random draw among them.
    """
    if panels == "chosen":
        chosen, _ = shown_images(
            dataset, read_tables(shown, schema=SCORES), n_images=n_overlays, seed=seed
        )
        return list(chosen["image_id"])
    return list(read_table(scores, schema=SCORES, columns=["image_id"])["image_id"])


def panel_head(
    dataset: str,
    method: str,
    prompt: str,
    *,
    methods: Mapping[str, Mapping[str, Any]],
    datasets: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Word the `title` of the panels of a run.

    Args:
        dataset: The data set's id.
        method: Name of the method block.
        prompt: Name of the prompt set.
        methods: What is said of each method.
        datasets: What is said of each data set.
    """
    about = methods[method]
    name = about.get("name") or about["label"]
    details = [f"{about['variant']} variant"] if "variant" in about else []
    details += [] if prompt == NO_PROMPT else [f"prompt set {prompt}"]
    told = f" ({', '.join(details)})" if details else ""
    return {
        "title": f"{name}{told} on {datasets[dataset]['name']}",
    }


def _remove_others(folder: str | Path, image_ids: Iterable[str]) -> None:
    """Remove the panels of images that are not wanted."""
    wanted = {image_file(folder, image_id) for image_id in image_ids}
    for path in Path(folder).rglob("*.png"):
        if path not in wanted:
            path.unlink()


def _final_view(image: np.ndarray, found: Any) -> View:
    mask = decode_mask(
        found["mask_rle"],
        height_px=int(found["mask_height_px"]),
        width_px=int(found["mask_width_px"]),
    )
    share = 100 * float(mask.mean())
    note = f"{share:.2g} % of the image." if mask.any() else "No pixel is marked."
    return mask_view(image, mask, title="Final mask", note=note)


def _truth_view(image: np.ndarray, truth: np.ndarray | None, score: Any) -> View:
    if truth is not None and truth.any():
        return mask_view(image, truth, title="Ground truth", note=f"{int(truth.sum())} px.")
    if score["label"] == "OK":
        note = "A good part: there is no defect."
    elif score["lost_px"]:
        note = "Alignment moved the defect out of the image."
    else:
        note = "Nobody drew where the defect is."
    return image_view(image, title="Ground truth", note=note)


def _subtitle(image_id: str, score: Any) -> str:
    if score["label"] == "OK":
        return f"{image_id}: good part"
    kind = score["defect_type"]
    return f"{image_id}: defective part" + ("" if pd.isna(kind) else f" ({kind})")


def files_of_shards(
    files: Mapping[str, str | Path | Sequence[str | Path]],
) -> list[dict[str, str | Path]]:
    """Turn files by name, some of them one a shard, into files by name of each shard.

    >>> files_of_shards({"boxes": ["a", "b"], "thresholds": "t"})
    [{'boxes': 'a', 'thresholds': 't'}, {'boxes': 'b', 'thresholds': 't'}]
    """
    numbers = {len(paths) for paths in files.values() if not isinstance(paths, str | Path)}
    if len(numbers) > 1:
        raise ValueError(f"files: expected as many shards of each kind of file, found {numbers}")
    return [
        {n: p if isinstance(p, str | Path) else p[index] for n, p in files.items()}
        for index in range(max(numbers, default=1))
    ]
