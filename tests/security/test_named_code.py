"""An experiment file names code: a run imports it, and whoever only looks at the file does not."""

import json
import sys

import pytest
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.errors import AutosparseError
from autosparse.experiment.load import load_experiment
from autosparse.plugins import withholding

EVIL = """
from pathlib import Path
Path({trace!r}).touch()
"""
EXPERIMENT = """
name: theirs
plugins: [evil_plugin]
irp:
  run: {{model: lenet-300-100, dataset: digits, iterations: 1}}
sweeps:
  search: {{irp: run, points: [{{lr: 0.01}}]}}
grid:
  models: [{model}, evil_models:factory]
  datasets: [digits, {dataset}]
  methods: [snip, {{criterion: {criterion}, options: {{sharpness: 3}}}}]
  sparsities: [0.5]
  seeds: [0]
"""
NAMES = {"model": "their-model", "dataset": "their-data:argument", "criterion": "their-criterion"}


@pytest.fixture
def trace(tmp_path, monkeypatch):
    """The file that is there once the code that the experiment names has been imported."""
    for name in ("evil_plugin", "evil_models"):
        (tmp_path / f"{name}.py").write_text(EVIL.format(trace=str(tmp_path / "trace")))
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "theirs.yaml").write_text(EXPERIMENT.format(**NAMES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "trace"
    for name in ("evil_plugin", "evil_models"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "experiments/theirs.yaml", "--dry-run"],
        ["run", "experiments/theirs.yaml", "--dry-run", "--json"],
        ["sweep", "experiments/theirs.yaml", "--dry-run"],
        ["list", "experiments"],
    ],
    ids=lambda command: " ".join(command),
)
def test_to_look_at_a_file_imports_nothing_that_it_names(trace, command):
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0, answer.output
    assert "theirs" in answer.stdout
    assert "refused" not in answer.stdout
    assert not trace.exists()
    assert not {"evil_plugin", "evil_models"} & sys.modules.keys()


@pytest.mark.parametrize("name", ["evil_plugin", "evil_models"])
def test_a_run_imports_it(trace, name):
    text = (trace.parent / "experiments" / "theirs.yaml").read_text()
    other = {"evil_plugin": "evil_models:factory", "evil_models": "plugins: [evil_plugin]"}[name]
    (trace.parent / "theirs.yaml").write_text(text.replace(other, "lenet-5" if ":factory" in other else "plugins: []"))
    with pytest.raises(AutosparseError):  # it registers nothing
        load_experiment(trace.parent / "theirs.yaml")
    assert trace.exists()


def test_a_dry_run_tells_what_it_did_not_import_and_what_it_took_on_trust(trace):
    answer = CliRunner().invoke(app, ["run", "experiments/theirs.yaml", "--dry-run"])
    assert "not imported: evil_models:factory, evil_plugin; a run would import and execute this code" in answer.stderr
    assert "taken on trust: criterion their-criterion, dataset their-data, model their-model" in answer.stderr
    assert "unknown: data or code not at hand" in answer.stdout
    told = json.loads(CliRunner().invoke(app, ["run", "experiments/theirs.yaml", "--dry-run", "--json"]).stdout)
    assert told["not_imported"] == ["evil_models:factory", "evil_plugin"]
    assert (told["cells"]["total"], told["gpu_hours"]["cells"]) == (8, None)


def test_a_dry_run_says_nothing_of_code_where_none_is_named(trace):
    mine = trace.parent / "mine.yaml"
    mine.write_text("name: mine\nirp: {run: {model: lenet-300-100, dataset: digits, iterations: 1}}\n")
    answer = CliRunner().invoke(app, ["run", str(mine), "--dry-run"])
    assert answer.exit_code == 0
    assert "not imported" not in answer.output


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"model": "../evil"}, "unknown model '../evil'"),
        ({"model": "'evil models:factory'"}, "not of the form package.module:factory"),
        ({"model": "'os:system(1)'"}, "write its arguments as in resnet20(width=32)"),
        ({"model": "'os:system(a=open(1))'"}, "write its arguments as in resnet20(width=32)"),
        ({"model": "'evil models:factory(a=1)'"}, "not of the form package.module:factory"),
        ({"dataset": "../evil"}, "unknown dataset '../evil'"),
        ({"criterion": "a/b"}, "unknown criterion 'a/b'"),
        ({"criterion": "grasp"}, "unknown option of 'grasp': 'sharpness'"),
    ],
    ids=str,
)
def test_names_of_code_that_is_not_imported_are_checked_for_their_form(trace, change, refusal):
    path = trace.parent / "changed.yaml"
    path.write_text(EXPERIMENT.format(**{**NAMES, **change}))
    with withholding(), pytest.raises(AutosparseError, match=refusal.replace("(", r"\(").replace(")", r"\)")):
        load_experiment(path)


@pytest.mark.parametrize("plugin", ["../evil", "a..b", "a-b", "1a", "a.", "a b"])
def test_a_plugin_is_named_as_a_module(trace, plugin):
    path = trace.parent / "changed.yaml"
    path.write_text(EXPERIMENT.format(**NAMES).replace("[evil_plugin]", f"[{plugin!r}]"))
    with withholding(), pytest.raises(AutosparseError, match=r"plugins\[0\]: string should match"):
        load_experiment(path)


@pytest.mark.parametrize("wrong", [{"model": "lenet-301"}, {"dataset": "digit"}, {"criterion": "snup"}], ids=str)
def test_without_plugins_a_name_that_is_not_known_is_refused_as_ever(trace, wrong):
    known = {"model": "lenet-5", "dataset": "digits", "criterion": "snip"}
    path = trace.parent / "changed.yaml"
    text = EXPERIMENT.format(**{**known, **wrong})
    path.write_text(text.replace("plugins: [evil_plugin]", "").replace("[digits, ", "["))
    with withholding(), pytest.raises(AutosparseError, match=r"unknown .*did you mean"):
        load_experiment(path)


def test_help_says_that_a_file_may_name_code(trace):
    for command in ("run", "sweep"):
        told = " ".join(CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400"}).output.split())
        assert "trust it as you would a script" in told
        assert "start, write and import nothing" in told
