"""How a question is put to a model or server that does not take all of the protocol.

What a server complains of is left out, renamed, or asked for in words, step by step, and said: in
the log, and beside every reply in the ledger. The question and its key stay the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

FORMS = ("json_schema", "json_object", "none")
"""How the form of the answer is demanded, strictest first; with the last two also in words."""

_UNSUPPORTED = re.compile(
    r"unsupported|unavailable|unknown|unrecogni[sz]ed|unexpected|deprecated|extra (?:inputs|fields)"
    r"|not (?:\w+ )?(?:support|allow|permit|availab|enabled|implemented|recogni[sz]ed|accept)"
    r"|only the default|instead|use '?max_completion_tokens",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"response[_ ]?(?:format|json[_ ]?schema|schema|mime[_ ]?type)|json[_ ]?(?:schema|mode|object)"
    r"|structured[_ ]outputs?|guided[_ ](?:json|decoding)|grammar",
    re.IGNORECASE,
)
_SYSTEM = re.compile(
    r"developer instruction|system[_ ]?(?:instruction|prompt|role|message)|role[^.]{0,20}system",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Dialect:
    """What of the protocol is used.

    Attributes:
        form: One of `FORMS`.
        limit: Name under which the answer's limit is sent (OpenAI's protocol).
        has_system: Whether the system text has its own place; else it stands before the rest.
        left_out: Parameters that are not sent.
    """

    form: str = FORMS[0]
    limit: str = "max_tokens"
    has_system: bool = True
    left_out: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """What differs from the usual, in words; empty if nothing does."""
        said = [
            *([] if self.form == FORMS[0] else [f"answer's form: {self.form}"]),
            *([] if self.limit == Dialect.limit else [self.limit]),
            *([] if self.has_system else ["system text in the question"]),
            *(f"without {name}" for name in sorted(self.left_out)),
        ]
        return ", ".join(said)

    def after(
        self, complaint: str, *, sent: Collection[str], words: Mapping[str, str]
    ) -> Dialect | None:
        """The dialect for the next try; None if the complaint is about something else.

        Args:
            complaint: Message of a reply that turned a request away.
            sent: Names of the parts that the request had: parameters, `form`, `limit`, `system`.
            words: What servers call the parameters that may be left out, by name.
        """
        if "form" in sent and self.form != FORMS[-1] and _FORM.search(complaint):
            return replace(self, form=FORMS[FORMS.index(self.form) + 1])
        if not _UNSUPPORTED.search(complaint):
            return None
        if "limit" in sent and re.search(r"max_(?:completion_)?tokens", complaint):
            other = {"max_tokens": "max_completion_tokens"}.get(self.limit)
            return replace(self, limit=other) if other else None
        for name, called in words.items():
            whole = rf"(?<![a-z]){called}(?![a-z])"
            if name in sent and re.search(whole, complaint, re.IGNORECASE):
                return replace(self, left_out=self.left_out | {name})
        if "system" in sent and self.has_system and _SYSTEM.search(complaint):
            return replace(self, has_system=False)
        return None


def form_in_words(schema: Mapping[str, Any]) -> str:
    """The answer's form as a text of the question, for servers that do not take a schema."""
    return "Answer with one JSON object and nothing else. Its JSON schema: " + json.dumps(
        dict(schema)
    )
