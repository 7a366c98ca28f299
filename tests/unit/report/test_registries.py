"""Which tables and figures a run has, and what their jobs import."""

import json
import subprocess
import sys

import pytest

from realitycheck.report.figures.registry import wanted_figures
from realitycheck.report.tables.registry import TABLE_MODULES, wanted_tables


def test_failing_table_names_itself(sample_results, tmp_path, monkeypatch):
    """One job makes all of them."""
    module = TABLE_MODULES.open("readiness")
    monkeypatch.setattr(module, "compute", lambda results: {}["nothing"])
    with pytest.raises(RuntimeError, match="table readiness: 'nothing'"):
        sample_results.write_sample(tmp_path, n_ok=2, n_nok=2, image_size_px=48)


def test_tables_and_figures_are_there_where_a_run_has_what_they_need():
    """Those of the everyday networks and of the study's data sets in few runs only."""
    assert not {"self_test", "domain_gap"} & set(wanted_tables(()))
    assert {"self_test", "domain_gap"} <= set(wanted_tables(("self_test", "domain_gap")))
    figures = wanted_figures(("published",), ["a", "b"])
    assert figures["overlays_b"] == ("overlays", "b") and "published_scores" in figures
    assert "domain_gap" not in figures


def test_jobs_of_tables_and_figures_import_what_they_use():
    """Most of their time is the start of Python: no table draws, and no figure runs a network."""
    for kind, unwanted in (
        ("tabulate", ["torch", "matplotlib", "scipy.stats", "sklearn"]),
        ("plot", ["torch", "scipy.stats", "sklearn"]),
    ):
        registry = "tables" if kind == "tabulate" else "figures"
        modules = "TABLE_MODULES" if kind == "tabulate" else "FIGURE_MODULES"
        code = (
            f"import importlib, json, sys, realitycheck.stages.{kind}\n"
            f"from realitycheck.report.{registry}.registry import {modules} as modules\n"
            "opened = [modules.open(name) for name in modules]\n"
            f"print(json.dumps([name for name in {unwanted} if name in sys.modules]))"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout) == [], kind
