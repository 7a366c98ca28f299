"""References."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.images import read_image
from realitycheck.core.schemas import REFERENCES
from realitycheck.core.tables import read_table


def read_references(path: str | Path, *, intensity: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Reference image, uint8 RGB (H, W, 3), of each category that has one."""
    table = read_table(path, schema=REFERENCES)
    return {
        row.category: read_image(Path(row.image_path), intensity=intensity)
        for row in table.itertuples()
    }
