"""The residual networks behind saliency and the features of parts: settings, files, loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from realitycheck.core.remote import RemoteFile
from realitycheck.core.settings import FilePath, Strict
from realitycheck.models.base import Network

if TYPE_CHECKING:
    import torch


class SaliencyModel(Strict):
    """The residual network behind SAA+'s saliency."""

    variant: Literal["wide_resnet50_2", "everyday"] | dict[str, list[int]] = Field(
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


def _load(
    files: Mapping[str, Path], settings: Mapping[str, Any], *, device: str
) -> torch.nn.Module:
    from realitycheck.models.saliency import load_saliency

    return load_saliency(files["weights"], variant=settings["variant"], device=device)


_REVISION = "30f73aceaaa1911830a9795b83ab1908dba18719"

SALIENCY = Network(
    settings=SaliencyModel,
    load=_load,
    packages=("timm",),
    known={
        "wide_resnet50_2_racm": RemoteFile(
            name="wide_resnet50_2.racm_in1k.safetensors",
            url=(
                "https://huggingface.co/timm/wide_resnet50_2.racm_in1k/resolve/"
                f"{_REVISION}/model.safetensors"
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
    },
    variants={"wide_resnet50_2": {"weights": ("wide_resnet50_2_racm",)}},
    shipped={"weights": "resnet.safetensors"},
)

RESNET = dataclasses.replace(SALIENCY, settings=ResnetModel)
