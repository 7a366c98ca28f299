"""Words of the page: networks, licences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NETWORK_NAMES = {
    "sam": "SAM",
    "grounding_dino": "GroundingDINO",
    "clip": "CLIP",
    "saliency": "Residual network of SAA+",
    "resnet": "Residual network of the supervised baseline",
}

_DRAWN = "drawn here, free of others' rights"
_DATASET_LICENCES = {
    "mvtec_ad": "CC BY-NC-SA 4.0: not for commercial use; cite MVTec AD",
    "oxford_iiit_pet": "CC BY-SA 4.0; cite Oxford-IIIT-Pet",
    "synthetic_sat": _DRAWN,
    "synthetic_pets": _DRAWN,
    "synthetic_textures": _DRAWN,
    "folder": "your own images, under your own terms; this page shows all of them",
}


def licences_of(
    formats: Mapping[str, str], datasets: Mapping[str, Mapping[str, Any]]
) -> list[list[str]]:
    """What may be done with what the page shows.

    Args:
        formats: Format of each data set.
        datasets: What is said of each data set.

    Returns:
        Pairs of a thing and its licence.
    """
    rows = [[f"Images of {datasets[d]['name']}", _DATASET_LICENCES[f]] for d, f in formats.items()]
    rows.append(["RealityCheck", "Apache-2.0"])
    return rows
