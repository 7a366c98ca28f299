"""A table or a figure is added by its module and one line of its registry."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from realitycheck.planning.plan import Plan
from realitycheck.report.figures.registry import (
    FIGURE_MODULES,
    FIGURES,
    FigureEntry,
    wanted_figures,
)
from realitycheck.report.tables.registry import (
    TABLE_MODULES,
    TABLES,
    Table,
    table_files,
    wanted_tables,
)
from realitycheck.settings.load import load_settings
from realitycheck.stages.page import write_page

A_TABLE = '''
"""How many parts each run rejects."""

from realitycheck.core.tables import Schema, INTEGER, TEXT
from realitycheck.report.tables.base import Section, dataset_name, method_name
from realitycheck.report.text import table_by_run

FIELDS = (("dataset", TEXT), ("method", TEXT), ("prompt", TEXT), ("n_rejected", INTEGER))
NAMES = (("dataset_name", TEXT), ("method_name", TEXT))
SCHEMAS = {"rejected": Schema("rejected", FIELDS + NAMES, ("dataset", "method", "prompt"))}
SETTINGS = ()


def compute(results):
    scores = results.scores(results.runs("labels"))
    is_rejected = scores["label_predicted"] == "NOK"
    keys = ["dataset", "method", "prompt"]
    table = scores.assign(n_rejected=is_rejected).groupby(keys)["n_rejected"].sum().reset_index()
    table["dataset_name"] = [dataset_name(d, results.datasets) for d in table["dataset"]]
    table["method_name"] = [method_name(m, results.methods) for m in table["method"]]
    return {"rejected": table}


def texts(tables):
    header = ["Data set", "Method", "Prompt", "Rejected"]
    cells = lambda row: [str(row["n_rejected"])]
    options = {"n_text_columns": 3, "legend": []}
    text = table_by_run("Parts rejected", header, tables["rejected"], cells, **options)
    return {"rejected": [text]}


def section(tables):
    return Section(texts(tables)["rejected"], heading="How much is rejected")
'''
A_FIGURE = '''
"""How many parts each run rejects, as a bar."""

from realitycheck.report.figures.style import new_figure, place_axes, styled, write_head

TITLE = "Parts rejected"
CAPTION = "A bar for each run."
ALT = "The numbers stand in the table of rejected parts."


def plot(results, dataset, *, title):
    table = results.table("rejected")
    with styled():
        figure = new_figure(4, 3)
        write_head(figure, title=title)
        axes = place_axes(figure, 0.6, 0.5, width=3, height=2)
        axes.bar(range(len(table)), table["n_rejected"])
    return figure
'''
SETTINGS = {"datasets": {"chips": {"format": "synthetic_sat"}}, "methods": {"pixel_difference": {}}}


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The two modules, and their two lines."""
    (tmp_path / "a_rejected_table.py").write_text(A_TABLE)
    (tmp_path / "a_rejected_figure.py").write_text(A_FIGURE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(TABLES, "rejected", Table("Rejected parts"))
    monkeypatch.setitem(TABLE_MODULES.modules, "rejected", "a_rejected_table")
    monkeypatch.setitem(FIGURES, "rejected", FigureEntry("Rejected parts"))
    monkeypatch.setitem(FIGURE_MODULES.modules, "rejected", "a_rejected_figure")


def test_added_table_and_figure_are_planned_made_and_shown(added, sample_results, tmp_path):
    """No rule, script, stage or template has to know them."""
    plan = Plan(load_settings(SETTINGS))
    assert plan.report_tables()[-1] == "rejected"
    assert plan.report_figures()["rejected"] == ("rejected", None)
    assert set(table_files("rejected")) == {
        f"rejected.{e}" for e in ("parquet", "csv", "md", "tex")
    }

    folder = tmp_path / "results"
    arguments = sample_results.write_sample(
        folder, n_ok=4, n_nok=4, image_size_px=48, has_figures=True
    )
    for file in table_files("rejected"):
        assert (folder / "tables" / file).is_file()
    table = pd.read_parquet(folder / "tables" / "rejected.parquet")
    assert (table["n_rejected"] <= 8).all() and len(table) == 5
    for ending in ("png", "svg"):
        assert (folder / "figures" / f"rejected.{ending}").is_file()
    write_page(folder / "report.html", **arguments)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "How much is rejected" in page and "A bar for each run." in page


def test_failing_table_names_itself(added, sample_results, tmp_path, monkeypatch):
    """One job makes all of them."""
    module = TABLE_MODULES.open("rejected")
    monkeypatch.setattr(module, "compute", lambda results: {}["nothing"])
    with pytest.raises(RuntimeError, match="table rejected: 'nothing'"):
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
