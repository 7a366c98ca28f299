"""The page in a real browser, from disk, with no network.

Screenshots of the whole page are kept where REALITYCHECK_SCREENSHOTS says, for people to look at.
"""

import base64
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from realitycheck.report.tables.base import method_name
from realitycheck.report.words import STATUS_WORDS
from realitycheck.stages.page import write_page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --host-resolver-rules=MAP\\ *\\ ~NOTFOUND"
).replace("\\ ", "\0")
LABELS = {"OK": "good", "NOK": "defective"}


def _browser_files():
    """Chromium and its driver, or why there are none."""
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    return browser, shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests of this file, cut off from every network."""
    program, driver = _browser_files()
    if not program or not driver:
        pytest.skip("no Chromium with chromedriver on this machine (apt: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS.split():
        options.add_argument(flag.replace("\0", " "))
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(driver)
    started = webdriver.Chrome(options=options, service=service)
    yield started
    started.quit()


@pytest.fixture(scope="module")
def results(sample_results, tmp_path_factory):
    """A page of 12 good and 14 defective parts under four methods, and its scores."""
    folder = tmp_path_factory.mktemp("results")
    arguments = sample_results.write_sample(folder, n_ok=12, n_nok=14, image_size_px=64)
    write_page(folder / "report.html", **arguments)
    scores = pd.concat([pd.read_parquet(p) for p in folder.glob("scores/*/*/*/images.parquet")])
    scores = scores[scores["method"] != "whole_image"].copy()
    scores["title"] = [
        f"{method_name(row.method, sample_results.METHODS)} ({row.prompt})"
        for row in scores.itertuples()
    ]
    scores["outcome"] = "correct"
    said = scores["label_predicted"]
    scores.loc[(scores["label"] == "NOK") & (said == "OK"), "outcome"] = "slip"
    scores.loc[(scores["label"] == "OK") & (said == "NOK"), "outcome"] = "overkill"
    scores.loc[said.isna(), "outcome"] = "silent"
    return folder, scores


def set_width(browser, width, height):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


@pytest.fixture
def page(browser, results):
    """The page, opened anew, in a window so high that every tile is drawn."""
    set_width(browser, 1280, 14_000)
    browser.get_log("performance"), browser.get_log("browser")
    browser.get((results[0] / "report.html").as_uri())
    return browser


def shown(browser):
    """Image id and method of each tile, in the order on the page."""
    texts = browser.execute_script(
        "return [...document.querySelectorAll('.tile')].sort((a, b) => "
        "a.getAttribute('aria-posinset') - b.getAttribute('aria-posinset'))"
        ".map(t => t.querySelector('img').alt)"
    )
    tiles = []
    for text in texts:
        image_id, _, rest = text.partition(": ")
        title = rest.rpartition(" says ")[0].partition(" part")[2].partition(", ")[2]
        tiles.append((image_id, title))
    return tiles


def choose(browser, key, value):
    browser.execute_script(
        "const s = document.getElementById('filter-' + arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('change'));",
        key,
        value,
    )


def options_of(browser, key):
    return browser.execute_script(
        "return [...document.getElementById('filter-' + arguments[0]).options].map(o => o.value)",
        key,
    )


def show_all(browser):
    browser.execute_script("document.getElementById('reset').click()")


def pairs(rows):
    return {(row.image_id, row.title) for row in rows.itertuples()}


def test_page_opens_from_disk_asks_for_nothing_and_complains_of_nothing(page, results):
    """Every request in the browser's own record; the network is cut off besides."""
    requests = [
        message["params"]["request"]["url"]
        for entry in page.get_log("performance")
        for message in [json.loads(entry["message"])["message"]]
        if message["method"] == "Network.requestWillBeSent"
    ]
    asked = [url for url in requests if not url.startswith("data:")]
    assert asked == [(results[0] / "report.html").as_uri()]
    assert page.get_log("browser") == []
    assert page.title.endswith("RealityCheck"), "an answer's script did not run"
    assert shown(page), "the gallery is drawn"


