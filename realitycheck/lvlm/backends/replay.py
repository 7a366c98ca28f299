"""Answers out of a ledger alone, with no key and no network.

So that anyone can score a published run again.
"""

from __future__ import annotations

from realitycheck.lvlm.backends.base import RefusedError, Reply
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.questions import Question


class ReplayBackend:
    """Sends nothing; what the ledger does not hold is `not_asked`.

    Args:
        service: Kind of endpoint that the stored answers came from.
    """

    base_url = ""
    client = "replay"

    def __init__(self, service: str = "gemini"):
        self.service = service
        self.on_site: bool | None = True
        self.redact = Redactor()

    async def open(self) -> None:
        """Nothing to make ready."""

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Refuse; see `Backend.send`."""
        raise RefusedError(f"image {question.image_id}: a replay sends nothing")

    async def close(self) -> None:
        """Nothing to close."""
