"""Tables for people: what is printed, what is bold, and that LaTeX accepts it."""

import csv
import io
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.tables import read_facts
from realitycheck.report.csv_text import csv_text
from realitycheck.report.tables import classification as of_verdicts
from realitycheck.report.tables import confusion
from realitycheck.report.tables import segmentation as of_masks
from realitycheck.report.tables.classification import classification_table, classification_text
from realitycheck.report.tables.confusion import confusion_table
from realitycheck.report.tables.segmentation import segmentation_table, segmentation_text
from realitycheck.report.tables.study_text import study_text
from realitycheck.report.text import (
    escape_latex,
    named_run,
    prompt_text,
    render_latex,
    render_markdown,
    write_report_table,
)

DATASETS = {
    "pets": {"name": "Oxford_Pets", "published_as": "oxford_iiit_pet"},
    "mine": {"name": "My 100 % product"},
}
METHODS = {
    "grounded_sam": {"label": "GroundingDINO + SAM"},
    "sam_clip": {"label": "SAM + CLIP", "note": "untrained | miniature"},
    "lvlm": {"label": "LVLM"},
}
SETTINGS = {"datasets": DATASETS, "methods": METHODS, "seed": 0, "n_resamples": 100}


def _scores():
    """Six defective and two good images a data set; sam_clip has twice the union."""
    rows = []
    for dataset in DATASETS:
        for method, prompt in (
            *(("grounded_sam", "plain"), ("sam_clip", "plain")),
            *(("lvlm", "basic"), ("lvlm", "refined")),
        ):
            for k in range(8):
                is_nok = k < 6
                row = {
                    "dataset": dataset,
                    "image_id": f"{k}",
                    "method": method,
                    "prompt": prompt,
                    "category": "cat",
                    "group": None,
                    "label": "NOK" if is_nok else "OK",
                    "label_predicted": "NOK" if k in (0, 1, 2, 7) else "OK",
                    "iou": np.nan,
                    "intersection_px": np.nan,
                    "union_px": np.nan,
                    "truth_px": 10.0 if is_nok else 0.0,
                    "predicted_px": np.nan,
                    "lost_px": np.nan,
                    "defect_type": None,
                    "status": "ok",
                }
                if method != "lvlm" and is_nok:
                    hit = 10.0 - k
                    union = 10.0 if method == "grounded_sam" else 20.0
                    row |= {"intersection_px": hit, "union_px": union, "iou": hit / union}
                if method != "lvlm":
                    row["predicted_px"] = 5.0 if is_nok else 0.0
                if (method, prompt, k) == ("lvlm", "refined", 3):
                    row |= {"label_predicted": None, "status": "refused"}
                rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def segmentation():
    """IoU 0.75 and 0.375 on each data set."""
    return segmentation_table(_scores(), **SETTINGS)


@pytest.fixture(scope="module")
def classification():
    """Four rows and three floors on each data set."""
    return classification_table(_scores(), **SETTINGS)


def table_text(table, caption="A table"):
    """The text of Table 1 or 2."""
    format_table = segmentation_text if "mean_iou" in table else classification_text
    return format_table(table, caption)


def write_table(table, folder, *, stem=None, module=None, notes=()):
    """Write a table as its job does; return the written files by name."""
    module = module or (of_masks if "mean_iou" in table else of_verdicts)
    (name, schema), *_ = module.SCHEMAS.items()
    write_report_table(
        {name: (table, schema)},
        module.texts({name: table}),
        folder,
        facts={"settings_digest": "ab"},
        notes=notes,
    )
    return {path.name.removeprefix(name): path for path in folder.iterdir()}


def test_published_value_and_difference_stand_beside_ours(segmentation):
    """0.75 against 0.80: −0.05, with a true minus sign."""
    text = table_text(segmentation)
    row = dict(zip(text.header, text.rows[0], strict=True))
    assert row["IoU [interval]"].startswith("0.75 [")
    assert (row["Images"], row["Study's IoU"], row["Difference"]) == ("6", "0.80", "−0.05")
    assert row["Good parts with a mask"] == "0.0\u00a0%"


