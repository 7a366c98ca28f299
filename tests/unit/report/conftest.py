"""Made-up results of a finished run, to draw pages from."""

import importlib
import sys

import pytest


@pytest.fixture(scope="session")
def sample_results(repository):
    """The generator that the page's benchmark uses, too."""
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        return importlib.import_module("_sample_results")
    finally:
        sys.path.remove(str(repository / "benchmarks"))
