"""Stage 3: CLIP features of mask crops, patch features of CLIP Surgery, and of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.provenance import source_digest
from realitycheck.core.store import EncodingStore
from realitycheck.encoders.automatic_masks import unpacked_masks
from realitycheck.models.clip.model import crop_features, encode_text, text_ensemble
from realitycheck.models.clip.surgery import encode_tokens, surgery_input


def clip_store(
    folder: str | Path, *, encoder: str, settings: Mapping[str, Any], weights: Mapping[str, str]
) -> EncodingStore:
    """Store of one kind of CLIP features under these settings and weights, and today's code."""
    facts = {
        "encoder": encoder,
        "settings": dict(settings),
        "weights": weights,
        "code": source_digest("realitycheck.models.clip.model", "realitycheck.models.clip.surgery"),
    }
    return EncodingStore(folder, facts=facts)


def crop_encoder(
    model: Callable[[], Any],
    masks: EncodingStore,
    *,
    keys: Mapping[str, str],
    settings: Mapping[str, Any],
    batch_size: int,
    precision: str = "float32",
) -> Callable[[Sequence[tuple[Any, np.ndarray]]], list[dict[str, np.ndarray]]]:
    """Encode the crops of stored automatic masks.

    Args:
        model: Gives CLIP.
        masks: Stored automatic masks.
        keys: Key of each image's masks.
        settings: `switches` of `sam_clip`.
        batch_size: Crops of one forward pass.
        precision: See `precision.arithmetic`.

    Returns:
        A function from rows of the transforms table, each with its image, to `features`, (M, D).
    """
    switches = settings["switches"]

    def compute(pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        found = []
        for row, image in pairs:
            entry = masks.get(keys[row.image_id])
            features = crop_features(
                model(),
                image,
                masks=unpacked_masks(
                    entry, height_px=int(row.height_px), width_px=int(row.width_px)
                ),
                boxes=entry["boxes"],
                swap_canvas=switches["swap_canvas"],
                inclusive_bbox=switches["inclusive_bbox"],
                batch_size=batch_size,
                precision=precision,
            )
            found.append({"features": features})
        return found

    return compute


def patch_encoder(
    model: Callable[[], Any],
    *,
    settings: Mapping[str, Any],
    precision: str = "float32",
) -> Callable[[Sequence[tuple[Any, np.ndarray]]], list[dict[str, np.ndarray]]]:
    """Encode patches by CLIP Surgery.

    Args:
        model: Gives CLIP.
        settings: `switches` and input size of `clip_surgery_sam`.
        precision: See `precision.arithmetic`.

    Returns:
        A function from rows of the transforms table, each with its image, to `tokens`,
        (1 + g², D).
    """
    import torch

    switches = settings["switches"]

    def compute(pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        pixels = torch.stack(
            [
                surgery_input(
                    image,
                    double_norm=switches["double_norm"],
                    antialias=switches["antialias"],
                    clip_input_size=settings["clip_input_size"],
                )
                for _, image in pairs
            ]
        )
        tokens = encode_tokens(model(), pixels, surgery=switches["surgery"], precision=precision)
        return [{"tokens": np.asarray(each, np.float32)} for each in tokens]

    return compute


class TextFeatures:
    """CLIP features of texts, computed once and kept for every data set, shard and method.

    Args:
        store: Where they are kept.
        model: Gives CLIP; called only for a text that is not there.
    """

    def __init__(self, store: EncodingStore, model: Callable[[], Any]):
        self._store = store
        self._model = model

    def bare(self, text: str) -> np.ndarray:
        """Feature of a text as it stands, (D,)."""
        return self._kept(f"bare/{text}", lambda: encode_text(self._model(), [text])[0])

    def ensemble(self, phrase: str) -> np.ndarray:
        """Mean feature of a phrase over CLIP Surgery's sentences, (D,); the phrase may be empty."""
        return self._kept(f"ensemble/{phrase}", lambda: text_ensemble(self._model(), phrase))

    def _kept(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        key = self._store.key(hashlib.sha256(name.encode()).hexdigest())
        if not self._store.has(key):
            self._store.put(key, {"feature": np.asarray(compute(), np.float32)})
        return self._store.get(key)["feature"]
