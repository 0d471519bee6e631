"""A folder as a newcomer has it after the first minutes: modules, data, and an experiment file that names them."""

import pytest
from newcomer import CHANGES, FILE, change, write_modules


@pytest.fixture(scope="session")
def begun(installed, tmp_path_factory):
    """The folder; nothing was run in it."""
    folder = tmp_path_factory.mktemp("newcomer")
    write_modules(folder)
    answer = installed(folder, "init", "mine")
    assert answer.returncode == 0, answer.stderr
    assert f"next, `autosparse run {FILE} --dry-run`" in answer.stdout
    change(folder / FILE, CHANGES)
    return folder
