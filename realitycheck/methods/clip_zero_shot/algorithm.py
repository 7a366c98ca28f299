"""CLIP zero-shot: is the part in this picture called flawless, or called defective?

One CLIP feature of the whole image is compared with two texts, each an ensemble of many sentences.
It is the simplest verdict that a text prompt can give, and so the floor for the larger models.

Sources: Radford et al. (2021), the CLIP paper, zero-shot classification with prompt ensembles;
Jeong et al. (2023), WinCLIP, for the idea of combining states with photo templates. The sentences
are this project's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from realitycheck.models.clip.model import LOGIT_SCALE, encode_ensemble, softmax

if TYPE_CHECKING:
    import torch

SENTENCES_VERSION = 1
"""Rises with every change of the words below, which changes every score."""

OK_STATES = (
    "flawless {}",
    "intact {}",
    "undamaged {}",
    "{} in perfect condition",
    "{} as it left the factory",
    "{} that passed inspection",
    "{} without any defect",
    "{} with a clean and regular surface",
)
"""How a good part is called; `{}` is the object."""

NOK_STATES = (
    "defective {}",
    "damaged {}",
    "faulty {}",
    "{} in bad condition",
    "{} that failed inspection",
    "{} with a defect",
    "{} with a flaw",
    "{} with visible damage",
)
"""How a bad part is called; `{}` is the object."""

NAMED_DEFECT_STATES = ("{object} with {defect}", "{object} showing {defect}")
"""Added to `NOK_STATES` for each defect that the user names."""

PHOTO_TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a blurry photo of a {}.",
    "a sharp photo of the {}.",
    "a grey-scale image of a {}.",
    "an inspection image of the {}.",
    "an image of a {} taken in a factory.",
    "there is a {} in the picture.",
)
"""The sentences around a state; `{}` is the state with its object."""


def state_sentences(
    object_name: str, *, defects: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write all sentences that call a part good, and all that call it bad.

    Args:
        object_name: What the pictures show, such as `carpet`; singular, without an article.
        defects: Defects that may occur, such as `a scratch`; each adds sentences to the bad side.

    Returns:
        Good sentences, then bad ones.

    Raises:
        ValueError: If the object or a defect is blank.
    """
    blank = [name for name in (object_name, *defects) if not name.strip()]
    if blank:
        raise ValueError(
            f"object_name and defects: expected words, found a blank one ({blank[0]!r}); name what "
            f"the pictures show, such as 'carpet'"
        )
    ok = [state.replace("{}", object_name) for state in OK_STATES]
    nok = [state.replace("{}", object_name) for state in NOK_STATES]
    nok += [
        state.format(object=object_name, defect=defect)
        for defect in defects
        for state in NAMED_DEFECT_STATES
    ]
    return (
        tuple(template.replace("{}", state) for template in PHOTO_TEMPLATES for state in ok),
        tuple(template.replace("{}", state) for template in PHOTO_TEMPLATES for state in nok),
    )


def encode_states(
    model: torch.nn.Module, object_name: str, *, defects: Sequence[str] = ()
) -> np.ndarray:
    """Encode the two texts: good first, bad second.

    Args:
        model: From `realitycheck.models.clip.model.load_clip`.
        object_name: See `state_sentences`.
        defects: See `state_sentences`.

    Returns:
        float32, shape (2, D), rows of length 1.
    """
    return np.stack(
        [
            encode_ensemble(model, sentences)
            for sentences in state_sentences(object_name, defects=defects)
        ]
    )


def classify(
    image_features: np.ndarray,
    state_features: np.ndarray,
    *,
    threshold: float = 0.5,
    logit_scale: float = LOGIT_SCALE,
) -> tuple[np.ndarray, np.ndarray]:
    """Decide for every image which of the two texts describes it.

    score = softmax(logit_scale · [image·OK, image·NOK])[NOK]; NOK where score > threshold

    Args:
        image_features: Of whole images, from `realitycheck.models.clip.model.encode_crops`, shape
            (N, D), rows of length 1.
        state_features: From `encode_states`, shape (2, D).
        threshold: The score must lie above it for NOK, 0 to 1.
        logit_scale: Factor before the softmax, without unit.

    Returns:
        Labels, `OK` or `NOK`, shape (N,); scores, float64, shape (N,), the probability of NOK.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if (
        image_features.ndim != 2
        or state_features.shape != (2, image_features.shape[1])
        or not 0 <= threshold <= 1
    ):
        raise ValueError(
            f"expected image features (N, D), state features (2, D) and a threshold of 0 to 1, "
            f"found {image_features.shape}, {state_features.shape} and {threshold}"
        )
    cosines = image_features.astype(np.float64) @ state_features.astype(np.float64).T
    scores = softmax(logit_scale * cosines)[:, 1]
    return np.where(scores > threshold, "NOK", "OK"), scores
