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
    SendError,
    check_address,
    error_of_status,
    error_of_transport,
    http_client,
    kept_headers,
)
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.questions import Question

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
        self.client = f"openai {openai.__version__}"
        self._api_key = api_key
        self._max_connections = max_connections
        self._client: Any = None

    def __repr__(self) -> str:
        return f"OpenAICompatibleBackend({self.base_url!r})"

    async def open(self) -> None:
        """Make the client."""
        import openai

        self._client = openai.AsyncOpenAI(
            api_key=self._api_key or NO_KEY,
            base_url=self.base_url,
            max_retries=0,
            http_client=http_client(
                self.base_url, timeout_s=600.0, max_connections=self._max_connections
            ),
        )
        # Names of an OpenAI account in the environment are no business of this server.
        self._client.organization = None
        self._client.project = None

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Send one question, once; see `Backend.send`."""
        import httpx2
        import openai

        request = await asyncio.to_thread(request_of, question)
        try:
            found = await self._client.chat.completions.with_raw_response.create(
                **request, timeout=timeout_s
            )
        except openai.APIStatusError as error:
            raise error_of_status(
                error.status_code,
                body=error.response.text,
                headers=error.response.headers,
                redact=self.redact,
            ) from None
        except openai.APIConnectionError as error:  # time limits included
            cause = error.__cause__ or error
            if isinstance(cause, SendError):
                raise cause from None
            raise error_of_transport(cause, redact=self.redact) from None
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.DecodingError) as error:
            raise error_of_transport(error, redact=self.redact) from None
        return Reply(200, self.redact(found.text), kept_headers(found.headers, self.redact))

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.close()


def request_of(question: Question) -> dict[str, Any]:
    """Arguments of a chat completion."""
    content: list[dict[str, Any]] = []
    for part in question.encoded():
        if isinstance(part, str):
            content.append({"type": "text", "text": part})
        else:
            data = base64.b64encode(part).decode("ascii")
            url = f"data:image/png;base64,{data}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    system = [{"role": "system", "content": question.system}] if question.system else []
    settings = dict(question.parameters)
    extra = settings.pop("extra_body", None)
    return {
        "model": question.model,
        "messages": [*system, {"role": "user", "content": content}],
        "max_tokens": settings.pop("max_output_tokens"),
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "verdict",
                "strict": True,
                "schema": json.loads(json.dumps(dict(question.schema))),
            },
        },
        **settings,
        **({"extra_body": extra} if extra else {}),
    }
