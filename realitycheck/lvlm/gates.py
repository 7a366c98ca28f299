"""Where a data set's images would go, and whether they may."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

DEFAULT_ADDRESS = "https://generativelanguage.googleapis.com/"

CLOUD_MODELS = ("*:cloud", "*-cloud")
"""Names of models that a server passes on to a cloud: Ollama's, as in `qwen3-vl:235b-cloud`."""

# Only these are surely of the site. Shared, mapped and translated addresses can lead anywhere.
_SITE_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
]

_CLOUD_HOSTS = (
    *("googleapis.com", "google.com", "run.app", "openai.com", "azure.com", "azure-api.net"),
    *("windows.net", "microsoft.com", "amazonaws.com", "anthropic.com", "ollama.com", "x.ai"),
    *("mistral.ai", "openrouter.ai", "together.ai", "together.xyz", "groq.com", "fireworks.ai"),
    *("deepseek.com", "deepinfra.com", "cohere.com", "cohere.ai", "perplexity.ai", "nvidia.com"),
    *("huggingface.co", "huggingface.cloud", "hf.space", "replicate.com", "cerebras.ai"),
    *("sambanova.ai", "aliyuncs.com", "siliconflow.cn", "siliconflow.com", "moonshot.cn"),
    *("moonshot.ai", "bigmodel.cn", "z.ai", "volces.com", "baidubce.com", "tencentcloudapi.com"),
    *("hyperbolic.xyz", "novita.ai", "nebius.com", "nebius.ai", "scaleway.ai", "ovh.net"),
    *("digitalocean.com", "databricks.com", "modal.run", "runpod.net", "runpod.ai", "lambda.ai"),
    *("ngrok.io", "ngrok.app", "ngrok.dev", "ngrok-free.app", "ngrok-free.dev"),
    *("trycloudflare.com", "workers.dev", "cloudflare.com", "github.ai", "githubcopilot.com"),
)

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?", re.IGNORECASE)


class LeavesSiteError(PermissionError):
    """Images would leave the site without leave."""


def address_faults(base_url: str) -> list[str]:
    """What is wrong with an address; what may be a key in it is not repeated."""
    try:
        url = urlsplit(base_url)
        host, port = url.hostname or "", url.port
    except (ValueError, TypeError, AttributeError) as error:
        return [f"base_url: the address is none ({error}); give one like https://host:port/path"]
    if "@" in base_url or url.query or url.fragment:
        return [
            "base_url: an address with a user name, a password or a query may hold a key; give the "
            "key by key_env or key_file"
        ]
    is_host = _address(host) is not None or bool(_HOST.fullmatch(host))
    is_clean = base_url.isascii() and not re.search(r"[\s\\\x00-\x1f]", base_url)
    if url.scheme not in ("http", "https") or not is_host or not is_clean or port == 0:
        return [f"base_url: expected an address like https://host:port/path, got {base_url!r}"]
    return []


def endpoint_faults(service: str, base_url: str | None, *, on_site: bool | None) -> list[str]:
    """What is wrong with an endpoint's address and with what the settings say of it.

    Args:
        service: Kind of endpoint.
        base_url: Its address; None: the service's own.
        on_site: What the settings say of it.
    """
    if base_url is None:
        if on_site and service != "openai_compatible":
            return [
                f"on_site: true, but without base_url the images go to Google ({service}), which "
                "is not on your site; remove on_site, or give base_url"
            ]
        return []
    faults = address_faults(base_url)
    if not faults and on_site and is_known_cloud(base_url):
        faults = [
            f"on_site: true, but {_host_of(base_url)} is a cloud's address; remove on_site (and "
            "set may_leave_site: true for data sets whose images may go there)"
        ]
    return faults


def is_known_cloud(base_url: str | None) -> bool:
    """Whether an address belongs to a cloud that is known by name."""
    host = _host_of(base_url).rstrip(".")
    return any(host == known or host.endswith("." + known) for known in _CLOUD_HOSTS)


