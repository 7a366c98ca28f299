"""From plain settings to a backend, keys read on the way and kept nowhere else."""

from __future__ import annotations

from pathlib import Path

from realitycheck.lvlm.backends.base import Backend
from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.keys import read_key
from realitycheck.lvlm.parameters import SERVICES

DEFAULT_KEY_ENV = {"gemini": "GEMINI_API_KEY"}
"""Where a key is looked for if the settings name no place. Vertex AI then uses an account, a server
of one's own needs none."""


def backend_for(
    service: str,
    *,
    replay: bool = False,
    base_url: str | None = None,
    key_env: str | None = None,
    key_file: str | Path | None = None,
    project: str | None = None,
    location: str | None = None,
    credentials_file: str | Path | None = None,
    on_site: bool | None = None,
    in_flight: int = 4,
) -> Backend:
    """Make the backend that settings describe; sends nothing.

    Args:
        service: `gemini`, `vertex` or `openai_compatible`.
        replay: Whether answers come from the ledger alone; then nothing else is looked at.
        base_url: Address; None: Google's own. A server of one's own must have one.
        key_env: Environment variable that holds the key.
        key_file: File that holds the key; comes before the environment.
        project: Google Cloud project (Vertex AI with an account).
        location: Its place (Vertex AI with an account).
        credentials_file: Service account file (Vertex AI); None: the machine's own account.
        on_site: Whether the endpoint belongs to the site; None: told by its address.
        in_flight: Connections at once.

    Raises:
        MissingKeyError: If there is no key where one is needed.
        ValueError: If settings are missing or contradict each other.
    """
    if service not in SERVICES:
        raise ValueError(f"service: expected one of {', '.join(SERVICES)}, got {service!r}")
    if replay:
        return ReplayBackend(service)
    key_env = key_env or (None if key_file else DEFAULT_KEY_ENV.get(service))
    key = read_key(env=key_env, file=key_file) if key_env or key_file else None
    if service == "openai_compatible":
        from realitycheck.lvlm.backends.openai_compatible import OpenAICompatibleBackend

        if base_url is None:
            raise ValueError(
                "openai_compatible needs base_url, the server's address with its version, such as "
                "http://127.0.0.1:8000/v1"
            )
        if project or location or credentials_file:
            raise ValueError(
                "project, location and credentials_file are for Vertex AI; remove them"
            )
        return OpenAICompatibleBackend(
            base_url, api_key=key, max_connections=in_flight, on_site=on_site
        )
    from realitycheck.lvlm.backends.gemini import GeminiBackend

    return GeminiBackend(
        service,
        api_key=key,
        base_url=base_url,
        project=project,
        location=location,
        credentials_file=credentials_file,
        max_connections=in_flight,
        on_site=on_site,
    )
