"""Every network by its name in the settings; a module is imported when its network is asked for."""

from __future__ import annotations

from functools import cache

from realitycheck.core.registry import Registry
from realitycheck.core.remote import RemoteFile
from realitycheck.models.base import Network

_HERE = "realitycheck.models"

#: What is known of each network, in the order of the settings.
NETWORKS = Registry(
    "network",
    shipped={
        "sam": f"{_HERE}.sam.network:SAM",
        "grounding_dino": f"{_HERE}.grounding_dino.network:GROUNDING_DINO",
        "clip": f"{_HERE}.clip.network:CLIP",
        "saliency": f"{_HERE}.residual:SALIENCY",
        "resnet": f"{_HERE}.residual:RESNET",
    },
)


def network(name: str) -> Network:
    """Give what is known of a network.

    Raises:
        RegistryError: If there is no network of this name; names those that there are.
    """
    return NETWORKS.open(name)


@cache
def known_files() -> dict[str, RemoteFile]:
    """Published files of all networks by name."""
    return {key: file for name in NETWORKS for key, file in network(name).known.items()}
