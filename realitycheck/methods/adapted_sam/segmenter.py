"""SAM with a mask decoder that learned from the labelled images of the other folds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.files import write_atomically
from realitycheck.core.job import counting
from realitycheck.core.masks import DEFECT, UNDECIDED
from realitycheck.core.pictures import read_warped
from realitycheck.core.schemas import MANIFEST, THRESHOLDS, TRANSFORMS, TRUTH
from realitycheck.core.tables import check_rows
from realitycheck.encoders.base import Encodings
from realitycheck.methods.adapted_sam.algorithm import (
    AdaptedSam,
    Example,
    adapt,
    defect_map,
    make_example,
    read_adapted,
    write_adapted,
)
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.thresholds import segment
from realitycheck.metrics.folds import assign_folds
from realitycheck.models.sam.load import load_sam
from realitycheck.models.sam.model import SamDimensions, SamModel

log = logging.getLogger(__name__)

#: A pixel belongs to the mask if it is more likely defective than not: SAM's own logit 0.
THRESHOLD = 0.5

#: Fewest defective images with a truth mask that a decoder is trained on.
_LEAST_DEFECTIVE = 2


def open(inputs: Inputs, run: Run, device: str) -> AdaptedSamSegmenter:
    """Open decoders and embeddings."""
    return AdaptedSamSegmenter(
        read_adapted(inputs.path("decoders"), device=device),
        inputs.table("thresholds", THRESHOLDS).set_index("image_id"),
        inputs.encodings("embeddings"),
        settings=run.settings,
    )


@dataclass(frozen=True)
class AdaptedSamSegmenter:
    """SAM with a decoder that saw no image of a fold, on the images of that fold.

    Attributes:
        decoders: Decoder of each fold.
        about: Fold and threshold of every image, by image id.
        embeddings: Stored image embeddings.
        settings: The method block.
    """

    decoders: Mapping[int, AdaptedSam]
    about: pd.DataFrame
    embeddings: Encodings
    settings: Mapping[str, Any]

    def fold(self, row: Any) -> int:
        """Fold of an image."""
        return int(self.about.loc[row.image_id, "fold"])

    def limit(self, row: Any) -> float:
        """Threshold of an image."""
        return float(self.about.loc[row.image_id, "threshold"])

    def score_map(self, row: Any) -> np.ndarray:
        """How likely each pixel is defective, float32, (H, W)."""
        return defect_map(
            self.decoders[self.fold(row)],
            self.embeddings.of(row.image_id)["embedding"],
            image_size_hw=(int(row.height_px), int(row.width_px)),
        )

    def segment(self, row: Any) -> Segmentation:
        """Mark the pixels that are more likely defective than not."""
        min_area_px = self.settings["min_area_px"]
        return segment(self.score_map(row), THRESHOLD, min_area_px=min_area_px)


def fit(
    inputs: Inputs, run: Run, device: str, outputs: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Train a decoder for every fold, on the labelled images of the others."""
    manifest, truth = inputs.table("manifest", MANIFEST), inputs.table("truth", TRUTH)
    folds = labelled_folds(manifest, truth, settings=run.settings, dataset=run.dataset)
    sam = load_sam(
        inputs.weights("sam"),
        variant=run.networks["sam"]["variant"],
        device=device,
        parts=("prompt_encoder", "mask_decoder"),
    )
    examples = read_examples(
        manifest,
        truth,
        inputs.table("transforms", TRANSFORMS),
        truth_folder=inputs.path("truth").parent,
        ignore_border=run.ignore_border,
        dimensions=sam.dimensions,
    )
    embeddings = inputs.encodings("embeddings")
    with counting(f"{run.dataset}, {run.method}: training steps") as count:
        decoders = adapt_out_of_fold(
            sam,
            examples,
            dict(zip(manifest["image_id"], folds, strict=True)),
            lambda image_id: embeddings.of(image_id)["embedding"],
            settings=run.settings,
            count=count,
        )
        write_decoders(dict(decoders), outputs["decoders"])
    return fold_rows(manifest, folds)


