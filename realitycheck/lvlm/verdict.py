"""Verdicts, and what is common to reading them from the replies of all services.

Pure functions, so every stored answer can be read again. Nothing is guessed: an answer is a verdict
only if the model ended by itself and wrote an object with a reasoning, the label OK or NOK and a
score whose scale is certain; everything else has a status of its own and no label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realitycheck.lvlm.prompts import RESPONSE_SCHEMA
from realitycheck.lvlm.reading import UnreadableError, read_start

_FENCE = re.compile(r"```[a-zA-Z]*\s*(\{.*\})\s*```", re.DOTALL)
_THOUGHTS = re.compile(
    r".*(?:</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>"
    r"|<\|channel\|>final<\|message\|>)",
    re.DOTALL | re.IGNORECASE,
)
_OPEN_THOUGHTS = re.compile(
    r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|channel\|>",
    re.IGNORECASE,
)
_FRAME = re.compile(
    r"(?:<answer>|<\|begin_of_box\|>)(.*)(?:</answer>|<\|end_of_box\|>)", re.DOTALL | re.IGNORECASE
)
_SCORE_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:%|(?:/|out of)\s*(5|10|100))?\s*")

_LONGEST_NAME = 200
"""Characters of a model's name or of the word for its end that are kept."""

_LARGEST_COUNT = 10**9
"""Tokens; a larger number counts none."""


@dataclass(frozen=True)
class Verdict:
    """What one stored answer says.

    Attributes:
        status: One of `VERDICT_STATUSES`.
        label: OK, NOK, or None.
        score: 0 (certainly OK) to 1 (certainly NOK), or None.
        reasoning: The model's words, or None.
        finish_reason: Why the model stopped, in the service's word.
        model_returned: Model that the service names, or None.
        tokens_in: Tokens of the request, those from a cache included.
        tokens_cached: Tokens of the request that came from a cache.
        tokens_image: Tokens of the request's images, where the service says so.
        tokens_out: Tokens of the answer without thinking.
        tokens_thinking: Tokens of thinking.
        model_notice: What the service says of the model's future, or None.
    """

    status: str
    label: str | None = None
    score: float | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    model_returned: str | None = None
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_image: int | None = None
    tokens_out: int | None = None
    tokens_thinking: int | None = None
    model_notice: str | None = None


class UnexpectedShapeError(Exception):
    """A value of another type than the protocol has in its place."""


def value_of(node: Mapping[str, Any], name: str, kind: type) -> Any:
    """A value of a reply; missing or null is the type's empty value."""
    value = node.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise UnexpectedShapeError
    return value


def verdict_of_texts(texts: Sequence[str], reason: str, facts: Mapping[str, Any]) -> Verdict:
    """Read the first text that is not blank."""
    text = next((t for t in texts if t.strip()), "")
    if not text:
        return Verdict("empty", finish_reason=reason, **facts)
    answer = read_object(text, may_explain=text is texts[0]) or {}
    label, words = answer.get("label"), answer.get("reasoning")
    score = share_of(answer.get("score"), label) if label in ("OK", "NOK") else None
    if score is None or not isinstance(words, str):
        return Verdict("not_in_schema", reasoning=text, finish_reason=reason, **facts)
    return Verdict(
        "answered", label=label, score=score, reasoning=words, finish_reason=reason, **facts
    )


def share_of(score: Any, label: str) -> float | None:
    """A score as a share of 1, or None where its scale is not certain.

    Asked for is an integer of 0 to 100. A percentage and `N/5`, `N/10` and `N/100` say their scale.
    A number between 0 and 1 is a share if it agrees with the label, and 1 is one percent unless the
    label is NOK, when it could as well be all.
    """
    if isinstance(score, str):
        found = _SCORE_TEXT.fullmatch(score) if len(score) <= 40 else None
        if not found:
            return None
        if found[0].strip() != found[1]:
            share = float(found[1]) / float(found[2] or 100)
            return share if share <= 1 else None
        score = float(found[1])
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 100:
        return None
    if score == 1 and label == "NOK":
        return None
    if not 0 < score < 1:
        return score / 100
    return score if score != 0.5 and (score > 0.5) == (label == "NOK") else None


def read_object(text: str, *, may_explain: bool = True) -> dict[str, Any] | None:
    """Read the one JSON object that a text gives as its answer.

    Thoughts that are marked as such, a Markdown fence and a frame around it are taken off, and so
    is an opening brace too many, which servers with constrained decoding have been seen to write.
    Words before it are tolerated if they hold no brace and the object has all that was asked for;
    with words after it, or a second object, which one is meant would be a guess.

    Args:
        text: What the model wrote.
        may_explain: Whether words before the object are tolerated; not where thoughts are written,
            which may hold a draft.
    """
    text = text.strip()
    found = _whole_object(text)
    if found is not None:
        return found
    thoughts = _THOUGHTS.match(text)
    text = text[thoughts.end() :].strip() if thoughts else text
    for frame in (_FRAME, _FENCE):
        framed = frame.fullmatch(text)
        text = framed[1].strip() if framed else text
    found = _whole_object(text)
    if found is not None or not may_explain or _OPEN_THOUGHTS.search(text):
        return found
    found = _whole_object(text[max(0, text.find("{")) :].removesuffix("```"))
    return found if found and set(found) >= set(RESPONSE_SCHEMA["required"]) else None


def _whole_object(text: str) -> dict[str, Any] | None:
    for candidate in (text, re.sub(r"^\{\s*(?=\{)", "", text)):
        try:
            found, end = read_start(candidate)
        except UnreadableError:
            continue
        rest = candidate[end:].strip()
        if isinstance(found, dict) and (not rest or (candidate != text and rest == "}")):
            return found
    return None


def name_of(value: Any) -> str | None:
    """A name, cut to 200 characters; None for what is no text, or an empty one."""
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else None


def count_of(usage: Mapping[str, Any], name: str, *, absent: int | None = None) -> int | None:
    """A token count; services leave counts of 0 out. A count of another type is no count."""
    value = usage.get(name, absent)
    if value is None:
        return absent
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value <= _LARGEST_COUNT else None


def is_same_model(requested: str, returned: str | None, *, accepted: Sequence[str] = ()) -> bool:
    """Whether the model that answered is the one that was asked.

    Args:
        requested: Name in the request.
        returned: Name in the reply; a reply that names none proves nothing and passes.
        accepted: Further names that count as the requested one, such as a dated version.
    """
    if returned is None:
        return True
    return _bare(returned) in {_bare(name) for name in (requested, *accepted)}


def _bare(name: str) -> str:
    # Google's services accept and return resource names: publishers/google/models/NAME.
    return re.sub(r"^(publishers/[^/]+/)?models/", "", name)