def test_only_iou_above_0_60_is_bold(segmentation):
    """As in the study, and never a classification score."""
    text = table_text(segmentation)
    assert [any(row) for row in text.bold] == [True, False, True, False]
    limit = segmentation.assign(mean_iou=0.60)
    assert not any(any(row) for row in table_text(limit).bold)


def test_classification_is_never_bold(classification):
    """Bold marks practical value of masks only."""
    assert not any(any(row) for row in table_text(classification).bold)


def test_unanswered_images_print_a_range(classification):
    """tp 3 of 6 with one unanswered: slip rate 50.0 % or 33.3 %."""
    text = table_text(classification)
    rows = [dict(zip(text.header, row, strict=True)) for row in text.rows]
    slip = "Slip rate (bound)"
    assert rows[2][slip].startswith("50.0\u00a0% (≤\u00a0")
    assert rows[3][slip].startswith("33.3–50.0\u00a0% (≤\u00a0")
    assert "–" in rows[3]["F2 [interval]"].split(" ")[0]


def test_each_note_is_printed_once_and_marked_on_its_rows(classification):
    """A footnote letter a distinct note."""
    text = table_text(classification)
    notes = [note for _, note in text.footnotes]
    assert len(notes) == len(set(notes))
    letter = dict(zip(notes, (letter for letter, _ in text.footnotes), strict=True))[
        "1 of 8 images unanswered: ranges are from all of them wrong to all right"
    ]
    assert [letter in mark.split(", ") for mark in text.marks].count(True) == 2


def test_markdown_has_one_cell_a_column(segmentation):
    """A bar in a note or a name must not open a new cell."""
    lines = render_markdown(table_text(segmentation), ["a | b", "2 * 3 * 4"]).splitlines()
    cells = [line for line in lines if line.startswith("|")]
    n_columns = {line.replace("\\|", "").count("|") for line in cells}
    assert n_columns == {10}
    assert "**0.75 [" in cells[2]
    assert lines[-1] == "2 \\* 3 \\* 4"


@pytest.mark.parametrize(
    "title",
    [
        *(
            "[click](http://evil.example)",
            "![x](http://evil.example/x.png)",
            "<http://evil.example>",
        ),
        *("http://evil.example", "HTTPS://evil.example", "see www.evil.example", "[x][y]"),
        *("mailto:a@evil.example", "<img src=http://evil.example>", "<script>alert(1)</script>"),
        *("a | b", "a\\| b", "line\rbreak", "[x]: http://evil.example", "~~gone~~", "&#91;x&#93;"),
    ],
)
def test_markdown_makes_no_markup_of_what_the_data_say(title, segmentation):
    """Titles and categories come from settings and folders; a table is passed on to others."""
    named = segmentation.assign(method_name=title, dataset_name=title)
    text = table_text(named, caption=title)
    source = render_markdown(text, [title])
    plain = render_markdown(table_text(segmentation, caption="c"), ["n"])
    assert source.count("\n") == plain.count("\n")
    assert not re.search(r"(?<!\\)\]\(|(?i:https?|mailto):|(?i:www)\.|<(?!/?sup>)", source)
    rows = [line for line in source.splitlines() if line.startswith("|")]
    assert {re.sub(r"\\\\|\\\|", "", row).count("|") for row in rows} == {10}


def test_latex_rows_begin_with_no_argument_of_the_line_break():
    r"""`\\` takes `[…]` and `*` after it as its own, also from the next line."""
    assert escape_latex("[new] part") == "{}[new] part"
    assert escape_latex("*") == "{}*"
    assert escape_latex("0.40 [0.31, 0.48]") == "0.40 [0.31, 0.48]"
    assert escape_latex("a\rb\x00c\td") == "a b?c d"


FORMULAS = ("=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", " =1", "-2+3", "=", "\uff1d1", "\n=1")


