"""Segment Anything: its settings, its files, its loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from realitycheck.core.remote import RemoteFile
from realitycheck.core.settings import FilePath, Strict, check_numbers
from realitycheck.models.base import Network

if TYPE_CHECKING:
    from realitycheck.models.sam.model import SamModel as LoadedSam


class SamModel(Strict):
    """Segment Anything."""

    variant: Literal["vit_h", "vit_l", "vit_b", "everyday"] | dict[str, Any] = Field(
        "vit_h", description="a known name, or the model's dimensions"
    )
    weights: FilePath | None = Field(
        None, description="checkpoint; default: the known file's place"
    )

    @field_validator("variant", mode="after")
    @classmethod
    def _check_dimensions(cls, variant: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(variant, dict):
            from realitycheck.models.sam.model import SamDimensions

            known = sorted(field.name for field in dataclasses.fields(SamDimensions))
            unknown = [name for name in variant if name not in known]
            if unknown:
                raise ValueError(f"unknown dimension '{unknown[0]}'; known: {', '.join(known)}")
            check_numbers(variant)
        return variant


def _load(
    files: Mapping[str, Path],
    settings: Mapping[str, Any],
    *,
    device: str,
    parts: Iterable[str] | None = None,
) -> LoadedSam:
    """Load all parts, or those that are asked for."""
    from realitycheck.models.sam.load import load_sam
    from realitycheck.models.sam.model import PARTS

    return load_sam(
        files["weights"],
        variant=settings["variant"],
        precision=settings["precision"],
        is_compiled=settings.get("compile", False),
        device=device,
        parts=PARTS if parts is None else parts,
    )


def _published(name: str, *, sha256: str, size_bytes: int) -> RemoteFile:
    return RemoteFile(
        name=name,
        url=f"https://dl.fbaipublicfiles.com/segment_anything/{name}",
        sha256=sha256,
        size_bytes=size_bytes,
        licence="Apache-2.0",
    )


SAM = Network(
    settings=SamModel,
    load=_load,
    compute={"precision": "precision", "compile": "compile", "dtype": "encoding_dtype"},
    packages=("segment-anything",),
    known={
        "sam_vit_h": _published(
            "sam_vit_h_4b8939.pth",
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            size_bytes=2_564_550_879,
        ),
        "sam_vit_l": _published(
            "sam_vit_l_0b3195.pth",
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            size_bytes=1_249_524_607,
        ),
        "sam_vit_b": _published(
            "sam_vit_b_01ec64.pth",
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            size_bytes=375_042_383,
        ),
    },
    variants={name: {"weights": (f"sam_{name}",)} for name in ("vit_h", "vit_l", "vit_b")},
    shipped={"weights": "sam.safetensors"},
)
