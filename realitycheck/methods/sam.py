"""SAM's decoder, as the methods that use it open it."""

from __future__ import annotations

from functools import partial

from realitycheck.encoders.base import Lazily
from realitycheck.methods.base import Inputs, Run
from realitycheck.models.sam.load import load_sam


def open_decoder(inputs: Inputs, run: Run, device: str) -> Lazily:
    """SAM's prompt encoder and mask decoder, from its checked file, loaded when first called."""
    return Lazily(
        partial(
            load_sam,
            inputs.weights("sam"),
            variant=run.networks["sam"]["variant"],
            precision=run.networks["sam"]["precision"],
            device=device,
            parts=("prompt_encoder", "mask_decoder"),
        )
    )
