"""Google's services through google-genai: the Gemini API and Vertex AI.

The library's retries are off (they ignore the pause that the service asks for and send again what
may have been paid), and it hands over the raw body and reads nothing, so an odd answer is never
lost in an exception. Addresses, project and place are given explicitly: from the environment the
library would take a part and leave the rest.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from realitycheck.lvlm.backends.base import (
    RefusedError,
    Reply,
    UnreachableError,
    adapted,
    check_address,
    error_of_library,
    http_client,
    kept_headers,
)
from realitycheck.lvlm.backends.dialect import FORMS, Dialect, form_in_words
from realitycheck.lvlm.gates import DEFAULT_ADDRESS
from realitycheck.lvlm.keys import MissingKeyError, Redactor
from realitycheck.lvlm.questions import Question

API_VERSIONS = {"gemini": "v1beta", "vertex": "v1beta1"}
"""The versions of the protocol that accept system text, schema, thinking and media resolution."""

_SAFETY_CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def vertex_address(location: str) -> str:
    """Vertex AI's address for a place, as google-genai builds it."""
    if location == "global":
        return "https://aiplatform.googleapis.com/"
    if location in ("us", "eu"):
        return f"https://aiplatform.{location}.rep.googleapis.com/"
    return f"https://{location}-aiplatform.googleapis.com/"


