"""Every cached encoding by its name; its module is imported when it is asked for."""

from __future__ import annotations

import pkgutil

from realitycheck.encoders.base import Encoder

#: Module and class of each encoding, in the order of the rules.
ENCODERS = {
    "sam_embeddings": "realitycheck.encoders.sam_embeddings:SamEmbeddings",
    "automatic_masks": "realitycheck.encoders.automatic_masks:AutomaticMasks",
    "crops": "realitycheck.encoders.clip:Crops",
    "patches": "realitycheck.encoders.clip:Patches",
    "clip_features": "realitycheck.encoders.clip:ClipFeatures",
    "saliency": "realitycheck.encoders.saliency:SaliencyMaps",
    "resnet_features": "realitycheck.encoders.resnet_features:ResnetFeatures",
}


def encoder_of(name: str) -> type[Encoder]:
    """Give the class of an encoding.

    Raises:
        ValueError: If there is no encoding of this name.
    """
    if name not in ENCODERS:
        raise ValueError(f"encoding: expected one of {', '.join(ENCODERS)}, found {name!r}")
    return pkgutil.resolve_name(ENCODERS[name])


def module_of(name: str) -> str:
    """Name of an encoding's module, for the digest of a rule's code."""
    encoder_of(name)
    return ENCODERS[name].partition(":")[0]
