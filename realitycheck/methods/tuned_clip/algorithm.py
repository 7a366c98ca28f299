"""CLIP with a learned prompt: the words before the object are trained, CLIP itself is not.

Each part is called flawless or defective, as by `clip_zero_shot`, but in place of sentences written
by hand the two texts begin with a few vectors that are learned through the frozen text tower, on
features of labelled images. Every image gets its verdict from vectors that did not see it.

Source: Zhou et al. (2022), Learning to Prompt for Vision-Language Models (CoOp): one context for
all classes, the class at the end, begun as "a photo of a".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from realitycheck.core.imports import without_compiler
from realitycheck.methods.base import OutOfFold
from realitycheck.methods.clip_zero_shot.algorithm import classify
from realitycheck.metrics.folds import assign_folds
from realitycheck.models.clip.model import LOGIT_SCALE, embed_words, text_features, tokenize

if TYPE_CHECKING:
    import torch

CALLS = ("flawless {}", "defective {}")
"""How a good and a bad part are called; `{}` is the object."""

FIRST_WORDS = "a photo of a"
"""What the learned vectors begin as, over and over where there are more of them."""


@without_compiler()
def learn_context(
    model: torch.nn.Module,
    features: np.ndarray,
    is_nok: np.ndarray,
    objects: Sequence[str],
    *,
    n_context: int = 4,
    n_steps: int = 100,
    learning_rate: float = 2e-3,
) -> torch.Tensor:
    """Learn the vectors before the object.

    loss = weighted mean over images of −log softmax(100 · [image·OK, image·NOK])[label]

    with weights that let the rarer label count as much as the more frequent one. Every step of Adam
    takes all images, and its pace falls to zero by a half cosine, so nothing is left to chance.

    Args:
        model: From `realitycheck.models.clip.model.load_clip`.
        features: CLIP features of the images, (N, D), rows of length 1.
        is_nok: bool, (N,); with both labels in it.
        objects: What each image shows, N of them, singular, without an article.
        n_context: Number of vectors.
        n_steps: Steps of the optimiser.
        learning_rate: Its first pace.

    Returns:
        float32, (n_context, W), W the width of the text tower.

    Raises:
        ValueError: If a label is missing, or a text is too long for the model.
    """
    import torch
    from torch.nn.functional import cross_entropy

    counts = np.bincount(is_nok.astype(np.int64), minlength=2)
    if counts.min() == 0:
        raise ValueError(f"expected good and bad parts to learn from, found {counts.tolist()}")
    names = sorted(set(objects))
    tokens = _tokens(model, names, n_context=n_context)
    device = model.text_projection.device
    pictures = torch.from_numpy(np.asarray(features, np.float32)).to(device)
    labels = torch.from_numpy(is_nok.astype(np.int64)).to(device)
    rows = torch.tensor([names.index(name) for name in objects], device=device)
    weights = torch.from_numpy(len(labels) / (2 * counts)).float().to(device)
    words = embed_words(model, tokenize(model, [FIRST_WORDS]))[0, 1 : 1 + len(FIRST_WORDS.split())]
    context = words[[index % len(words) for index in range(n_context)]].clone().requires_grad_()
    optimiser = torch.optim.Adam([context], lr=learning_rate)
    with torch.enable_grad():
        for step in range(n_steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 + math.cos(math.pi * step / n_steps)) / 2
            states = _states(model, tokens, context)[rows]
            logits = LOGIT_SCALE * torch.einsum("nd,nkd->nk", pictures, states)
            optimiser.zero_grad()
            cross_entropy(logits, labels, weight=weights).backward()
            optimiser.step()
    return context.detach()


def encode_states(
    model: torch.nn.Module, context: torch.Tensor, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Encode the two texts of each object with learned vectors: good first, bad second.

    Args:
        model: From `realitycheck.models.clip.model.load_clip`.
        context: From `learn_context`.
        names: Objects.

    Returns:
        By object, float32, (2, D), rows of length 1.
    """
    import torch

    with torch.inference_mode():
        states = _states(model, _tokens(model, names, n_context=len(context)), context)
    return dict(zip(names, states.float().cpu().numpy(), strict=True))


def classify_out_of_fold(
    model: torch.nn.Module,
    features: np.ndarray,
    labels: Sequence[str],
    *,
    categories: Sequence[str],
    groups: Sequence[str],
    objects: Mapping[str, str],
    n_folds: int = 5,
    threshold: float = 0.5,
    seed: int = 0,
    **options: float,
) -> OutOfFold:
    """Give every image a verdict by vectors that were learned on the other folds.

    Args:
        model: From `realitycheck.models.clip.model.load_clip`.
        features: CLIP features of whole images, (N, D), rows of length 1.
        labels: OK or NOK, N of them.
        categories: Category of each image.
        groups: Group of each image; a group is never on both sides.
        objects: What the images of a category show.
        n_folds: Number of folds, those of the supervised baseline.
        threshold: Probability of NOK above which an image is NOK.
        seed: Of the folds.
        options: Of `learn_context`.

    Raises:
        ValueError: If a label has fewer groups than folds.
    """
    labels, categories = np.asarray(labels), np.asarray(categories)
    folds = assign_folds(labels, np.asarray(groups), n_folds=n_folds, seed=seed)
    shown = np.array([objects[category] for category in categories])
    scores, predicted = np.empty(len(labels)), np.empty(len(labels), object)
    for fold in range(n_folds):
        train = folds != fold
        context = learn_context(
            model, features[train], labels[train] == "NOK", shown[train].tolist(), **options
        )
        states = encode_states(model, context, sorted(set(shown)))
        for name, texts in states.items():
            rows = np.flatnonzero(~train & (shown == name))
            if len(rows):
                predicted[rows], scores[rows] = classify(features[rows], texts, threshold=threshold)
    return OutOfFold(scores, predicted.astype(str), folds, np.full(n_folds, threshold))


def _tokens(model: torch.nn.Module, names: Sequence[str], *, n_context: int) -> torch.Tensor:
    """Tokens of both texts of each object, (2 · K, L), with places for the vectors at the front."""
    places = " ".join(["x"] * n_context)
    return tokenize(
        model, [f"{places} {call.replace('{}', name)}." for name in names for call in CALLS]
    )


def _states(model: torch.nn.Module, tokens: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Features of the texts with the vectors in their places, (K, 2, D)."""
    import torch

    words = embed_words(model, tokens)
    own = context.to(words.dtype).expand(len(words), -1, -1)
    words = torch.cat([words[:, :1], own, words[:, 1 + len(context) :]], dim=1)
    return text_features(model, tokens, words).unflatten(0, (-1, len(CALLS)))
