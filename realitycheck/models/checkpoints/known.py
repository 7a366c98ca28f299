"""Which files a network needs, where they lie, and which of them can be fetched or created.

Free of torch: the Snakefile and the settings ask here before any job runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realitycheck.core.remote import RemoteFile

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
    return f"{WEIGHTS_FOLDER}/{Path(KNOWN_WEIGHTS[names[0]].name)}"


_BERT_REVISION = "86b5e0934494bd15c9632b12f734a8a67f723594"

_DINO_REVISION = "a94c9b567a2a374598f05c584e96798a170c56fb"

_WRN_REVISION = "30f73aceaaa1911830a9795b83ab1908dba18719"

_CLIP_DIGEST = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"


#: Official files by name. A text encoder is a folder: its files share the prefix before the slash.
KNOWN_WEIGHTS: dict[str, RemoteFile] = {
    "sam_vit_h": RemoteFile(
        name="sam_vit_h_4b8939.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        size_bytes=2_564_550_879,
        licence="Apache-2.0",
    ),
    "sam_vit_l": RemoteFile(
        name="sam_vit_l_0b3195.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        size_bytes=1_249_524_607,
        licence="Apache-2.0",
    ),
    "sam_vit_b": RemoteFile(
        name="sam_vit_b_01ec64.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        size_bytes=375_042_383,
        licence="Apache-2.0",
    ),
    "grounding_dino_swint_ogc": RemoteFile(
        name="groundingdino_swint_ogc.pth",
        url=(
            "https://github.com/IDEA-Research/GroundingDINO/releases/download/"
            "v0.1.0-alpha/groundingdino_swint_ogc.pth"
        ),
        mirrors=(
            "https://huggingface.co/ShilongLiu/GroundingDINO/resolve/"
            f"{_DINO_REVISION}/groundingdino_swint_ogc.pth",
        ),
        sha256="3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
        size_bytes=693_997_677,
        licence="Apache-2.0",
    ),
    # The detector's own file carries BERT's weights, so of BERT only these two are needed.
    "bert_base_uncased/config": RemoteFile(
        name="config.json",
        url=f"https://huggingface.co/bert-base-uncased/resolve/{_BERT_REVISION}/config.json",
        sha256="7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
        size_bytes=570,
        licence="Apache-2.0",
    ),
    "bert_base_uncased/vocab": RemoteFile(
        name="vocab.txt",
        url=f"https://huggingface.co/bert-base-uncased/resolve/{_BERT_REVISION}/vocab.txt",
        sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        size_bytes=231_508,
        licence="Apache-2.0",
    ),
    "clip_vit_b_16": RemoteFile(
        name="ViT-B-16.pt",
        url=f"https://openaipublic.azureedge.net/clip/models/{_CLIP_DIGEST}/ViT-B-16.pt",
        sha256=_CLIP_DIGEST,
        size_bytes=350_837_078,
        licence="MIT",
    ),
    "wide_resnet50_2_racm": RemoteFile(
        name="wide_resnet50_2.racm_in1k.safetensors",
        url=(
            "https://huggingface.co/timm/wide_resnet50_2.racm_in1k/resolve/"
            f"{_WRN_REVISION}/model.safetensors"
        ),
        sha256="03b71d65fb2c73bb0de079a1781009f27a782ec481d2f64ab3bde9b1cdec3000",
        size_bytes=275_835_296,
        licence="Apache-2.0",
    ),
    "wide_resnet50_2_torchvision_v1": RemoteFile(
        name="wide_resnet50_2-95faca4d.pth",
        url="https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
        sha256="95faca4d11227dddf8633dbb5ff6c8a9003c1aa5b8945c73834b8007b10950b8",
        licence="BSD-3-Clause",
    ),
}


def weights_digest(path: str | Path) -> str:
    """Compute the sha256 of a file, or of a folder of files, reading in small pieces.

    The digest of a folder covers the relative path, the length and the content of every file below
    it, in the order of the paths; hidden files (caches of the system) do not count.

    Args:
        path: A file or a folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected a checkpoint file or folder, found nothing")
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    inner = sorted(
        (item.relative_to(path).as_posix(), item) for item in path.rglob("*") if item.is_file()
    )
    for name, item in inner:
        if any(part.startswith(".") for part in name.split("/")):
            continue
        whole.update(f"{name}\0{weights_digest(item)}\n".encode())
    return whole.hexdigest()
