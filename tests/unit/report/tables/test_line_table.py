"""The line in numbers: the documentation's hand calculations, gaps named, no mixture."""

import re

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.tables import check_table
from realitycheck.report.page.card_facts import line_facts
from realitycheck.report.tables.classification import classification_table, classification_text
from realitycheck.report.tables.line import LINE, line_table, line_text, number_text
from realitycheck.report.tables.readiness import readiness_table, readiness_text
from realitycheck.report.text import render_markdown

NAMES = {
    "datasets": {"chips": {"name": "Chips"}},
    "methods": {
        "ask": {"kind": "lvlm", "name": "Gemini", "model": "gemini"},
        "own": {"name": "Own"},
    },
}
LIMITS = {"max_slip_rate": 0.02, "max_overkill_rate": 0.05}
COSTS = {"escape": 100, "false_reject": 5, "check": 0.5, "inspection": 0.01}
NO_COSTS = dict.fromkeys(COSTS)


def tables(n_nok, n_ok, missed, rejected, *, method="own", silent=0, limits=LIMITS, rate=None):
    """Table 2 and the decision of one method alone, from its counts."""
    verdicts = ["OK"] * missed + ["NOK"] * (n_nok - missed)
    verdicts += ["NOK"] * rejected + ["OK"] * (n_ok - rejected)
    verdicts[:silent] = [None] * silent
    empty = dict.fromkeys(("score", "iou", "intersection_px", "union_px", "truth_px", "lost_px"))
    scores = pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": [f"p/{number:05}" for number in range(n_nok + n_ok)],
            "method": method,
            "prompt": "basic",
            "category": "p",
            "group": None,
            "label": ["NOK"] * n_nok + ["OK"] * n_ok,
            "label_predicted": verdicts,
            **empty,
            "predicted_px": None,
            "defect_type": None,
            "status": "ok",
        }
    )
    classification = classification_table(scores, **NAMES, seed=0, n_resamples=200)
    times = pd.DataFrame(
        columns=["dataset", "method", "prompt", "seconds_per_part", "seconds_note"]
    )
    readiness = readiness_table(
        classification, times, requirements=limits, defect_rates={"chips": rate}
    )
    return classification, readiness


def line(*counts, rate=None, costs=NO_COSTS, per_day=None, **changes):
    about = {"defect_rate": rate, "parts_per_day": per_day, "cost_usd": NO_COSTS | costs}
    table = line_table(*tables(*counts, **changes), lines={"chips": about})
    check_table(table, LINE, where="test")
    return table


