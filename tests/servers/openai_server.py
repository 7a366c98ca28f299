"""A server on this machine that speaks OpenAI's chat completions as vLLM and its like do.

with OpenAIServer({1: Served(503, {"message": "loading"})}) as server:
    ...                                         # base_url=f"{server.url}/v1"
"""

from __future__ import annotations

import base64
import json
from typing import Any

from scripted import Arrival, ScriptedServer, Served, label_by_difference, serve

_PREFIX = "data:image/png;base64,"


def completion(
    text: str | dict | None, *, finish: str | None = "stop", **message: Any
) -> dict[str, Any]:
    """A completion's body. `text`: an object (written as JSON), words, or None."""
    words = json.dumps(text) if isinstance(text, dict) else text
    return {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": words, **message},
                "finish_reason": finish,
            }
        ],
    }


def failure(status: int, message: str = "", **headers: str) -> Served:
    """An error in OpenAI's form."""
    error = {"message": message or f"planned {status}", "type": "error", "code": status}
    return Served(
        status, {"error": error}, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def parts_of(arrival: Arrival) -> list[str | bytes]:
    """Texts and image bytes of the user's message, in order."""
    message = next(m for m in arrival.json["messages"] if m["role"] == "user")
    found: list[str | bytes] = []
    for part in message["content"]:
        if part["type"] == "text":
            found.append(part["text"])
        else:
            url = part["image_url"]["url"]
            assert url.startswith(_PREFIX), url[:40]
            found.append(base64.b64decode(url.removeprefix(_PREFIX), validate=True))
    return found


def images_of(arrival: Arrival) -> list[bytes]:
    """Image bytes of a request, in order."""
    return [part for part in parts_of(arrival) if isinstance(part, bytes)]


class OpenAIServer(ScriptedServer):
    """See the module. `looks`: label by the difference of the last image to the first."""

    looks = False

    def is_paid(self, method: str, path: str) -> bool:
        return method == "POST" and path == "/v1/chat/completions"

    def usual(self, arrival: Arrival) -> Any:
        if self.looks:
            return completion(label_by_difference(images_of(arrival)))
        return completion({"reasoning": "Nothing to see.", "label": "OK", "score": 5})

    def served(self, arrival: Arrival, wish: Any) -> Served:
        if isinstance(wish, str):
            wish = completion(wish)
        if isinstance(wish, dict):
            usage = {
                "prompt_tokens": 700,
                "completion_tokens": 90,
                "total_tokens": 790,
                "completion_tokens_details": {"reasoning_tokens": 50},
            }
            known = {"id": f"c{arrival.number}", "created": 0, "model": arrival.json["model"]}
            return Served(body={**known, "usage": usage, **wish})
        return wish


if __name__ == "__main__":
    serve(
        OpenAIServer,
        "OpenAI's chat completions on this machine, for tests without network or cost.",
    )
