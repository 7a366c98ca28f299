"""What the project knows of a network before it is loaded: settings, files, loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from realitycheck.core.remote import RemoteFile
from realitycheck.core.settings import Strict


@dataclass(frozen=True)
class Network:
    """A network as the registry gives it; free of torch until it is loaded.

    Attributes:
        settings: Its block: `variant`, and one field for each of its files.
        load: From its files by their key in the settings, its settings (`variant`, `precision`, …)
            and `device=` to the loaded network; some take further options.
        compute: Settings of `compute` that its answers depend on, by their name among its own
            settings: `precision`, which is float32 without, and what else `load` reads.
        packages: Installed packages whose versions its answers may depend on.
        known: Published files by name. A folder's files share the prefix before a slash.
        variants: Published variants: for each key of the settings its names in `known`.
        folders: Keys that are folders of several files, with the name of the folder.
        shipped: Files and folders in `SHIPPED_FOLDER` by key, for the variant `everyday`.
    """

    settings: type[Strict]
    load: Callable[..., Any]
    compute: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    known: dict[str, RemoteFile] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    shipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of its files in the settings."""
        return tuple(key for key in self.settings.model_fields if key != "variant")