FILTERS = {
    "method": lambda rows: rows["method"],
    "prompt": lambda rows: rows["prompt"],
    "outcome": lambda rows: rows["outcome"],
    "label": lambda rows: rows["label"].map(LABELS),
    "predicted": lambda rows: rows["label_predicted"].map(LABELS).fillna("nothing"),
    "type": lambda rows: rows["defect_type"].fillna("none, a good part"),
    "status": lambda rows: rows["status"].map(lambda status: STATUS_WORDS[status].short),
}


@pytest.mark.parametrize("key", FILTERS)
def test_filter_shows_just_what_it_says(key, page, results):
    """Each of its values, against the scores on disk."""
    scores = results[1]
    values = FILTERS[key](scores)
    show_all(page)
    assert set(shown(page)) == pairs(scores)
    options = options_of(page, key)
    assert set(options) == {"*", *values}
    for option in options[1:]:
        choose(page, key, option)
        assert set(shown(page)) == pairs(scores[values == option]), option
        count = page.find_element("id", "count").text
        assert count.startswith(f"{(values == option).sum()} ")


def test_filters_work_together_and_with_the_name(page, results):
    """A reader narrows down step by step."""
    scores = results[1]
    show_all(page)
    choose(page, "label", "defective")
    choose(page, "outcome", "slip")
    wanted = scores[scores["outcome"] == "slip"]
    assert set(shown(page)) == pairs(wanted)
    page.find_element("id", "filter-search").send_keys("scratch")
    assert set(shown(page)) == pairs(wanted[wanted["image_id"].str.contains("scratch")])
    page.find_element("id", "filter-search").send_keys("no such name")
    assert shown(page) == []
    assert "No image fits" in page.find_element("id", "count").text


@pytest.mark.parametrize(
    ("sort", "column", "is_rising"),
    [
        ("iou-up", "iou", True),
        ("iou-down", "iou", False),
        ("size-up", "truth_px", True),
        ("size-down", "truth_px", False),
        ("score-up", "score", True),
        ("score-down", "score", False),
    ],
)
def test_sort_orders_by(sort, column, is_rising, page, results):
    """What has no such value comes last, whichever way."""
    scores = results[1]
    show_all(page)
    choose(page, "sort", sort)
    keyed = scores.assign(key=list(zip(scores["image_id"], scores["title"], strict=True)))
    values = keyed.set_index("key")[column].astype(float)
    if column == "truth_px":  # of the image, whatever the method; good parts have no defect
        sizes = scores.groupby("image_id")["truth_px"].max().astype(float)
        is_nok = keyed.set_index("key")["label"] == "NOK"
        values = keyed.set_index("key")["image_id"].map(sizes).where(is_nok)
    order = values.loc[shown(page)].to_numpy()
    assert len(order) == len(scores)
    n_known = int(np.isfinite(order).sum())
    assert 0 < n_known < len(order)
    assert np.isfinite(order[:n_known]).all()
    steps = np.diff(np.round(order[:n_known], 4))
    assert (steps >= 0).all() if is_rising else (steps <= 0).all()


def test_link_on_a_card_shows_the_parts_it_speaks_of(page, results):
    """From "3 parts missed" to the three pictures, from a doubtful label to its one."""
    links = page.find_elements("css selector", "#decision [data-filter]")
    assert links
    for link in links:
        wanted = json.loads(link.get_attribute("data-filter"))
        page.execute_script("arguments[0].click()", link)
        scores = results[1]
        rows = scores[
            (scores["method"] == wanted["method"])
            & (scores["prompt"] == wanted["prompt"])
            & (scores["outcome"] == wanted.get("outcome", scores["outcome"]))
            & (scores["image_id"].isin(wanted.get("images", scores["image_id"])))
        ]
        assert len(rows) == len(wanted.get("images", rows)) > 0
        assert set(shown(page)) == pairs(rows)
        said = page.find_element("id", "count").text
        assert ("of a link" in said) == ("images" in wanted)
    show_all(page)
    assert set(shown(page)) == pairs(results[1])


