"""The page as a file: what stands in it, what cannot act in it, and what may be missing."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from realitycheck.report.tables.readiness import DECISIONS
from realitycheck.stages.page import read_runtimes, write_page


class Outline(HTMLParser):
    """Collects elements with their attributes, and the text inside them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if data.strip() and self._open and self._open[-1] not in ("script", "style"):
            self.texts.append(" ".join(data.split()))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def written(sample_results, tmp_path_factory):
    """A page with everything, of 10 parts."""
    folder = tmp_path_factory.mktemp("page")
    arguments = sample_results.write_sample(folder, n_ok=4, n_nok=6, image_size_px=64)
    facts = write_page(folder / "report.html", **arguments)
    return folder, facts, (folder / "report.html").read_text(encoding="utf-8")


def data_of(text, name="data"):
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def test_page_holds_its_pictures_and_names_no_address(written):
    """It is mailed around and opened where there is no network."""
    folder, facts, text = written
    assert facts["is_one_file"] and facts["n_images"] == 10
    assert not (folder / "report_images").exists()
    outline = Outline(text)
    for tag, key in (("img", "src"), ("link", "href"), ("script", "src")):
        for attributes in outline.all(tag):
            assert attributes.get(key, "data:").startswith("data:"), attributes
    for attributes in outline.all("a"):
        assert attributes["href"].startswith("#")
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert all(
        picture.startswith("data:image/webp;base64,") for picture in data_of(text, "pictures")
    )


def test_an_answer_cannot_leave_its_place(written, sample_results):
    """Reasoning and file names are foreign text; one answer tries to end the script."""
    _, _, text = written
    assert "taken over" in text
    assert sample_results.HOSTILE not in text
    answers = [run["answers"] for run in data_of(text)["runs"] if "answers" in run]
    assert any(sample_results.HOSTILE in one[0][2] for run in answers for one in run.values())
    (policy,) = [
        a["content"] for a in Outline(text).all("meta") if "Security" in a.get("http-equiv", "")
    ]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[^']+'(;|$)", policy), "no other program may run"


def test_gallery_holds_every_result_of_every_method(written):
    """Rows in, rows out: also parts without an answer and without a mask."""
    folder, facts, text = written
    data = data_of(text)
    scores = pd.concat([pd.read_parquet(p) for p in folder.glob("scores/*/*/*/images.parquet")])
    scores = scores[scores["method"] != "whole_image"]
    assert facts["n_results"] == len(scores) == 40
    labels = {0: "OK", 1: "NOK", -1: None}
    found = {}
    for run in data["runs"]:
        for place, predicted in enumerate(run["predicted"]):
            image = data["images"][run["first"] + place]
            iou = run["iou"][place] if "iou" in run else None
            key = (run["method"], run["prompt"], image["id"])
            found[key] = (labels[image["l"]], labels[predicted], iou)
    for row in scores.itertuples():
        iou = None if pd.isna(row.iou) else round(row.iou, 4)
        said = None if pd.isna(row.label_predicted) else row.label_predicted
        assert found[row.method, row.prompt, row.image_id] == (row.label, said, iou)


def test_each_method_has_a_card_with_decision_reason_and_counts(written):
    """The first thing that a reader looks for."""
    folder, _, text = written
    said = " ".join(Outline(text).texts)
    readiness = pd.read_parquet(folder / "tables" / "readiness.parquet")
    assert text.count('<article class="card') == len(readiness) == 4
    for row in readiness.itertuples():
        assert row.reason in said
        assert DECISIONS[row.decision].word in said
    assert "of 6 defective parts passed" in said
    assert "of 4 good parts rejected" in said
    assert said.index("is ready") < said.index("Decision")


def test_headings_follow_each_other_and_every_picture_has_a_text(written):
    """A reader who listens walks along headings; none is skipped."""
    outline = Outline(written[2])
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(attributes.get("alt") for attributes in outline.all("img"))
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for attributes in outline.all("a")}
    assert targets <= set(ids)


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"has_answers": False}, ["vision language model (basic)"]),
        ({"has_truth": False}, ["How small a defect is found", "IoU [interval]</th><td>0"]),
        ({"has_masks": False, "n_panels": 0}, ["Table 1", "Score maps"]),
        ({"n_nok": 0}, ["How small a defect is found"]),
        ({"n_ok": 0}, ["good parts rejected"]),
    ],
)
def test_page_is_drawn_without(changes, absent, sample_results, tmp_path):
    """No vision language model, no truth, no masks, no defective or no good part: no empty part."""
    sizes = {"n_ok": 3, "n_nok": 3, "image_size_px": 48} | changes
    arguments = sample_results.write_sample(tmp_path, **sizes)
    write_page(tmp_path / "report.html", **arguments)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in absent:
        assert words not in text
    for section in re.findall(r"<section.*?</section>", text, re.S):
        assert len(Outline(section).texts) > 1, section[:200]
    assert not re.search(r"<tbody>\s*</tbody>", text), "an empty table"
    visible = " ".join(Outline(text).texts)
    assert not re.search(r"\bnan\b|\bNone\b(?! of)|<NA>", visible)


def test_large_page_keeps_its_pictures_beside_it_and_says_so(sample_results, tmp_path):
    """Two thousand photographs would make a file that no mail takes."""
    arguments = sample_results.write_sample(tmp_path, n_ok=3, n_nok=3, image_size_px=48)
    facts = write_page(tmp_path / "report.html", **arguments, max_bytes=1000)
    assert not facts["is_one_file"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "report_images" in " ".join(Outline(text).texts)
    for name in data_of(text, "pictures"):
        assert (tmp_path / name).is_file()
    panels = [run["panels"] for run in data_of(text)["runs"] if "panels" in run]
    assert len(panels) == 1 and len(panels[0]) == 2
    assert all((tmp_path / name).is_file() for name in panels[0].values())


def test_runtimes_are_those_of_the_shown_data_sets(tmp_path):
    """One folder may hold the benchmarks of several settings files."""
    for name, seconds in (
        ("encode_images/plates/0-of-2.tsv", 30),
        ("encode_images/plates/1-of-2.tsv", 50),
        ("encode_images/others/0-of-1.tsv", 1000),
        ("render_report/all.tsv", 2),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tmax_rss\n{seconds}\t{'-' if seconds == 2 else seconds * 2}\n")
    rows = read_runtimes(tmp_path, ["plates", "all"])
    assert [(row["rule"], row["n_jobs"], row["seconds"], row["max_rss_mb"]) for row in rows] == [
        ("encode_images", 2, 80.0, 100.0),
        ("render_report", 1, 2.0, None),
    ]


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "soft", "accent", "ready", "assist", "unsure", "not"])
def test_text_can_be_read_on_every_ground(ink, scheme, repository):
    """Contrast of at least 4.5, as WCAG 2.2 asks of text."""
    style = (repository / "realitycheck/report/page/page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[0]))
    if scheme:
        colours |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[1]))
    for ground in ("paper", "sheet", "faint"):
        light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


def test_people_have_a_section_where_there_are_some(sample_results, written, tmp_path):
    """Three inspectors who judge every part twice; without them no reader meets the heading."""
    arguments = sample_results.write_sample(
        tmp_path, n_ok=4, n_nok=4, image_size_px=48, has_masks=False, has_raters=True
    )
    write_page(tmp_path / "report.html", **arguments)
    texts = Outline((tmp_path / "report.html").read_text(encoding="utf-8")).texts
    assert {"People and repeats", "People and repeats: pairs of raters"} <= set(texts)
    assert {"with carl", "all raters with each other"} <= set(texts)
    assert "People and repeats" not in Outline(written[2]).texts
