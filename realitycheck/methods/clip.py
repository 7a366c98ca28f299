"""CLIP and its stored features of texts, as the methods that use it open them."""

from __future__ import annotations

from functools import partial
from typing import Any

from realitycheck.encoders.base import Lazily
from realitycheck.encoders.clip import TextFeatures, text_store
from realitycheck.methods.base import Inputs, Run
from realitycheck.models.clip.model import load_clip


def open_clip(inputs: Inputs, run: Run, device: str) -> Any:
    """CLIP, from its checked file."""
    return load_clip(inputs.weights("clip"), variant=run.networks["clip"]["variant"], device=device)


def open_texts(inputs: Inputs, run: Run, device: str) -> TextFeatures:
    """CLIP's features of texts; CLIP is loaded only for a text that is not stored yet."""
    store = text_store(
        inputs.encodings_folder / "texts",
        settings=run.networks["clip"],
        weights={"clip": run.weights["clip"]},
    )
    return TextFeatures(store, Lazily(partial(open_clip, inputs, run, device)))
