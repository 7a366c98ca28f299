"""Tables of verdicts: forms, words, raters and repeats, and what is wrong with them."""

import pandas as pd
import pytest

from realitycheck.core.schemas import VERDICTS
from realitycheck.core.tables import check_table
from realitycheck.methods.imported.classifier import verdicts
from realitycheck.methods.imported.settings import ImportedMethod
from realitycheck.methods.imported.verdict_table import raters_of
from realitycheck.metrics.agreement import verdict_matrix
from realitycheck.report.tables.agreement import agreement_table
from realitycheck.stages.evaluate import score_labels

GOOD = "image,label\n" + "".join(f"{name},OK\n" for name in ("OK/a", "OK/b", "NOK/a"))


def table_of(chips, text, prompt="none", **block):
    (chips.vendor / "v.csv").write_text(text)
    run = chips.run(prompt, verdicts="v.csv", **block)
    found = verdicts(chips.inputs(), run, chips.manifest, "cpu")
    check_table(found.table, VERDICTS, where="test")
    assert found.seconds is None
    return found.table


def faults_of(chips, text, **block):
    (chips.vendor / "v.csv").write_text(text)
    return chips.faults(verdicts="v.csv", **block)


def test_an_image_without_a_verdict_is_a_row(chips):
    """It counts as unanswered, and does not vanish."""
    table = table_of(chips, GOOD + "NOK/c,\n").set_index("image_id")
    assert len(table) == 5
    assert table["status"].tolist() == ["answered"] * 3 + ["missing"] * 2
    assert pd.isna(table.loc["chip/NOK/c", "label_predicted"])


def test_words_and_columns_of_a_machine_are_told_by_the_settings(chips):
    """An inspection machine has its own; what else its table holds plays no part."""
    text = "SerialNo;Result;Line;Conf\nOK/a.png;PASS;3;0.1\nNOK/a.png;Fail;3;0.9\n"
    block = {
        "labels": {"pass": "OK", "fail": "NOK"},
        "columns": {"image": "SerialNo", "label": "Result", "score": "Conf"},
    }
    table = table_of(chips, text, **block).set_index("image_id")
    assert table.loc["chip/OK/a", ["label_predicted", "score"]].tolist() == ["OK", 0.1]
    assert table.loc["chip/NOK/a", ["label_predicted", "score"]].tolist() == ["NOK", 0.9]
    assert faults_of(chips, text, **block) == []


PEOPLE = (
    "image,label,rater,repeat,seconds,cost_usd,reasoning\n"
    "OK/a,OK,Anna B.,1,2.5,0.1,clean\n"
    "OK/a,NOK,Anna B.,2,3.5,0.1,a scratch\n"
    "OK/b,OK,Anna B.,2,1,0.1,\n"
    "OK/a,NOK,Ben,1,1,,\n"
)


def test_each_rater_is_a_run_and_each_repeat_a_sample(chips):
    """As the samples of a vision language model are stored: every image has all of them."""
    table = table_of(chips, PEOPLE, "Anna_B.")
    assert raters_of(chips.vendor / "v.csv", column="rater") == ["Anna_B.", "Ben"]
    assert (table["prompt"] == "Anna_B.").all() and len(table) == 10
    first = table[table["image_id"] == "chip/OK/a"]
    assert first["sample"].tolist() == [0, 1]
    assert first["label_predicted"].tolist() == ["OK", "NOK"]
    assert first["latency_s"].tolist() == [2.5, 3.5] and first["cost_usd"].tolist() == [0.1, 0.1]
    assert first["reasoning"].tolist() == ["clean", "a scratch"]
    second = table[table["image_id"] == "chip/OK/b"]
    assert second["status"].tolist() == ["missing", "answered"]
    ben = table_of(chips, PEOPLE, "Ben")
    assert len(ben) == 5 and (ben["status"] == "answered").sum() == 1


def test_parquet_says_the_same_as_csv(chips):
    """Numbers that come as numbers, and what is null."""
    (chips.vendor / "v.csv").write_text(PEOPLE)
    pd.read_csv(chips.vendor / "v.csv").to_parquet(chips.vendor / "v.parquet")
    inputs, rows = chips.inputs(), []
    for name in ("v.csv", "v.parquet"):
        assert chips.faults(verdicts=name) == []
        assert raters_of(chips.vendor / name, column="rater") == ["Anna_B.", "Ben"]
        rows.append(verdicts(inputs, chips.run("Ben", verdicts=name), chips.manifest, "cpu").table)
    pd.testing.assert_frame_equal(*rows)


