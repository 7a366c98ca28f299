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


def licences_of(
    licences: Mapping[str, str], datasets: Mapping[str, Mapping[str, Any]]
) -> list[list[str]]:
    """What may be done with what the page shows.

    Args:
        licences: Of the images of each data set.
        datasets: What is said of each data set.

    Returns:
        Pairs of a thing and its licence.
    """
    rows = [[f"Images of {datasets[name]['name']}", licence] for name, licence in licences.items()]
    rows.append(["RealityCheck", "Apache-2.0"])
    return rows
