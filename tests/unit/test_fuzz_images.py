"""The short form of `python benchmarks/fuzz.py images`."""

import importlib


def test_mutated_pictures_are_read_or_refused_by_name(repository, tmp_path, monkeypatch, capfd):
    """No exception, no hang, no crash, and memory within its bound; the bombs come first."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    n_failures = importlib.import_module("_fuzz_images").run(60, 5, tmp_path)
    printed = capfd.readouterr().out
    assert n_failures == 0, printed
    assert "image: read" in printed and "mask: fault" in printed
