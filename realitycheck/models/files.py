"""Which files a network needs, where they lie, and which of them can be fetched or created.

Free of torch: the Snakefile and the settings ask here before any job runs.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realitycheck.models.weights import KNOWN_WEIGHTS

WEIGHTS_FOLDER = "resources/weights"
MINIATURE_FOLDER = f"{WEIGHTS_FOLDER}/miniature"

#: Networks that were trained on drawn scenes (`training/`); they ship inside the package.
SHIPPED_FOLDER = Path(__file__).with_name("everyday")
EVERYDAY_FOLDER = f"{WEIGHTS_FOLDER}/everyday"

#: Settings key → names in `KNOWN_WEIGHTS`; more than one name is a folder of files.
_OFFICIAL: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("sam", "vit_h"): {"weights": ("sam_vit_h",)},
    ("sam", "vit_l"): {"weights": ("sam_vit_l",)},
    ("sam", "vit_b"): {"weights": ("sam_vit_b",)},
    ("grounding_dino", "swint_ogc"): {
        "weights": ("grounding_dino_swint_ogc",),
        "text_encoder": ("bert_base_uncased/config", "bert_base_uncased/vocab"),
    },
    ("clip", "ViT-B-16"): {"weights": ("clip_vit_b_16",)},
    ("saliency", "wide_resnet50_2"): {"weights": ("wide_resnet50_2_racm",)},
    ("resnet", "wide_resnet50_2"): {"weights": ("wide_resnet50_2_racm",)},
}

_FOLDERS = {"text_encoder": "bert-base-uncased"}

#: Settings key → file that `write_miniatures` creates.
_MINIATURE: dict[str, dict[str, str]] = {
    "sam": {"weights": "sam_miniature.pth"},
    "grounding_dino": {"weights": "grounding_dino_miniature.pth", "text_encoder": "bert"},
    "clip": {"weights": "clip_miniature.safetensors"},
    "saliency": {"weights": "saliency_miniature.safetensors"},
    "resnet": {"weights": "resnet_miniature.safetensors"},
}

#: Settings key → file or folder in `SHIPPED_FOLDER`.
_EVERYDAY: dict[str, dict[str, str]] = {
    "sam": {"weights": "sam.safetensors"},
    "grounding_dino": {"weights": "grounding_dino.safetensors", "text_encoder": "bert"},
    "clip": {"weights": "clip.safetensors"},
    "saliency": {"weights": "resnet.safetensors"},
    "resnet": {"weights": "resnet.safetensors"},
}

_KEYS = {network: tuple(files) for network, files in _MINIATURE.items()}


@dataclass(frozen=True)
class NetworkFile:
    """One file or folder of a network.

    Attributes:
        key: Its key in the settings (`weights`, `text_encoder`).
        path: Where it lies, relative to the working directory; None if the settings must say.
        official: Names in `KNOWN_WEIGHTS` to fetch it from; empty for a user's own file, which is
            one that the settings name at another place than the published file's.
        is_miniature: Whether it is created here with random weights.
        shipped: Its name in `SHIPPED_FOLDER`, where it comes with the package.
    """

    key: str
    path: str | None
    official: tuple[str, ...] = ()
    is_miniature: bool = False
    shipped: str | None = None

    @property
    def is_obtainable(self) -> bool:
        """Whether the file can be fetched, created or copied, so that it may be absent at first."""
        return bool(self.official) or self.is_miniature or self.shipped is not None


def network_files(network: str, block: Any) -> list[NetworkFile]:
    """Files that a network's settings block asks for.

    Args:
        network: `sam`, `grounding_dino`, …
        block: Its settings, with `variant` and one attribute a file.
    """
    variant = block.variant if isinstance(block.variant, str) else None
    files = []
    for key in _KEYS[network]:
        given = getattr(block, key)
        if variant == "miniature":
            default = f"{MINIATURE_FOLDER}/{_MINIATURE[network][key]}"
            files.append(NetworkFile(key, given or default, is_miniature=given is None))
        elif variant == "everyday":
            name = _EVERYDAY[network][key]
            path = given or f"{EVERYDAY_FOLDER}/{name}"
            files.append(NetworkFile(key, path, shipped=name if given is None else None))
        elif (names := _OFFICIAL.get((network, variant or ""), {}).get(key)) is not None:
            # A file at another place is the user's, whatever it holds: nothing is demanded of it.
            place = _official_path(key, names)
            is_own = given is not None and os.path.normpath(given) != place
            files.append(NetworkFile(key, given) if is_own else NetworkFile(key, place, names))
        else:
            files.append(NetworkFile(key, given))
    return files


def own_files(network: str, block: Any) -> list[str]:
    """Names of a network's files that are the user's own; see `network_files`."""
    return [
        Path(file.path).name
        for file in network_files(network, block)
        if file.path and not file.is_obtainable
    ]


def shipped_files(name: str) -> dict[str, str]:
    """List a shipped file, or the files of a shipped folder, with the sha256 each must have.

    Args:
        name: Of a file or folder in `SHIPPED_FOLDER`.

    Returns:
        sha256 by path below `SHIPPED_FOLDER`.
    """
    known = json.loads((SHIPPED_FOLDER / "sha256.json").read_text(encoding="utf-8"))
    return {path: d for path, d in known.items() if path == name or path.startswith(f"{name}/")}


def expected_sha256(file: NetworkFile) -> dict[str, str]:
    """sha256 by name that a file, or the files of a folder, must have; empty for a user's own."""
    if file.shipped:
        return shipped_files(file.shipped)
    return {name: KNOWN_WEIGHTS[name].sha256 for name in file.official}


def _official_path(key: str, names: tuple[str, ...]) -> str:
    if key in _FOLDERS:
        return f"{WEIGHTS_FOLDER}/{_FOLDERS[key]}"
    return f"{WEIGHTS_FOLDER}/{Path(KNOWN_WEIGHTS[names[0]].file_name)}"
