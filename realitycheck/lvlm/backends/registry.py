"""Which services there are, and from plain settings to a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realitycheck.core.registry import Registry, RegistryError
from realitycheck.lvlm.backends.base import Backend
from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.keys import read_key

SERVICES = Registry(
    "service",
    group="realitycheck.services",
    shipped={
        "gemini": "realitycheck.lvlm.backends.gemini",
        "vertex": "realitycheck.lvlm.backends.gemini",
        "openai_compatible": "realitycheck.lvlm.backends.openai_compatible",
    },
)

REPLAY = "replay"
"""Stands in the settings in place of a service: answers come from the ledger alone."""


def service_of(service: str) -> type[Backend]:
    """The class of a service; imports its module, but not yet the library that it sends with.

    Raises:
        RegistryError: If there is no such service, or its module does not list it.
    """
    listed = getattr(SERVICES.open(service), "BACKENDS", ())
    for found in listed:
        if found.service == service:
            return found
    raise RegistryError(
        f"service {service}: the module {SERVICES.module_of(service)} does not list it; its "
        f"BACKENDS must hold a class with service = {service!r}, found "
        f"{[each.service for each in listed]}"
    )


def backend_for(settings: Mapping[str, Any]) -> Backend:
    """Make the backend that a method's settings describe; reads its key, sends nothing.

    Args:
        settings: `backend`, `service`, and what the service takes; what is missing is None.

    Raises:
        MissingKeyError: If the key is not where the settings say.
        ValueError: If settings are missing or contradict each other.
    """
    if settings.get("backend") == REPLAY:
        return ReplayBackend(settings["service"])
    service = service_of(settings["service"])
    file = settings.get("key_file")
    env = settings.get("key_env") or (None if file else service.key_env)
    return service(settings, api_key=read_key(env=env, file=file) if env or file else None)
