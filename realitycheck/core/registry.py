"""Things by their names: which module gives each, of this package or of somebody's own.

A registry holds names only and imports a module when it is asked for one. So planning stays free of
heavy packages, and the code digest of a job follows the one kind that it runs.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any


class RegistryError(ValueError):
    """A name that is not known, given twice, or that cannot be opened; says which are known."""


class Registry:
    """Modules, or objects in them, by the name of what they give; iterates over the names.

    Args:
        noun: What they give, in messages: "format".
        shipped: Those of this package, in their order: `module`, or `module:object`.
        group: Entry points that other packages register theirs under, name = value as in
            `shipped`; None where all are of this package.
    """

    def __init__(self, noun: str, *, shipped: Mapping[str, str], group: str | None = None):
        self.noun, self.group, self._shipped = noun, group, shipped

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    @functools.cached_property
    def modules(self) -> dict[str, str]:
        """Module of each name, those of this package first.

        Raises:
            RegistryError: If two packages give one name.
        """
        found = dict(self._shipped)
        points = metadata.entry_points(group=self.group) if self.group else ()
        for point in sorted(points, key=lambda each: each.name):
            if found.setdefault(point.name, point.value) != point.value:
                raise RegistryError(
                    f"the {self.noun} '{point.name}' is given by {found[point.name]} and by "
                    f"{point.value} (entry points '{self.group}'); rename one, or uninstall its "
                    "package"
                )
        return found

    def module_of(self, name: str) -> str:
        """Name of the module that gives something, for the digest of a rule's code.

        Raises:
            RegistryError: If it is not known; names what is.
        """
        return self._entry(name).partition(":")[0]

    def open(self, name: str) -> Any:
        """Import a module, and give the object in it where the registry names one.

        Raises:
            RegistryError: If it is not known, or cannot be imported.
        """
        module, _, inside = self._entry(name).partition(":")
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            if module.startswith("realitycheck."):
                raise
            raise RegistryError(
                f"the {self.noun} '{name}' cannot be opened: {module}: {error}; correct the "
                "package that gives it, or uninstall it"
            ) from error
        return getattr(found, inside) if inside else found

    def _entry(self, name: str) -> str:
        if name not in self.modules:
            adds = f"; another package adds one by an entry point of the group '{self.group}'"
            raise RegistryError(
                f"{self.noun}: expected one of {', '.join(self.modules)}, found {name!r}"
                f"{adds if self.group else ''}"
            )
        return self.modules[name]
