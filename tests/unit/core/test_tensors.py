"""Safetensors files between stages: no flipped bit is read as other weights."""

import random

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from realitycheck.core.parquet import ArtifactError
from realitycheck.core.tensors import UNSEALED, check_tensors, seal_tensors
from realitycheck.methods.few_shot.algorithm import MemoryBank
from realitycheck.methods.few_shot.segmenter import read_banks, write_banks


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bank.safetensors"
    arrays = {"a": np.arange(60, dtype=np.float32), "b": np.zeros((2, 3))}
    save_file(arrays, path, metadata={"sizes": "x", **UNSEALED})
    seal_tensors(path)
    return path


def test_every_flipped_bit_is_noticed_or_changes_nothing(path):
    """The name of the seal's place is the one thing that it cannot guard, nor need it."""
    sound, arrays = path.read_bytes(), load_file(path)
    check_tensors(path)
    n_noticed = 0
    for bit in range(8 * len(sound)):
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            check_tensors(path)
        except ArtifactError as error:
            assert "damaged" in str(error) and not path.exists()
            n_noticed += 1
        else:
            found = load_file(path)
            assert all(np.array_equal(found[name], arrays[name]) for name in arrays), bit
    assert n_noticed >= 8 * (len(sound) - len('"seal":"'))


def test_damaged_bank_is_removed_so_that_it_is_made_again(tmp_path):
    """A method that remembers other parts than it saw would be wrong without a sign."""
    path = tmp_path / "bank.safetensors"
    rng = np.random.default_rng(0)
    values = {
        name: rng.random((4, 3)).astype(np.float32) for name in ("features", "mean", "spread")
    }
    write_banks({"chips": MemoryBank(**values)}, path)
    found = read_banks(path)["chips"]
    assert all(np.array_equal(getattr(found, name), value) for name, value in values.items())
    data = bytearray(path.read_bytes())
    data[-random.Random(0).randrange(40)] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bank.safetensors: damaged .* run again"):
        read_banks(path)
    assert not path.exists()


def test_files_of_before_have_no_seal_and_are_read(tmp_path):
    """Results of an earlier version stay valid."""
    save_file({"a": np.ones(3)}, tmp_path / "old")
    check_tensors(tmp_path / "old")
    assert (tmp_path / "old").exists()
