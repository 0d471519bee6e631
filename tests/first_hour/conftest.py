"""A folder as a newcomer has it after the first minutes: modules, data, and an experiment file that names them."""

import json
from pathlib import Path
from subprocess import CompletedProcess

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


@pytest.fixture(scope="session")
def in_forks(installed, tmp_path_factory):
    """Calls ``autosparse`` once for each ``(folder, arguments)``, in forks of one process, which imports torch once."""
    script = Path(__file__).with_name("forked.py").read_text()

    def call(*calls):
        given = json.dumps([[str(folder), arguments] for folder, arguments in calls])
        answer = installed(tmp_path_factory.mktemp("forks"), python=script, given=given)
        assert answer.returncode == 0, answer.stderr
        told = zip(calls, json.loads(answer.stdout), strict=True)
        return [CompletedProcess(arguments, *ended) for (_, arguments), ended in told]

    return call