class GeminiBackend:
    """Gemini API with a key, or Vertex AI with a key, a service account or the machine's account.

    Args:
        service: `gemini` or `vertex`.
        api_key: The key; for Vertex AI None means an account.
        base_url: Address; None: Google's own.
        project: Google Cloud project, with an account on Vertex AI.
        location: Its place, such as `europe-west4`, or `global`.
        credentials_file: Service account file; None: the machine's default account.
        api_version: Version of the protocol; None: the known one.
        max_connections: Connections at once.
        on_site: See `realitycheck.lvlm.gates.is_on_site`.

    Raises:
        MissingKeyError: If there is neither key nor account.
        ValueError: If settings contradict each other.
    """

    def __init__(
        self,
        service: str = "gemini",
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        project: str | None = None,
        location: str | None = None,
        credentials_file: str | Path | None = None,
        api_version: str | None = None,
        max_connections: int = 32,
        on_site: bool | None = None,
    ):
        if service not in API_VERSIONS:
            raise ValueError(f"service: expected gemini or vertex, got {service!r}")
        if service == "gemini" and (project or location or credentials_file):
            raise ValueError(
                "project, location and credentials_file are for Vertex AI; remove them"
            )
        if service == "gemini" and not api_key:
            raise MissingKeyError(
                "the Gemini API needs a key; name the environment variable that holds it (key_env)"
            )
        if service == "vertex" and not api_key and not (project and location):
            raise ValueError(
                "Vertex AI needs project and location with an account, or a key; give them"
            )
        if service == "vertex" and api_key and (project or location or credentials_file):
            raise ValueError(
                "Vertex AI takes either a key, or project and location with an account; keep one"
            )
        default = DEFAULT_ADDRESS if service == "gemini" else vertex_address(location or "global")
        self.service = service
        self.base_url = check_address(base_url or default)
        self.on_site = on_site
        self.redact = Redactor(api_key)
        self._api_key = api_key
        self._project = project
        self._location = location
        self._credentials_file = credentials_file
        self._api_version = api_version or API_VERSIONS[service]
        self._max_connections = max_connections
        self._credentials: Any = None
        self._client: Any = None
        self._http: Any = None
        self._unused: Any = None
        self._library = f"google-genai {_version()}"
        self._dialect = Dialect()

    def __repr__(self) -> str:
        return f"GeminiBackend({self.service!r}, base_url={self.base_url!r})"

    @property
    def client(self) -> str:
        """Library and version, and what differs from the usual request."""
        said = str(self._dialect)
        return f"{self._library} ({said})" if said else self._library

    async def open(self) -> None:
        """Make the client; with an account, find it."""
        import httpx2
        from google import genai
        from google.genai import types

        # The library would make another client, with the environment's proxies.
        self._unused = httpx2.Client(transport=httpx2.MockTransport(_send_nothing))
        self._http = http_client(
            self.service,
            self.base_url,
            on_site=self.on_site,
            redact=self.redact,
            timeout_s=600.0,
            max_connections=self._max_connections,
        )
        options = types.HttpOptions(
            base_url=self.base_url,
            api_version=self._api_version,
            httpx_client=self._unused,
            httpx_async_client=self._http,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        if self.service == "gemini":
            account: dict[str, Any] = {"api_key": self._api_key}
        elif self._api_key:
            account = {"api_key": self._api_key}
        else:
            self._credentials = await asyncio.to_thread(self._find_account)
            account = {
                "credentials": self._credentials,
                "project": self._project,
                "location": self._location,
            }
        self._client = genai.Client(
            vertexai=self.service == "vertex", http_options=options, **account
        )

    def _find_account(self) -> Any:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
        from google.oauth2.service_account import Credentials

        if self._credentials_file is not None:
            try:
                return Credentials.from_service_account_file(
                    str(self._credentials_file), scopes=[_SCOPE]
                )
            except (OSError, ValueError) as error:
                raise MissingKeyError(
                    f"{self._credentials_file} is no service account file ({error}); give the JSON "
                    "file that Google Cloud made for the account"
                ) from None
        try:
            return google.auth.default(scopes=[_SCOPE])[0]
        except DefaultCredentialsError as error:
            raise MissingKeyError(
                f"no Google Cloud account: {error}; give credentials_file, or log in with gcloud"
            ) from None

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Send one question, once; see `Backend.send`."""
        from google.auth.exceptions import GoogleAuthError

        dialect, client = self._dialect, self.client
        contents, config = await asyncio.to_thread(
            request_of, question, timeout_s=timeout_s, dialect=dialect
        )
        try:
            found = await self._client.aio.models.generate_content(
                model=question.model, contents=contents, config=config
            )
        except GoogleAuthError as error:
            if self._credentials is not None:
                self.redact.add(getattr(self._credentials, "token", None))
            detail = self.redact(f"no access token: {error}")
            if getattr(error, "retryable", False):
                raise UnreachableError(detail) from None
            raise RefusedError(detail) from None
        except Exception as error:  # whatever a library makes of a reply
            failure = error_of_library(error, redact=self.redact)
            sent = {*question.parameters} - dialect.left_out
            sent |= {"form"} | ({"system"} if question.system else set())
            self._dialect, failure = adapted(
                self._dialect, used=dialect, failure=failure, sent=sent
            )
            raise failure from None
        raw = found.sdk_http_response
        headers = kept_headers(raw.headers or {}, self.redact)
        return Reply(200, self.redact(raw.body or ""), headers, client)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aio.aclose()
            self._client.close()
        if self._http is not None:
            await self._http.aclose()
            self._unused.close()


def request_of(
    question: Question, *, timeout_s: float, dialect: Dialect | None = None
) -> tuple[Any, Any]:
    """Contents and configuration of a request, in the library's types.

    Args:
        question: The question.
        timeout_s: Time limit of every read, in seconds.
        dialect: What of the protocol is used.
    """
    from google.genai import types

    dialect = dialect or Dialect()
    parts = [
        types.Part.from_text(text=part)
        if isinstance(part, str)
        else types.Part.from_bytes(data=part, mime_type="image/png")
        for part in question.encoded()
    ]
    if dialect.form != FORMS[0]:
        parts.append(types.Part.from_text(text=form_in_words(question.schema)))
    if question.system and not dialect.has_system:
        parts.insert(0, types.Part.from_text(text=question.system))
    settings = {n: v for n, v in question.parameters.items() if n not in dialect.left_out}
    thinking = {
        name: settings.pop(name)
        for name in ("thinking_budget", "thinking_level")
        if name in settings
    }
    if thinking:
        settings["thinking_config"] = types.ThinkingConfig(**thinking)
    if "media_resolution" in settings:
        settings["media_resolution"] = f"MEDIA_RESOLUTION_{settings['media_resolution']}"
    threshold = settings.pop("safety_threshold", None)
    if threshold is not None:
        settings["safety_settings"] = [
            types.SafetySetting(category=f"HARM_CATEGORY_{category}", threshold=threshold)
            for category in _SAFETY_CATEGORIES
        ]
    config = types.GenerateContentConfig(
        **settings,
        system_instruction=(question.system or None) if dialect.has_system else None,
        candidate_count=1,
        response_mime_type="application/json" if dialect.form != "none" else None,
        response_json_schema=dict(question.schema) if dialect.form == FORMS[0] else None,
        # One request a question: no further ones for functions or for answers cut in two.
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        automatic_continuation=False,
        should_return_http_response=True,
        http_options=types.HttpOptions(timeout=round(timeout_s * 1000)),
    )
    return [types.Content(role="user", parts=parts)], config


def _send_nothing(request: Any) -> Any:
    raise RefusedError(f"a request to {request.url.host} beside the questions was not sent")


def _version() -> str:
    from importlib.metadata import version

    return version("google-genai")
