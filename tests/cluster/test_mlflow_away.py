"""A real MLflow server that goes away while work is logged: nothing is lost, nothing is there twice."""

import threading
import time

import pytest
from commands import GRID, LONGER, Work, ended, wait_for
from local_mlflow import MlflowServer
from local_postgres import Postgres, why_no_postgres

from autosparse.data import load_dataset
from autosparse.experiment.environment import describe_environment
from autosparse.runner.work.cells import run_cells
from autosparse.tracking.client import connect
from autosparse.tracking.known import FINISHED
from autosparse.tracking.log import Tracker
from autosparse.tracking.spool import Spool, finish


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_server_killed_while_cells_are_logged_has_each_once_when_it_is_back(tmp_path):
    server = MlflowServer(tmp_path / "mlflow")
    content = {"name": "away", "grid": {**GRID, "seeds": list(range(16)), "recipe": {"epochs": 1}}}
    work, said = Work(tmp_path, content, server.uri), []
    store, plan, environment = work.store, work.plan, describe_environment()
    for done in run_cells([planned.task for planned in plan.cells], store, load_dataset("digits"), "cpu"):
        for cell, result in done:
            store.finish(cell, result, environment)
    with server:
        tracker = Tracker(connect(server.uri), plan.name, store)
        with Spool(tracker, said.append) as spool:
            for planned in plan.cells[:8]:
                spool(planned)
            wait_for(lambda: len(tracker.known) >= 2)
            server.kill()  # probably in the middle of a request
            for planned in plan.cells[8:]:
                spool(planned)
            wait_for(lambda: said)
        server.start(wait=False)
        finish(tracker, plan, {}, FINISHED, said.append)
        work.assert_each_once()
    assert "does not answer" in said[0]
    assert "finished work is safe in the results folder" in said[0]


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_server_that_is_away_for_a_minute_of_a_grid_costs_nothing(tmp_path):
    with MlflowServer(tmp_path / "mlflow") as server:
        grid = {**GRID, "recipe": LONGER, "seeds": list(range(40))}
        work = Work(tmp_path, {"name": "minute", "grid": grid}, server.uri)
        process = work.start()
        wait_for(lambda: work.finished() >= 5, process)
        server.kill()
        back = threading.Timer(60, server.start)
        back.start()
        code, _, err = ended(process)
        back.join()
        assert code == 0, err
        assert "finished work is safe in the results folder" in err
        work.assert_each_once()


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_server_that_does_not_come_back_is_told_of_and_the_same_command_logs_it_all(tmp_path):
    with MlflowServer(tmp_path / "mlflow") as server:
        work = Work(tmp_path, {"name": "gone", "grid": {**GRID, "seeds": list(range(40))}}, server.uri)
        process = work.start()
        wait_for(lambda: work.finished() >= 1, process)
        server.kill()
        code, _, err = ended(process)
        assert code == 2
        assert "nothing is lost: run the same command when the server is back" in err
        assert work.finished() == 40
        server.start()
        assert work.run()["found"] == 40
        work.assert_each_once()


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_grid_is_logged_to_a_server_on_postgres_across_its_restart(tmp_path_factory):
    if reason := why_no_postgres():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("postgres")
    with Postgres() as postgres, MlflowServer(folder / "mlflow", postgres.uri, workers=2) as server:
        work = Work(folder / "work", {"name": "postgres", "grid": {**GRID, "seeds": list(range(40))}}, server.uri)
        process = work.start()
        wait_for(lambda: work.finished() >= 1, process)
        server.kill()
        time.sleep(5)
        server.start()
        code, _, err = ended(process)
        assert code == 0, err
        work.assert_each_once()
        assert connect(postgres.uri).get_experiment_by_name("postgres") is not None
