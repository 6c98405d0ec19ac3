"""The pages in a browser: two widths, two themes, and on paper."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qprune_cli.report.write import report
from tests.report.folders import write_whole
from tests.report.test_sweep_page import sweep

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
SHOTS = os.environ.get("QPRUNE_SCREENSHOTS")  # a folder, to look at them
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
UNSEEN = """[...document.querySelectorAll('img, svg')].filter(one => {
    if (one.tagName == 'IMG') return !one.alt || !one.naturalWidth;
    const told = one.getAttribute('role') == 'img' && one.querySelector('title') && one.querySelector('desc');
    return one.getAttribute('aria-hidden') != 'true' && !told }).length"""
CUT = """[...document.querySelectorAll('svg[role=img] text')].filter(one => {
    const own = one.getBoundingClientRect(), all = one.closest('svg').getBoundingClientRect();
    return own.left < all.left - 2 || own.right > all.right + 2 || own.height < 9 }).map(one => one.textContent)"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A run with everything, one that is broken, and a sweep."""
    root = tmp_path_factory.mktemp("pages")
    broken = write_whole(root / "broken", name="a_network_with_quite_a_long_name")
    for name in ("manifest.json", "images.csv", "solution.json"):
        (broken / name).unlink()
    methods = ("greedy_taylor", "hybrid_qubo", "greedy_l1")
    several = sweep(root / "sweep", *((methods[k % 3], 0.1 * k) for k in range(9)))
    return {"run": report(write_whole(root / "run")), "broken": report(broken), "sweep": report(several)}


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as starting:
        found = starting.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def look(browser, pages, tmp_path):
    """Open a page; what it complains of, and what it asks the network for, is noted."""

    def opened(name, width, theme):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
        heard = []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("data:", pages[name].as_uri())) or heard.append(request.url))
        page.goto(pages[name].as_uri())
        return page, heard

    return opened


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["run", "sweep", "broken"])
@pytest.mark.slow
def test_a_page_is_whole_at_every_width_and_in_both_themes(look, name, width, theme, tmp_path):
    page, heard = look(name, width, theme)
    assert heard == [], "something was asked for, or complained of"
    assert page.evaluate("document.documentElement.scrollWidth") == width, "it scrolls sideways"
    assert page.evaluate(UNSEEN) == 0, "a picture has no words, or does not load"
    assert page.evaluate(CUT) == [], "letters are cut, or too small"
    shot = Path(SHOTS or tmp_path) / f"{name}_{width}_{theme}.png"
    page.screenshot(path=shot, full_page=True)
    first = Path(SHOTS or tmp_path) / f"{name}_{width}_{theme}_first.png"
    page.screenshot(path=first)
    page.close()
    with Image.open(shot) as whole, Image.open(first) as top:
        seen, light = np.asarray(whole.convert("L"), float), np.asarray(top.convert("L"), float).mean() > 128
    assert seen.std() > 8 and light == (theme == "light"), "it is blank, or has the other theme"


def test_the_first_screen_holds_the_answer(look):
    for width in (390, 1280):
        page, _ = look("run", width, "light")
        for one in ("h1", ".cards", ".chips"):
            assert page.locator(one).bounding_box()["y"] + page.locator(one).bounding_box()["height"] <= 800, one
        page.close()


def test_a_page_prints(look, tmp_path):
    page, _ = look("run", 1280, "dark")
    paper = page.pdf(format="A4", print_background=True)
    assert paper.startswith(b"%PDF") and len(paper) > 50_000
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.close()