def test_figures_equal_the_hand_calculations_of_the_documentation(repository):
    """Three lines, with 0.1, 1 and 10 % defective parts, worked out on the page that users read."""
    page = (repository / "docs" / "report" / "line.md").read_text(encoding="utf-8")
    assert "let 4 of 200 defective parts pass and rejected 50 of 1,000 good ones" in page
    found = re.findall(r"^\| `(\w+)`[^|]*\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.M)
    assert len(found) == 10
    table = line(200, 1000, 4, 50, costs=COSTS)
    assert list(table["defect_rate_low"]) == [0.001, 0.01, 0.1]
    for name, *by_hand in found:
        percent = 100 if name in ("ppv", "npv") else 1
        values = [round(percent * value, 3) for value in table[name]]
        assert values == pytest.approx([float(each) for each in by_hand], abs=1e-9), name
        assert (table[f"{name}_low"] <= table[name]).all(), name
        assert (table[name] <= table[f"{name}_high"]).all(), name
    assert (table["escapes"] < table["escapes_at_most"]).all()


def test_example_rates_are_called_so_and_the_lines_own_is_not():
    """Without a rate there are three, never the mixture of the images."""
    examples = line(30, 40, 1, 2)
    assert examples["is_example"].all() and len(examples) == 3
    printed = render_markdown(line_text(examples))
    assert "defect rate is not known (setting line.defect\\_rate), so these are examples" in printed
    assert "USD" not in printed and "Pass a day" not in printed
    own = line(30, 40, 1, 2, rate=[0.02], per_day=5000)
    assert list(own["is_example"]) == [False]
    assert own["rejects_per_day"][0] == pytest.approx(5 * own["rejects"][0])
    printed = render_markdown(line_text(own))
    assert "Defect rates are those of the setting line.defect\\_rate: Chips" in printed
    assert "| Pass a day |" in printed
    both = line(30, 40, 1, 2, rate=[0.001, 0.02])
    assert np.isnan(both["escapes"][0]) and "0.1–2\u00a0%" in render_markdown(line_text(both))


def test_costs_that_are_not_known_are_named():
    """A service's price stands for the inspection; what nobody says has no figure."""
    table = line(30, 40, 1, 2, costs={"escape": 100, "check": 1})
    assert set(table["missing_costs"]) == {"line.cost_usd.false_reject"}
    assert table["cost_alone_usd"].isna().all() and table["cost_checked_usd"].notna().all()
    assert "no figure made from it: line.cost\\_usd.false\\_reject" in render_markdown(
        line_text(table)
    )
    table = line(30, 40, 1, 2, costs={"escape": 100, "check": 1}, method="ask")
    assert table["missing_costs"][0] == "line.cost_usd.false_reject, line.cost_usd.inspection"
    assert table["cost_checked_usd"].isna().all() and table["cost_ship_all_usd"].notna().all()


def test_part_without_a_verdict_leaves_a_range():
    """Right at the lower end, wrong at the upper one, and no figure between."""
    table = line(30, 40, 1, 2, silent=3)
    assert table["escapes"].isna().all() and table["escapes_high"].notna().all()
    assert table["good_rejects"].notna().all()


def test_card_says_it_in_few_words():
    """Of a line that is known at its rate, else at examples, costs at the middle one."""
    table = line(200, 1000, 4, 50, costs=COSTS, per_day=2000)
    facts = line_facts(table.to_dict("records"))
    assert facts["caption"] == "Of 1,000 parts of the line (example rates)"
    assert [row[0] for row in facts["rows"]] == ["0.1\u00a0%", "1\u00a0%", "10\u00a0%"]
    assert facts["rows"][1][1] == "0.20 (≤\u00a00.45)"
    assert facts["words"][0].startswith("A day at 1\u00a0% defective: 0.40 [")
    assert "1,000 if everything is shipped; 500 if people check everything." in facts["words"][1]
    facts = line_facts(line(200, 1000, 4, 50, rate=[0.01]).to_dict("records"))
    assert (facts["caption"], facts["words"]) == (
        "Of 1,000 parts of the line (the line's rate)",
        [],
    )


@pytest.mark.parametrize(
    ("value", "printed"), [(0.004, "0.00"), (9.994, "9.99"), (9.996, "10.0"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits_at_least(value, printed):
    """And none that nobody needs."""
    assert number_text(value) == printed


@pytest.mark.parametrize("times", [1, 10, 100])
@pytest.mark.parametrize(
    ("missed", "rejected", "decision"),
    [(0, 1, "ready"), (0, 40, "assist"), (20, 40, "not_ready"), (55, 50, "not_ready")],
)
def test_mixture_of_the_parts_changes_neither_decision_nor_veto(times, missed, rejected, decision):
    """200 defective parts with once, ten and a hundred times as many good ones; only F2 moves."""
    counts = (200, 200 * times, 2 * missed, 2 * rejected * times)
    classification, readiness = tables(*counts)
    row = readiness.iloc[0]
    assert row["decision"] == decision
    assert row["informedness"] == pytest.approx(1 - (missed + rejected) / 100)
    assert (row["informedness_high"] <= 0) == ("No better than no model" in row["reason"])
    known = line(*counts).set_index("defect_rate_low")
    assert known.loc[0.01, "rejects"] == pytest.approx((100 - missed + 99 * rejected) / 10)
    share = f"{100 / (1 + times):.3g}\u00a0%"
    heading = classification_text(classification).caption
    assert heading.endswith(f"F2 holds at this share of defective parts: {share}")


def test_veto_is_free_of_the_mixture_where_f2_is_not():
    """20 % slip and 40 % overkill: under F2's baseline on half defective parts, above no model."""
    limits = {"max_slip_rate": 0.3, "max_overkill_rate": 0.05}
    classification, readiness = tables(500, 500, 100, 200, limits=limits)
    assert classification["is_no_better_than_floor"][0]
    assert "no better than no model in F2, at this mixture of parts" in classification["note"][0]
    assert readiness["decision"][0] == "assist"
    assert readiness["informedness_low"][0] > 0.3


def test_recheck_share_is_that_of_the_line():
    """Half of the images are rejected, and 11 % of the line's parts."""
    limits = LIMITS | {"max_recheck_share": 0.2}
    _, readiness = tables(300, 300, 0, 30, limits=limits, rate=[0.01])
    row = readiness.iloc[0]
    assert (row["decision"], row["defect_rate_high"]) == ("assist", 0.01)
    assert "of the line's parts, people would check 14.2 % again at most" in row["reason"]
    printed = render_markdown(readiness_text(readiness))
    assert "20.0\u00a0% of the line's parts checked again" in printed
    _, readiness = tables(300, 300, 0, 90, limits=limits)
    assert readiness["decision"][0] == "not_ready"
    assert "it is no help to people: they would check" in readiness["reason"][0]
    printed = render_markdown(readiness_text(readiness))
    assert "20.0\u00a0% of good parts checked again" in printed
