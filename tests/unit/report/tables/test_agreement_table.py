"""People and repeats: the documentation's hand calculation, what is missing, who gets rows."""

import re

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.schemas import VERDICTS
from realitycheck.core.tables import check_table, write_table
from realitycheck.metrics.agreement import verdict_matrix
from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.report.results import KEYS
from realitycheck.report.tables.agreement import AGREEMENT, agreement_table, section, texts
from realitycheck.report.tables.classification import (
    answer_facts,
    classification_table,
    classification_text,
)
from realitycheck.report.tables.comparison import comparison_table
from realitycheck.report.tables.readiness import readiness_table
from realitycheck.report.text import render_latex, render_markdown
from realitycheck.stages.evaluate import score_labels

DATASETS = {"chips": {"name": "Chips"}}
METHODS = {
    "line": {"kind": "imported", "name": "Inspectors", "has_raters": True},
    "ask": {"kind": "lvlm", "name": "Gemini", "model": "gemini"},
}
WORDS = {"N": "NOK", "O": "OK", ".": None}


def verdicts_of(method, said):
    """Verdicts tables by run, of {rater: a word per part, a letter per repeat}."""
    return {
        ("chips", method, rater): pd.DataFrame(
            [
                dict.fromkeys(VERDICTS.columns)
                | {"dataset": "chips", "method": method, "prompt": rater, "sample": sample}
                | {"image_id": f"p/{part:02}", "label_predicted": WORDS[letter]}
                | {"status": "answered" if letter != "." else "refused"}
                for part, letters in enumerate(words.split())
                for sample, letter in enumerate(letters)
            ]
        )
        for rater, words in said.items()
    }


def results(truth, said, *, method="line", groups=None):
    """Scores and verdict matrices, as a run has them."""
    manifest = pd.DataFrame(
        {
            "image_id": [f"p/{part:02}" for part in range(len(truth))],
            **{"category": "p", "label": [WORDS[letter] for letter in truth]},
            **{"group": groups or [None] * len(truth), "defect_type": None},
        }
    )
    tables = verdicts_of(method, said)
    scores = pd.DataFrame([row for each in tables.values() for row in score_labels(manifest, each)])
    return scores, {run: verdict_matrix(each) for run, each in tables.items()}


def table_of(truth, said, *, method="line", **options):
    names = {"datasets": DATASETS, "methods": METHODS}
    table = agreement_table(
        *results(truth, said, method=method, **options), **names, confidence=0.95
    )
    check_table(table, AGREEMENT, where="test")
    return table


def by_name(table):
    return table.set_index(["prompt", "quantity"])


def test_table_equals_the_hand_calculation_of_the_documentation(repository):
    """Three inspectors, ten parts, twice: worked out on the page that users read."""
    page = (repository / "docs" / "report" / "people.md").read_text(encoding="utf-8")
    parts = re.findall(r"^\| \d+ \| ([ON]) \| ([ON]+) \| ([ON]+) \| ([ON]+) \|$", page, re.M)
    assert len(parts) == 10
    truth, *said = map(list, zip(*parts, strict=True))
    words = dict(zip(("anna", "ben", "carl"), map(" ".join, said), strict=True))
    table = table_of("".join(truth), words)
    found = by_name(table[table["quantity"] != "pair"])
    number = r"([\d.]+)"
    share = rf"(\d+) \| {number}–{number} %"
    pattern = rf"^\| (anna|ben|carl) \| {share} \| {number} \| {share} \| {number} \| {number} \|$"
    lines = re.findall(pattern, page, re.M)
    assert len(lines) == 3
    for rater, *cells in lines:
        for quantity, by_hand in (("within", cells[:4]), ("truth", cells[4:])):
            row = found.loc[rater, quantity]
            values = [row["n_agree"], 100 * row["agreement_low"], 100 * row["agreement_high"]]
            digits = [0, 1, 1, 3, 3]
            values += [row["kappa"], row["kappa_se"]]
            for value, digit, hand in zip(values, digits, by_hand, strict=False):
                assert round(value, digit) == float(hand), (rater, quantity)
    assert found.loc[("carl", "truth"), "kappa_se"] ** 2 == pytest.approx(0.08064)
    together = found.loc["*"]
    assert list(together["n_agree"]) == [6, 6] and list(together["n_verdicts"]) == [6, 6]
    assert round(together.loc["between", "kappa"], 3) == 0.593
    assert "(0.8 − 0.509) / (1 − 0.509) = 0.593" in page and "so 0.08064" in page
    assert np.isnan(together.loc["all_truth", "kappa"])


def test_repeats_of_a_language_model_go_through_the_same_table():
    """Its prompts are no raters, so nothing is compared between them."""
    said = {"basic": "OOO NNO ONN NNN", "refined": "OOO OOO NNN NNN"}
    table = table_of("OONN", said, method="ask")
    assert list(table["prompt"] + " " + table["quantity"]) == [
        *("basic within", "basic truth", "refined within", "refined truth")
    ]
    assert list(table["n_agree"]) == [2, 2, 4, 4] and set(table["n_verdicts"]) == {3}


