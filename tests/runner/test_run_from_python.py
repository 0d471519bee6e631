"""An experiment run from Python: the same as from the command line, with a summary, and its cells as a DataFrame."""

import subprocess
import sys

import pytest

import autosparse as asp
from autosparse.errors import AutosparseError, UnknownName
from autosparse.runner import experiment as module
from autosparse.runner.driver.outcome import Outcome
from autosparse.runner.settings import Settings

EXPERIMENT = """
name: python
presets: {small: {}, smoke: {set: {grid.*.seeds: [0]}}}
grid:
  models: [lenet-300-100]
  datasets: [digits]
  methods: [magnitude]
  sparsities: [0.9, 0.95]
  seeds: [0, 1]
  recipe: {epochs: 1}
"""


@pytest.fixture
def here_with_file(here, monkeypatch, empty_store):
    (here / "mine.yaml").write_text(EXPERIMENT)
    empty_store(here)
    monkeypatch.delenv("AUTOSPARSE_DATA", raising=False)
    return here


@pytest.fixture
def asked(monkeypatch):
    """Nothing runs; what is asked of the runner is kept."""
    calls = []

    def run_plan(plan, settings, screen, only, store):
        calls.append((plan, settings, only))
        return Outcome(0, 0, [], [(plan.cells[0], "it waits")])

    monkeypatch.setattr(module, "run_plan", run_plan)
    return calls


@pytest.mark.usefixtures("ray_running")
def test_a_run_gives_a_summary_and_its_cells_and_the_same_call_finds_them_finished(here_with_file, capsys):
    first = asp.run("mine.yaml", "smoke", {"grid.*.sparsities": [0.9]}, workers=2, quiet=True)
    assert (first.name, first.done, first.found, first.whole) == ("python-smoke", 1, 0, True)
    assert repr(first) == "RunSummary('python-smoke': 1 done, 0 found finished, 0 failed)"
    table = asp.results("python-smoke")
    assert table[["method", "sparsity", "seed"]].values.tolist() == [["magnitude", 0.9, 0]]
    assert table.equals(first.results())
    assert capsys.readouterr().err == ""
    loaded = asp.load_experiment("mine.yaml", "smoke", ["grid.*.sparsities=[0.9]"])
    again = asp.run(loaded)
    assert (again.done, again.found) == (0, 1)
    assert "python-smoke: 0 done, 1 found finished, 0 failed" in capsys.readouterr().err


def test_python_and_the_command_line_ask_the_runner_for_the_same(here_with_file, asked):
    from typer.testing import CliRunner

    from autosparse.cli import app

    asp.run(
        "mine.yaml", "smoke", {"grid.*.seeds": [3, 4]}, only="grid", storage="s", workers=2, retries=0, compact="on"
    )
    line = "run mine.yaml --preset smoke --set grid.*.seeds=[3,4] --only grid --storage s --workers 2 --retries 0"
    assert CliRunner().invoke(app, [*line.split(), "--compact", "on"]).exit_code == 1
    (plan, settings, only), (typed, typed_settings, typed_only) = asked
    assert (settings, only) == (typed_settings, typed_only)
    assert [p.task.id for p in plan] == [p.task.id for p in typed]
    assert plan.about == typed.about


def test_what_is_not_done_is_in_the_summary_with_its_reason(here_with_file, asked):
    summary = asp.run("mine.yaml", quiet=True)
    assert not summary.whole
    assert [(left["label"], left["reason"]) for left in summary.to_do] == [("magnitude", "it waits")]
    assert repr(summary).endswith("0 failed, 1 still to do)")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"experiment": 3}, "an experiment is a path, a name, or what load_experiment returned, not a int"),
        ({"experiment": "mine.yaml", "only": "gird"}, "did you mean 'grid'"),
        ({"experiment": "mine.yaml", "workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"experiment": "mine.yaml", "workers": 1.5}, "workers must be a whole number of at least 1, got 1.5"),
        ({"experiment": "mine.yaml", "retries": 0.5}, "retries must be a whole number of at least 0, got 0.5"),
        ({"experiment": "mine.yaml", "gpus_per_job": "1"}, "gpus_per_job must be a number of at least 0, got '1'"),
        ({"experiment": "mine.yaml", "precision": "half"}, "unknown precision 'half'"),
        ({"experiment": "mine.yaml", "set": {"grid.*.seeds": {1}}}, "set: Object of type set is not JSON"),
        ({"experiment": "absent"}, "no experiment file absent"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ",".join(value),
)
def test_a_wrong_argument_is_one_clear_line(here_with_file, asked, given, error):
    with pytest.raises(AutosparseError, match=error) as raised:
        asp.run(**given)
    assert len(str(raised.value).splitlines()) == 1
    assert not asked


def test_a_loaded_experiment_takes_no_second_preset(here_with_file, asked):
    with pytest.raises(AutosparseError, match=r"mine.yaml is loaded already: give preset and set to load_experiment"):
        asp.run(asp.load_experiment("mine.yaml"), preset="smoke")


def test_the_environment_says_where_work_goes_unless_the_call_does(here_with_file, asked, monkeypatch):
    monkeypatch.setenv("AUTOSPARSE_STORAGE", "elsewhere")
    asp.run("mine.yaml", quiet=True)
    asp.run("mine.yaml", storage="here", quiet=True)
    assert [settings.storage for _, settings, _ in asked] == ["elsewhere", "here"]
    assert Settings().storage == "results"


def test_results_of_no_store_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AutosparseError, match="no MLflow store at"):
        asp.results("python")
    with pytest.raises(UnknownName):
        asp.run("demo", only="gird")


def test_the_package_is_imported_without_what_only_runs_need():
    probe = (
        "import sys, autosparse as asp; asp.results\n"
        "assert not {'ray', 'mlflow', 'pydantic', 'typer', 'torch'} & set(sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert answer.stderr == ""
    assert answer.returncode == 0
