"""Measure how fast a large report opens and scrolls in a real browser.

Draws made-up results of many images, writes the page from them, and opens it in headless Chromium
from disk. Prints how long writing took, how large the page is, the time from the start of
navigation until the gallery is drawn (the median of several openings), and, over a fast scroll
through the gallery, how long frames took. Needs chromium and chromedriver.

Usage: python benchmarks/page.py --n-images 2000
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _sample_results import write_sample
from selenium import webdriver

from realitycheck.stages.page import write_page

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
#: Waits until tiles are drawn and their pictures decoded; gives ms since navigation began.
UNTIL_DRAWN = """
const done = arguments[0];
const look = () => {
  const pictures = [...document.querySelectorAll(".tile img")];
  if (!pictures.length) return requestAnimationFrame(look);
  Promise.all(pictures.map((one) => one.decode())).then(() =>
    requestAnimationFrame(() => done(performance.now())));
};
look();
"""
#: Scrolls the gallery by 150 px a frame, a fast flick; gives the time of each frame in ms.
SCROLL = """
const done = arguments[0], grid = document.getElementById("grid"), times = [];
document.getElementById("reset").click();
grid.scrollIntoView();
const steps = 240;
let step = 0, last = null;
const move = (now) => {
  if (last !== null) times.push(now - last);
  last = now;
  grid.scrollTop += 150;
  ++step < steps ? requestAnimationFrame(move) : done(times);
};
requestAnimationFrame(move);
"""


def main() -> None:
    """Draw, write, open, scroll, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-images", type=int, default=2000, help="a quarter of them defective")
    parser.add_argument("--image-size-px", type=int, default=256, help="height of an image")
    parser.add_argument("--n-openings", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to keep the results; default: nowhere")
    options = parser.parse_args()
    driver = shutil.which("chromedriver")
    if driver is None:
        raise SystemExit("there is no chromedriver on this machine; install chromium-driver")

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "results"
        n_nok = options.n_images // 4
        arguments = write_sample(
            folder, n_ok=options.n_images - n_nok, n_nok=n_nok, image_size_px=options.image_size_px
        )
        started = time.perf_counter()
        written = write_page(folder / "report.html", **arguments, n_threads=2)
        seconds = time.perf_counter() - started
        where = "in the page" if written["is_one_file"] else "in a folder beside it"
        print(
            f"{written['n_images']} images, {written['n_results']} results: written in "
            f"{seconds:.1f} s, {written['n_bytes'] / 1e6:.1f} MB, pictures {where}"
        )
        flags = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={temporary}/browser"):
            flags.add_argument(flag)
        browser = webdriver.Chrome(options=flags, service=webdriver.ChromeService(driver))
        try:
            browser.set_window_size(1280, 900)
            times = []
            for _ in range(options.n_openings):
                browser.get("about:blank")
                browser.get((folder / "report.html").resolve().as_uri())
                times.append(browser.execute_async_script(UNTIL_DRAWN))
            frames = browser.execute_async_script(SCROLL)
        finally:
            browser.quit()
    print(
        f"opened in {statistics.median(times) / 1000:.2f} s (median of {len(times)}, most "
        f"{max(times) / 1000:.2f} s)"
    )
    frames.sort()
    print(
        f"scrolled by 150 px a frame: frames of {statistics.median(frames):.0f} ms in the middle, "
        f"{frames[int(0.95 * len(frames))]:.0f} ms at 95 %, {frames[-1]:.0f} ms at most"
    )


if __name__ == "__main__":
    main()
