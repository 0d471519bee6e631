"""New cells written to the database in one transaction: what MLflow's own client would have written, or nothing."""

import math
from types import SimpleNamespace

import pytest
from builders import DIRTY, a_cell, a_result
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels import models
from sqlalchemy import Column, String

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.tracking import log
from autosparse.tracking.client import connect
from autosparse.tracking.database import Database, _takes
from autosparse.tracking.log import NotAllWritten, Tracker
from autosparse.tracking.new_run import NewRun
from autosparse.tracking.search import WHOLE, all_runs

RESULT = a_result(
    history={"train_loss": [2.0, 1.0, 1.0], "test_accuracy": [85.0, 91.0, 90.0]},
    density_by_layer={"fc1.weight": 0.1},
    device="cpu",
    mask_sketch="0123abcd:AAAA",
)
POINTS = st.builds(
    Metric,
    st.sampled_from(["loss", "accuracy"]),
    st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1.0]),
    st.integers(0, 3),
    st.integers(-2, 3),
)


@pytest.fixture
def plan():
    return Plan("exp", cells=[Planned(a_cell(seed=seed), "snip") for seed in range(5)])


@pytest.fixture
def half_done(store, plan):
    """A storage with three finished cells, a failed one, and one that nobody has begun."""
    for planned in plan.cells[:3]:
        store.finish(planned.task, RESULT, DIRTY)
    store.fail(plan.cells[3].task, "it diverged", "Traceback: " + 2000 * "line ", DIRTY)
    return store


def of_tasks(client):
    runs = all_runs(client, client.get_experiment_by_name("exp").experiment_id)
    return {run.data.tags["task_id"]: run for run in runs if run.data.tags["kind"] != WHOLE}


def content(client, run, location):
    """All that MLflow holds of a run, but for its id and the time when it was written."""
    info = {name: value for name, value in dict(run.info).items() if name not in ("run_id", "run_uuid", "end_time")}
    assert info.pop("artifact_uri") == f"{location}/{run.info.run_id}/artifacts"
    tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
    points = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    told = {name: sorted((p.step, p.timestamp, p.value) for p in found) for name, found in points.items()}
    return info, tags, run.data.params, run.data.metrics, told


def test_cells_written_together_are_those_that_the_client_writes(tmp_path, client, half_done, plan, empty_store):
    (tmp_path / "other").mkdir()
    other = connect(empty_store(tmp_path / "other"))
    one_by_one = Tracker(other, "exp", half_done)
    assert [one_by_one.log(planned) for planned in plan.cells] == [True, True, True, True, False]
    assert Tracker(client, "exp", half_done).log_all(plan.cells) == 4
    found, expected = of_tasks(client), of_tasks(other)
    assert found.keys() == expected.keys()
    for task_id in expected:
        of = [(c, c.get_experiment_by_name("exp").artifact_location) for c in (client, other)]
        told = [content(c, runs[task_id], where) for (c, where), runs in zip(of, (found, expected), strict=True)]
        told[0][0]["experiment_id"] = told[1][0]["experiment_id"]
        assert told[0] == told[1]
    assert sorted(run.info.status for run in found.values()) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    assert all(run.info.end_time >= run.info.start_time for run in found.values())


