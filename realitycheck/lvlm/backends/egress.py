"""The egress check: where a data set's images would go, and whether they may go there."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

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
    """The settings do not allow images to leave this site."""


@dataclass(frozen=True)
class Endpoint:
    """Where questions go, by the settings and by what the service is.

    Attributes:
        service: Name of the service.
        base_url: Address in the settings; None: the service's own.
        own_address: Address without `base_url`; None: a server, which has none.
        declared: Whether the settings say that the address belongs to the site; None: they do not
            say. A cloud's own address never does.
        is_server: Whether the address of this machine or a private one shows that the endpoint is
            on the site; a name proves nothing. Not so for clouds' services: a gateway passes on.
        model: The model that is asked.
        cloud_models: Names of models that the server itself runs in a cloud; `*`: any text.
    """

    service: str
    base_url: str | None = None
    own_address: str | None = None
    declared: bool | None = None
    is_server: bool = False
    model: str = ""
    cloud_models: Sequence[str] = ()

    @property
    def address(self) -> str:
        """The address that requests go to."""
        return self.base_url or self.own_address or ""

    @property
    def is_on_site(self) -> bool:
        """Whether the address belongs to the site."""
        if self.declared is not None:
            return self.declared and self.base_url is not None and not is_known_cloud(self.base_url)
        return self.is_server and is_site_address(self.address)

    @property
    def has_cloud_model(self) -> bool:
        """Whether the server passes the model's questions on to a cloud, by the model's name."""
        name = self.model.lower()
        return any(fnmatch.fnmatchcase(name, known.lower()) for known in self.cloud_models)

    @property
    def proxy(self) -> str | None:
        """The proxy of the environment that requests go through; None: they go directly.

        Requests to the site never go through one: a proxy may be anywhere, and it sees the images.
        """
        if is_site_address(self.address) or self.is_on_site:
            return None
        url, found = urlsplit(self.address), getproxies()
        proxy = found.get(url.scheme) or found.get("all")
        if not proxy or proxy_bypass(url.netloc):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def text(self) -> str:
        """Where images go, in words."""
        where = "on" if self.is_on_site and not self.has_cloud_model else "off"
        proxy = without_login(self.proxy or "")
        through = f"through the proxy {proxy}" if proxy else "without a proxy"
        return f"images go to {self.address} ({where} the site), {through}"

    def faults(self) -> list[str]:
        """Faults of the address, and of what the settings say of it."""
        if self.base_url is None:
            if self.declared and self.own_address:
                return [
                    f"on_site: true, but without base_url the images go to {self.own_address} "
                    f"({self.service}), which is not on your site; remove on_site, or give base_url"
                ]
            return []
        faults = address_faults(self.base_url)
        if not faults and self.declared and is_known_cloud(self.base_url):
            faults = [
                f"on_site: true, but {_host_of(self.base_url)} is a cloud's address; remove "
                "on_site (and set may_leave_site: true for data sets whose images may go there)"
            ]
        return faults

    def check(self, dataset: str, *, may_leave_site: bool) -> None:
        """Refuse to send images off the site unless the data set's settings allow it.

        An address that is declared to be on site is looked up if it is a name, and must not
        resolve to a public address.

        Args:
            dataset: Name of the data set.
            may_leave_site: Its setting.

        Raises:
            LeavesSiteError: Saying why, and what the on-site alternative is.
        """
        if may_leave_site:
            return
        why = "which is not on your site"
        if self.is_on_site:
            public = [] if is_site_address(self.base_url) else _public_addresses(self.address)
            if self.has_cloud_model:
                why = (
                    f"where the model {self.model} runs in a cloud, by its name (cloud_models: "
                    f"{', '.join(self.cloud_models)})"
                )
            elif public:
                why = f"a name that resolves to {', '.join(public)}, which is not on your site"
            else:
                return
        raise LeavesSiteError(
            f"data set {dataset}: its images would be sent to {self.address} ({self.service}), "
            f"{why}, and the data set does not allow that (may_leave_site is false). Images of "
            "products can be confidential, and a copy that has left cannot be called back. Either "
            f"set may_leave_site: true under datasets.{dataset}, if you may decide that, or use a "
            "model on a server of your own (backend openai_compatible with vLLM, Ollama or LM "
            "Studio; on_site: true if its address is a name)"
        )


def address_faults(base_url: str) -> list[str]:
    """Faults of an address; what may be a key in it is not repeated."""
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


def without_login(address: str) -> str:
    """An address without user name and password, for people."""
    return re.sub(r"//[^/]*@", "//", address)


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


def _public_addresses(base_url: str) -> list[str]:
    """Public addresses that a host's name resolves to; a number was declared as it stands."""
    host = _host_of(base_url)
    if _address(host) is not None:
        return []
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # not found: nothing can be sent either
        return []
    return sorted(a for a in found if (known := _address(a)) is not None and known.is_global)
