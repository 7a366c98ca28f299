"""CLIP features of mask crops and of whole images, patch features of CLIP Surgery, and of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.store import EncodingStore
from realitycheck.encoders.automatic_masks import unpacked_masks
from realitycheck.encoders.base import Encoder, encoding_store

_CODE = ("realitycheck.models.clip.model", "realitycheck.models.clip.surgery")


class Crops(Encoder):
    """`features`, (M, D), of the crops of an image's automatic masks."""

    rule = "encode_crops"
    summary = "Encode the crops of the automatic masks with CLIP."
    step = "crops"
    counted = "images whose crops are encoded"
    network = "clip"
    folder = log_folder = "crops/{method}"
    settings_of = "crops_settings"
    source = ("automatic_masks", "masks")
    seconds_per_image = 3
    is_batched = False
    code = _CODE

    def key(self, row: Any) -> str:
        """The pixels, and the masks that are cut out of them."""
        return f"{row.pixels_sha256}/{self.stored.keys[row.image_id]}"

    def encode(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Encode the crops, some together, by the `switches` of the settings."""
        from realitycheck.models.clip.model import crop_features

        switches = self.settings["switches"]
        found = []
        for row, image in pairs:
            entry = self.stored.of(row.image_id)
            features = crop_features(
                self.model(),
                image,
                masks=unpacked_masks(
                    entry, height_px=int(row.height_px), width_px=int(row.width_px)
                ),
                boxes=entry["boxes"],
                swap_canvas=switches["swap_canvas"],
                inclusive_bbox=switches["inclusive_bbox"],
                batch_size=8 * self.batch_size,
                precision=self.precision,
            )
            found.append({"features": features})
        return found


class Patches(Encoder):
    """`tokens`, (1 + g², D), of an image by CLIP Surgery."""

    rule = "encode_patches"
    summary = "Encode patches with CLIP Surgery."
    step = "patches"
    counted = "images whose patches are encoded"
    network = "clip"
    folder = log_folder = "patches/{method}"
    settings_of = "patches_settings"
    seconds_per_image = 1
    code = _CODE

    def encode(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Encode images by the `switches` and `clip_input_size` of the settings."""
        import torch

        from realitycheck.models.clip.surgery import encode_tokens, surgery_input

        switches = self.settings["switches"]
        pixels = torch.stack(
            [
                surgery_input(
                    image,
                    double_norm=switches["double_norm"],
                    antialias=switches["antialias"],
                    clip_input_size=self.settings["clip_input_size"],
                )
                for _, image in pairs
            ]
        )
        tokens = encode_tokens(
            self.model(), pixels, surgery=switches["surgery"], precision=self.precision
        )
        return [{"tokens": np.asarray(each, np.float32)} for each in tokens]


class ClipFeatures(Encoder):
    """`feature`, (D,), of a whole image."""

    rule = "encode_clip_features"
    summary = "Encode whole images with CLIP."
    step = "clip features"
    counted = "images whose clip features are encoded"
    network = "clip"
    folder = "clip_features"
    log_folder = ""
    seconds_per_image = 1
    code = ("realitycheck.models.clip.model",)

    def encode(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Encode images as they are, no part cut out."""
        from realitycheck.models.clip.model import encode_crops

        images = [image for _, image in pairs]
        features = encode_crops(self.model(), images, precision=self.precision)
        return [{"feature": feature} for feature in features]


def text_store(
    folder: str | Path, *, settings: Mapping[str, Any], weights: Mapping[str, str]
) -> EncodingStore:
    """Store of the features of texts under CLIP's settings and weights, and today's code."""
    return encoding_store(folder, encoder="texts", code=_CODE, settings=settings, weights=weights)


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
        from realitycheck.models.clip.model import encode_text

        return self._kept(f"bare/{text}", lambda: encode_text(self._model(), [text])[0])

    def ensemble(self, phrase: str) -> np.ndarray:
        """Mean feature of a phrase over CLIP Surgery's sentences, (D,); the phrase may be empty."""
        from realitycheck.models.clip.model import text_ensemble

        return self._kept(f"ensemble/{phrase}", lambda: text_ensemble(self._model(), phrase))

    def _kept(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        key = self._store.key(hashlib.sha256(name.encode()).hexdigest())
        if not self._store.has(key):
            self._store.put(key, {"feature": np.asarray(compute(), np.float32)})
        return self._store.get(key)["feature"]
