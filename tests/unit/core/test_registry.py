"""Every registry tells an unknown name in the same words, and opens what it names."""

import json

import pytest

from realitycheck.core.registry import Registry, RegistryError
from realitycheck.datasets.registry import FORMATS
from realitycheck.encoders.registry import ENCODERS
from realitycheck.lvlm.backends.registry import SERVICES
from realitycheck.methods.registry import BASELINES, METHODS
from realitycheck.models.registry import NETWORKS
from realitycheck.report.figures.registry import FIGURE_MODULES
from realitycheck.report.tables.registry import TABLE_MODULES

OWN = (ENCODERS, NETWORKS, TABLE_MODULES, FIGURE_MODULES)
OPEN_TO_OTHERS = (FORMATS, SERVICES, METHODS, BASELINES)


@pytest.mark.parametrize("registry", [*OWN, *OPEN_TO_OTHERS], ids=lambda each: each.noun)
def test_unknown_name_is_told_with_the_known_ones(registry):
    """Never taken for one of those; who can add one is told how."""
    for ask in (registry.module_of, registry.open):
        with pytest.raises(RegistryError) as error:
            ask("nope")
        words = f"{registry.noun}: expected one of {', '.join(registry)}, found 'nope'"
        assert str(error.value).startswith(words)
        assert ("entry point" in str(error.value)) == (registry in OPEN_TO_OTHERS)


def test_module_or_an_object_in_it_is_opened_when_it_is_asked_for():
    """The digest of a job's code starts at the module either way."""
    registry = Registry("thing", shipped={"whole": "json", "part": "json:dumps"})
    assert list(registry) == ["whole", "part"]
    assert registry.open("whole") is json and registry.open("part") is json.dumps
    assert {registry.module_of(name) for name in registry} == {"json"}


def test_own_module_that_lacks_an_import_is_no_fault_of_another_package():
    """The advice to uninstall a package would lead nowhere; the traceback names the line."""
    registry = Registry("thing", shipped={"broken": "realitycheck.core.not_there"})
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        registry.open("broken")
