"""Names from a YAML file, a command line, a store or a network never lead out of the output folder."""

import pytest
from builders import a_cell, a_grid
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.errors import AutosparseError
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.planned import Planned
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import ScorerTask
from autosparse.files import pack_record
from autosparse.runner.work.do import take_winner
from autosparse.tracking.client import connect
from autosparse.tracking.log import Tracker

EVIL = ["../evil", "..", "/tmp/evil", "a/b", "a\\b", "evil\n", "", ".evil", "a\x00b", "~/evil", "C:evil", "x" * 101]
GRID = a_grid()
IRP = {"model": "lenet-300-100", "dataset": "digits"}
CELL = a_cell()


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize(
    "content",
    [
        lambda evil: {"name": evil, "grid": [GRID]},
        lambda evil: {"name": "x", "grid": [{**GRID, "models": [evil]}]},
        lambda evil: {"name": "x", "grid": [{**GRID, "datasets": [evil]}]},
        lambda evil: {"name": "x", "grid": [{**GRID, "methods": [evil]}]},
        lambda evil: {"name": "x", "grid": [{**GRID, "methods": [{"criterion": "snip", "name": evil}]}]},
        lambda evil: {"name": "x", "irp": {evil: IRP}},
        lambda evil: {"name": "x", "irp": {"i": IRP}, "scorers": {evil: {"irp": "i"}}},
        lambda evil: {"name": "x", "irp": {"i": IRP}, "sweeps": {evil: {"irp": "i", "points": [{"lr": 0.1}]}}},
    ],
    ids=["experiment", "model", "dataset", "criterion", "method", "irp", "scorer", "sweep"],
)
def test_a_name_in_an_experiment_file(content, evil):
    with pytest.raises(AutosparseError):
        parse_experiment(content(evil), "evil.yaml")


def test_a_name_on_the_command_line(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    connect().create_experiment("good")
    before = sorted(tmp_path.rglob("*"))
    for arguments in (
        ["report", "../../evil"],
        ["watch", "../evil", "--once"],
        ["fit", ".", "--out", "out", "--experiment", "../evil"],
        ["irp", "--out", "out", "--experiment", "../evil"],
        ["irp", "--out", "out", "--model", "../evil"],
    ):
        answer = CliRunner().invoke(app, arguments)
        assert isinstance(answer.exception, AutosparseError), (arguments, answer.output)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("evil", ["../../evil", "..", "/evil", "a/b", ""])
def test_an_id_from_a_record(tmp_path, evil):
    store = Store(tmp_path / "results")
    for look in (store.fetched, store.files_path, store.record_of):
        with pytest.raises(AutosparseError, match="not the id of a task"):
            look("scorer", evil)
    sweep = SweepTask(irp=("0123456789abcdef",), points=({"lr": 0.1},))
    task = ScorerTask(sweep=sweep.id)
    told = {"kind": "sweep", "id": task.sweep, "spec": sweep.spec, "ended_ms": 1, "files": {}, "environment": {}}
    record = pack_record({**told, "result": {"best": {"id": evil}}})
    store.place.write(f"sweeps/{task.sweep}.json", record)
    with pytest.raises(AutosparseError, match="not the id of a task"):
        take_winner(task, store, lambda _: {})


@pytest.mark.parametrize("layer", ["../../evil", "..", ".", "/etc/evil", "a//b", "a\nb", "", "<script>", "%2e%2e/evil"])
def test_a_layers_name_becomes_a_metric_and_no_path(tmp_path, empty_store, layer):
    store = Store(tmp_path / "results")
    result = {
        "test_accuracy": 1.0, "best_accuracy": 1.0, "history": {"test_accuracy": [1.0]}, "sparsity": 0.9, "kept": 1,
        "total": 10, "density_by_layer": {layer: 0.5}, "collapsed_layers": [layer], "seconds": 1.0,
        "seconds_score": 0.5, "seconds_train": 0.5,
    }  # fmt: skip
    store.finish(CELL, result, {"git_commit": "", "host": "", "versions": {}})
    client = connect(empty_store(tmp_path))
    tracker = Tracker(client, "names", store)
    assert tracker.log(Planned(CELL, "snip"))
    [run] = client.search_runs([tracker.experiment_id], "tags.kind = 'cell'")
    assert [value for name, value in run.data.metrics.items() if name.startswith("density/")] == [0.5]
    tracker.parent.describe({"tasks": {}, "description": layer}, "FINISHED")
    assert {path.name for path in tmp_path.iterdir()} == {"results", "mlflow.db", "mlartifacts"}
    assert not list(tmp_path.rglob("*evil*"))
