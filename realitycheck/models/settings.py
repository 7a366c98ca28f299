"""The block `models` of the settings: one block for each network of the registry."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from realitycheck.core.settings import Strict
from realitycheck.models.registry import NETWORKS, network

#: Lowest detector score that is stored. Thresholds at or above it cost no detector run.
DETECTION_FLOOR = 0.05


def _blocks() -> dict[str, Any]:
    blocks = {name: network(name).settings for name in NETWORKS}
    return {name: (block, block()) for name, block in blocks.items()}


ModelsSettings = create_model(
    "ModelsSettings", __base__=Strict, __doc__="The networks, one block each.", **_blocks()
)
