"""The benchmark of choosing runs at miniature size, and its level and power are those promised."""

import importlib
import re
import sys

import pytest

from realitycheck.metrics.sample_size import power_of_split


@pytest.fixture
def choosing(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("choosing")


def test_level_and_power_have_their_lines(choosing, monkeypatch, capsys):
    """Of 100 data sets 5 % are at most 12 with any luck; alone far more of twenty go wrong."""
    monkeypatch.setattr(choosing, "PLANNED_TRIES", (1, 20))
    monkeypatch.setattr(choosing, "SIZES", (300, 600))
    arguments = ["choosing", "--n-sets", "100", "--n-parts", "320", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    choosing.main()
    level, _, power = capsys.readouterr().out.partition("power: ")
    rows = re.findall(r"^(slip|overkill|slip of half) +(\d+) +\S+ +(\S+) +(\S+) +\S+$", level, re.M)
    assert len(rows) == 3 * 2 * 3
    assert max(float(together) for *_, together in rows) <= 12
    assert max(float(alone) for _, k, alone, _ in rows if k == "20") > 20
    found = re.findall(r"^(\d+) +\S+ +(\S+) +\S+ +(\S+) \(\d+ last\)$", power, re.M)
    assert len(found) == 2 * 3
    assert all(float(split) > 40 for _, _, split in found)


@pytest.mark.parametrize("limit", [0.05, 0.1])
@pytest.mark.parametrize(("n_parts", "n_tries"), [(20, 1), (61, 30), (150, 5), (240, 12)])
def test_best_split_is_the_best_of_all(choosing, n_parts, n_tries, limit):
    """Against every split there is."""
    given = {"n_tries": n_tries, "fit_rate": limit / 5, "unfit_rate": 2 * limit}
    powers = [power_of_split(n_parts - n, n, limit, **given) for n in range(n_parts + 1)]
    found = choosing.best_split(n_parts, limit, **given)
    assert found.power == pytest.approx(max(powers), abs=1e-12)
    assert found.n_choose + found.n_confirm == n_parts
