"""Checks of a window of the browser that hold for every page."""

WIDE = """() => [...document.querySelectorAll("body *")]
    .filter((one) => !one.closest(".scroll, .plot") && one.getBoundingClientRect().right > innerWidth)
    .map((one) => one.outerHTML)"""


def assert_nothing_is_wider(window, width):
    """Open all that is folded; then nothing may be wider than the window, except what scrolls by itself."""
    for closed in window.query_selector_all("details:not([open]) > summary"):
        closed.click()
    assert window.evaluate("document.documentElement.scrollWidth") == width
    assert window.evaluate(WIDE) == []
