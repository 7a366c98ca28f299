"""A file that is published under a known digest: archives of data sets, weights of networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        name: Name under which it is kept.
        url: Where its authors publish it, http or https.
        sha256: Digest of its content, hexadecimal, lower case.
        licence: Its licence, as an SPDX identifier where there is one.
        size_bytes: Its size; None where it was not published.
        mirrors: Other addresses of the same content, tried in turn.
    """

    name: str
    url: str
    sha256: str
    licence: str
    size_bytes: int | None = None
    mirrors: tuple[str, ...] = ()
