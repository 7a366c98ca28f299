"""Scores and answers are gathered for the tables."""

import pandas as pd
import pytest

from realitycheck.core.schemas import VERDICTS
from realitycheck.core.tables import write_table
from realitycheck.report.tables.base import weights_notes
from realitycheck.report.tables.classification import ANSWER_COLUMNS, answer_facts

METHODS = {
    "mine": {
        "kind": "grounded_sam",
        "name": "My method",
        "note": "weights of sam from the file a; b",
    },
    "other": {"kind": "pixel_difference"},
}


def test_weights_of_the_user_are_named():
    """Who reads the table may not know what they were trained on."""
    (note,) = weights_notes(METHODS)
    assert note == "With weights of sam from the file a: My method."
    assert weights_notes({"other": METHODS["other"]}) == []


def verdicts_file(folder, *, method="ask", labels="NNO OOO", cost=0.01, **values):
    """A verdicts table: a word an image, a letter a sample (N, O, or a dot for no answer)."""
    label = {"N": "NOK", "O": "OK", ".": None}
    rows = [
        dict.fromkeys(VERDICTS.columns)
        | {"dataset": "chips", "image_id": f"p/{image}", "method": method, "prompt": "basic"}
        | {"sample": sample, "label_predicted": label[letter], "cost_usd": cost}
        | {"status": "refused" if letter == "." else "answered", "latency_s": 1.0}
        | values
        for image, letters in enumerate(labels.split())
        for sample, letter in enumerate(letters)
    ]
    path = folder / f"{method}.parquet"
    write_table(rows, path, schema=VERDICTS, facts={})
    return path


def test_answers_are_summed_up_by_run(tmp_path):
    """Two parts with three samples each at 0.01 USD: 30 USD for 1,000 parts; one of two flips."""
    found = answer_facts([verdicts_file(tmp_path)]).iloc[0]
    assert found["n_samples"] == 3 and found["flip_rate"] == 0.5
    assert found["cost_per_1000_parts_usd"] == pytest.approx(30)
    assert -1 < found["fleiss_kappa"] < 1 and found["note"] == ""


def test_refused_answers_cost_too_and_an_unknown_cost_is_no_zero(tmp_path):
    """Whoever pays for a refusal wants to see it; whoever has no price wants no 0."""
    paid = verdicts_file(tmp_path, method="paid", labels="N . O .")
    free = verdicts_file(tmp_path, method="free", labels="N O", cost=None)
    local = verdicts_file(tmp_path, method="local", labels="N O", cost=None, latency_s=None)
    found = answer_facts([paid, free, local]).set_index("method")
    told = verdicts_file(tmp_path, method="told", labels="N O", latency_s=None)
    assert answer_facts([told])["cost_per_1000_parts_usd"][0] == pytest.approx(10)
    assert found.loc["paid", "cost_per_1000_parts_usd"] == pytest.approx(10)
    assert found.loc[["free", "local"], "cost_per_1000_parts_usd"].isna().all()
    assert (found["n_samples"] == 1).all() and found["fleiss_kappa"].isna().all()


def test_questions_not_asked_for_want_of_a_key_are_named(tmp_path):
    """All of them, or how many."""
    open_rows = {"status": "not_asked", "finish_reason": "no_key", "latency_s": None}
    none = verdicts_file(tmp_path, method="none", labels=". . .", cost=None, **open_rows)
    assert answer_facts([none]).iloc[0]["note"] == "not asked: no key"
    table = pd.concat(
        [pd.read_parquet(none), pd.read_parquet(verdicts_file(tmp_path, labels=". . . N"))[3:]]
    )
    write_table(table.assign(method="some"), tmp_path / "s.parquet", schema=VERDICTS, facts={})
    note = answer_facts([tmp_path / "s.parquet"]).iloc[0]["note"]
    assert note == "3 of 4 questions not asked: no key"


def test_no_run_with_verdicts_is_no_fault(tmp_path):
    """The demo's segmenters alone."""
    assert list(answer_facts([]).columns) == [
        *("dataset", "method", "prompt"),
        *(name for name, _ in ANSWER_COLUMNS),
        "note",
    ]
