"""Every `autosparse` command of the documentation is run: as it is if it only asks, as a dry run if it does work."""

import re
import shlex

import pytest
from fake_runs import FakeRuns
from pages import PAGES, ROOT
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.tracking.trials import log_trials

PLACEHOLDERS = {"FILE": "experiments/lenet-mnist.yaml"}


def documented():
    """``page:line`` and command, of lines of code blocks and of those that are handed to a cluster."""
    for page in PAGES:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            found = re.match(r"^ {4}(?:|.*'|.* -- |.* exec head )(autosparse [a-z].*)", line)
            if found:
                command = re.sub(r"\s{2,}#.*|'$", "", found[1]).strip()
                yield f"{page.relative_to(ROOT)}:{number}", command


COMMANDS = sorted({command: place for place, command in documented()}.items())


def arguments_of(command):
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)[1:]]
    where = next((i for i, word in enumerate(words) if word.startswith("/opt/autosparse/")), None)
    if where is not None:
        words[where] = words[where].removeprefix("/opt/autosparse/")
    if words[0] in ("run", "sweep") and "--dry-run" not in words:
        words.append("--dry-run")
    return words


def option(words, name):
    return words[words.index(name) + 1] if name in words else None


@pytest.fixture
def asked(runs, client, tmp_path, monkeypatch):
    """A store that holds what a documented question is about."""

    def prepare(words):
        name = option(words, "--experiment") or words[1]
        own = FakeRuns(client, name, tmp_path / "scratch")
        sparsity = float(option(words, "--sparsity") or 0.9)
        for seed in (0, 1, 2):
            for method in ("snip", "autos"):
                own.cell(method, sparsity, seed, 90.0 + seed + (method == "autos"))
        if sweep := option(words, "--sweep"):
            tags = {"label": sweep, "metric": "held_out_r2", "searched": "lr"}
            parent = own.run("sweep", f"sweep {sweep}", tags, {}, {"value": 0.5})
            task_id = client.get_run(parent).data.tags["task_id"]
            history = [{"epoch": 1, "loss": 0.1, "held_out_r2": 0.5}]
            row = {"id": "a" * 16, "fit": {"lr": 0.01}, "status": "done", "value": 0.5, "epochs": 1, "error": ""}
            result = {"trials": [{**row, "values": {"lr": 0.01}, "history": history}]}
            log_trials(client, own.experiment_id, parent, task_id, {"result": result, "ended_ms": 0}, {})

    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    return prepare


def test_there_are_commands_to_run():
    assert len(COMMANDS) > 20
    assert {command.split()[1] for command, _ in COMMANDS} >= {"run", "sweep", "best", "report"}


@pytest.mark.parametrize(("command", "place"), COMMANDS, ids=[place for _, place in COMMANDS])
def test_a_documented_command_does_what_it_says(command, place, asked, tmp_path, monkeypatch):
    words = arguments_of(command)
    if words[0] not in ("run", "sweep"):
        asked(words)
    monkeypatch.chdir(tmp_path)
    for folder in ("experiments", "cluster"):
        if (ROOT / folder).is_dir():
            (tmp_path / folder).symlink_to(ROOT / folder)
    answer = CliRunner().invoke(app, words)
    absent = words[0] in ("run", "sweep") and "absent data: " in answer.output  # such as CIFAR-10
    assert answer.exit_code == int(absent), f"{place}: {command}\n{answer.output}\n{answer.exception!r}"
    if words[0] in ("run", "sweep"):
        assert "GPU-hours" in answer.output
        assert not (tmp_path / "results").exists(), "a dry run writes nothing"
    if words[0] == "report":
        assert (tmp_path / "report" / "index.html").is_file()