def test_rater_who_judged_once_has_nothing_to_agree_with():
    """A dash, and no 100 %; with the truth and the others there is a share."""
    table = table_of("OONN", {"anna": "O O N N", "ben": "OO ON NN NN"})
    row = by_name(table).loc[("anna", "within")]
    assert np.isnan(row["agreement"]) and pd.isna(row["n_agree"]) and np.isnan(row["kappa"])
    assert row["note"] == "judged each part once: nothing to compare"
    assert by_name(table).loc[("anna", "truth"), "agreement"].item() == 1.0
    pair = table[table["quantity"] == "pair"].iloc[0]
    assert (pair["other_prompt"], pair["n_agree"], pair["n_verdicts"]) == ("ben", 3, 3)


@pytest.mark.parametrize("method", ["line", "ask"])
def test_one_verdict_per_part_of_one_rater_has_no_rows(method):
    """Then the section is left out of the page."""
    table = table_of("OONN", {"none": "O O N N"}, method=method)
    assert table.empty
    assert section({"agreement": table}).texts == [] and section({}).texts == []


def test_part_without_a_verdict_leaves_a_range():
    """Refused once, the other repeat decides nothing; refused and contradicted, it is decided."""
    table = table_of("OONN", {"basic": "OO O. N. N."[:11], "refined": "OO NO .. NN"}, method="ask")
    row = by_name(table).loc[("basic", "within")]
    assert (row["n_parts"], row["n_agree"], row["n_open"], row["n_kappa"]) == (4, 1, 3, 1)
    assert np.isnan(row["agreement"])
    assert (row["agreement_worst"], row["agreement_best"]) == (0.25, 1.0)
    assert row["agreement_low"] == clopper_pearson(1, 4)[0] and row["agreement_high"] == 1.0
    assert row["note"] == "no kappa: all verdicts are the same"
    row = by_name(table).loc[("refined", "truth")]
    assert (row["n_agree"], row["n_open"], row["n_kappa"]) == (2, 1, 3)
    assert row["note"] == "kappa over the 3 of 4 parts that have every verdict"
    printed = render_markdown(texts({"agreement": table})["agreement"][0])
    assert "| 25.0–100.0\u00a0% [0.6, 100.0] |" in printed and "Open: parts that lack" in printed


def test_views_of_one_part_count_each_and_are_told():
    """As in Table 2, whose bounds take images as independent, too."""
    table = table_of("OONN", {"basic": "OO OO NN NN"}, method="ask", groups=["a", "a", "b", None])
    assert set(table["n_parts"]) == {4}
    assert table["note"].str.startswith("4 images of 3 groups: intervals and standard").all()


def test_verdicts_of_other_images_are_refused():
    scores, matrices = results("ON", {"anna": "OO NN"})
    with pytest.raises(ValueError, match="line/anna: expected those of the 1 scored images, but f"):
        agreement_table(scores[:1], matrices, datasets=DATASETS, methods=METHODS, confidence=0.95)


def test_texts_say_what_agrees_and_how_repeats_become_a_verdict():
    """Pairs stand in a table of their own; LaTeX takes the letters."""
    shown = texts({"agreement": table_of("OONN", {"anna": "OO NO NN NN", "ben": "OO OO NN OO"})})
    raters, pairs = shown["agreement"]
    assert [row[3] for row in raters.rows] == [
        *("its own repeats", "with the truth") * 2,
        *("all raters with each other", "all raters with the truth"),
    ]
    assert "that of most of them, NOK where they are split evenly" in " ".join(raters.legend)
    assert [row[3] for row in pairs.rows] == ["with ben"]
    assert r"$\kappa$" in render_latex(raters, "tab:agreement")
    assert [text.caption for text in section({"agreement": table_of("ON", {"a": "OO NN"})}).texts]


def test_rater_is_a_row_of_readiness_and_of_the_paired_tests(tmp_path):
    """By being a run: no table has to know what a rater is."""
    said = {"anna": "OO OO NN NN NO", "ben": "OO NN NN OO NN"}
    scores, _ = results("OONNN", said)
    options = {"datasets": DATASETS, "methods": METHODS, "seed": 0, "n_resamples": 50}
    paths = []
    for (_, _, rater), rows in verdicts_of("line", said).items():
        paths.append(tmp_path / f"{rater}.parquet")
        write_table(rows, paths[-1], schema=VERDICTS, facts={})
    table = classification_table(scores, answers=answer_facts(paths), **options)
    own = table[~table["is_floor"].astype(bool)]
    assert list(own["prompt"]) == ["anna", "ben"] and list(own["n_samples"]) == [2, 2]
    # Anna's fifth part is split evenly: NOK, so she misses none.
    assert list(own["fn"]) == [0, 1]
    note = "The verdict of a part is that of most of its answers, NOK where they are split evenly."
    assert note in " ".join(classification_text(table).legend)
    times = pd.DataFrame(columns=[*KEYS, "seconds_per_part", "seconds_note"])
    limits = {"max_slip_rate": 0.02, "max_overkill_rate": 0.05}
    decided = readiness_table(table, times, requirements=limits)
    assert list(decided["prompt"]) == ["anna", "ben"] and decided["decision"].notna().all()
    compared = comparison_table(scores, **options)
    pairs = compared[compared["quantity"] == "verdict"]
    assert list(pairs["prompt"] + pairs["other_prompt"]) == ["annaben"]
