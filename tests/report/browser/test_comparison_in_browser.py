"""The page of a comparison in headless Chromium: it answers, sorts, filters, and fits a phone, light and dark."""

from pathlib import Path

import pytest
from fake_runs import FakeRuns
from window import assert_nothing_is_wider

from autosparse.report.page_compared import write_comparison
from autosparse.tracking.client import connect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

METHODS = ("snip", "grasp", "synflow", "force")
SEEDS = 3


@pytest.fixture(scope="session")
def address(chromium, tmp_path_factory, empty_store) -> str:
    """The address of the page that compares two experiments, the second of which trains for longer."""
    folder: Path = tmp_path_factory.mktemp("comparison")
    client = connect(empty_store(folder))
    for name, epochs in (("short", "10"), ("long", "20")):
        runs = FakeRuns(client, name, folder)
        for place, method in enumerate(METHODS):
            for sparsity in (0.9, 0.98):
                for seed in range(SEEDS):
                    more = 0.0 if name == "short" else 1.5 - place + 0.05 * seed * (seed - 1)
                    runs.cell(method, sparsity, seed, 90 + seed + more, params={"recipe.epochs": epochs})
    return write_comparison(client, "short", "long", folder / "out").as_uri()


def texts(window, css: str) -> list[str]:
    return [text.strip() for text in window.locator(css).all_inner_texts()]


def test_a_point_tells_the_differences_by_seed(opened):
    window = opened()
    window.focus(".plot >> nth=0")
    window.keyboard.press("ArrowRight")
    lines = window.locator(".tip").first.inner_text().split("\n")
    assert lines[0].endswith("sparse")
    assert [line.split(":")[0] for line in lines[-SEEDS:]] == [f"seed {seed}" for seed in range(SEEDS)]


def test_differences_sort_by_size_and_rows_filter_by_words(opened):
    window = opened()
    table = window.locator("table").first
    table.locator("thead button", has_text="A − B").click()
    found = [float(text.split()[0]) for text in texts(window, "table >> nth=0 >> tbody tr > :nth-child(3)")]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0 > found[-1]
    window.locator("input").first.fill("synflow 98")
    assert texts(window, "table >> nth=0 >> tbody tr:visible > :nth-child(1)") == ["synflow"]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    window = opened(width)
    assert_nothing_is_wider(window, width)


def test_in_the_dark_the_ground_is_dark_and_the_figures_texts_are_light(opened):
    shade = """() => [getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector(".plot svg text")).fill].map((colour) => colour.match(/[\\d.]+/g)
        .map(Number).slice(0, 3).reduce((sum, part) => sum + part, 0) / 765)"""
    ground, text = opened(scheme="dark").evaluate(shade)
    assert ground < 0.15
    assert text > 0.6
