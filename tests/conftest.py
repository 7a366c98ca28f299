"""What all tests share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from realitycheck.core.processor import describe

REPOSITORY = Path(__file__).resolve().parents[1]

# One thread a test: two workers share two cores, and results do not depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Several threads each: those that wait must not take the cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Python starts hundreds of times here, and would compile all that it imports each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_sessionstart(session):
    """Say on what kind of processor the tests run: rounding, and so a red test, depends on it."""
    if not hasattr(session.config, "workerinput"):
        terminal = session.config.pluginmanager.getplugin("terminalreporter")
        terminal.write_line(f"processor: {describe()}")


#: How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Put what takes long first: a worker that is done takes what is left of another, from its end.

    The other worker begins with unit tests meanwhile, so that none waits for the run that the
    tests of the workflow share.
    """
    order = ("cluster", "long", "workflow")
    items.sort(
        key=lambda item: next(
            (place for place, name in enumerate(order) if item.get_closest_marker(name)),
            len(order),
        )
    )


@pytest.fixture(autouse=True)
def fixed_chance():
    """Networks and pictures that a test draws are the same in every run and every order."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def shared_folder() -> Path | None:
    """Folder with reference results and photographs that does not ship with the project."""
    named = os.environ.get("REALITYCHECK_SHARED")
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    return folder if (folder / "fixtures" / "parity").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; tests that need it are skipped where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the folder with reference results is not there (REALITYCHECK_SHARED)")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the project."""
    return REPOSITORY
