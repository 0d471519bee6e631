"""The page of ``autosparse watch --web`` in headless Chromium: news arrives, and what the reader has chosen stays."""

import pytest
from fake_runs import FakeRuns
from live_runs import LiveRuns
from whole_page import LAYERS, METHODS, accuracy_of

from autosparse.report.live import LivePage
from autosparse.report.server import PageServer
from autosparse.tracking.client import connect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

NEW = 81.25
CHOSEN = """() => ({
    sorted: [...document.querySelectorAll("th[aria-sort]")].map((th) => [th.textContent, th.getAttribute("aria-sort")]),
    filters: [...document.querySelectorAll(".filter input")].map((field) => field.value),
    counts: [...document.querySelectorAll(".filter output")].map((output) => output.value),
    open: [...document.querySelectorAll("details")].map((details) => details.open),
    tables: document.querySelectorAll("table").length,
    focus: document.activeElement.localName,
})"""
TOP = """() => [...document.querySelectorAll("h3")].find((one) => one.textContent === "Density of layers")
    .getBoundingClientRect().top"""


@pytest.fixture
def grid(tmp_path, empty_store) -> LiveRuns:
    """A grid of seven methods, with one cell left to do."""
    (tmp_path / "scratch").mkdir()
    made = LiveRuns(FakeRuns(connect(empty_store(tmp_path)), "exp", tmp_path / "scratch"), total=2 + len(METHODS) + 1)
    for method in METHODS:
        densities = dict.fromkeys(LAYERS, 0.1)
        made.cell(method, 0.98, accuracy_of(method, 0.98, 0), densities=densities)
    return made


@pytest.fixture
def page(grid) -> LivePage:
    made = LivePage(grid.runs.client, "exp", every=0.2)
    made.look()
    return made


@pytest.fixture
def opened(chromium, page):
    """Opens the page as it is served; fails if the console has an error meanwhile."""
    errors, windows = [], []
    with PageServer(lambda: page.files) as server:

        def open_page(width: int = 1200):
            window = chromium.new_page(viewport={"width": width, "height": 900})
            windows.append(window)
            window.on("pageerror", lambda error: errors.append(str(error)))
            window.on("console", lambda message: errors.append(message.text))
            window.goto(server.url)
            return window

        yield open_page
        for window in windows:
            window.close()
    assert errors == []


def told(window, text: str) -> None:
    """Wait until the page shows this text."""
    window.locator("body", has_text=text).wait_for()


def test_a_new_cell_comes_into_sight_and_what_the_reader_chose_stays(opened, page, grid):
    window = opened()
    told(window, "9 of 10 done, 1 to do")
    window.locator("thead button", has_text="98%").first.click()
    window.locator("summary", has_text="How to read this page").click()
    field = window.locator(".filter input").first
    field.fill("s")
    window.evaluate(f"window.scrollBy(0, ({TOP})() - 200)")
    before, top = window.evaluate(CHOSEN), window.evaluate(TOP)
    assert (before["sorted"], before["filters"][0], before["open"][0]) == ([["98%", "descending"]], "s", True)
    grid.cell("snip", 0.9, NEW)  # in place of the 91.5 that is there
    page.look()
    told(window, "10 of 10 done")
    assert window.evaluate(CHOSEN) == before
    assert window.evaluate(TOP) == pytest.approx(top, abs=2)
    assert f"{NEW}" in window.locator("table").first.inner_text()


def test_a_part_that_has_not_changed_is_left_alone(opened, page, grid):
    window = opened()
    told(window, "9 of 10 done")
    window.evaluate("document.querySelector('.reading').seen = true")
    grid.cell("snip", 0.9, NEW, status="FAILED")
    page.look()
    told(window, "--retry-failed")
    assert window.evaluate("document.querySelector('.reading').seen")
    assert window.locator(".reading").count() == 1


def test_the_end_and_an_absent_server_are_told(chromium, page, grid):
    with PageServer(lambda: page.files) as server:
        window = chromium.new_page()
        window.goto(server.url)
        told(window, "RUNNING")
        grid.end()
        page.look()
        told(window, "tasks are left, and nothing is running")
    told(window, "Nothing is heard of autosparse watch")
    assert window.locator("table").first.is_visible()
    window.close()


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window_while_a_grid_runs(opened, width):
    window = opened(width)
    told(window, "9 of 10 done")
    assert window.evaluate("document.documentElement.scrollWidth") == width
