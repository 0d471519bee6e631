"""The report's page in headless Chromium: it answers, sorts, filters, and fits a phone, light and dark."""

import re

import pytest
from whole_page import METHODS, SERVER, accuracy_of
from window import assert_nothing_is_wider

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ACCURACY = ".plot >> nth=0"


def place_of(window, title: str) -> dict[str, float]:
    """Where the accuracy figure has the point of this title, in pixels from its upper left corner."""
    find = """([box, title]) => {
        const told = JSON.parse(box.querySelector("script").textContent);
        const [x, y] = told.points.find((point) => told.texts[point[2][0]] === title);
        const area = box.querySelector(".canvas").getBoundingClientRect();
        return { x: x * area.width, y: y * area.height };
    }"""
    return window.evaluate(find, [window.query_selector(ACCURACY), title])


def column(table, place: int) -> list[str]:
    """The first words of a column's cells, or its numbers."""
    texts = table.locator(f"tbody tr:visible > :nth-child({place})").all_inner_texts()
    return [re.search(r"[\w.–]+", text)[0] for text in texts]


def test_hovering_over_a_point_shows_its_values_and_a_click_keeps_its_links(opened):
    window = opened()
    tip = window.locator(".tip").first
    assert not tip.is_visible()
    place = place_of(window, "grasp, 98% sparse")
    window.hover(ACCURACY, position={"x": place["x"] + 3, "y": place["y"] + 2})
    seeds = [accuracy_of("grasp", 0.98, seed) for seed in (0, 1)]
    expected = ["grasp, 98% sparse", f"{sum(seeds) / 2:.2f} ± {0.4 / 2**0.5:.2f} % (2 seeds)"]
    expected += [f"seed {seed}: {value:.2f} %" for seed, value in enumerate(seeds)]
    assert tip.inner_text().split("\n") == expected
    window.mouse.move(2, 2)
    assert not tip.is_visible()
    window.click(ACCURACY, position=place)
    window.mouse.move(2, 2)
    assert re.fullmatch(re.escape(SERVER) + "[0-9a-f]{32}", tip.locator("a").first.get_attribute("href"))
    window.keyboard.press("Escape")
    window.mouse.click(2, 2)
    assert not tip.is_visible()


def test_the_marker_that_is_drawn_lies_under_the_point_that_answers(opened):
    window = opened()
    place = place_of(window, "autos, 90% sparse")
    window.hover(ACCURACY, position=place)
    distance = """([box, ring]) => {
        const middle = (e) => { const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; };
        const [x, y] = middle(ring);
        return Math.min(...[...box.querySelectorAll("svg use")].map((mark) => {
            const [a, b] = middle(mark);
            return Math.hypot(a - x, b - y);
        }));
    }"""
    assert window.evaluate(distance, [window.query_selector(ACCURACY), window.query_selector(".ring")]) < 1.5


def test_arrow_keys_go_through_the_points(opened):
    window = opened()
    window.focus(ACCURACY)
    window.keyboard.press("ArrowRight")
    assert window.locator(".tip").first.inner_text().startswith("dense")
    window.keyboard.press("ArrowLeft")
    assert "sparse" in window.locator(".tip").first.inner_text()


def test_every_figure_answers(opened):
    window = opened()
    plots, with_tips = (window.locator(css).count() for css in (".plot", ".plot:has(script)"))
    assert plots == with_tips >= 7


def test_a_click_on_a_title_sorts_and_the_third_click_restores(opened):
    table = opened().locator("table").first
    before = column(table, 1)
    title = table.locator("thead button", has_text="90%")
    values = [f"{(accuracy_of(method, 0.9, 0) + accuracy_of(method, 0.9, 1)) / 2:.2f}" for method in METHODS]
    for order, expected in (("descending", values), ("ascending", values[::-1])):
        title.click()
        assert column(table, 3) == [*expected, "–"]
        assert table.locator(f'th[aria-sort="{order}"]').count() == 1
    title.click()
    assert column(table, 1) == before


def test_costs_are_sorted_by_what_they_mean_and_not_by_their_letters(opened):
    window = opened()
    window.locator("summary", has_text="points").click()
    table = window.locator("table", has=window.locator("th", has_text="FLOPs")).last
    table.locator("thead button", has_text="images").click()
    images = [int(text) for text in column(table, 5)]
    assert images == sorted(images, reverse=True)
    assert images[0] > images[-1]


def test_words_filter_rows(opened):
    window = opened()
    window.locator("input").first.fill("s n")
    table = window.locator("table").first
    shown = column(table, 1)
    assert shown == [name for name in ("dense", *METHODS) if "s" in name and "n" in name]
    assert window.locator("output").first.inner_text() == f"{len(shown)} of 8 rows"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    window = opened(width)
    assert_nothing_is_wider(window, width)
    window.click(ACCURACY, position={"x": 0.9 * min(width, 1000) - 20, "y": 150})
    assert window.evaluate("document.documentElement.scrollWidth") == width


def test_figures_stay_readable_on_a_phone(opened):
    window = opened(390)
    size = window.evaluate("""() => Math.min(...[...document.querySelectorAll(".plot svg")].map(
        (svg) => parseFloat(getComputedStyle(svg.querySelector("text")).fontSize) * svg.getBoundingClientRect().width
            / svg.viewBox.baseVal.width))""")
    assert size > 6


def test_in_the_dark_texts_and_lines_of_figures_are_light(opened):
    luminance = """() => {
        const style = (found) => getComputedStyle(found);
        const svg = document.querySelector(".plot svg");
        const colours = [style(document.body).backgroundColor, style(svg.querySelector("text")).fill,
            style(svg.querySelector("[id$=patch_1] path")).fill];
        return colours.map((colour) => {
            const [red, green, blue] = colour.match(/[\\d.]+/g).map(Number);
            return (2 * red + 7 * green + blue) / 2550;
        });
    }"""
    page, text, ground = opened(scheme="dark").evaluate(luminance)
    assert page == pytest.approx(ground)
    assert page < 0.15
    assert text > 0.6
    page, text, ground = opened(scheme="light").evaluate(luminance)
    assert (page, ground) == (1, 1)
    assert text < 0.3
