"""Every network by its name in the settings; a module is imported when its network is asked for."""

from __future__ import annotations

import pkgutil
from functools import cache

from realitycheck.core.remote import RemoteFile
from realitycheck.models.base import Network

#: Module and object of each network, in the order of the settings.
NETWORKS = {
    "sam": "realitycheck.models.sam.network:SAM",
    "grounding_dino": "realitycheck.models.grounding_dino.network:GROUNDING_DINO",
    "clip": "realitycheck.models.clip.network:CLIP",
    "saliency": "realitycheck.models.residual:SALIENCY",
    "resnet": "realitycheck.models.residual:RESNET",
}


@cache
def network(name: str) -> Network:
    """Give what is known of a network.

    Raises:
        ValueError: If there is no network of this name.
    """
    if name not in NETWORKS:
        raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, found {name!r}")
    return pkgutil.resolve_name(NETWORKS[name])


def module_of(name: str) -> str:
    """Name of the module that loads a network, for the digest of a rule's code."""
    network(name)
    return NETWORKS[name].partition(":")[0]


@cache
def known_files() -> dict[str, RemoteFile]:
    """Published files of all networks by name."""
    return {key: file for name in NETWORKS for key, file in network(name).known.items()}
