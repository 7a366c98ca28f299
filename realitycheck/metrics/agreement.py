"""How far repeated verdicts on the same image agree with each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss' kappa, NaN where it is undefined.

    Source: Fleiss (1971), "Measuring nominal scale agreement among many raters".

    Args:
        counts: How often each image got each label, int, shape (N, K); equal row sums, 2 or more.
    """
    from statsmodels.stats.inter_rater import fleiss_kappa as kappa

    if len(counts) == 0 or np.count_nonzero(counts.sum(axis=0)) < 2:
        return float("nan")
    return float(kappa(counts))


class Agreement(NamedTuple):
    """Agreement of repeats.

    Attributes:
        n_images: Images asked about.
        n_complete: Of these, with a label in every repeat; the others are left out of the rest.
        n_samples: Repeats of an image.
        fleiss_kappa: 1: all agree; 0: as by chance; NaN where every label is the same or there is
            one repeat, because chance alone would then agree too.
        flip_rate: Share of complete images whose repeats do not all agree; NaN without any.
        pair_disagreement: Share of pairs of repeats on one image that differ; NaN likewise.
    """

    n_images: int
    n_complete: int
    n_samples: int
    fleiss_kappa: float
    flip_rate: float
    pair_disagreement: float


def agreement_of(verdicts: pd.DataFrame) -> Agreement:
    """Measure the agreement of repeats in a verdicts table of one method and prompt.

    Args:
        verdicts: Columns `image_id`, `sample` and `label_predicted` (OK, NOK, or null where there
            is no answer); every image with the same number of rows.

    Returns:
        Fleiss' kappa (Fleiss 1971), the flip rate and the disagreement of pairs.

    Raises:
        ValueError: If images have different numbers of repeats, or a repeat occurs twice.
    """
    if verdicts.duplicated(["image_id", "sample"]).any():
        raise ValueError(
            "a repeat of an image occurs twice; give the rows of one method and prompt"
        )
    sizes = verdicts.groupby("image_id").size()
    if sizes.nunique() > 1:
        raise ValueError(
            f"every image needs the same number of repeats, got {sizes.min()} to {sizes.max()}"
        )
    labels = verdicts["label_predicted"]
    counts = (
        pd.DataFrame({"OK": labels == "OK", "NOK": labels == "NOK"})
        .groupby(verdicts["image_id"])
        .sum()
        .to_numpy()
    )
    n_samples = int(sizes.iloc[0]) if len(sizes) else 0
    complete = counts[counts.sum(axis=1) == n_samples]
    if n_samples < 2 or not len(complete):
        return Agreement(len(sizes), len(complete), n_samples, np.nan, np.nan, np.nan)
    pairs = n_samples * (n_samples - 1)
    differing = 1 - (complete * (complete - 1)).sum(axis=1) / pairs
    return Agreement(
        len(sizes),
        len(complete),
        n_samples,
        fleiss_kappa(complete),
        float((complete.max(axis=1) < n_samples).mean()),
        float(differing.mean()),
    )
