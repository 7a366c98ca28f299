"""A finished run says in a few lines what it found, and where."""

import pandas as pd

from realitycheck.face.closing import closing_lines, decision_lines


def test_decisions_are_counted_by_data_set():
    """The best first, as in the report."""
    rows = [("Chips", "not_ready"), ("Chips", "ready"), ("Chips", "not_ready"), ("Pets", "assist")]
    table = pd.DataFrame(rows, columns=["dataset_name", "decision"])
    assert decision_lines(table) == [
        "Decisions (method and prompt): Chips: 1 ready, 2 not ready; Pets: 1 assist"
    ]
    assert decision_lines(table[:0]) == []


def test_only_what_is_there_is_named(tmp_path):
    """A run may be asked for its tables only."""
    assert closing_lines(tmp_path, self_tested=True) == []
    (tmp_path / "tables").mkdir()
    assert closing_lines(tmp_path, self_tested=True) == [f"Tables: {tmp_path / 'tables'}"]
    (tmp_path / "report.html").touch()
    assert closing_lines(tmp_path, self_tested=False)[-1] == f"Report: {tmp_path / 'report.html'}"