def is_site_address(base_url: str | None) -> bool:
    """Whether an address is this machine's or a private one; a name proves nothing."""
    host = _host_of(base_url)
    address = _address(host)
    if address is None:
        return host in ("localhost", "localhost.")
    return any(
        address.version == network.version and address in network for network in _SITE_NETWORKS
    )


def is_on_site(service: str, base_url: str | None, *, declared: bool | None = None) -> bool:
    """Whether an endpoint belongs to the site.

    Args:
        service: Kind of endpoint.
        base_url: Its address.
        declared: What the settings say; None: they do not say. Then Google's services are not on
            site whatever their address (a gateway passes on), and an OpenAI-compatible server is if
            it is this machine or has a private address; a name proves nothing. A cloud's own
            address is never on site.
    """
    if declared is not None:
        return declared and base_url is not None and not is_known_cloud(base_url)
    return service == "openai_compatible" and is_site_address(base_url)


def leaves_by_model(model: str, *, cloud_models: Sequence[str] = CLOUD_MODELS) -> bool:
    """Whether a model is one that its server passes on to a cloud, by its name."""
    return any(fnmatch.fnmatchcase(model.lower(), name.lower()) for name in cloud_models)


def proxy_of(service: str, base_url: str, *, on_site: bool | None = None) -> str | None:
    """The proxy of the environment that requests to an address go through; None: they go directly.

    Requests to the site never go through one: a proxy may stand anywhere, and it sees the images.

    Args:
        service: Kind of endpoint.
        base_url: Its address.
        on_site: What the settings say of it; see `is_on_site`.
    """
    if is_site_address(base_url) or is_on_site(service, base_url, declared=on_site):
        return None
    url, found = urlsplit(base_url), getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    if not proxy or proxy_bypass(url.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def without_login(address: str) -> str:
    """An address without user name and password, for people."""
    return re.sub(r"//[^/]*@", "//", address)


def check_may_leave(
    dataset: str,
    service: str,
    *,
    base_url: str | None,
    may_leave_site: bool,
    on_site: bool | None = None,
    model: str = "",
    cloud_models: Sequence[str] = CLOUD_MODELS,
) -> None:
    """Refuse to send images off the site unless the data set's settings allow it.

    Args:
        dataset: Name of the data set.
        service: Kind of endpoint.
        base_url: Its address; None: the service's own.
        may_leave_site: The data set's setting.
        on_site: The endpoint's setting; see `is_on_site`. A name that is declared to be on site is
            looked up, and must not lead to a public address.
        model: The model that is asked.
        cloud_models: Names of models that the server passes on, `*` standing for any text.

    Raises:
        LeavesSiteError: Saying why, and what the on-site alternative is.
    """
    if may_leave_site:
        return
    where = base_url or ("Vertex AI" if service == "vertex" else DEFAULT_ADDRESS)
    why = "which is not on your site"
    if is_on_site(service, base_url, declared=on_site):
        public = [] if is_site_address(base_url) else _public_addresses(_host_of(base_url))
        if leaves_by_model(model, cloud_models=cloud_models):
            why = (
                f"where the model {model} runs in a cloud, by its name (cloud_models: "
                f"{', '.join(cloud_models)})"
            )
        elif public:
            why = f"a name that leads to {', '.join(public)}, which is not on your site"
        else:
            return
    raise LeavesSiteError(
        f"data set {dataset}: its images would be sent to {where} ({service}), {why}, and the data "
        "set does not allow that (may_leave_site is false). Images of "
        "products can be confidential, and a copy that has left cannot be called back. Either set "
        f"may_leave_site: true under datasets.{dataset}, if you may decide that, or use a model "
        "on a server of your own (backend openai_compatible with vLLM, Ollama or LM Studio; "
        "on_site: true if its address is a name)"
    )


def _host_of(base_url: str | None) -> str:
    try:
        return (urlsplit(base_url or "").hostname or "").lower()
    except ValueError:
        return ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _public_addresses(host: str) -> list[str]:
    """Public addresses that a name leads to; a number was written down by whoever declared it."""
    if _address(host) is not None:
        return []
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # not found: nothing can be sent either
        return []
    return sorted(a for a in found if (known := _address(a)) is not None and known.is_global)
