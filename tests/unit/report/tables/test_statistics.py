"""Tables of evidence from scores that can be counted by hand, and what people read of them."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from realitycheck.core.tables import check_table
from realitycheck.core.tries_file import Count, Tried
from realitycheck.metrics.paired import holm
from realitycheck.report.tables.audit import AUDIT, audit_text
from realitycheck.report.tables.breakdown import BREAKDOWN, breakdown_table, breakdown_text
from realitycheck.report.tables.classification import classification_table
from realitycheck.report.tables.comparison import COMPARISON, comparison_table, comparison_text
from realitycheck.report.tables.detection_probability import (
    DETECTION_BINS,
    DETECTION_CURVE,
    DETECTION_PROBABILITY,
    detection_tables,
    detection_texts,
)
from realitycheck.report.tables.pixel_scores import PIXEL_TABLE, pixel_table, pixel_text
from realitycheck.report.tables.readiness import READINESS, readiness_table, readiness_text
from realitycheck.report.text import render_markdown, write_report_table

DATASETS = {"chips": {"name": "Chips"}}
METHODS = {
    "grounded_sam": {"label": "GroundingDINO + SAM"},
    "grounded_sam_area": {
        "kind": "grounded_sam",
        "label": "GroundingDINO + SAM",
        "verdict_by": "area",
    },
    "ask": {"kind": "lvlm", "name": "Gemini", "model": "gemini-2.5-pro"},
    "whole_image": {},
}
NAMES = {"datasets": DATASETS, "methods": METHODS}
STATISTICS = {"seed": 0, "n_resamples": 300}
LIMITS = {
    "max_slip_rate": 0.02,
    "max_overkill_rate": 0.05,
    "max_seconds_per_part": 5.0,
    "max_cost_per_part_usd": None,
}


def rows(method, prompt, verdicts, *, ious=None, group=None, n_nok=12):
    """Scores of parts: those whose number is below n_nok are defective."""
    found = []
    for number, verdict in enumerate(verdicts):
        is_nok = number < n_nok
        iou = None if ious is None or not is_nok else ious[number]
        found.append(
            {
                "dataset": "chips",
                "image_id": f"p/{number:03}",
                "method": method,
                "prompt": prompt,
                "category": "p" if number % 2 else "q",
                "group": group[number] if group else None,
                "label": "NOK" if is_nok else "OK",
                "label_predicted": verdict,
                "score": None,
                "iou": iou,
                "intersection_px": None,
                "union_px": None,
                "truth_px": 10 * (number + 1) if is_nok else 0,
                "predicted_px": None if ious is None else (40 if verdict == "NOK" else 0),
                "lost_px": 0,
                "defect_type": ("void", "crack")[number % 2] if is_nok else None,
                "status": "ok",
            }
        )
    return found


def scores(**changes):
    """12 defective and 20 good parts under two methods with masks and one that is asked."""
    good = ["OK"] * 20
    ious = np.linspace(0.2, 0.75, 12)
    table = [
        *rows("grounded_sam", "plain", ["NOK"] * 12 + good, ious=ious, **changes),
        *rows("grounded_sam", "types", ["NOK"] * 11 + ["OK"] + ["NOK"] + good[1:], ious=ious / 2),
        *rows("ask", "basic", ["NOK"] * 6 + ["OK"] * 5 + [None] + good),
    ]
    return pd.DataFrame(table)


def floor():
    return pd.DataFrame(rows("whole_image", "none", ["NOK"] * 32, ious=np.full(12, 0.1)))


def sizes():
    """Masks of 400 pixels for the methods that have them."""
    table = pd.concat([scores(), floor()])
    table = table[table["predicted_px"].notna()]
    return table[["dataset", "method", "prompt", "image_id"]].assign(mask_px=400)


# -------------------------------------------------------------------------------------- readiness


def readiness(times=(), **changes):
    classification = classification_table(scores(), **NAMES, **STATISTICS, **changes)
    columns = ["dataset", "method", "prompt", "seconds_per_part", "seconds_note"]
    return readiness_table(
        classification, pd.DataFrame(times, columns=columns), requirements=LIMITS
    )


def test_every_run_has_a_decision_and_floors_have_none():
    """Twelve of twelve caught prove 22 % at most, and the limit is 2 %; three were tried."""
    table = readiness([("chips", "grounded_sam", "plain", 1.5, "encoder 1.5 s")])
    check_table(table, READINESS, where="test")
    assert list(zip(table["method"], table["prompt"], strict=True)) == [
        ("grounded_sam", "plain"),
        ("grounded_sam", "types"),
        ("ask", "basic"),
    ]
    first, _, asked = (row for _, row in table.iterrows())
    assert first["decision"] == "cannot_tell"
    assert first["more_nok_needed"] == 191
    assert "203 defective parts in all, 191 more" in first["reason"]
    assert first["reason"].endswith(
        "it is one of 3 tried on these parts, and at 95 % confidence none is wrongly found fit."
    )
    assert (first["n_tries"], first["excluded"], first["still_open"]) == (3, "", "ready, assist")
    assert first["slip_rate_high"] == pytest.approx(1 - 0.05 ** (1 / 12))
    assert first["slip_rate_high_among"] == pytest.approx(1 - (0.05 / 3) ** (1 / 12))
    assert (first["seconds_per_part"], first["cost_per_part_usd"]) == (1.5, 0.0)
    assert asked["decision"] == "not_ready"
    assert "5 of 12 defective parts slip" in asked["reason"]
    assert pd.isna(asked["slip_rate"])
    assert pd.isna(asked["cost_per_part_usd"])
    assert asked["seconds_note"] == "not timed"


def test_costs_of_a_part_come_from_the_answers():
    """Table 2 has them for a thousand parts."""
    answers = pd.DataFrame(
        [["chips", "ask", "basic", 1, None, None, 4.2, ""]],
        columns=["dataset", "method", "prompt", "n_samples", "fleiss_kappa", "flip_rate"]
        + ["cost_per_1000_parts_usd", "note"],
    )
    table = readiness(answers=answers)
    assert table.set_index("method").loc["ask", "cost_per_part_usd"] == pytest.approx(0.0042)


def test_readiness_reads_as_words_with_their_numbers():
    """No id of a decision, the reason as a footnote, the limits below."""
    printed = render_markdown(readiness_text(readiness()))
    assert "| cannot tell |" in printed
    assert "not\\_ready" not in printed
    assert "Limits: slip rate 2.0\u00a0%, overkill rate 5.0\u00a0%, 5 s per part" in printed
    assert "| 191 / 60 |" in printed
    assert "Chips: 3 tried on these parts." in printed
    assert "Of all that was tried on the same parts none is wrongly ready" in printed


def one_run(n_nok, n_ok, missed=0, silent=0):
    """One method alone on its parts."""
    verdicts = ["OK"] * missed + ["NOK"] * (n_nok - missed) + ["OK"] * n_ok
    verdicts[:silent] = [None] * silent
    table = pd.DataFrame(rows("ask", "basic", verdicts, n_nok=n_nok))
    table.loc[table["label_predicted"].isna(), "status"] = "not_comparable"
    return classification_table(table, **NAMES, **STATISTICS)


def decided(classification, **changes):
    times = pd.DataFrame([["chips", "ask", "basic", 1.0, "all steps"]])
    times.columns = ["dataset", "method", "prompt", "seconds_per_part", "seconds_note"]
    limits = {"max_slip_rate": 0.02, "max_overkill_rate": 0.05}
    return readiness_table(classification, times, requirements=limits, **changes)


def test_tries_that_are_no_rows_share_the_error_too():
    """149 of 149 are enough for one try; of 24 each needs 306. Both decisions are shown."""
    table = decided(one_run(149, 100))
    assert (table["decision"][0], table["n_tries"][0]) == ("ready", 1)
    table = decided(one_run(149, 100), tried={"chips": Tried(Count(n_scored=24), {})})
    assert list(table.loc[0, ["decision", "decision_alone", "n_tries"]]) == [
        "cannot_tell",
        "ready",
        24,
    ]
    assert "306 defective parts in all" in table["reason"][0]
    assert "one of 24 tried" in table["reason"][0]
    assert "| cannot tell (alone: ready) |" in render_markdown(readiness_text(table))


def test_method_that_judged_few_parts_did_not_judge_and_says_why():
    """Thirty of forty could not be compared."""
    table = decided(one_run(20, 20, silent=30))
    assert table["decision"][0] == "did_not_judge"
    assert table["reason"][0].startswith(
        "Only 10 of the 40 parts have a verdict (not comparable 30); "
    )
    assert "| did not judge |" in render_markdown(readiness_text(table))


# -------------------------------------------------------------------------- detection probability


def defects(method="grounded_sam", n=60, *, pitch=None, seed=0):
    rng = np.random.default_rng(seed)
    areas = rng.integers(5, 2000, n)
    hits = rng.random(n) < 1 / (1 + np.exp(5 - 1.1 * np.log(areas)))
    return pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": [f"p/{number // 2}" for number in range(n)],
            "defect_id": [number % 2 + 1 for number in range(n)],
            "method": method,
            "prompt": "plain",
            "category": "p",
            "group": None,
            "defect_type": "void",
            "area_px": areas,
            "lost_px": 0,
            "area_mm2": areas * pitch**2 if pitch else np.full(n, np.nan),
            "covered_share": hits.astype(float),
            "is_hit": hits,
        }
    )


def detection(table, *runs):
    return detection_tables(
        table, runs or [("chips", "grounded_sam", "plain")], **NAMES, min_covered_share=0.1
    )


def test_detection_tables_keep_their_contract():
    """One row a run, a curve over the sizes at hand, bins that hold every defect."""
    probability, curve, bins = detection(defects())
    for table, schema in (
        (probability, DETECTION_PROBABILITY),
        (curve, DETECTION_CURVE),
        (bins, DETECTION_BINS),
    ):
        check_table(table, schema, where="test")
    row = probability.iloc[0]
    assert (row["status"], row["unit"], row["n_defects"]) == ("estimated", "px", 60)
    assert row["n_hits"] + row["n_misses"] == 60
    assert bins["n_defects"].sum() == 60
    assert bins["n_hits"].sum() == row["n_hits"]
    assert (curve["size"].min(), curve["size"].max()) == (row["smallest"], row["largest"])
    assert (curve["probability_low"] <= curve["probability"]).all()
    assert (np.diff(curve["probability"]) > 0).all()


def test_note_says_how_many_defects_alignment_moved_out_of_the_image():
    """Two wholly, one in part; none is left out of the counts."""
    table = defects()
    table.loc[:2, "lost_px"] = table.loc[:2, "area_px"]
    table.loc[2, "lost_px"] = 1
    row = detection(table)[0].iloc[0]
    assert "alignment moved 3 of 60 defects out of the image, 2 of them wholly" in row["note"]
    assert row["n_defects"] == 60
    assert "out of the image" not in detection(defects())[0].iloc[0]["note"]


def test_pitch_gives_square_millimetres():
    """Sizes that a drawing of the part can be compared with."""
    (px, _, _), (mm2, _, bins) = detection(defects()), detection(defects(pitch=0.1))
    assert mm2["unit"].tolist() == ["mm2"]
    assert mm2["a90"][0] == pytest.approx(0.01 * px["a90"][0])
    assert bins["size_high"].max() < 25


def test_run_without_defects_says_why():
    """A data set that nobody drew has its row, and no curve."""
    probability, curve, bins = detection(defects().iloc[:0])
    assert probability["status"].tolist() == ["no_defects"]
    assert probability["reason"][0] == "cannot be estimated: no defect is drawn in the truth"
    assert curve.empty
    assert bins.empty


def test_methods_share_their_bins():
    """Only then can their recall be read side by side."""
    table = pd.concat([defects(), defects("ask", seed=0)])
    _, _, bins = detection(table, ("chips", "grounded_sam", "plain"), ("chips", "ask", "plain"))
    edges = bins.groupby("method")["size_low"].apply(list)
    assert edges["ask"] == edges["grounded_sam"]


def test_detection_text_says_what_cannot_be_estimated():
    """The reason is a footnote; the raw recall by size follows."""
    probability, _, bins = detection(defects(n=14))
    printed = "\n".join(map(render_markdown, detection_texts(probability, bins)))
    assert "cannot be estimated" in printed
    assert "Defects found by size" in printed
    assert "10.0\u00a0% of its area" in printed


# -------------------------------------------------------------------------------------- breakdown


def breakdown(table=None, pitch=None, **changes):
    return breakdown_table(
        pd.concat([scores() if table is None else table, floor()]),
        sizes(),
        **NAMES,
        **STATISTICS,
        pixel_pitch_mm={"chips": pitch},
        **changes,
    )


def test_parts_of_the_breakdown_add_up():
    """Categories hold all parts; types and sizes hold all defective ones."""
    table = breakdown()
    check_table(table, BREAKDOWN, where="test")
    own = table[(table["method"] == "grounded_sam") & (table["prompt"] == "plain")]
    assert own.groupby("by")["n_images"].sum().to_dict() == {
        "category": 32,
        "defect_type": 12,
        "defect_size": 12,
    }
    assert own.groupby("by")["n_nok"].sum().eq(12).all()
    sized = own[own["by"] == "defect_size"].sort_values("rank")
    assert sized["value"].tolist() == ["10–65 px", "65–120 px"]
    assert sized["mean_iou"].tolist() == pytest.approx([0.325, 0.625])


def test_rates_stand_where_they_are_defined():
    """Good parts have neither a type nor a size, so that overkill stands with categories."""
    table = breakdown()
    own = table[(table["method"] == "grounded_sam") & (table["prompt"] == "types")]
    by = own.set_index(["by", "value"])
    assert by.loc[("category", "q"), "overkill_rate"] == pytest.approx(1 / 10)
    assert by.loc[("category", "q"), "ok_with_mask_rate"] == pytest.approx(1 / 10)
    assert by.loc[("category", "q"), "ok_mask_area_share"] == pytest.approx(0.1)
    assert np.isnan(by.loc[("category", "p"), "ok_mask_area_share"])
    assert by.loc[("defect_type", "crack"), "slip_rate"] == pytest.approx(1 / 6)
    assert np.isnan(by.loc[("defect_type", "crack"), "overkill_rate"])
    assert np.isnan(by.loc[("defect_type", "crack"), "overkill_rate_high"])
    asked = table[table["method"] == "ask"].set_index(["by", "value"])
    assert np.isnan(asked.loc[("defect_type", "crack"), "slip_rate"])  # one has no answer
    exact = stats.binomtest(3, 6).proportion_ci(0.9, method="exact").high
    assert asked.loc[("defect_type", "crack"), "slip_rate_high"] == pytest.approx(exact)


def test_sizes_in_square_millimetres_and_words():
    """Units are said, and ids are words."""
    table = breakdown(pitch=0.5)
    values = table.loc[table["by"] == "defect_size", "value"].unique().tolist()
    assert values == ["2.5–16 mm²", "16–30 mm²"]
    printed = render_markdown(breakdown_text(table))
    assert "| Defect size | 2.5–16 mm² |" in printed
    assert "defect\\_size" not in printed


# ------------------------------------------------------------------------------------- comparison


def comparison(table=None):
    return comparison_table(scores() if table is None else table, **NAMES, **STATISTICS)


def test_every_pair_is_compared_once_on_common_parts():
    """Three runs are three pairs; masks are compared where both have them."""
    table = comparison()
    check_table(table, COMPARISON, where="test")
    assert table.groupby("quantity").size().to_dict() == {"iou": 1, "f2": 3, "verdict": 3}
    iou = table[table["quantity"] == "iou"].iloc[0]
    assert iou["n"] == 12
    assert iou["difference"] == pytest.approx(0.2375)
    assert iou["difference_low"] < iou["difference"] < iou["difference_high"]
    assert iou["p_value"] < 0.01
    asked = table[(table["quantity"] == "verdict") & (table["other_method"] == "ask")].iloc[0]
    assert asked["n"] == 31
    exact = stats.binomtest(5, 5).pvalue
    assert asked["p_value"] == pytest.approx(exact)
    assert asked["test"] == "exact McNemar"


def test_p_values_are_corrected_within_a_quantity():
    """Holm over the pairs of one data set and quantity."""
    table = comparison()
    for _, own in table.groupby("quantity"):
        np.testing.assert_allclose(own["p_value_holm"], holm(own["p_value"]))
        assert (own["n_pairs"] == len(own)).all()


def test_groups_make_the_test_of_verdicts_a_permutation():
    """McNemar would count four views of a part as four parts."""
    group = [f"part {number // 4}" for number in range(32)]
    table = scores()
    table["group"] = group * 3
    verdicts = comparison(table).query("quantity == 'verdict' and other_method == 'ask'").iloc[0]
    assert verdicts["test"] == "paired permutation of groups"
    # Two groups differ, both in one direction: half of the four exchanges are as large.
    assert verdicts["p_value"] == pytest.approx(0.5, abs=0.1)


def test_verdicts_by_area_have_no_masks_of_their_own():
    """Their masks are those of the method; only verdicts and F2 are compared."""
    again = scores().query("method == 'grounded_sam' and prompt == 'plain'")
    table = pd.concat([scores(), again.assign(method="grounded_sam_area")])
    found = comparison(table)
    assert found.groupby("quantity").size().to_dict() == {"iou": 1, "f2": 6, "verdict": 6}
    same = found.query("method == 'grounded_sam' and other_method == 'grounded_sam_area'")
    same = same[same["prompt"] == "plain"]
    assert same["p_value"].tolist() == [1.0, 1.0]
    assert same["other_method_name"].tolist() == ["GroundingDINO + SAM (area)"] * 2


def test_comparison_text_counts_what_it_leaves_out():
    """A table of a thousand pairs is for machines; people see what differs, and how many do not."""
    table = comparison()
    printed = render_markdown(comparison_text(table))
    assert "Chips, Mean IoU: 1 of 1 differences have a corrected p below 0.05" in printed
    assert "0 further pairs" in printed
    assert "Gemini (basic)" in printed


# ----------------------------------------------------------------------------- pixels, audit, files


def test_pixel_scores_are_averaged_over_categories_with_truth():
    """A category nobody drew in takes no part, and the number of categories says so."""
    pixels = pd.DataFrame(
        {
            "dataset": "chips",
            "method": "grounded_sam",
            "prompt": "plain",
            "category": ["p", "q", "r"],
            "n_images": [5, 7, 0],
            "n_defective": [2, 3, 0],
            "auroc": [0.9, 0.7, np.nan],
            "aupro": [0.5, 0.3, np.nan],
            "f1_max": [0.4, 0.2, np.nan],
            "f1_max_threshold": 0.5,
            "uses_test_truth": True,
        }
    )
    table = pixel_table(pixels, **NAMES)
    check_table(table, PIXEL_TABLE, where="test")
    row = table.iloc[0]
    assert (row["n_categories"], row["n_images"]) == (2, 12)
    assert (row["auroc"], row["aupro"], row["f1_max"]) == pytest.approx((0.8, 0.4, 0.3))
    assert row["uses_test_truth"]
    assert "uses\\_test\\_truth" in render_markdown(pixel_text(table))
    nothing = pixel_table(pixels.iloc[2:], **NAMES).iloc[0]
    assert np.isnan(nothing["auroc"])
    assert nothing["note"] == "no image with ground truth"


def test_audit_text_names_clean_checks_in_one_sentence():
    """What was found stands in rows; what was looked for and not found is told, too."""
    row = {
        "dataset": "chips",
        "method": "ask",
        "prompt": "basic",
        "check": "reference_is_scored",
        "finding": "the reference is itself scored",
        "n_affected": 1,
        "example": "p/001",
        "consequence": "Its verdict there says nothing.",
        "dataset_name": "Chips",
        "method_name": "Gemini",
    }
    clean = row | {"method": "*", "prompt": "*", "check": "size_by_label", "n_affected": 0}
    printed = render_markdown(audit_text(pd.DataFrame([row, clean])[AUDIT.columns]))
    assert "Reference among the scored images" in printed
    assert "Its verdict there says nothing." in printed
    assert "Chips: nothing found by the checks: size or depth tells the label." in printed


@pytest.mark.parametrize("empty", [False, True])
def test_tables_are_written_in_four_forms(tmp_path, empty):
    """Rows stay in the order of the settings; no method at all is no error."""
    table = readiness()
    table = table.iloc[:0] if empty else table.iloc[::-1]
    write_report_table(
        {"readiness": (table, READINESS)},
        {"readiness": [readiness_text(table)]},
        tmp_path,
        facts={"code": "ab"},
    )
    found = pq.read_table(tmp_path / "readiness.parquet").to_pandas()
    assert found["prompt"].tolist() == table["prompt"].tolist()
    assert len(pd.read_csv(tmp_path / "readiness.csv")) == len(table)
    assert "Readiness" in (tmp_path / "readiness.md").read_text(encoding="utf-8")
    latex = (tmp_path / "readiness.tex").read_text(encoding="utf-8")
    assert latex.isascii() or set(latex) - set(map(chr, range(128))) <= {"é", "ü"}
    assert r"\label{tab:readiness}" in (tmp_path / "readiness.tex").read_text(encoding="utf-8")
