"""Settings."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
)

from realitycheck.core.settings import (
    FilePath,
    Strict,
    check_numbers,
)

#: Lowest detector score that is stored. Thresholds at or above it cost no detector run.
DETECTION_FLOOR = 0.05


# ------------------------------------------------------------------------------------------- models


class SamModel(Strict):
    """Segment Anything."""

    variant: Literal["vit_h", "vit_l", "vit_b", "everyday", "miniature"] | dict[str, Any] = Field(
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


class GroundingDinoModel(Strict):
    """GroundingDINO with the folder of its BERT tokenizer and configuration."""

    variant: Literal["swint_ogc", "everyday", "miniature"] | dict[str, Any] = Field(
        "swint_ogc", description="a known name, or the model's dimensions"
    )
    weights: FilePath | None = None
    text_encoder: FilePath | None = Field(
        None, description="folder with BERT's config and tokenizer"
    )

    @field_validator("variant", mode="after")
    @classmethod
    def _check_dimensions(cls, variant: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(variant, dict):
            from realitycheck.models.grounding_dino.model import grounding_dino_dimensions

            grounding_dino_dimensions(variant)
            check_numbers(variant)
        return variant


class ClipModel(Strict):
    """CLIP, also the base of CLIP Surgery."""

    variant: str | dict[str, int] = Field(
        "ViT-B-16",
        description="ViT-B-16, everyday, miniature, another ViT of open_clip, or dimensions",
    )
    weights: FilePath | None = None

    @field_validator("variant", mode="after")
    @classmethod
    def _check_variant(cls, variant: str | dict[str, int]) -> str | dict[str, int]:
        if variant not in ("ViT-B-16", "everyday", "miniature"):
            from realitycheck.models.clip.model import known_sizes

            known_sizes(variant)
        return variant


class SaliencyModel(Strict):
    """The residual network behind SAA+'s saliency."""

    variant: Literal["wide_resnet50_2", "everyday", "miniature"] | dict[str, list[int]] = Field(
        "wide_resnet50_2", description="a known name, or {layers: [4 numbers], channels: [4]}"
    )
    weights: FilePath | None = None

    @field_validator("variant", mode="after")
    @classmethod
    def _check_dimensions(cls, variant: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(variant, dict):
            from realitycheck.models.saliency import saliency_sizes

            saliency_sizes(variant)
        return variant


class ResnetModel(SaliencyModel):
    """The residual network behind `resnet_mlp`."""


class ModelsSettings(Strict):
    """The networks, one block each."""

    sam: SamModel = SamModel()
    grounding_dino: GroundingDinoModel = GroundingDinoModel()
    clip: ClipModel = ClipModel()
    saliency: SaliencyModel = SaliencyModel()
    resnet: ResnetModel = ResnetModel()
