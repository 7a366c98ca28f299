"""What a service is to the rest of the package: facts about it, and a way to send questions."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from realitycheck.lvlm.backends.dialect import Dialect
from realitycheck.lvlm.backends.egress import Endpoint
from realitycheck.lvlm.backends.errors import (
    MAX_ERROR_CHARACTERS,
    AdaptedError,
    ForeignReplyError,
    SendError,
    UnknownOutcomeError,
    error_of_status,
    message_of,
    status_of,
)
from realitycheck.lvlm.backends.parameters import COMMON, Parameter, stored_parameters
from realitycheck.lvlm.backends.transport import error_of_library
from realitycheck.lvlm.keys import MissingKeyError, Redactor
from realitycheck.lvlm.limits import ImageLimits
from realitycheck.lvlm.questions import Picture, Question
from realitycheck.lvlm.reading import UnreadableError, read_json
from realitycheck.lvlm.verdict import UnexpectedShapeError, Verdict

log = logging.getLogger(__name__)

ACCOUNT_SETTINGS = ("project", "location", "credentials_file")
"""Settings of an account, for services that can be asked with one in place of a key."""


@dataclass(frozen=True)
class Reply:
    """A whole reply with status 200, as received; `client` as in `Backend`, for this reply."""

    http: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    client: str | None = None


class Backend(ABC):
    """One service: its facts are the class's, and an instance sends questions to one endpoint.

    A service is a subclass that names itself in `service` and is listed in `BACKENDS` of its
    module, which `realitycheck.lvlm.backends.registry` finds. It must have `members`, `parse` and
    `send`; everything else has a default. An instance is used inside one event loop.

    Attributes:
        service: Name of the service; part of every question's key.
        parameters: Generation parameters that it accepts.
        account: Those of `ACCOUNT_SETTINGS` that it takes.
        key_env: Environment variable that holds the key if the settings name no place; None: it can
            be asked without a key.
        is_server: See `Endpoint`.
        cloud_models: See `Endpoint`; where the settings name none.
        limits: What a cloud accepts in one request; a server on the site has limits of its own.
        members: Names of which every answer has at least one at its top level.

    Args:
        settings: Of the method; what is missing is None.
        api_key: The key; None: without.

    Raises:
        MissingKeyError: If there is no key where one is needed.
        ValueError: If settings are missing or contradict each other.
    """

    service: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = COMMON
    account: ClassVar[tuple[str, ...]] = ()
    key_env: ClassVar[str | None] = None
    is_server: ClassVar[bool] = False
    cloud_models: ClassVar[tuple[str, ...]] = ()
    limits: ClassVar[ImageLimits] = ImageLimits()
    members: ClassVar[tuple[str, ...]] = ()

    #: Library and version that the questions are sent with.
    library: str = ""

    def __init__(self, settings: Mapping[str, Any], *, api_key: str | None = None):
        self.endpoint = self.endpoint_of(settings)
        faults = self.settings_faults(settings, has_key=api_key is not None)
        faults += self.endpoint.faults()
        if faults:
            raise ValueError(f"{self.service}: " + "; ".join(faults))
        if self.key_env is not None and not api_key:
            raise MissingKeyError(
                f"{self.service} needs a key; name the environment variable that holds it (key_env)"
            )
        self.settings = settings
        self.api_key = api_key
        self.redact = Redactor(api_key)
        self.dialect = Dialect()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint.address!r})"

    @classmethod
    def own_address(cls, _settings: Mapping[str, Any]) -> str | None:
        """Address without `base_url`; None: it must be given."""
        return None

    @classmethod
    def endpoint_of(cls, settings: Mapping[str, Any]) -> Endpoint:
        """Where the questions of a method go; asks and resolves nothing."""
        return Endpoint(
            cls.service,
            base_url=settings.get("base_url"),
            own_address=cls.own_address(settings),
            declared=settings.get("on_site"),
            is_server=cls.is_server,
            model=settings.get("model") or "",
            cloud_models=settings.get("cloud_models", cls.cloud_models),
        )

    @classmethod
    def settings_faults(cls, settings: Mapping[str, Any], *, has_key: bool) -> list[str]:
        """Faults of a method's settings, each as `name: what is wrong; what to do`.

        Args:
            settings: Of the method; what is missing is None.
            has_key: Whether a place for the key is named.
        """
        faults = [
            f"{name}: is not a setting of backend {cls.service}; remove it"
            for name in ACCOUNT_SETTINGS
            if settings.get(name) and name not in cls.account
        ]
        if not settings.get("base_url") and cls.own_address(settings) is None:
            faults.append(
                f"base_url: backend {cls.service} needs base_url, the server's address with its "
                "version, such as http://127.0.0.1:8000/v1"
            )
        return faults

    @classmethod
    def check_parameters(
        cls, model: str, parameters: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Check generation parameters and give them their stored form.

        Args:
            model: Model name as requested.
            parameters: Any of `parameters` of the class; what is None is not sent.

        Returns:
            The parameters that are sent, numbers as int or float; always with `max_output_tokens`.

        Raises:
            ValueError: All faults in one message.
        """
        if not str(model).strip():
            raise ValueError("model: expected a model's name, got an empty text")
        found, faults = stored_parameters(cls.service, cls.parameters, parameters or {})
        faults += [] if faults else cls.model_faults(model, found)
        if faults:
            raise ValueError(f"parameters of {model}: " + "; ".join(faults))
        return found

    @classmethod
    def model_faults(cls, _model: str, _parameters: Mapping[str, Any]) -> list[str]:
        """Faults of parameters that are sound one by one, but not together or for this model."""
        return []

    @classmethod
    def schema(cls, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's schema in the form that the service takes."""
        return dict(schema)

    @classmethod
    def image_tokens(cls, _model: str, _parameters: Mapping[str, Any], picture: Picture) -> int:
        """Tokens that an image is expected to take: one for every 28 x 28 px, as with Qwen-VL."""
        return -(-picture.width_px // 28) * -(-picture.height_px // 28)

    @classmethod
    def thinking_tokens(cls, _parameters: Mapping[str, Any]) -> int:
        """Tokens of thinking that are expected as long as no answer is known."""
        return 0

    @property
    def client(self) -> str:
        """Library and version, and what differs from the usual request."""
        said = str(self.dialect)
        return f"{self.library} ({said})" if said else self.library

    async def open(self) -> None:  # noqa: B027 (a service may need none)
        """Make ready; called once, inside the event loop."""

    @abstractmethod
    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Send one question, once.

        Raises:
            SendError: One of its kinds, never an exception of a library.
        """

    async def close(self) -> None:  # noqa: B027
        """Close connections; called once."""

    def failure_of(self, error: Exception, *, used: Dialect, sent: Collection[str]) -> SendError:
        """The error to raise for an exception of a library; may change the dialect from now on.

        Args:
            error: Whatever the library made of the reply.
            used: The dialect of the request.
            sent: See `Dialect.after`.
        """
        failure = error_of_library(error, redact=self.redact)
        if failure.http not in (400, 422, 500, 501):
            return failure
        words = {n: p.words for n, p in self.parameters.items() if p.words}
        next_one = used.after(failure.detail, sent=sent, words=words)
        if next_one is None:
            return failure
        if self.dialect == used:  # else another question has changed it meanwhile
            self.dialect = next_one
            log.warning("%s; asking from now on with: %s", failure.detail, next_one)
        return AdaptedError(
            failure.detail, http=failure.http, body=failure.body, headers=failure.headers
        )

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Verdict:
        """Read an answer; see `realitycheck.lvlm.verdict` for what reads its parts.

        Raises:
            UnexpectedShapeError: If a value has another type than the protocol says.
        """
        raise UnexpectedShapeError(f"{cls.service} has no answers of its own")

    @classmethod
    def verdict_of(cls, body: str) -> Verdict:
        """Read the body of a reply with HTTP status 200, as received."""
        if not body.strip():
            return Verdict("empty")
        try:
            parsed = read_json(body)
            return cls.parse(parsed) if isinstance(parsed, dict) else Verdict("unreadable")
        except (UnreadableError, UnexpectedShapeError, RecursionError):
            return Verdict("unreadable")

    @classmethod
    def is_answer(cls, body: str) -> bool:
        """Whether the body of a reply with HTTP status 200 is an answer to a question at all.

        An error, a page of a gateway, the reply of another kind of service or nothing is none. What
        begins as an answer and is damaged is one: it was paid for.
        """
        try:
            parsed = read_json(body)
        except UnreadableError:
            return body.lstrip().startswith("{") and any(f'"{n}"' in body for n in cls.members)
        if not isinstance(parsed, dict) or cls.holds_error(parsed):
            return False
        return any(name in parsed for name in cls.members)

    @classmethod
    def holds_error(cls, body: Mapping[str, Any]) -> bool:
        """Whether a reply with status 200 reports an error."""
        return bool(body.get("error"))

    def error_of(self, reply: Reply) -> SendError | None:
        """The error that a reply with status 200 holds; None if it is an answer.

        An error that gives its own status (gateways pass on what others answered) is taken for one.
        An empty reply may pass; it is asked for again as what was cut is.
        """
        if self.is_answer(reply.body):
            return None
        known = {"body": reply.body[:MAX_ERROR_CHARACTERS], "headers": reply.headers}
        status = status_of(reply.body)
        if status is not None:
            return error_of_status(status, redact=self.redact, **known)
        if reply.body.strip() in ("", "{}", "[]", "null"):
            return UnknownOutcomeError("the reply is empty", http=reply.http, **known)
        message, _ = message_of(known["body"])
        return ForeignReplyError(
            f"the reply has status 200 but is no answer; it says: {message}",
            http=reply.http,
            **known,
        )