def test_csv_runs_nothing_in_a_spreadsheet(segmentation, tmp_path):
    """The usual apostrophe stands before it; numbers, also as texts, are as they were."""
    table = pd.DataFrame({"text": [*FORMULAS, "-0.5", "+1e-3", "a=b", "x\r=1", None], "=h": -1.5})
    found = list(csv.reader(io.StringIO(csv_text(table), newline="")))
    assert found[0] == ["text", "'=h"]
    assert [row[0] for row in found[1:]] == [
        *(f"'{cell}".replace("\r", "\n") for cell in FORMULAS),
        *("-0.5", "+1e-3", "a=b", "x\n=1", ""),
    ]
    assert {row[1] for row in found[1:]} == {"-1.5"}
    named = segmentation.assign(dataset_name="=HYPERLINK(1)")
    paths = write_table(named, tmp_path)
    assert set(pd.read_csv(paths[".csv"])["dataset_name"]) == {"'=HYPERLINK(1)"}
    assert set(pd.read_parquet(paths[".parquet"])["dataset_name"]) == {"=HYPERLINK(1)"}


def test_study_table_has_a_row_a_data_set_and_the_published_one_below(segmentation):
    """Its shape is that of Table 1."""
    text = study_text(segmentation, "Masks")
    assert text.header == ["Data set", "GroundingDINO + SAM", "SAM + CLIP"]
    assert text.rows == [
        ["Oxford_Pets", "0.75", "0.38"],
        ["  as published", "0.80", "0.65"],
        ["My 100 % product", "0.75", "0.38"],
    ]
    assert text.bold[1] == [False, True, True]


def test_study_table_of_verdicts_has_a_column_a_prompt_and_the_floor(classification):
    """Its shape is that of Table 2; F2 never stands without the floor of its set."""
    text = study_text(classification, "Verdicts")
    assert text.header[-3:] == ["LVLM (basic)", "LVLM (refined)", "Best baseline"]
    assert text.rows[0][-1] == f"{30 / 32:.2f}"


def test_parquet_and_csv_keep_every_digit(segmentation, tmp_path):
    """People's tables round, machines' do not."""
    paths = write_table(segmentation, tmp_path)
    parquet = pd.read_parquet(paths[".parquet"])
    for name in ("mean_iou", "mean_iou_low", "pooled_iou", "n_scored"):
        assert parquet[name].tolist() == segmentation[name].tolist()
    csv = pd.read_csv(paths[".csv"])
    assert csv["mean_iou_low"].tolist() == segmentation["mean_iou_low"].tolist()
    assert read_facts(paths[".parquet"])["settings_digest"] == "ab"
    endings = {".parquet", ".csv", ".md", ".tex", "_study.md", "_study.tex"}
    assert set(paths) == endings


def test_same_table_gives_the_same_bytes(segmentation, tmp_path):
    """A second run must not look like a change."""
    one = write_table(segmentation, tmp_path / "one")
    two = write_table(segmentation, tmp_path / "two")
    for name, path in one.items():
        assert path.read_bytes() == two[name].read_bytes(), name


def test_latex_escapes_what_would_be_a_command():
    """Prompts and names are the user's."""
    assert escape_latex("50 % of a_b & {c} $d$ #1 ~^\\ <x>") == (
        r"50 \% of a\_b \& \{c\} \$d\$ \#1 \textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\textless{}x\textgreater{}"
    )
    assert escape_latex("−0.05 ≤ 3–4") == r"$-$0.05 $\leq$ 3--4"


