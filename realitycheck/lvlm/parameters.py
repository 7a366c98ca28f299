"""Generation parameters: which there are, what each family of models accepts, how they are stored.

Only what is set is sent. What is sent is part of a question's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVICES = ("gemini", "vertex", "openai_compatible")
"""Kinds of endpoint a question can be put to."""

DEFAULT_MAX_OUTPUT_TOKENS = 8_192
"""Room for thinking and answer. Without a limit a runaway answer of 65,536 tokens is paid for."""

ANSWER_TOKENS = 1_024
"""Room that the answer itself needs beside the thinking budget."""

_COMMON = {
    "temperature": float,
    "top_p": float,
    "seed": int,
    "max_output_tokens": int,
}
_GOOGLE = {
    "thinking_budget": int,
    "thinking_level": str,
    "media_resolution": str,
    "safety_threshold": str,
}
_OPENAI = {"extra_body": dict}

_CHOICES = {
    "thinking_level": ("MINIMAL", "LOW", "MEDIUM", "HIGH"),
    "media_resolution": ("LOW", "MEDIUM", "HIGH"),
    "safety_threshold": (
        "BLOCK_LOW_AND_ABOVE",
        "BLOCK_MEDIUM_AND_ABOVE",
        "BLOCK_ONLY_HIGH",
        "BLOCK_NONE",
        "OFF",
    ),
}
_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "max_output_tokens": (1, 1_000_000),
    "thinking_budget": (-1, 65_536),
}

# Thinking budgets of the families that have one; -1 lets the model decide, 0 switches it off where
# that is possible (Gemini API, page "Thinking").
_THINKING_BUDGETS = {
    "gemini-2.5-pro": (128, 32_768, False),
    "gemini-2.5-flash-lite": (512, 24_576, True),
    "gemini-2.5-flash": (1, 24_576, True),
}


def check_parameters(
    service: str, model: str, *, parameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Check generation parameters and give them their stored form.

    Args:
        service: One of `SERVICES`.
        model: Model name as requested.
        parameters: Any of `temperature`, `top_p`, `seed`, `max_output_tokens` (tokens, thinking
            included); for Google's services `thinking_budget` (tokens; -1: the model decides),
            `thinking_level`, `media_resolution`, `safety_threshold`; for OpenAI-compatible servers
            `extra_body` (a mapping that is sent as it is). What is None is not sent.

    Returns:
        The parameters that are sent, numbers as int or float; always with `max_output_tokens`.

    Raises:
        ValueError: All faults in one message.
    """
    if service not in SERVICES:
        raise ValueError(f"service: expected one of {', '.join(SERVICES)}, got {service!r}")
    if not str(model).strip():
        raise ValueError("model: expected a model's name, got an empty text")
    known = _COMMON | (_OPENAI if service == "openai_compatible" else _GOOGLE)
    found: dict[str, Any] = {}
    faults = []
    for name, value in {"max_output_tokens": None, **(parameters or {})}.items():
        if name not in known:
            faults.append(f"{name}: not known to {service}; known: {', '.join(known)}")
        elif value is None:
            if name == "max_output_tokens":
                found[name] = DEFAULT_MAX_OUTPUT_TOKENS
        else:
            try:
                found[name] = _typed(name, value, known[name])
            except ValueError as error:
                faults.append(str(error))
    faults += [] if faults else _family_faults(model, found)
    if faults:
        raise ValueError(f"parameters of {model}: " + "; ".join(faults))
    return found


def _typed(name: str, value: Any, kind: type) -> Any:
    wrong = ValueError(f"{name}: expected {kind.__name__}, got {value!r}")
    if kind is dict:
        if not isinstance(value, Mapping):
            raise wrong
        return dict(value)
    if kind is str:
        if not isinstance(value, str) or value.upper() not in _CHOICES[name]:
            raise ValueError(f"{name}: expected one of {', '.join(_CHOICES[name])}, got {value!r}")
        return value.upper()
    if isinstance(value, bool) or not isinstance(value, int | float) or kind(value) != value:
        raise wrong
    low, high = _RANGES.get(name, (-(2**31), 2**31 - 1))
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a value within {low} and {high}, got {value!r}")
    return kind(value)


def _family_faults(model: str, found: Mapping[str, Any]) -> list[str]:
    faults = []
    budget, level = found.get("thinking_budget"), found.get("thinking_level")
    if budget is not None and level is not None:
        faults.append("thinking_budget and thinking_level exclude each other; keep one")
    if level is not None and model.startswith("gemini-2"):
        faults.append("thinking_level is for Gemini 3 and later; set thinking_budget instead")
    for family, (low, high, can_be_off) in _THINKING_BUDGETS.items():
        if budget is not None and model.startswith(family):
            allowed = low <= budget <= high or budget == -1 or (can_be_off and budget == 0)
            if not allowed:
                off = ", 0 (off)" if can_be_off else ""
                faults.append(
                    f"thinking_budget: {family} takes {low} to {high}{off} or -1 (the model "
                    f"decides), got {budget}"
                )
            break
    if (budget or 0) > 0 and found["max_output_tokens"] < budget + ANSWER_TOKENS:
        faults.append(
            f"max_output_tokens: thinking counts too, so with thinking_budget {budget} at least "
            f"{budget + ANSWER_TOKENS} are needed, got {found['max_output_tokens']}"
        )
    return faults
