"""Settings of `lvlm`, and the facts about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
    model_validator,
)

from realitycheck.core.settings import (
    FilePath,
    _Strict,
)
from realitycheck.lvlm.gates import CLOUD_MODELS
from realitycheck.methods.settings import MethodBlock, PromptSettings


class PriceSettings(_Strict):
    """Rates of a model, in USD per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0, description="answers, thinking included")
    cached_input: float | None = Field(None, ge=0, description="default: as input")


class LvlmMethod(MethodBlock):
    """A vision language model is asked about each image."""

    kind: Literal["lvlm"]
    backend: Literal["gemini", "vertex", "openai_compatible", "replay"] = Field(
        "gemini", description="replay: answers out of the ledger only, with no key and no network"
    )
    replay_of: Literal["gemini", "vertex", "openai_compatible"] = Field(
        "gemini", description="replay: the backend that the stored answers came from"
    )
    model: str = Field("gemini-3.8-flash", min_length=1)
    model_revision: str = Field("", description="what a server of one's own runs under that name")
    accepted_models: tuple[str, ...] = Field((), description="other names that a reply may give")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="temperature, seed, thinking_budget …; what is set is sent",
    )
    n_samples: int = Field(1, ge=1, le=50, description="how often each image is asked about")
    max_side_px: int | None = Field(None, ge=64, description="larger images are reduced to this")
    base_url: str | None = Field(None, description="address; default: the service's own")
    on_site: bool | None = Field(None, description="whether that address belongs to the site")
    cloud_models: tuple[str, ...] = Field(
        CLOUD_MODELS,
        description="names of models that the server itself runs in a cloud; *: any text",
    )
    key_env: str | None = Field(None, description="environment variable that holds the key")
    key_file: FilePath | None = Field(None, description="file that holds the key")
    project: str | None = Field(None, description="vertex: Google Cloud project")
    location: str | None = Field(None, description="vertex: its place, such as europe-west4")
    credentials_file: FilePath | None = Field(None, description="vertex: service account file")
    max_cost_usd: float | None = Field(None, gt=0, description="limit on all money ever spent")
    price: PriceSettings | None = Field(
        None, description="in place of the price file's, such as a server's running cost"
    )
    in_flight: int = Field(4, ge=1, le=256, description="questions sent at once")
    requests_per_minute: int | None = Field(60, ge=1)
    timeout_s: float = Field(300.0, gt=0)
    max_wait_s: float = Field(
        300.0, gt=0, description="longest pause that the service may ask for; else the run stops"
    )
    ledger: FilePath = Field(
        "ledger/replies.sqlite", description="every answer ever paid for; never deleted by a run"
    )
    prompt_key: ClassVar[str | None] = "lvlm"
    gives_masks: ClassVar[bool] = False
    asks_service: ClassVar[bool] = True
    label: ClassVar[str] = "LVLM"

    @model_validator(mode="after")
    def _check_backend(self) -> LvlmMethod:
        if self.backend == "openai_compatible" and not self.base_url:
            raise ValueError(
                "backend openai_compatible needs base_url, such as http://127.0.0.1:8000/v1"
            )
        if self.key_env and self.key_file:
            raise ValueError("give key_env or key_file, not both")
        from realitycheck.lvlm.parameters import check_parameters

        check_parameters(self.service, self.model, parameters=self.parameters)
        return self

    @property
    def service(self) -> str:
        """Kind of endpoint that the questions are worded for."""
        return self.replay_of if self.backend == "replay" else self.backend

    @property
    def model_name(self) -> str:
        """Name of the model that answers."""
        return self.model

    def words(self, asked: PromptSettings | None, defect_names: Sequence[str]) -> str:
        """Question and system text, and what fills them."""
        text = f"{asked.system or ''} {asked.lvlm}"
        return text + (". ".join(defect_names) if "{defects}" in text else "")

    def summary(self, asked: PromptSettings) -> tuple[str, str]:
        """The question, and whether a reference image stands before it."""
        shown = "with" if asked.reference else "without"
        return "vision language models", f"{asked.lvlm} ({shown} a defect-free reference image)"

    def shows_reference(self, asked: PromptSettings | None) -> bool:
        """Whether a reference image stands before the question."""
        return asked.reference


Settings = LvlmMethod