def test_images_are_walked_with_the_keyboard(page):
    """Without a mouse: to an image, into it, on, to another method, and back."""
    set_width(page, 1280, 900)
    show_all(page)
    order = page.execute_script(
        "document.getElementById('grid').focus();"
        "return document.getElementById('grid').getAttribute('aria-activedescendant')"
    )
    assert order == "tile-0"

    def press(*keys):
        for key in keys:
            page.switch_to.active_element.send_keys(key)

    def active():
        return page.find_element("id", "grid").get_attribute("aria-activedescendant")

    def title():
        return page.find_element("id", "viewer-title").text

    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert active() == "tile-1"
    press(Keys.END)
    assert active() == "tile-103", "far tiles are drawn when they are reached"
    assert page.find_element("id", "tile-103").is_displayed()
    assert len(page.find_elements("css selector", ".tile")) < 60, "and the others are not"
    press(Keys.HOME, Keys.ENTER)
    assert page.find_element("id", "viewer").get_attribute("open") is not None
    first = title()
    press(Keys.ARROW_RIGHT)
    assert title() != first
    press(Keys.ARROW_LEFT)
    assert title() == first
    press(Keys.ARROW_DOWN)
    assert title().split(", ")[0] == first.split(", ")[0] and title() != first
    press("t", "p")
    body = page.find_element("css selector", "body").get_attribute("class")
    assert "hide-truth" in body and "hide-mark" in body
    press("t", "p", Keys.ESCAPE)
    assert page.find_element("id", "viewer").get_attribute("open") is None
    assert page.switch_to.active_element.get_attribute("id") == "grid"
    assert page.get_log("browser") == []


def test_open_image_shows_truth_prediction_panel_and_reasoning(page, sample_results):
    """Everything that is known of one image."""
    set_width(page, 1280, 900)
    page.execute_script("document.getElementById('reset').click()")
    choose(page, "method", "asker")
    page.find_element("id", "filter-search").send_keys("OK/0000")
    choose(page, "label", "good")
    page.execute_script("document.querySelector('.tile').click()")
    body = page.find_element("id", "viewer-body")
    assert sample_results.HOSTILE in body.find_element("class name", "said").text
    assert "What every method says of this image" in body.text
    page.execute_script("document.getElementById('close').click()")
    show_all(page)
    choose(page, "method", "finder")
    choose(page, "outcome", "correct")
    choose(page, "label", "defective")
    choose(page, "prompt", "plain")
    page.execute_script("document.querySelector('.tile').click()")
    names = [one.text for one in page.find_elements("css selector", "#viewer figcaption")]
    assert names[:2] == ["Image", "Truth"] and names[2].startswith("Marked by")
    marks = page.find_elements("css selector", "#viewer .picture .mark")
    truths = page.find_elements("css selector", "#viewer .picture path.truth")
    assert len(marks) == 1 and len(truths) == 2
    assert "IoU" in page.find_element("id", "viewer-body").text


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "light"), (400, "dark")])
def test_nothing_sticks_out(width, scheme, page, tmp_path):
    """On a desk and on a telephone; wide tables scroll in their own box."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    set_width(page, width, 900)
    page.refresh()
    inner, content, height = page.execute_script(
        "return [document.documentElement.clientWidth, document.documentElement.scrollWidth,"
        "document.documentElement.scrollHeight]"
    )
    assert content <= inner
    wide = page.execute_script(
        "return [...document.querySelectorAll('main > section > *, header > *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"
    )
    assert wide == []
    page.execute_async_script(
        "Promise.all([...document.images].map(i => i.decode())).then(arguments[0])"
    )
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = page.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    data = base64.b64decode(taken["data"])
    folder = Path(os.environ.get("REALITYCHECK_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"report_{width}_{scheme}.png").write_bytes(data)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == width and picture.std() > 5
    ground = picture[:40, -40:].mean()
    assert ground > 200 if scheme == "light" else ground < 60
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_pictures_beside_the_page_are_shown(browser, sample_results, tmp_path):
    """A large page keeps them in a folder; the policy that forbids all requests lets these in."""
    arguments = sample_results.write_sample(tmp_path, n_ok=2, n_nok=2, image_size_px=48)
    write_page(tmp_path / "report.html", **arguments, max_bytes=1000)
    set_width(browser, 1280, 3000)
    browser.get((tmp_path / "report.html").as_uri())
    widths = browser.execute_async_script(
        "const done = arguments[0]; const all = [...document.querySelectorAll('.tile img')];"
        "Promise.all(all.map(i => i.decode())).then("
        "() => done(all.map(i => i.naturalWidth)), e => done(String(e)))"
    )
    assert widths and all(width == 60 for width in widths)
