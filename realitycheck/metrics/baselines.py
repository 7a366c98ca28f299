"""What is reached without any model: the floors that every score must beat."""

import numpy as np

from realitycheck.core.constants import LABEL_FLOORS, MASK_FLOORS
from realitycheck.metrics.classification import Confusion, f_beta

VERDICT_FLOORS = (*LABEL_FLOORS, "coin_at_prevalence")
FLOORS = VERDICT_FLOORS + MASK_FLOORS


def reject_everything(n_nok: int, n_ok: int) -> Confusion:
    """Reject each part: no defective part slips, every good one is lost."""
    _check_counts(n_nok, n_ok)
    return Confusion(tp=n_nok, fp=n_ok, fn=0, tn=0)


def accept_everything(n_nok: int, n_ok: int) -> Confusion:
    """Accept each part, which is to have no inspection at all."""
    _check_counts(n_nok, n_ok)
    return Confusion(tp=0, fp=0, fn=n_nok, tn=n_ok)


def coin_at_prevalence(n_nok: int, n_ok: int) -> Confusion:
    """Reject each part with the probability that a part is defective, whatever it looks like.

    With p = n_nok / (n_nok + n_ok) the expected counts are tp = p n_nok, fn = (1 - p) n_nok,
    fp = p n_ok and tn = (1 - p) n_ok; they are no whole numbers. Precision, recall and every F
    score made from them are p.

    Returns:
        Expected counts, float.

    Raises:
        ValueError: If there is no part, so that there is no prevalence.
    """
    _check_counts(n_nok, n_ok)
    if n_nok + n_ok == 0:
        raise ValueError("a coin at the prevalence needs at least one part, but there is none")
    share = n_nok / (n_nok + n_ok)
    return Confusion(
        tp=share * n_nok, fp=share * n_ok, fn=(1 - share) * n_nok, tn=(1 - share) * n_ok
    )


def verdict_floors(n_nok: int, n_ok: int) -> dict[str, Confusion]:
    """Return the confusion counts of every floor in `VERDICT_FLOORS`, by name."""
    return {
        "reject_everything": reject_everything(n_nok, n_ok),
        "accept_everything": accept_everything(n_nok, n_ok),
        "coin_at_prevalence": coin_at_prevalence(n_nok, n_ok),
    }


def f2_floor(n_nok: int, n_ok: int) -> float:
    """Return the highest F2 that a floor reaches on a set of this size.

    Computed from the floors' confusion counts: 0.409 for 32 NOK and 231 OK, 0.600 for 76 and
    253, 0.935 for 382 and 133.

    Args:
        n_nok: Number of defective parts.
        n_ok: Number of good parts.

    Returns:
        F2 of the best floor; NaN without a defective part, where a score for finding them has no
        meaning.

    Raises:
        ValueError: If a count is negative.
    """
    _check_counts(n_nok, n_ok)
    if n_nok == 0:
        return float("nan")
    return max(f_beta(counts, 2.0) for counts in verdict_floors(n_nok, n_ok).values())


def floor_label(floor: str) -> str:
    """Return the verdict that a floor gives on every part.

    Raises:
        ValueError: If the floor has no verdict on the single part (the coin) or is not known.
    """
    labels = {"reject_everything": "NOK", "accept_everything": "OK"}
    if floor not in labels:
        raise ValueError(
            f"only {' and '.join(labels)} give the same verdict on every part, but the floor is "
            f"{floor!r}; the coin is known by its expected counts (coin_at_prevalence)"
        )
    return labels[floor]


def whole_image(height: int, width: int) -> np.ndarray:
    """Mark every pixel of an image as defective.

    Args:
        height: Height in pixels, above 0.
        width: Width in pixels, above 0.

    Returns:
        The mask, bool, shape (height, width), all True.

    Raises:
        ValueError: If a side is not above 0.
    """
    if height <= 0 or width <= 0:
        raise ValueError(f"an image needs sides above 0 px, but got {height} by {width}")
    return np.ones((height, width), dtype=bool)


def _check_counts(n_nok: int, n_ok: int) -> None:
    if n_nok < 0 or n_ok < 0:
        raise ValueError(f"numbers of parts cannot be negative, but got {n_nok} and {n_ok}")
