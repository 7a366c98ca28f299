"""Google's services through google-genai: the Gemini API and Vertex AI.

The library's retries are off (they ignore the pause that the service asks for and send again what
may have been paid), and it hands over the raw body and reads nothing, so an odd answer is never
lost in an exception. Addresses, project and place are given explicitly: from the environment the
library would take a part and leave the rest.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from realitycheck.lvlm.backends.base import ACCOUNT_SETTINGS, Backend, Reply
from realitycheck.lvlm.backends.dialect import FORMS, Dialect, form_in_words
from realitycheck.lvlm.backends.errors import RefusedError, UnreachableError, kept_headers
from realitycheck.lvlm.backends.parameters import COMMON, Parameter
from realitycheck.lvlm.backends.transport import http_client
from realitycheck.lvlm.keys import MissingKeyError
from realitycheck.lvlm.limits import ImageLimits
from realitycheck.lvlm.questions import Picture, Question
from realitycheck.lvlm.verdict import (
    UnexpectedShapeError,
    Verdict,
    count_of,
    name_of,
    value_of,
    verdict_of_texts,
)

ANSWER_TOKENS = 1_024
"""Room that the answer itself needs beside the thinking budget."""

EXPECTED_THINKING_TOKENS = 1_000
"""Thinking that an estimate assumes where the model decides itself and no answer is known."""

# Thinking budgets of the families that have one: smallest, largest, and whether 0 switches it off;
# -1 lets the model decide (Gemini API, page "Thinking").
_THINKING_BUDGETS = {
    "gemini-2.5-pro": (128, 32_768, False),
    "gemini-2.5-flash-lite": (512, 24_576, True),
    "gemini-2.5-flash": (1, 24_576, True),
}
_TILE_TOKENS = 258
_SAFETY_CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_SAFETY_THRESHOLDS = (
    *("BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"),
)
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_REFUSALS = frozenset(
    {
        *("SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER"),
        *("MODEL_ARMOR", "ESCALATION"),
    }
)


class GeminiBackend(Backend):
    """The Gemini API, asked with a key."""

    service = "gemini"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **COMMON,
        "thinking_budget": Parameter(int, -1, 65_536, words=r"thinking(?:_?(?:budget|config))?"),
        "thinking_level": Parameter(
            str,
            choices=("MINIMAL", "LOW", "MEDIUM", "HIGH"),
            words=r"thinking(?:_?(?:level|config))?",
        ),
        "media_resolution": Parameter(
            str, choices=("LOW", "MEDIUM", "HIGH"), words=r"media[_ ]?resolution"
        ),
        "safety_threshold": Parameter(
            str, choices=_SAFETY_THRESHOLDS, words=r"safety[_ ]?(?:settings?|threshold)"
        ),
    }
    key_env = "GEMINI_API_KEY"
    limits = ImageLimits(7_000_000, 15_000_000, 3_600)
    members = ("candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId")

    #: Version of the protocol that accepts system text, schema, thinking and media resolution.
    api_version = "v1beta"

    def __init__(self, settings: Mapping[str, Any], *, api_key: str | None = None):
        from importlib.metadata import version

        super().__init__(settings, api_key=api_key)
        self.library = f"google-genai {version('google-genai')}"
        self._credentials: Any = None
        self._client: Any = None
        self._http: Any = None
        self._unused: Any = None

    @classmethod
    def own_address(cls, _settings: Mapping[str, Any]) -> str:
        """Google's address."""
        return "https://generativelanguage.googleapis.com/"

    @classmethod
    def model_faults(cls, model: str, parameters: Mapping[str, Any]) -> list[str]:
        """Faults of the thinking that is asked for, which each family of models takes otherwise."""
        faults = []
        budget, level = parameters.get("thinking_budget"), parameters.get("thinking_level")
        if budget is not None and level is not None:
            faults.append("thinking_budget and thinking_level exclude each other; keep one")
        if level is not None and model.startswith("gemini-2"):
            faults.append("thinking_level is for Gemini 3 and later; set thinking_budget instead")
        family = next((name for name in _THINKING_BUDGETS if model.startswith(name)), None)
        if budget is not None and family is not None:
            low, high, can_be_off = _THINKING_BUDGETS[family]
            if not (low <= budget <= high or budget == -1 or (can_be_off and budget == 0)):
                off = ", 0 (off)" if can_be_off else ""
                faults.append(
                    f"thinking_budget: {family} takes {low} to {high}{off} or -1 (the model "
                    f"decides), got {budget}"
                )
        if (budget or 0) > 0 and parameters["max_output_tokens"] < budget + ANSWER_TOKENS:
            faults.append(
                f"max_output_tokens: thinking counts too, so with thinking_budget {budget} at "
                f"least {budget + ANSWER_TOKENS} are needed, got {parameters['max_output_tokens']}"
            )
        return faults

    @classmethod
    def schema(cls, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's schema, with the order of the properties as Google's services take it."""
        return {**schema, "propertyOrdering": list(schema["properties"])}

    @classmethod
    def image_tokens(cls, model: str, parameters: Mapping[str, Any], picture: Picture) -> int:
        """Tokens that an image is expected to take.

        Gemini 2.5: 258 if no side is above 384 px; else one tile of 258 for every square of two
        thirds of the shorter side; 64 or 256 with a lower `media_resolution`. Gemini 3: 280, 560 or
        1,120 by `media_resolution`.

        Source: Gemini API, pages "Image understanding" and "Media resolution".
        """
        resolution = parameters.get("media_resolution", "HIGH")
        if not model.startswith(("gemini-2", "gemini-1")):
            return {"LOW": 280, "MEDIUM": 560, "HIGH": 1_120}[resolution]
        if resolution != "HIGH":
            return {"LOW": 64, "MEDIUM": 256}[resolution]
        width, height = picture.width_px, picture.height_px
        if max(width, height) <= 384:
            return _TILE_TOKENS
        unit = max(1, math.floor(min(width, height) / 1.5))
        return math.ceil(width / unit) * math.ceil(height / unit) * _TILE_TOKENS

    @classmethod
    def thinking_tokens(cls, parameters: Mapping[str, Any]) -> int:
        """The thinking budget, where it is set."""
        budget = parameters.get("thinking_budget", -1)
        return budget if budget >= 0 else EXPECTED_THINKING_TOKENS

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Verdict:
        """Read a GenerateContentResponse; thoughts among its parts are left out."""
        usage = body.get("usageMetadata")
        usage = usage if isinstance(usage, dict) else {}
        notice = body.get("modelStatus")
        facts = {
            "model_returned": name_of(body.get("modelVersion")),
            "tokens_in": count_of(usage, "promptTokenCount"),
            "tokens_cached": count_of(usage, "cachedContentTokenCount", absent=0),
            "tokens_image": _reported_image_tokens(usage),
            "tokens_out": count_of(usage, "candidatesTokenCount", absent=0),
            "tokens_thinking": count_of(usage, "thoughtsTokenCount", absent=0),
            "model_notice": json.dumps(notice, sort_keys=True) if notice else None,
        }
        if facts["tokens_in"] is None:
            facts |= {name: None for name in facts if name.startswith("tokens_")}
        candidates = value_of(body, "candidates", list)
        if not candidates:
            reason = value_of(body, "promptFeedback", dict).get("blockReason")
            if reason:
                return Verdict("prompt_blocked", finish_reason=name_of(str(reason)), **facts)
            return Verdict("empty", **facts)
        first = candidates[0]
        if not isinstance(first, dict):
            raise UnexpectedShapeError
        parts = value_of(value_of(first, "content", dict), "parts", list)
        if not all(isinstance(part, dict) for part in parts):
            raise UnexpectedShapeError
        text = "".join(value_of(part, "text", str) for part in parts if not part.get("thought"))
        reason = name_of(value_of(first, "finishReason", str))
        if reason == "MAX_TOKENS":
            return Verdict("truncated", finish_reason=reason, **facts)
        if reason in _REFUSALS:
            return Verdict("refused", finish_reason=reason, **facts)
        if reason is None and not text.strip():
            return Verdict("empty", **facts)
        if reason != "STOP":
            return Verdict("stopped", finish_reason=reason or "UNSPECIFIED", **facts)
        return verdict_of_texts([text], reason, facts)

    async def open(self) -> None:
        """Make the client; with an account, find it."""
        import httpx2
        from google import genai
        from google.genai import types

        # The library would make another client, with the environment's proxies.
        self._unused = httpx2.Client(transport=httpx2.MockTransport(_send_nothing))
        self._http = http_client(
            self.endpoint, redact=self.redact, max_connections=self.settings.get("in_flight") or 32
        )
        options = types.HttpOptions(
            base_url=self.endpoint.address,
            api_version=self.api_version,
            httpx_client=self._unused,
            httpx_async_client=self._http,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self._client = genai.Client(http_options=options, **await self._access())

    async def _access(self) -> dict[str, Any]:
        """Arguments of the client that say who asks."""
        return {"vertexai": False, "api_key": self.api_key}

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Send one question, once; see `Backend.send`."""
        from google.auth.exceptions import GoogleAuthError

        dialect, client = self.dialect, self.client
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
            sent = {*question.parameters} - dialect.left_out
            sent |= {"form"} | ({"system"} if question.system else set())
            raise self.failure_of(error, used=dialect, sent=sent) from None
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


class VertexBackend(GeminiBackend):
    """Vertex AI, asked with a key, a service account or the machine's account."""

    service = "vertex"
    account = ACCOUNT_SETTINGS
    key_env = None
    limits = ImageLimits(7_000_000, 15_000_000, 3_000)
    api_version = "v1beta1"

    @classmethod
    def own_address(cls, settings: Mapping[str, Any]) -> str:
        """Vertex AI's address for a place, as google-genai builds it."""
        location = settings.get("location") or "global"
        if location == "global":
            return "https://aiplatform.googleapis.com/"
        if location in ("us", "eu"):
            return f"https://aiplatform.{location}.rep.googleapis.com/"
        return f"https://{location}-aiplatform.googleapis.com/"

    @classmethod
    def settings_faults(cls, settings: Mapping[str, Any], *, has_key: bool) -> list[str]:
        """A key, or project and place of an account, but not both."""
        if has_key:
            return [
                f"{name}: Vertex AI takes a key, or project and location with an account; keep one"
                for name in ACCOUNT_SETTINGS
                if settings.get(name)
            ]
        return [
            f"{name}: Vertex AI with an account needs it; add the key"
            for name in ("project", "location")
            if not (settings.get(name) or "").strip()
        ]

    async def _access(self) -> dict[str, Any]:
        if self.api_key:
            return {"vertexai": True, "api_key": self.api_key}
        self._credentials = await asyncio.to_thread(self._find_account)
        return {
            "vertexai": True,
            "credentials": self._credentials,
            "project": self.settings["project"],
            "location": self.settings["location"],
        }

    def _find_account(self) -> Any:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
        from google.oauth2.service_account import Credentials

        if file := self.settings.get("credentials_file"):
            try:
                return Credentials.from_service_account_file(str(file), scopes=[_SCOPE])
            except (OSError, ValueError) as error:
                raise MissingKeyError(
                    f"{file} is no service account file ({error}); give the JSON file that Google "
                    "Cloud made for the account"
                ) from None
        try:
            return google.auth.default(scopes=[_SCOPE])[0]
        except DefaultCredentialsError as error:
            raise MissingKeyError(
                f"no Google Cloud account: {error}; give credentials_file, or log in with gcloud"
            ) from None


BACKENDS = (GeminiBackend, VertexBackend)


def request_of(question: Question, *, timeout_s: float, dialect: Dialect) -> tuple[Any, Any]:
    """Contents and configuration of a request, in the library's types.

    Args:
        question: The question.
        timeout_s: Time limit of every read, in seconds.
        dialect: What of the protocol is used.
    """
    from google.genai import types

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


def _reported_image_tokens(usage: Mapping[str, Any]) -> int | None:
    details = usage.get("promptTokensDetails")
    for row in details if isinstance(details, list) else []:
        if isinstance(row, dict) and row.get("modality") == "IMAGE":
            return count_of(row, "tokenCount")
    return None


def _send_nothing(request: Any) -> Any:
    raise RefusedError(f"a request to {request.url.host} beside the questions was not sent")
