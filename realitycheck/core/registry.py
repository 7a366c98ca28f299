"""Kinds by their names: which module gives each, of this package or of somebody's own.

A registry holds names only and imports a module when it is asked for one. So planning stays free of
heavy packages, and the code digest of a job follows the one kind that it runs.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from importlib import metadata
from types import ModuleType


class RegistryError(ValueError):
    """A kind that is not known, given twice, or that cannot be opened; says which are known."""


class Registry:
    """Modules by the kind that they give.

    Args:
        noun: What a kind is, in messages: "format".
        group: Entry points that other packages register theirs under: name = kind, value = module.
        shipped: Module of each kind of this package.
    """

    def __init__(self, noun: str, *, group: str, shipped: Mapping[str, str]):
        self.noun, self.group, self._shipped = noun, group, shipped

    @functools.cached_property
    def modules(self) -> dict[str, str]:
        """Module of each kind, those of this package first.

        Raises:
            RegistryError: If two packages give one kind.
        """
        found = dict(self._shipped)
        for point in sorted(metadata.entry_points(group=self.group), key=lambda each: each.name):
            if found.setdefault(point.name, point.value) != point.value:
                raise RegistryError(
                    f"the {self.noun} '{point.name}' is given by {found[point.name]} and by "
                    f"{point.value} (entry points '{self.group}'); rename one, or uninstall its "
                    "package"
                )
        return found

    def module_of(self, kind: str) -> str:
        """Name of a kind's module.

        Raises:
            RegistryError: If there is no such kind; names those that there are.
        """
        if kind not in self.modules:
            raise RegistryError(
                f"there is no {self.noun} {kind!r}; known are {', '.join(self.modules)}; another "
                f"package adds one by an entry point of the group '{self.group}'"
            )
        return self.modules[kind]

    def open(self, kind: str) -> ModuleType:
        """Import a kind's module.

        Raises:
            RegistryError: If there is no such kind, or its module cannot be imported.
        """
        name = self.module_of(kind)
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise RegistryError(
                f"the {self.noun} '{kind}' cannot be opened: {name}: {error}; correct the package "
                "that gives it, or uninstall it"
            ) from error
