"""`autosparse run FILE --only report`: the page of a file's experiment."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autosparse.cli import app


@pytest.fixture
def call(monkeypatch):
    monkeypatch.setattr("autosparse.tracking.client.connect", lambda uri, must_exist: None)
    monkeypatch.setattr("autosparse.report.page.write_report", lambda client, name, folder: folder / "index.html")
    return lambda *more: CliRunner().invoke(app, ["run", "demo", "--only", "report", *more], catch_exceptions=False)


def test_the_page_is_told_in_words_and_in_json(call):
    page = str(Path("report") / "demo" / "index.html")
    assert call().stdout == f"{page}\n"
    assert json.loads(call("--json").stdout) == {"experiment": "demo", "page": page}
