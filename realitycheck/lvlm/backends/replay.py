"""Answers out of a ledger alone, with no key and no network.

So that anyone can score a published run again.
"""

from __future__ import annotations

from realitycheck.lvlm.backends.base import Backend, Reply
from realitycheck.lvlm.backends.dialect import Dialect
from realitycheck.lvlm.backends.egress import Endpoint
from realitycheck.lvlm.backends.errors import RefusedError
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.questions import Question


class ReplayBackend(Backend):
    """Sends nothing; what the ledger does not hold is `not_asked`.

    Args:
        service: The service that the stored answers came from.
    """

    library = "replay"

    def __init__(self, service: str):
        self.service = service  # type: ignore[misc]
        self.endpoint = Endpoint(service)
        self.redact, self.dialect = Redactor(), Dialect()

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Refuse; see `Backend.send`."""
        raise RefusedError(f"image {question.image_id}: a replay sends nothing")