def test_latex_rows_have_as_many_cells_as_columns(classification):
    """Else it does not compile; checked here also where there is no LaTeX."""
    source = render_latex(table_text(classification), "tab:x")
    body = source.split(r"\toprule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(classification)
    n_columns = len(table_text(classification).header)
    assert {row.replace(r"\&", "").count("&") for row in rows} == {n_columns - 1}
    assert source.count("{") - source.count(r"\{") == source.count("}") - source.count(r"\}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_compiles_in_an_article(segmentation, classification, tmp_path):
    """All four tables, with notes that hold every special character."""
    notes = ['100 % & $5 #1 ~ ^ \\ {x} <a> a_b "q" | − – ≤ ≥ × ± µ']
    write_table(segmentation, tmp_path, notes=notes)
    write_table(classification, tmp_path, notes=notes)
    tables = ("segmentation", "segmentation_study", "classification", "classification_study")
    inputs = "\n".join(rf"\input{{{name}}}" for name in tables)
    (tmp_path / "article.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
        f"{inputs}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_empty_table_is_written_with_its_head(segmentation, tmp_path):
    """No mask method ran: the file says so by having no row."""
    paths = write_table(segmentation.iloc[:0], tmp_path)
    assert "| Data set |" in paths[".md"].read_text()
    assert len(pd.read_parquet(paths[".parquet"])) == 0


def test_columns_that_hold_nothing_are_left_out(segmentation, classification):
    """On a product that the study does not know, its columns and their legend would only puzzle."""
    for table in (segmentation, classification):
        own = table[table["dataset"] == "mine"]
        text = table_text(own)
        assert not {"Study's IoU", "Study's F2", "Difference"} & set(text.header)
        assert not any("study" in line for line in text.legend)
        assert all(
            len(row) == len(text.header) == len(bold)
            for row, bold in zip(text.rows, text.bold, strict=True)
        )


def test_verdicts_by_area_stand_apart_from_the_others(classification):
    """Behind all rows of their data set, below a rule, under a name of their own."""
    first = classification.iloc[:1].assign(
        method="grounded_sam_area", verdict_by="area", method_name="GroundingDINO + SAM (area)"
    )
    text = table_text(pd.concat([classification.iloc[:1], first, classification.iloc[1:]]))
    place = next(k for k, row in enumerate(text.rows) if row[1].endswith("(area)"))
    assert text.rows[place][0] == "Oxford_Pets, by area"
    assert place in text.rules_before and place + 1 in text.rules_before
    assert text.rows[place - 1][1].startswith("Baseline:")
    assert text.rows[place + 1][0] == "My 100 % product"


def test_no_prompt_is_worded_in_one_way():
    """A dash in a cell of its own, nothing behind a name."""
    assert prompt_text("none") == prompt_text("*") == "–"
    assert named_run({"method_name": "SAA+", "prompt": "none"}) == "SAA+"
    row = {"other_method_name": "SAA+", "other_prompt": "plain"}
    assert named_run(row, "other_") == "SAA+ (plain)"


def test_columns_about_answers_appear_where_there_is_something_to_say(classification):
    """Most tables have neither repeats nor costs; empty columns would only cost width."""
    assert "USD / 1,000 parts" not in table_text(classification).header
    known = classification.assign(n_samples=pd.NA)
    is_asked = known["kind"] == "lvlm"
    known.loc[is_asked, "n_samples"] = 3
    known.loc[is_asked, ["fleiss_kappa", "flip_rate", "cost_per_1000_parts_usd"]] = [0.5, 0.25, 7.5]
    text = table_text(known)
    assert text.header[-2:] == ["Fleiss' κ (flips)", "USD / 1,000 parts"]
    ends = [row[-2:] for row in text.rows]
    assert ["0.50 (25.0\u00a0%)", "7.50"] in ends and ["–", "–"] in ends
    assert all(len(row) == len(text.header) for row in text.rows)


def test_confusion_counts_are_written_for_people_and_machines(classification, tmp_path):
    """Whole counts as whole numbers, the coin's expected ones with a decimal."""
    table = confusion_table(classification)
    paths = write_table(table, tmp_path, module=confusion, notes=["A note."])
    assert set(paths) == {".parquet", ".csv", ".md", ".tex"}
    assert pd.read_parquet(paths[".parquet"])["tp"].tolist() == table["tp"].tolist()
    markdown = paths[".md"].read_text(encoding="utf-8")
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 2 + len(table)
    assert "refused 1" in markdown and "A note." in markdown
    assert "tab:confusion" in paths[".tex"].read_text(encoding="utf-8")


def test_verdicts_by_area_are_not_in_the_studys_table(classification):
    """The study has one column a method."""
    by_area = classification[classification["kind"] != "lvlm"].iloc[:1]
    by_area = by_area.assign(method="again_area", verdict_by="area", method_name="Again (area)")
    text = study_text(pd.concat([classification, by_area]), "Verdicts")
    assert text.header == study_text(classification, "Verdicts").header
