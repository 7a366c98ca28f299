"""Servers that speak OpenAI's protocol: vLLM, Ollama, LM Studio, and others.

Uses the `openai` package, an extra. Its retries are off, and the raw body is taken before it reads
it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from realitycheck.lvlm.backends.base import (
    Reply,
    adapted,
    check_address,
    error_of_library,
    http_client,
    kept_headers,
)
from realitycheck.lvlm.backends.dialect import FORMS, Dialect, form_in_words
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.questions import Question

_LIMITS = {"max_tokens", "max_completion_tokens"}

NO_KEY = "none"
"""Sent where the server needs no key: the library insists on one."""


class OpenAICompatibleBackend:
    """One server with the route `{base_url}/chat/completions`.

    Args:
        base_url: Address with the version, such as `http://inspection-server:8000/v1`.
        api_key: The key; None: the server needs none.
        max_connections: Connections at once.
        on_site: See `realitycheck.lvlm.gates.is_on_site`.

    Raises:
        ImportError: If the extra is not installed; says how to.
        ValueError: If `base_url` is no address.
    """

    service = "openai_compatible"

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        max_connections: int = 32,
        on_site: bool | None = None,
    ):
        try:
            import openai
        except ImportError as error:
            raise ImportError(
                "the backend openai_compatible needs the package openai; install it with: pip "
                "install 'realitycheck[openai]'"
            ) from error
        self.base_url = check_address(base_url)
        self.on_site = on_site
        self.redact = Redactor(api_key)
        self._library = f"openai {openai.__version__}"
        self._dialect = Dialect()
        self._api_key = api_key
        self._max_connections = max_connections
        self._client: Any = None

    def __repr__(self) -> str:
        return f"OpenAICompatibleBackend({self.base_url!r})"

    @property
    def client(self) -> str:
        """Library and version, and what differs from the usual request."""
        said = str(self._dialect)
        return f"{self._library} ({said})" if said else self._library

    async def open(self) -> None:
        """Make the client."""
        import openai

        self._client = openai.AsyncOpenAI(
            api_key=self._api_key or NO_KEY,
            base_url=self.base_url,
            max_retries=0,
            http_client=http_client(
                self.service,
                self.base_url,
                on_site=self.on_site,
                redact=self.redact,
                timeout_s=600.0,
                max_connections=self._max_connections,
            ),
        )
        # Names of an OpenAI account in the environment are no business of this server.
        self._client.organization = None
        self._client.project = None

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Send one question, once; see `Backend.send`."""
        dialect, client = self._dialect, self.client
        request = await asyncio.to_thread(request_of, question, dialect)
        try:
            found = await self._client.chat.completions.with_raw_response.create(
                **request, timeout=timeout_s
            )
        except Exception as error:  # whatever a library makes of a reply
            failure = error_of_library(error, redact=self.redact)
            self._dialect, failure = adapted(
                self._dialect, used=dialect, failure=failure, sent=_sent(request, question)
            )
            raise failure from None
        headers = kept_headers(found.headers, self.redact)
        return Reply(200, self.redact(found.text), headers, client)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.close()


def request_of(question: Question, dialect: Dialect | None = None) -> dict[str, Any]:
    """Arguments of a chat completion.

    Args:
        question: The question.
        dialect: What of the protocol is used. What `extra_body` names is sent as it says.
    """
    dialect = dialect or Dialect()
    content: list[dict[str, Any]] = []
    for part in question.encoded():
        if isinstance(part, str):
            content.append({"type": "text", "text": part})
        else:
            data = base64.b64encode(part).decode("ascii")
            url = f"data:image/png;base64,{data}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    if dialect.form != FORMS[0]:
        content.append({"type": "text", "text": form_in_words(question.schema)})
    system = [{"role": "system", "content": question.system}] if question.system else []
    if system and not dialect.has_system:
        content[:0] = [{"type": "text", "text": system.pop()["content"]}]
    settings = {n: v for n, v in question.parameters.items() if n not in dialect.left_out}
    extra = settings.pop("extra_body", None) or {}
    limit = {dialect.limit: settings.pop("max_output_tokens")}
    forms = {
        "json_schema": {
            "type": "json_schema",
            "json_schema": {
                "name": "verdict",
                "strict": True,
                "schema": json.loads(json.dumps(dict(question.schema))),
            },
        },
        "json_object": {"type": "json_object"},
    }
    form = {"response_format": forms[dialect.form]} if dialect.form in forms else {}
    ours = {**({} if _LIMITS & set(extra) else limit), **form, **settings}
    return {
        "model": question.model,
        "messages": [*system, {"role": "user", "content": content}],
        **{name: value for name, value in ours.items() if name not in extra},
        **({"extra_body": extra} if extra else {}),
    }


def _sent(request: dict[str, Any], question: Question) -> set[str]:
    """Names of what a request held that could be left out or renamed."""
    return {
        *(name for name in question.parameters if name in request),
        *(["limit"] if _LIMITS & set(request) else []),
        *(["form"] if "response_format" in request else []),
        *(["system"] if question.system else []),
    }
