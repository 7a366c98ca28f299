"""GroundingDINO: its settings, its files, its loader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from realitycheck.core.remote import RemoteFile
from realitycheck.core.settings import FilePath, Strict, check_numbers
from realitycheck.models.base import Network

if TYPE_CHECKING:
    from realitycheck.models.grounding_dino.model import GroundingDinoModel as LoadedDetector


class GroundingDinoModel(Strict):
    """GroundingDINO with the folder of its BERT tokenizer and configuration."""

    variant: Literal["swint_ogc", "everyday"] | dict[str, Any] = Field(
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


def _load(files: Mapping[str, Path], settings: Mapping[str, Any], *, device: str) -> LoadedDetector:
    from realitycheck.models.grounding_dino.model import load_grounding_dino

    return load_grounding_dino(
        files["weights"],
        text_encoder=files["text_encoder"],
        variant=settings["variant"],
        precision=settings["precision"],
        device=device,
    )


_BERT = "https://huggingface.co/bert-base-uncased/resolve/86b5e0934494bd15c9632b12f734a8a67f723594"
_DINO_REVISION = "a94c9b567a2a374598f05c584e96798a170c56fb"

GROUNDING_DINO = Network(
    settings=GroundingDinoModel,
    load=_load,
    compute={"precision": "detector_precision"},
    packages=("groundingdino-py", "transformers"),
    known={
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
            url=f"{_BERT}/config.json",
            sha256="7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
            size_bytes=570,
            licence="Apache-2.0",
        ),
        "bert_base_uncased/vocab": RemoteFile(
            name="vocab.txt",
            url=f"{_BERT}/vocab.txt",
            sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            size_bytes=231_508,
            licence="Apache-2.0",
        ),
    },
    variants={
        "swint_ogc": {
            "weights": ("grounding_dino_swint_ogc",),
            "text_encoder": ("bert_base_uncased/config", "bert_base_uncased/vocab"),
        }
    },
    folders={"text_encoder": "bert-base-uncased"},
    shipped={"weights": "grounding_dino.safetensors", "text_encoder": "bert"},
)
