"""CLIP: its settings, its files, its loader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from realitycheck.core.remote import RemoteFile
from realitycheck.core.settings import FilePath, Strict
from realitycheck.models.base import Network


class ClipModel(Strict):
    """CLIP, also the base of CLIP Surgery."""

    variant: str | dict[str, int] = Field(
        "ViT-B-16", description="ViT-B-16, everyday, another ViT of open_clip, or dimensions"
    )
    weights: FilePath | None = None

    @field_validator("variant", mode="after")
    @classmethod
    def _check_variant(cls, variant: str | dict[str, int]) -> str | dict[str, int]:
        if variant not in ("ViT-B-16", "everyday"):
            from realitycheck.models.clip.model import known_sizes

            known_sizes(variant)
        return variant


def _load(files: Mapping[str, Path], settings: Mapping[str, Any], *, device: str) -> Any:
    from realitycheck.models.clip.model import load_clip

    return load_clip(files["weights"], variant=settings["variant"], device=device)


_DIGEST = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"

CLIP = Network(
    settings=ClipModel,
    load=_load,
    compute={"precision": "precision"},
    packages=("open_clip_torch",),
    known={
        "clip_vit_b_16": RemoteFile(
            name="ViT-B-16.pt",
            url=f"https://openaipublic.azureedge.net/clip/models/{_DIGEST}/ViT-B-16.pt",
            sha256=_DIGEST,
            size_bytes=350_837_078,
            licence="MIT",
        )
    },
    variants={"ViT-B-16": {"weights": ("clip_vit_b_16",)}},
    shipped={"weights": "clip.safetensors"},
)
