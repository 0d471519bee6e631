"""A headless Chromium, and a page with every kind of figure and table for it to open."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_runs import FakeRuns
from whole_page import SERVER, fill

from autosparse.report import page
from autosparse.tracking.client import connect

INSTALLED = Path(__file__).parents[3] / ".browser"
SAFE = ("--no-sandbox", "--disable-gpu", "--no-zygote")
"""What Chromium needs as root in a container; it opens nothing but our page."""


def _chromium() -> str:
    """The browser of AUTOSPARSE_BROWSER, else that of `make test-browser`, else one on the path; empty if none."""
    installed = INSTALLED / "chromium"
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return os.environ.get("AUTOSPARSE_BROWSER") or (
        str(installed) if installed.exists() else next(filter(None, found), "")
    )


@pytest.fixture(scope="session")
def chromium():
    """The running browser."""
    sys.path.append(str(INSTALLED / "python"))
    driver = pytest.importorskip("playwright.sync_api", reason="no Playwright here: make test-browser installs it")
    if not _chromium():
        pytest.skip("no Chromium here: make test-browser installs one, or name yours in AUTOSPARSE_BROWSER")
    with driver.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=_chromium(), args=SAFE)
        yield running
        running.close()


@pytest.fixture(scope="session")
def address(chromium, tmp_path_factory: pytest.TempPathFactory, empty_store: Callable[[Path], str]) -> Iterator[str]:
    """The address of the page, which links its runs as if they were on a server."""
    folder = tmp_path_factory.mktemp("page")
    client = connect(empty_store(folder))
    (folder / "scratch").mkdir()
    fill(FakeRuns(client, "exp", folder / "scratch"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "run_pages", lambda client, experiment: SERVER)
        yield page.write_report(client, "exp", folder / "out").as_uri()


@pytest.fixture
def opened(chromium, address: str):
    """Opens the page in a window of the given width and colour scheme; fails if the console has an error."""
    windows, errors = [], []

    def open_page(width: int = 1280, scheme: str = "light"):
        window = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        windows.append(window)
        window.on("pageerror", lambda error: errors.append(str(error)))
        window.on("console", lambda message: errors.append(message.text))
        window.on("request", lambda sent: errors.append(sent.url) if sent.url.startswith("http") else None)
        window.goto(address)
        return window

    yield open_page
    for window in windows:
        window.close()
    assert errors == []