def labelled_folds(
    manifest: pd.DataFrame, truth: pd.DataFrame, *, settings: Mapping[str, Any], dataset: str
) -> np.ndarray:
    """Deal the scored images into folds, as the supervised baseline does, and see what they teach.

    Args:
        manifest: Scored images.
        truth: Their truth table.
        settings: `n_folds` and the `seed` of the deal.
        dataset: Name for messages.

    Returns:
        Fold of each image in the manifest's order, int64, (N,).

    Raises:
        ValueError: If a label has fewer independent parts than folds, or a fold leaves too few
            defective images with a truth mask to learn from.
    """
    check_rows(truth, manifest["image_id"], where="truth table")
    groups = manifest["group"].fillna(manifest["image_id"])
    try:
        folds = assign_folds(
            manifest["label"], groups, n_folds=settings["n_folds"], seed=settings["seed"]
        )
    except ValueError as error:
        raise ValueError(
            f"data set {dataset}: adapted_sam learns from labelled images in folds; {error}, or "
            f"leave the method out with datasets.{dataset}.methods"
        ) from None
    is_drawn = manifest["image_id"].isin(_with_truth(manifest, truth, label="NOK")).to_numpy()
    for fold in range(settings["n_folds"]):
        found = int((is_drawn & (folds != fold)).sum())
        if found < _LEAST_DEFECTIVE:
            n_defective = int((manifest["label"] == "NOK").sum())
            raise ValueError(
                f"data set {dataset}, fold {fold}: adapted_sam needs at least {_LEAST_DEFECTIVE} "
                f"defective images with a truth mask in the other folds, found {found} "
                f"({int(is_drawn.sum())} of {n_defective} defective images have one); draw masks "
                f"of more of them, or leave the method out with datasets.{dataset}.methods"
            )
    return folds


def read_examples(
    manifest: pd.DataFrame,
    truth: pd.DataFrame,
    transforms: pd.DataFrame,
    *,
    truth_folder: str | Path,
    ignore_border: str,
    dimensions: SamDimensions,
) -> dict[str, Example]:
    """Read what each image teaches: its truth mask, or, of a good image, that there is none.

    Args:
        manifest: Scored images.
        truth: Their truth table.
        transforms: Their transforms table.
        truth_folder: Folder of the warped truth masks.
        ignore_border: What undecided pixels count as.
        dimensions: Of SAM.

    Returns:
        By image id; none of a defective image that nobody drew a mask for.
    """
    good = _with_truth(manifest, truth, label="OK")
    wanted = good | _with_truth(manifest, truth, label="NOK")
    examples = {}
    for row in transforms[transforms["image_id"].isin(wanted)].itertuples():
        shape = (int(row.height_px), int(row.width_px))
        pixels = np.zeros(shape, np.uint8)
        if row.image_id not in good:
            pixels = read_warped(truth_folder, row.image_id)
        defective, undecided = pixels == DEFECT, pixels == UNDECIDED
        if ignore_border == "foreground":
            defective |= undecided
        if ignore_border != "ignore":
            undecided = np.zeros_like(undecided)
        examples[row.image_id] = make_example(
            row.image_id, defective, undecided, dimensions=dimensions
        )
    return examples


def adapt_out_of_fold(
    sam: SamModel,
    examples: Mapping[str, Example],
    folds: Mapping[str, int],
    embedding_of: Callable[[str], np.ndarray],
    *,
    settings: Mapping[str, Any],
    count: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[int, AdaptedSam]]:
    """Train a decoder for every fold, on the images of the others.

    Args:
        sam: Prompt encoder and mask decoder.
        examples: What each image teaches.
        folds: Fold of each image.
        embedding_of: Embedding of an image by its id.
        settings: The method block.
        count: Is told how many steps of all are done.

    Yields:
        Fold, and the decoder that saw none of its images.
    """
    numbers, n_steps = sorted(set(folds.values())), settings["n_steps"]
    for place, fold in enumerate(numbers):
        adapted, losses = adapt(
            sam,
            [example for image_id, example in examples.items() if folds[image_id] != fold],
            embedding_of,
            n_steps=n_steps,
            batch_size=settings["batch_size"],
            learning_rate=settings["learning_rate"],
            rng=np.random.default_rng([settings["seed"], fold]),
            count=lambda done, before=place * n_steps: count(before + done, len(numbers) * n_steps),
        )
        tenth = max(1, n_steps // 10)
        log.info(
            "fold %d: loss %.3f in the first tenth of the steps, %.3f in the last",
            fold,
            np.mean(losses[:tenth]),
            np.mean(losses[-tenth:]),
        )
        yield fold, adapted


def write_decoders(decoders: Mapping[int, AdaptedSam], path: str | Path) -> None:
    """Write the decoder of every fold into one file, which exists whole or not at all."""
    write_atomically(path, lambda temporary: write_adapted(decoders, temporary))


def fold_rows(manifest: pd.DataFrame, folds: np.ndarray) -> Iterator[dict[str, Any]]:
    """Fold of every scored image and the threshold on its map, as rows of the thresholds table."""
    for row, fold in zip(manifest.itertuples(), folds, strict=True):
        yield {
            "dataset": row.dataset,
            "image_id": row.image_id,
            "threshold": THRESHOLD,
            "fold": int(fold),
        }


def _with_truth(manifest: pd.DataFrame, truth: pd.DataFrame, *, label: str) -> set[str]:
    """Images of a label whose truth is known, and, where it must show a defect, shows one."""
    known = truth[truth["has_truth"] & ((truth["truth_px"] > truth["lost_px"]) | (label == "OK"))]
    return set(manifest.loc[manifest["label"] == label, "image_id"]) & set(known["image_id"])