def test_they_are_written_without_a_request_of_the_client_and_known_afterwards(client, half_done, plan, monkeypatch):
    tracker = Tracker(client, "exp", half_done)
    for name in ("create_run", "log_batch", "set_terminated", "search_runs"):
        monkeypatch.setattr(client, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
    assert tracker.log_all(plan.cells[:3]) == 3
    assert tracker.log_all(plan.cells[:3]) == 0
    monkeypatch.undo()
    assert Tracker(client, "exp", half_done).known == tracker.known


def test_a_cell_that_another_driver_has_written_meanwhile_keeps_its_run(client, half_done, plan):
    first, second = Tracker(client, "exp", half_done), Tracker(client, "exp", half_done)
    first.log_all(plan.cells[:2])
    before = {task_id: run.info.run_id for task_id, run in of_tasks(client).items()}
    assert second.log_all(plan.cells[:3]) == 1
    after = {task_id: run.info.run_id for task_id, run in of_tasks(client).items()}
    assert len(after) == 3
    assert before.items() <= after.items()


def test_a_failed_cell_that_succeeds_later_goes_on_in_its_run(client, half_done, plan):
    failed = plan.cells[3]
    tracker = Tracker(client, "exp", half_done)
    tracker.log_all([failed])
    before = of_tasks(client)[failed.task.id]
    half_done.finish(failed.task, RESULT, DIRTY)
    tracker.log_all([failed])
    after = of_tasks(client)[failed.task.id]
    assert (before.info.status, after.info.status) == ("FAILED", "FINISHED")
    assert after.info.run_id == before.info.run_id
    assert "error" not in after.data.tags


def test_a_cell_whose_run_was_deleted_gets_a_new_one(client, half_done, plan):
    tracker = Tracker(client, "exp", half_done)
    tracker.log_all(plan.cells[:1])
    client.delete_run(of_tasks(client)[plan.cells[0].task.id].info.run_id)
    assert Tracker(client, "exp", half_done).log_all(plan.cells[:1]) == 1
    assert len(of_tasks(client)) == 1


def test_one_cell_that_mlflow_refuses_holds_up_no_other(client, half_done, plan, monkeypatch):
    bad = plan.cells[1].task.id
    make = log.new_run
    monkeypatch.setattr(
        log,
        "new_run",
        lambda planned, *more: make(planned, *more)._replace(
            params={"x" * 300: "1"} if planned.task.id == bad else {"x": "1"}
        ),
    )
    with pytest.raises(NotAllWritten) as raised:
        Tracker(client, "exp", half_done).log_all(plan.cells[:3])
    assert [planned.task.id for planned in raised.value.left] == [bad]
    finished = {task_id for task_id, run in of_tasks(client).items() if run.info.status == "FINISHED"}
    assert finished == {plan.cells[0].task.id, plan.cells[2].task.id}


def test_of_a_batch_that_cannot_be_written_nothing_is(client):
    experiment, database = client.create_experiment("exp"), Database.of(client)
    good = NewRun("a", 0, "FINISHED", {"task_id": "a"}, {}, [])
    with pytest.raises(MlflowException):
        database.add(experiment, [good, good._replace(status="UNHEARD-OF")])
    assert not list(all_runs(client, experiment))


def test_a_deleted_experiment_takes_no_runs(client):
    experiment = client.create_experiment("exp")
    client.delete_experiment(experiment)
    with pytest.raises(MlflowException, match="active"):
        Database.of(client).add(experiment, [NewRun("a", 0, "FINISHED", {}, {}, [])])


@settings(max_examples=20)
@given(points=st.lists(POINTS, max_size=8))
def test_any_metrics_and_long_values_are_kept_as_the_client_keeps_them(shared_client, points):
    experiment = shared_client.create_experiment(f"exp {id(points)} {len(shared_client.search_experiments())}")
    long = {"tag": "t" * 9000, "param": "p" * 9000}
    theirs = shared_client.create_run(experiment, 7, {"tag": "short"}, "name").info.run_id
    shared_client.log_batch(theirs, points, [Param("param", long["param"])], [RunTag("tag", long["tag"])])
    shared_client.set_terminated(theirs)
    new = NewRun("name", 7, "FINISHED", {"tag": long["tag"]}, {"param": long["param"]}, points)
    (ours,) = Database.of(shared_client).add(experiment, [new])
    found = [shared_client.get_run(run_id).data for run_id in (ours, theirs)]
    assert found[0].tags == found[1].tags
    assert found[0].params == found[1].params
    assert repr(sorted(found[0].metrics.items())) == repr(sorted(found[1].metrics.items()))
    for name in found[1].metrics:
        history = [shared_client.get_metric_history(run_id, name) for run_id in (ours, theirs)]
        told = [sorted(repr((p.step, p.timestamp, p.value)) for p in each) for each in history]
        assert told[0] == told[1]


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory):
    return connect(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'mlflow.db'}")


def test_a_server_is_left_to_the_client():
    assert Database.of(MlflowClient("http://127.0.0.1:9")) is None


def test_tables_that_want_more_than_is_written_are_left_to_the_client(client):
    assert Database.of(client) is not None  # if this fails, MLflow has changed its tables: see Database._rows
    row = {column.name: "" for column in models.SqlTag.__table__.columns}
    assert _takes(models.SqlTag, row)
    assert not _takes(models.SqlTag, {**row, "unknown": ""})
    columns = dict(models.SqlTag.__table__.columns) | {"owner": Column("owner", String(10), nullable=False)}
    changed = SimpleNamespace(__table__=SimpleNamespace(columns=_Columns(columns)))
    assert not _takes(changed, row)


class _Columns(dict):
    """Columns of a table that iterate as SQLAlchemy's do."""

    def __iter__(self):
        return iter(self.values())
