"""What every segmentation method says of one image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Segmentation(NamedTuple):
    """What a method says of one image.

    Attributes:
        mask: bool, shape (H, W); all False unless `status` is `ok`.
        score: 0 to 1, or None where nothing was compared.
        n_regions: Masks that were united.
        status: `ok`, or why the mask is empty.
    """

    mask: np.ndarray
    score: float | None
    n_regions: int
    status: str
