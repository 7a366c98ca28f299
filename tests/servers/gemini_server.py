"""A server on this machine that speaks the part of Gemini's REST protocol that the project uses.

    with GeminiServer({2: failure(429, retry_s=3)}) as server:
        ...                                     # base_url=server.url
    assert images_of(server.paid[0]) == [reference_png, test_png]

Both kinds of address are known, `/{version}/models/{model}:generateContent` and the same below
`/projects/…/locations/…/publishers/google`; and at `TOKEN_PATH` the exchange of a service account's
signature for an access token.

Its folder must be on the module path: it is, when the file is run.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from scripted import Arrival, ScriptedServer, Served, label_by_difference, serve

TOKEN_PATH = "/token"
_ADDRESS = re.compile(
    r"^/v1(?:alpha|beta)?1?(?:/projects/[^/]+/locations/[^/]+)?(?:/publishers/google)?"
    r"/models/(?P<model>[^/:]+):generateContent$"
)
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def reply(
    text: str | dict | None,
    *,
    finish: str | None = "STOP",
    thought: str | None = None,
    usage: dict | None = None,
    **further: Any,
) -> dict[str, Any]:
    """A reply's body. `text`: an object (written as JSON), words, or None for no parts."""
    words = json.dumps(text) if isinstance(text, dict) else text
    parts = [{"text": thought, "thought": True}] if thought is not None else []
    parts += [] if words is None else [{"text": words}]
    content = {"role": "model"} | ({"parts": parts} if parts else {})
    candidate = {"content": content, "index": 0} | ({"finishReason": finish} if finish else {})
    found: dict[str, Any] = {"candidates": [candidate], **further}
    return found | ({"usageMetadata": usage} if usage is not None else {})


def failure(
    status: int, *, message: str = "", retry_s: float | str | None = None, quota: str | None = None
) -> Served:
    """An error as google.rpc.Status, with RetryInfo and QuotaFailure where asked for."""
    details = []
    if quota is not None:
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaId": quota}],
            }
        )
    if retry_s is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": kind, "retryDelay": f"{retry_s}s"})
    error = {
        "code": status,
        "status": _STATUS_NAMES.get(status, "UNKNOWN"),
        "message": message or f"planned {status}",
    }
    return Served(status, {"error": error | ({"details": details} if details else {})})


def parts_of(arrival: Arrival) -> list[str | bytes]:
    """Texts and image bytes of a request, in order."""
    found: list[str | bytes] = []
    for part in arrival.json["contents"][0]["parts"]:
        if "text" in part:
            found.append(part["text"])
        else:
            inline = part.get("inlineData") or part["inline_data"]
            mime = inline.get("mimeType") or inline["mime_type"]
            assert mime == "image/png", mime
            found.append(base64.urlsafe_b64decode(inline["data"]))
    return found


def images_of(arrival: Arrival) -> list[bytes]:
    """Image bytes of a request, in order."""
    return [part for part in parts_of(arrival) if isinstance(part, bytes)]


def model_of(arrival: Arrival) -> str:
    """Model that a request names."""
    return _ADDRESS.match(arrival.path)["model"]


class GeminiServer(ScriptedServer):
    """See the module. `looks`: label by the difference of the last image to the first."""

    looks = False

    def is_paid(self, method: str, path: str) -> bool:
        return method == "POST" and _ADDRESS.match(path) is not None

    def usual(self, arrival: Arrival) -> Any:
        if self.looks:
            return reply(label_by_difference(images_of(arrival)))
        return reply({"reasoning": "Nothing to see.", "label": "OK", "score": 5})

    def served(self, arrival: Arrival, wish: Any) -> Served:
        if isinstance(wish, str):
            wish = reply(wish)
        if isinstance(wish, dict):
            n_images = len(images_of(arrival))
            usage = {
                "promptTokenCount": 100 + 258 * n_images,
                "candidatesTokenCount": 40,
                "thoughtsTokenCount": 60,
                "totalTokenCount": 200 + 258 * n_images,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 100},
                    {"modality": "IMAGE", "tokenCount": 258 * n_images},
                ],
            }
            known = {"modelVersion": model_of(arrival), "responseId": f"r{arrival.number}"}
            return Served(body={"usageMetadata": usage, **known, **wish})
        return wish

    def _handle(self, handler) -> None:
        if handler.path != TOKEN_PATH:
            return super()._handle(handler)
        handler.rfile.read(int(handler.headers.get("content-length") or 0))
        token = {"access_token": "ya29.token-of-the-test", "expires_in": 3600}
        data = json.dumps(token | {"token_type": "Bearer"}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return None


if __name__ == "__main__":
    serve(GeminiServer, "Gemini's protocol on this machine, for tests without network or cost.")
