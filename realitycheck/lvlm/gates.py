"""Whether a data set's images may be sent to an endpoint."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

DEFAULT_ADDRESS = "https://generativelanguage.googleapis.com/"


class LeavesSiteError(PermissionError):
    """Images would leave the site without leave."""


def is_on_site(service: str, base_url: str | None, *, declared: bool | None = None) -> bool:
    """Whether an endpoint belongs to the site.

    Args:
        service: Kind of endpoint.
        base_url: Its address.
        declared: What the settings say; None: they do not say. Then Google's services are not on
            site whatever their address (a gateway passes on), and an OpenAI-compatible server is if
            it is this machine or has a private address; a name proves nothing.
    """
    if declared is not None:
        return declared
    if service != "openai_compatible":
        return False
    host = (urlsplit(base_url or "").hostname or "").lower()
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_private or address.is_loopback


def check_may_leave(
    dataset: str,
    service: str,
    *,
    base_url: str | None,
    may_leave_site: bool,
    on_site: bool | None = None,
) -> None:
    """Refuse to send images off the site unless the data set's settings allow it.

    Args:
        dataset: Name of the data set.
        service: Kind of endpoint.
        base_url: Its address; None: the service's own.
        may_leave_site: The data set's setting.
        on_site: The endpoint's setting; see `is_on_site`.

    Raises:
        LeavesSiteError: Saying why, and what the on-site alternative is.
    """
    if may_leave_site or is_on_site(service, base_url, declared=on_site):
        return
    where = base_url or ("Vertex AI" if service == "vertex" else DEFAULT_ADDRESS)
    raise LeavesSiteError(
        f"data set {dataset}: its images would be sent to {where} ({service}), which is not on "
        "your site, and the data set does not allow that (may_leave_site is false). Images of "
        "products can be confidential, and a copy that has left cannot be called back. Either set "
        f"may_leave_site: true under datasets.{dataset}, if you may decide that, or use a model "
        "on a server of your own (backend openai_compatible with vLLM, Ollama or LM Studio; "
        "on_site: true if its address is a name)"
    )
