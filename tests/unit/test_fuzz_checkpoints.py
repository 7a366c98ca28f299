"""The short form of `python benchmarks/fuzz.py checkpoints`."""

import importlib


def test_mutated_checkpoints_are_loaded_or_refused_by_name(
    repository, tmp_path, monkeypatch, capsys
):
    """Whatever a file of weights holds, no code runs, nothing hangs, and the error is ours."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    fuzz = importlib.import_module("_fuzz_checkpoints")
    n_failures = fuzz.run(64, 1, tmp_path)
    assert n_failures == 0, capsys.readouterr().out
