"""The coverage simulation runs at miniature size and prints a share for each interval and test."""

import importlib
import re
import sys

import pytest


@pytest.fixture
def coverage(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("coverage")


def test_every_interval_and_test_has_its_line(coverage, monkeypatch, capsys):
    """With 40 simulations a share of 95 % lies above 80 %, and one of 5 % below 25 %."""
    arguments = ["coverage", "--n-simulations", "40", "--n-resamples", "200", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    coverage.main()
    printed = capsys.readouterr().out
    held, _, alarms = printed.partition("test: ")

    def shares(text):
        return [float(share) for share in re.findall(r"([\d.]+) %  ±", text)]

    assert len(shares(held)) == len(coverage.INTERVALS)
    assert len(shares(alarms)) == len(coverage.ALARMS)
    assert min(shares(held)) > 80
    assert max(shares(alarms)) < 25
