"""Generation parameters: what a service accepts, and the form in which they are stored.

Only what is set is sent. What is sent is part of a question's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_MAX_OUTPUT_TOKENS = 8_192
"""Room for thinking and answer. Without a limit a runaway answer of 65,536 tokens is paid for."""


@dataclass(frozen=True)
class Parameter:
    """A generation parameter that a service accepts.

    Attributes:
        kind: float, int, str (one of `choices`) or dict (sent as it is).
        low: Smallest number.
        high: Largest number.
        choices: Texts, in upper case.
        words: Regular expression of what servers call it. Where a server complains of it, it is
            left out. None: it is always sent.
    """

    kind: type
    low: float = -(2**31)
    high: float = 2**31 - 1
    choices: tuple[str, ...] = ()
    words: str | None = None

    def stored(self, name: str, value: Any) -> Any:
        """Give a value its stored form: numbers as int or float, texts in upper case.

        Raises:
            ValueError: If the parameter does not take the value.
        """
        wrong = ValueError(f"{name}: expected {self.kind.__name__}, got {value!r}")
        if self.kind is dict:
            if not isinstance(value, Mapping):
                raise wrong
            return dict(value)
        if self.kind is str:
            if not isinstance(value, str) or value.upper() not in self.choices:
                raise ValueError(
                    f"{name}: expected one of {', '.join(self.choices)}, got {value!r}"
                )
            return value.upper()
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or self.kind(value) != value:
            raise wrong
        if not self.low <= value <= self.high:
            raise ValueError(
                f"{name}: expected a value within {self.low} and {self.high}, got {value!r}"
            )
        return self.kind(value)


COMMON: Mapping[str, Parameter] = {
    "temperature": Parameter(float, 0.0, 2.0, words="temperature"),
    "top_p": Parameter(float, 0.0, 1.0, words=r"top_?p"),
    "seed": Parameter(int, words="seed"),
    "max_output_tokens": Parameter(int, 1, 1_000_000),
}
"""Parameters of every service. `max_output_tokens`, thinking included, is always sent."""


def stored_parameters(
    service: str, known: Mapping[str, Parameter], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Check parameters one by one.

    Args:
        service: Name of the service, for messages.
        known: The parameters that it accepts.
        given: Values by name; what is None is not sent.

    Returns:
        The parameters that are sent, in their stored form, and the faults.
    """
    found: dict[str, Any] = {}
    faults = []
    for name, value in {"max_output_tokens": None, **given}.items():
        if name not in known:
            faults.append(f"{name}: not known to {service}; known: {', '.join(known)}")
        elif value is not None:
            try:
                found[name] = known[name].stored(name, value)
            except ValueError as error:
                faults.append(str(error))
        elif name == "max_output_tokens":
            found[name] = DEFAULT_MAX_OUTPUT_TOKENS
    return found, faults
