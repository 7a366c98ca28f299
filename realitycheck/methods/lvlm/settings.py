"""Settings of a vision language model, and the facts about it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from realitycheck.core.files import unwritable
from realitycheck.core.registry import RegistryError
from realitycheck.core.settings import FilePath, Strict
from realitycheck.lvlm.backends.base import Backend
from realitycheck.lvlm.backends.egress import Endpoint, LeavesSiteError
from realitycheck.lvlm.backends.openai_compatible import CLOUD_MODELS
from realitycheck.lvlm.backends.registry import REPLAY, SERVICES, service_of
from realitycheck.lvlm.keys import MissingKeyError, read_key
from realitycheck.lvlm.pricing import read_prices
from realitycheck.methods.settings import MethodBlock, PromptSettings


def _known_service(name: str) -> str:
    SERVICES.module_of(name)
    return name


def _known_backend(name: str) -> str:
    try:
        return name if name == REPLAY else _known_service(name)
    except RegistryError as error:
        raise ValueError(f"{error}; {REPLAY} answers out of the ledger alone") from None


class PriceSettings(Strict):
    """Rates of a model, in USD per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0, description="answers, thinking included")
    cached_input: float | None = Field(None, ge=0, description="default: as input")


class LvlmMethod(MethodBlock):
    """A vision language model is asked about each image."""

    kind: Literal["lvlm"]
    backend: Annotated[str, AfterValidator(_known_backend)] = Field(
        "gemini",
        json_schema_extra=lambda field: field.update(enum=[*SERVICES.modules, REPLAY]),
        description="replay: answers out of the ledger only, with no key and no network",
    )
    replay_of: Annotated[str, AfterValidator(_known_service)] = Field(
        "gemini",
        json_schema_extra=lambda field: field.update(enum=[*SERVICES.modules]),
        description="replay: the backend that the stored answers came from",
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
    def _check_parameters(self) -> LvlmMethod:
        if self.key_env and self.key_file:
            raise ValueError("give key_env or key_file, not both")
        self.service_class.check_parameters(self.model, self.parameters)
        return self

    @property
    def is_replay(self) -> bool:
        """Whether answers come from the ledger alone."""
        return self.backend == REPLAY

    @property
    def service(self) -> str:
        """Service that the questions are worded for."""
        return self.replay_of if self.is_replay else self.backend

    @property
    def service_class(self) -> type[Backend]:
        """Class of the service; the library that it sends with is not imported."""
        return service_of(self.service)

    @property
    def endpoint(self) -> Endpoint:
        """Where the questions go."""
        return self.service_class.endpoint_of(self.plain())

    def plain(self) -> dict[str, Any]:
        """The block as plain values; where its key lies, never the key."""
        return {**super().plain(), "service": self.service}

    def tried(self, *, is_aligned: bool) -> dict[str, Any]:
        """Who is asked, and how; not what it may cost, nor where keys and answers lie."""
        names = ("service", "model", "model_revision", "parameters", "n_samples")
        block = self.plain()
        return {name: block[name] for name in (*names, "max_side_px", "base_url")}

    def judges_again(self, dataset: str) -> bool:
        """Whether it is asked about an image more than once."""
        return self.n_samples > 1

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

    def has_key(self) -> bool:
        """Whether questions can be asked: the key is there, or none is needed."""
        if self.is_replay:
            return True
        if self.key_file:
            return Path(self.key_file).is_file()
        name = self.key_env or self.service_class.key_env
        return name is None or bool(os.environ.get(name))

    def faults(self, key: str, folder: Path, datasets: Mapping[str, Any]) -> Iterator[str]:
        """What the types of the settings do not show; see `MethodBlock.faults`."""
        for fault in self._own_faults(folder):
            yield f"{key}.{fault}"
        if self.has_key() and not self.is_replay and self.endpoint.address:
            for name, dataset in datasets.items():
                try:
                    self.endpoint.check(name, may_leave_site=dataset.may_leave_site)
                except LeavesSiteError as error:
                    yield f"datasets.{name}.may_leave_site: {error}"

    def _own_faults(self, folder: Path) -> Iterator[str]:
        ledger = folder / self.ledger
        if self.is_replay:
            if not ledger.is_file():
                yield (
                    "ledger: backend replay answers out of the ledger, but there is no file "
                    f"{self.ledger}; give the ledger that holds the answers"
                )
            return
        if ledger.is_dir():
            yield f"ledger: {self.ledger} is a folder, expected a file; name a file in it"
        elif why := unwritable(ledger.parent):
            yield f"ledger: {why}; name a file in a folder that can be written"
        yield from self.endpoint.faults()
        if self.key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.key_env):
            yield (
                "key_env: expected the name of an environment variable, such as GEMINI_API_KEY; a "
                "key itself never belongs into the settings"
            )
        if self.key_file is not None:
            try:
                read_key(file=folder / self.key_file)
            except MissingKeyError as error:
                yield f"key_file: {error}"
        if self.credentials_file is not None and not (folder / self.credentials_file).is_file():
            yield f"credentials_file: there is no file {self.credentials_file}; put it there"
        yield from self.service_class.settings_faults(
            self.plain(), has_key=bool(self.key_env or self.key_file)
        )
        prices, is_limited = read_prices(), self.max_cost_usd is not None and self.price is None
        why = prices.lack_of(self.model) if is_limited else None
        if why and (self.has_key() or self.model not in prices.models):
            yield (
                f"max_cost_usd: {why}, so the limit could not be kept; give its price (price: "
                "{input, output}, USD per million tokens), or name a model that is served"
            )


Settings = LvlmMethod
