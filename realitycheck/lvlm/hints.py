"""Which setting to change after a service refused a request, judged by its message."""

from __future__ import annotations

import re

_BY_WORDS = (
    (
        r"at most \d+ image|too many images|(?:multiple|number of) images|only (?:one|1) image"
        r"|limit[-_]mm",
        "set reference: false and no examples in the prompt set, so that only one image is shown, "
        "or let the server take more (vLLM: --limit-mm-per-prompt)",
    ),
    (
        r"response_format|json_schema|json_object|structured output|guided|grammar",
        "name a form of answer that the server knows under parameters, such as {extra_body: "
        "{response_format: {type: json_object}}}",
    ),
    (
        r"context (?:length|window|size)|n_ctx|prompt is too long|too many tokens|max_model_len",
        "set a smaller max_side_px, fewer examples or smaller parameters.max_output_tokens, or "
        "give the server a longer context",
    ),
    (
        r"max_(?:completion_|output_|new_)?tokens|maxoutputtokens",
        "set parameters.max_output_tokens to what the model takes",
    ),
    (
        r"not support(?:ed)? (?:image|vision|multi)|image input|(?:no|without) (?:image|vision)"
        r"|not (?:a )?(?:multimodal|vision)|mmproj|image_url",
        "the model seems to read no images; name one that does under model",
    ),
    (
        r"api.?key|unauthori[sz]ed|credential",
        "check the key (key_env or key_file)",
    ),
    (
        r"temperature|top_?p|seed|thinking|media.?resolution|safety|extra inputs",
        "change or remove that entry under parameters",
    ),
)
_BY_STATUS = {
    400: "check the generation parameters (parameters), the image's size (max_side_px) and the key "
    "(key_env or key_file)",
    401: "check the key (key_env or key_file)",
    403: "check the key (key_env or key_file), and whether its project may use this model",
    404: "check the model's name and the address; {model} may have been retired (see the "
    "provider's page on deprecations)",
    407: "the proxy of the environment (HTTPS_PROXY) asks for a login; name it there, or list the "
    "host in NO_PROXY",
    413: "set a smaller max_side_px",
}


def remedy(http: int | None, message: str, *, model: str) -> str:
    """The setting to change after a request was refused.

    Args:
        http: Status of the reply.
        message: Of the service.
        model: The model that was asked.
    """
    if http in (400, 415, 422, None):
        for words, found in _BY_WORDS:
            if re.search(words, message, re.IGNORECASE):
                return found
    return _BY_STATUS.get(http or 0, "see what the service says").format(model=model)


def is_about_key(message: str) -> bool:
    """Whether a refusal is of whoever asks, whatever its status: then no question would pass."""
    return bool(
        re.search(r"api.?key|credential|unauthori[sz]ed|billing|user location", message, re.I)
    )
