"""The API reference: it is made without a warning, and has each public name."""

import re
import runpy
import warnings
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

import autosparse

ROOT = Path(__file__).parents[2]
pytest.importorskip("pdoc", reason="pdoc is not installed: make setup, or pip install 'autosparse[docs]'")


class Ids(HTMLParser):
    """The ids of a page's elements, and the addresses that it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.ids.add(told.get("id"))
        if tag == "a" and "href" in told:
            self.links.add(told["href"])


class Names(HTMLParser):
    """The names of parameters, which are bold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names, self.bold = set(), False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.bold = tag == "strong"

    def handle_data(self, data):
        if self.bold:
            self.names.add(data)
        self.bold = False


@cache
def page_at(path: Path) -> Ids:
    return Ids(path.read_text())


@pytest.fixture(scope="module")
def made() -> dict:
    return runpy.run_path(str(ROOT / "scripts" / "api_docs.py"))


@pytest.fixture(scope="module")
def site(made, tmp_path_factory) -> Path:
    """The reference, in a folder as deep in another as ``site/`` in the repository."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of the packages that ours imports
        made["write_docs"](folder)
    return folder


def test_each_public_name_has_a_section_or_a_page(site):
    described = page_at(site / "autosparse.html").ids | {page.stem for page in (site / "autosparse").glob("*.html")}
    assert [name for name in autosparse.__all__ if name not in described] == []


def test_fields_and_roles_of_docstrings_are_rendered(site):
    for page in site.rglob("*.html"):
        left = re.findall(r":(?:param|raises|func|class|meth|mod|attr|data)[ :`][^<]{0,40}", _prose(page))
        assert left == [], page
    train = Names((site / "autosparse.html").read_text().partition('<section id="train">')[2]).names
    assert "stop" in train, "its text has a colon in its first line"


def test_links_lead_to_pages_and_sections_that_exist(site, made):
    for page in site.rglob("*.html"):
        for link in page_at(page.resolve()).links:
            path, _, section = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if re.match(r"[a-z]+:", link):
                continue
            if target.suffix == ".md":
                assert str(target.relative_to(site.parent)) in made["PAGES"].values()
                assert (ROOT / target.relative_to(site.parent)).is_file()
            else:
                assert target.is_file(), (page, link)
                assert not section or section in page_at(target.resolve()).ids, (page, link)


def _prose(page: Path) -> str:
    """The page's docstrings, without the sources that it also shows."""
    return re.sub(r'<div class="pdoc-code codehilite">.*?</div>', "", page.read_text(), flags=re.S)
