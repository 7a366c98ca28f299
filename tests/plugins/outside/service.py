"""Service: a model that rejects whatever it is asked about, and is not asked over any network."""

import json

from realitycheck.lvlm.backends.base import Backend, Reply
from realitycheck.lvlm.verdict import name_of, verdict_of_texts


class Pessimist(Backend):
    """Rejects every part."""

    service = "pessimist"
    members = ("said",)
    library = "pessimist 1"

    @classmethod
    def own_address(cls, settings):
        """Where it would be asked."""
        return "https://pessimist.example/"

    @classmethod
    def parse(cls, body):
        """Read the label, and what the answer was made of."""
        facts = {"model_returned": name_of(body.get("model")), "tokens_in": 10, "tokens_out": 5}
        return verdict_of_texts([body["said"]], "end", facts)

    async def send(self, question, *, timeout_s):
        """Answer without looking."""
        said = json.dumps({"reasoning": "It is never good.", "label": "NOK", "score": 90})
        return Reply(200, json.dumps({"model": question.model, "said": said}))


BACKENDS = (Pessimist,)
