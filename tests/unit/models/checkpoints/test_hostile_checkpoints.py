"""No file of weights runs code, fills the memory, or ends in an error of another library."""

import resource
import sys

import pytest
import torch

from realitycheck.models.checkpoints.pickled import CheckpointError
from realitycheck.models.checkpoints.read import load_state
from tests.unit.models.hostile_checkpoints import HOSTILE, READ_AS_DATA

pytestmark = pytest.mark.filterwarnings("ignore")

#: What reading a hostile file of at most 64 MB may take beyond what the process has, in bytes.
MEMORY_BOUND = 1 << 30


@pytest.fixture
def bounded_memory():
    """Let no more memory be reserved than the bound, for the length of a test."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BOUND, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoint_is_refused_or_read_as_data(name, tmp_path, bounded_memory):
    """A file of weights from the network must not decide what runs here."""
    (tmp_path / "in").mkdir()
    canary = tmp_path / "canary"
    path = HOSTILE[name](tmp_path / "in", canary)
    assert not canary.exists()
    modules = set(sys.modules)
    if name in READ_AS_DATA:
        assert all(isinstance(value, torch.Tensor) for value in load_state(path).values())
    else:
        with pytest.raises(CheckpointError) as caught:
            load_state(path)
        said = str(caught.value)
        assert said.startswith(f"{path}: ") and said.isascii() and "\x1b" not in said
        assert len(said) < 1_500
    assert not canary.exists()
    assert "this" not in set(sys.modules) - modules


def test_there_are_many_hostile_files():
    """The list is long enough to mean something."""
    assert len(HOSTILE) >= 120
