"""``--version`` tells the package's version, and its git commit if that is known; a shell completes commands."""

import pytest
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.version import __version__


@pytest.mark.parametrize(
    ("commit", "told"),
    [("abc123+dirty", f"autosparse {__version__} (git abc123+dirty)"), ("unknown", f"autosparse {__version__}")],
)
def test_version_and_commit_are_told_in_one_line(monkeypatch, commit, told):
    monkeypatch.setattr("autosparse.experiment.commit.git_commit", lambda: commit)
    answer = CliRunner().invoke(app, ["--version"])
    assert (answer.exit_code, answer.stdout.strip()) == (0, told)


def test_a_shell_completes_commands():
    asked = {"_AUTOSPARSE_COMPLETE": "complete_bash", "COMP_WORDS": "autosparse li", "COMP_CWORD": "1"}
    assert CliRunner().invoke(app, [], prog_name="autosparse", env=asked).stdout.split() == ["list"]
