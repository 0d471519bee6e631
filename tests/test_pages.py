"""Links between the pages lead somewhere, and their blocks of YAML are what an experiment file may hold."""

import re

import pytest
from jsonschema import Draft202012Validator
from pages import PAGES, ROOT, blocks, named

from autosparse.experiment.json_schema import json_schema
from autosparse.experiment.strict_yaml import parse_yaml

SCHEMA = Draft202012Validator(json_schema())
YAML = [(page, name, text) for page in PAGES for name, text in blocks(page, "yaml").items()]


def prose(page):
    """The page without its code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", " ", code[0]), re.sub(r"(?m)^ {4}.*$", "", text))


def anchors(page):
    """The anchors that GitHub gives to a page's headings."""
    text, found = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M), []
    for heading in re.findall(r"(?m)^#+ (.+?)\s*$", text):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.append(anchor if anchor not in found else f"{anchor}-{found.count(anchor)}")
    return found


def broken(page):
    """The links of a page that lead nowhere in the repository; those to other sites are not looked at."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT):
            yield f"{target}: no such file"
        elif anchor and (file.suffix != ".md" or anchor not in anchors(file)):
            yield f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings_that_exist(page):
    assert not list(broken(page))


def test_a_link_that_leads_nowhere_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(broken.__globals__, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# It's a `key`, twice\n# It's a key, twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[1](other.md#its-a-key-twice) [2](other.md#its-a-key-twice-1) [3](no.md) [4](other.md#no) `[5](no)`\n"
        "[6](https://example.org/no) [7](#no)\n\n    [8](no)\n"
    )
    assert list(broken(page)) == ["no.md: no such file", "other.md#no: no such heading", "#no: no such heading"]


def test_there_are_blocks_of_yaml():
    assert len(YAML) >= 3


@pytest.mark.parametrize(("page", "name", "text"), YAML, ids=[f"{named(page)}-{name}" for page, name, _ in YAML])
def test_a_block_of_yaml_is_a_part_of_an_experiment_file(page, name, text):
    content = {"name": "part", **parse_yaml(text, name)}
    assert not [error.message for error in SCHEMA.iter_errors(content)]
