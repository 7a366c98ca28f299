"""Servers that speak OpenAI's protocol: vLLM, Ollama, LM Studio, and others.

Uses the `openai` package, an extra. Its retries are off, and the raw body is taken before it reads
it.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from realitycheck.lvlm.backends.base import Backend, Reply
from realitycheck.lvlm.backends.dialect import FORMS, Dialect, form_in_words
from realitycheck.lvlm.backends.errors import kept_headers
from realitycheck.lvlm.backends.parameters import COMMON, Parameter
from realitycheck.lvlm.backends.transport import http_client
from realitycheck.lvlm.limits import ImageLimits
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.verdict import (
    UnexpectedShapeError,
    Verdict,
    count_of,
    name_of,
    value_of,
    verdict_of_texts,
)

CLOUD_MODELS = ("*:cloud", "*-cloud")
"""Names of models that a server passes on to a cloud: Ollama's, as in `qwen3-vl:235b-cloud`."""

NO_KEY = "none"
"""Sent where the server needs no key: the library insists on one."""

_LIMITS = {"max_tokens", "max_completion_tokens"}


class OpenAICompatibleBackend(Backend):
    """One server with the route `{base_url}/chat/completions`.

    Raises:
        ImportError: If the extra is not installed; says how to.
    """

    service = "openai_compatible"
    parameters: ClassVar[Mapping[str, Parameter]] = {**COMMON, "extra_body": Parameter(dict)}
    is_server = True
    cloud_models = CLOUD_MODELS
    #: Of OpenAI's own service; the sum is safely below its 20 MB, as text is larger.
    limits = ImageLimits(15_000_000, 15_000_000, 500)
    members = ("choices",)

    def __init__(self, settings: Mapping[str, Any], *, api_key: str | None = None):
        super().__init__(settings, api_key=api_key)
        import openai

        self.library = f"openai {openai.__version__}"
        self._client: Any = None

    @classmethod
    def settings_faults(cls, settings: Mapping[str, Any], *, has_key: bool) -> list[str]:
        """See `Backend.settings_faults`; the package must be installed as well."""
        faults = super().settings_faults(settings, has_key=has_key)
        if importlib.util.find_spec("openai") is None:
            faults.append(
                "backend: openai_compatible needs a package that is not installed; run pip install "
                "'realitycheck[openai]'"
            )
        return faults

    @classmethod
    def schema(cls, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's schema as OpenAI's strict mode asks for it."""
        return {**schema, "additionalProperties": False}

    @classmethod
    def holds_error(cls, body: Mapping[str, Any]) -> bool:
        """Whether a reply reports an error, at its top or in its first choice, as OpenRouter's."""
        choices = body.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        return super().holds_error(body) or (isinstance(first, dict) and bool(first.get("error")))

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Verdict:
        """Read a chat completion; tokens of thinking are taken out of those of the completion."""
        usage = body.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        details = {
            name: value if isinstance(value := usage.get(name), dict) else {}
            for name in ("prompt_tokens_details", "completion_tokens_details")
        }
        thinking = count_of(details["completion_tokens_details"], "reasoning_tokens", absent=0)
        completion = count_of(usage, "completion_tokens")
        facts = {
            "model_returned": name_of(body.get("model")),
            "tokens_in": count_of(usage, "prompt_tokens"),
            "tokens_cached": count_of(details["prompt_tokens_details"], "cached_tokens", absent=0),
            "tokens_out": None if completion is None else max(0, completion - (thinking or 0)),
            "tokens_thinking": None if completion is None else thinking,
        }
        choices = value_of(body, "choices", list)
        if not choices:
            return Verdict("empty", **facts)
        if not isinstance(choices[0], dict):
            raise UnexpectedShapeError
        message = value_of(choices[0], "message", dict)
        reason = name_of(value_of(choices[0], "finish_reason", str))
        if reason == "length":
            return Verdict("truncated", finish_reason=reason, **facts)
        if reason == "content_filter":
            return Verdict("refused", finish_reason=reason, **facts)
        if value_of(message, "refusal", str):
            return Verdict("refused", finish_reason="refusal", **facts)
        content = message.get("content")
        if isinstance(content, list):  # content in parts, as some servers send it
            content = "".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
        elif content is not None and not isinstance(content, str):
            raise UnexpectedShapeError
        # Servers with a reasoning parser have been seen to put the whole object there.
        other = [value_of(message, name, str) for name in ("reasoning_content", "reasoning")]
        if reason is None and not (content or "").strip() and not any(o.strip() for o in other):
            return Verdict("empty", **facts)
        if reason != "stop":
            return Verdict("stopped", finish_reason=reason or "UNSPECIFIED", **facts)
        return verdict_of_texts([content or "", *other], reason, facts)

    async def open(self) -> None:
        """Make the client."""
        import openai

        self._client = openai.AsyncOpenAI(
            api_key=self.api_key or NO_KEY,
            base_url=self.endpoint.address,
            max_retries=0,
            http_client=http_client(
                self.endpoint,
                redact=self.redact,
                max_connections=self.settings.get("in_flight") or 32,
            ),
        )
        # Names of an OpenAI account in the environment are no business of this server.
        self._client.organization = None
        self._client.project = None

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Send one question, once; see `Backend.send`."""
        dialect, client = self.dialect, self.client
        request = await asyncio.to_thread(request_of, question, dialect)
        try:
            found = await self._client.chat.completions.with_raw_response.create(
                **request, timeout=timeout_s
            )
        except Exception as error:  # whatever a library makes of a reply
            sent = _sent(request, question)
            raise self.failure_of(error, used=dialect, sent=sent) from None
        headers = kept_headers(found.headers, self.redact)
        return Reply(200, self.redact(found.text), headers, client)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.close()


BACKENDS = (OpenAICompatibleBackend,)


def request_of(question: Question, dialect: Dialect) -> dict[str, Any]:
    """Arguments of a chat completion; what `extra_body` names is sent as it says."""
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
