"""Every cached encoding by its name; its module is imported when it is asked for."""

from __future__ import annotations

from realitycheck.core.registry import Registry

_HERE = "realitycheck.encoders"

#: Class of each encoding, a `realitycheck.encoders.base.Encoder`, in the order of the rules.
ENCODERS = Registry(
    "encoding",
    shipped={
        "sam_embeddings": f"{_HERE}.sam_embeddings:SamEmbeddings",
        "automatic_masks": f"{_HERE}.automatic_masks:AutomaticMasks",
        "crops": f"{_HERE}.clip:Crops",
        "patches": f"{_HERE}.clip:Patches",
        "clip_features": f"{_HERE}.clip:ClipFeatures",
        "saliency": f"{_HERE}.saliency:SaliencyMaps",
        "resnet_features": f"{_HERE}.resnet_features:ResnetFeatures",
    },
)