BAD = {
    "no column": ("image,verdict\na,OK\n", "expected a column 'label', found image, verdict"),
    "misspelt column": (
        "image,label,raters\nOK/a,OK,x\n",
        "'raters', which may be meant as",
    ),
    "no row": ("image,label\n", "expected verdicts, found no row"),
    "word": (
        "image,label\nOK/a,maybe\n",
        "expected one of ok, nok in label, found 'maybe'",
    ),
    "no image": ("image,label\n,OK\n", "line 2: expected the name of an image in image"),
    "unknown name": ("image,label\nz,OK\n", "'z' (line 2) is the name of no image of the data set"),
    "ambiguous name": ("image,label\na.png,OK\n", "'a.png' (line 2) is the name of 2 images"),
    "digest of no image": (f"image,label\n{'0' * 64},OK\n", "is the name of no image"),
    "twice": (GOOD + "OK/a.png,NOK\n", "one verdict on chip/OK/a, found 2 with the repeat 0"),
    "score": ("image,label,score\nOK/a,OK,93\n", "a number from 0 to 1 in score, found '93'"),
    "decimal comma": ("image;label;score\nOK/a;OK;0,9\n", "in score, found '0,9'"),
    "nan": ("image,label,score\nOK/a,OK,nan\n", "in score, found 'nan'"),
    "seconds": (
        "image,label,seconds\nOK/a,OK,-1\n",
        "of 0 or more in seconds, found '-1'",
    ),
    "repeat": ("image,label,repeat\nOK/a,OK,1.5\n", "a whole number in repeat, found '1.5'"),
    "fields": ("image,label\nOK/a,OK,NOK\n", "line 2: expected 2 fields"),
    "quotes": ('image,label\n"OK/a,OK\n', "expected a table, but unexpected end of data"),
    "no rater": ("image,label,rater\nOK/a,OK,x\nOK/b,OK,\n", "line 3: expected a rater in every"),
    "rater none": ("image,label,rater\nOK/a,OK,none\n", "no rater can be called 'none'"),
    "raters alike": (
        "image,label,rater\nOK/a,OK,a b\nOK/a,OK,a+b\n",
        "the raters 'a b', 'a+b' would both be called 'a_b'",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_with_a_table_is_told(chips, kind):
    """With the line, what was expected and what was found."""
    text, words = BAD[kind]
    found = faults_of(chips, text)
    assert any(words in line for line in found), found


def test_all_faults_are_told_at_once(chips):
    """A table of many rows is not mended one run at a time."""
    text = "image,label,score\nz,OK,\na,NOK,\nOK/a,maybe,7\n"
    assert len(faults_of(chips, text)) == 4


def test_other_encodings_are_refused(chips):
    """A guess would give parts other names."""
    (chips.vendor / "v.csv").write_bytes("image,label\nTür,OK\n".encode("cp1252"))
    (line,) = chips.faults(verdicts="v.csv")
    assert "expected text in UTF-8 or UTF-16" in line
    (chips.vendor / "v.parquet").write_bytes(b"no parquet")
    (line,) = chips.faults(verdicts="v.parquet")
    assert "expected a Parquet file, but" in line


@pytest.mark.parametrize(
    ("text", "again"),
    [
        (PEOPLE, True),
        (PEOPLE.replace("Ben", "Anna B."), True),
        ("image,label,rater\nOK/a,OK,Ben\nOK/a,OK,Anna\n", True),
        ("image,label,repeat\nOK/a,OK,1\nOK/a,OK,2\n", True),
        ("image,label,rater,repeat\nOK/a,OK,Ben,1\nOK/b,OK,Ben,1\n", False),
        (GOOD, False),
    ],
)
def test_raters_and_repeats_are_known_before_anything_runs(chips, text, again):
    """So the table of agreement is planned where there is something to compare, and only there."""
    (chips.vendor / "v.csv").write_text(text)
    block = ImportedMethod(kind="imported", verdicts=str(chips.vendor / "v.csv"))
    assert block.judges_again("chips") is again and block.has_raters
    columns = {"repeat": "Durchgang", "rater": "rater"}
    other = ImportedMethod(kind="imported", verdicts=str(chips.vendor / "w.csv"), columns=columns)
    (chips.vendor / "w.csv").write_text(text.replace("repeat", "Durchgang"))
    assert other.judges_again("chips") is again
    assert not ImportedMethod(kind="imported", masks="m").judges_again("chips")


def test_people_go_from_their_table_to_that_of_agreement(chips):
    """Anna judges twice and contradicts herself on one part, Ben judges one part only."""
    scores, matrices = [], {}
    for rater in ("Anna_B.", "Ben"):
        found = table_of(chips, PEOPLE, rater)
        scores += score_labels(chips.manifest, found)
        matrices["chips", "vendor", rater] = verdict_matrix(found)
    notes = {"datasets": {"chips": {}}, "methods": {"vendor": {"has_raters": True}}}
    table = agreement_table(pd.DataFrame(scores), matrices, **notes, confidence=0.95)
    own = table.set_index(["prompt", "quantity"])[["n_agree", "n_open", "n_verdicts"]]
    assert own.loc[("Anna_B.", "within")].tolist() == [0, len(chips.manifest) - 1, 2]
    assert own.loc[("*", "between")].tolist() == [0, len(chips.manifest) - 1, 3]
    assert own.loc[("Ben", "truth")].tolist() == [0, len(chips.manifest) - 1, 1]
