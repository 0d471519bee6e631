"""Sweeps on a real local Ray: Tune chooses and stops, our records remember, MLflow is asked."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from builders import a_grid, plan_from

from autosparse.autos.features import INPUTS
from autosparse.errors import Unreachable
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, ScorerTask
from autosparse.results.best import best_trials
from autosparse.results.runs import finished_runs
from autosparse.runner.driver.run import run_plan
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.runner.work.sweep_trial import Trial, tried
from autosparse.tracking.client import connect
from autosparse.training import Execution

pytestmark = [pytest.mark.usefixtures("ray_running"), pytest.mark.slow]  # the smoke grid runs sweeps, too

RECIPE = {"epochs": 1, "batch_size": 64}
SPACE = {"lr": {"loguniform": [1e-5, 0.05]}, "batch_size": {"choice": [256, 1024]}}


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory, empty_store):
    folder = tmp_path_factory.mktemp("sweep")
    return Settings(storage=folder / "results", tracking_uri=empty_store(folder), workers=2)


def plan_of_sweep(name, **sweep):
    irp = {"model": "lenet-300-100", "dataset": "digits", "iterations": 3, "final_density": 0.1, "recipe": RECIPE}
    content = {
        "name": name,
        "irp": {"snip": irp},
        "sweeps": {"fit": {"irp": "snip", "epochs": 4, **sweep}},
        "scorers": {"best": {"sweep": "fit"}},
        "grid": a_grid(methods=[{"criterion": "autos", "scorer": "best"}], recipe=RECIPE),
    }
    return plan_from(**content)


def test_a_random_search_with_asha_feeds_its_winner_to_the_grid(shared_settings):
    points = [{"lr": 0.01}, {"lr": 1e-6}]  # one after the other, so that the second is worse than all before it
    plan = plan_of_sweep("random", space=SPACE, trials=3, points=points, asha={"grace": 1, "reduction": 2})
    outcome = run_plan(plan, replace(shared_settings, workers=1), Screen())
    assert (outcome.done, outcome.failed) == (4, [])
    store, [sweep] = Store(shared_settings.storage), plan.sweeps
    result = store.record(sweep.task)["result"]
    rows = result["trials"]
    assert len(rows) == 5
    assert {row["status"] for row in rows} == {"done", "stopped"}
    assert next(row for row in rows if row["fit"]["lr"] == 1e-6)["epochs"] == 1
    for row in rows:
        assert row["epochs"] == (4 if row["status"] == "done" else row["history"][-1]["epoch"])
        assert 1e-6 <= row["fit"]["lr"] <= 0.05
    done = [row for row in rows if row["status"] == "done"]
    assert result["best"]["value"] == max(row["value"] for row in done)
    assert store.record(plan.scorers[0].task)["result"]["winner"] == result["best"]
    report = store.record(plan.scorers[0].task)["result"]["report"]
    assert report["held_out_r2"] == pytest.approx(result["best"]["value"])
    assert not store.files_path("sweep", sweep.task.id).exists()

    asked = best_trials(connect(shared_settings.tracking_uri), "random", "fit")
    assert [row["scorer_id"] for row in asked] == [row["id"] for row in rows]
    assert asked[0].keys() >= {"value", "epochs", "status"}
    assert [(row["lr"], row["batch_size"]) for row in asked] == [(r["fit"]["lr"], r["fit"]["batch_size"]) for r in rows]

    again = run_plan(plan, shared_settings, Screen())
    assert (again.found, again.done) == (4, 0)

    winners = [shared_settings.storage / "scorers" / name for name in (plan.scorers[0].task.id, result["best"]["id"])]
    weights = [winner / "scorer" / "scorer.safetensors" for winner in winners]
    whole = weights[0].read_bytes()
    for path in weights:
        path.write_bytes(whole[:-9])
    healed = run_plan(plan, shared_settings, Screen())
    assert (healed.found, healed.done, healed.failed) == (3, 1, [])
    assert [path.read_bytes() == whole for path in weights] == [True, True]


def test_a_sweep_trains_as_it_is_told_to_and_says_on_what(shared_settings):
    downstream = {"model": "lenet-300-100", "dataset": "digits", "sparsity": 0.9, "recipe": RECIPE}
    plan = plan_of_sweep("precise", points=[{"lr": 0.01}, {"lr": 0.02}], epochs=1, downstream=downstream)
    run_plan(plan, replace(shared_settings, execution=Execution("bfloat16")), Screen(), only=("irp", "sweeps"))
    store, [sweep] = Store(shared_settings.storage), plan.sweeps
    record = store.record(sweep.task)
    assert record["environment"]["device_name"]
    assert [row["precision"] for row in record["result"]["trials"]] == ["bfloat16"] * 2
    fit = ScorerTask(irp=sweep.task.irp, fit=FitSpec(**{**record["result"]["best"]["fit"], "inputs": INPUTS}))
    for environment in (record["environment"], store.record(fit)["environment"]):
        assert environment.keys() >= {"device_name", "gpus_per_job"}
    client = connect(shared_settings.tracking_uri)
    for kind in ("sweep", "trial"):
        for run in finished_runs(client, "precise", kind):
            assert (run.tags["device"], run.tags["precision"]) == ("cpu", "bfloat16")
            assert run.tags["device_name"]


def test_the_same_seed_draws_the_same_candidates(shared_settings):
    drawn = []
    for grace in (1, 2):
        plan = plan_of_sweep(f"drawn-{grace}", space=SPACE, trials=3, search_seed=5, asha={"grace": grace})
        run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
        rows = Store(shared_settings.storage).record(plan.sweeps[0].task)["result"]["trials"]
        drawn.append({row["id"] for row in rows})
    assert drawn[0] == drawn[1]


def test_points_alone_are_tried_exactly_and_the_fits_are_those_of_named_scorers(shared_settings):
    points = [{"batch_size": 256, "lr": 0.01}, {"batch_size": 512, "lr": 0.001}, {"batch_size": 512, "lr": 1e30}]
    plan = plan_of_sweep("points", points=points)
    outcome = run_plan(plan, shared_settings, Screen())
    assert outcome.failed == []
    store = Store(shared_settings.storage)
    rows = store.record(plan.sweeps[0].task)["result"]["trials"]
    assert [row["status"] for row in rows] == ["done", "done", "failed"]
    assert "lower --lr" in rows[2]["error"]
    named = plan_of_sweep("named", points=points[:1])
    trial = Trial(store, named.sweeps[0].task, points[0])
    assert store.record(trial.task) is not None


def test_a_worker_killed_in_mid_trial_loses_nothing(shared_settings, monkeypatch):
    from autosparse.runner.jobs.sweep import _Seen  # here: Ray is imported after its session's settings

    plan = plan_of_sweep("killed", space=SPACE, trials=3, search_seed=9, epochs=30)
    killed = []

    def kill_one(self, iteration, trials, trial, result, **info):
        if not killed and result["epoch"] >= 5:
            killed.append(result["pid"])
            os.kill(result["pid"], signal.SIGKILL)

    monkeypatch.setattr(_Seen, "on_trial_result", kill_one)
    outcome = run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
    assert killed
    assert outcome.failed == []
    rows = Store(shared_settings.storage).record(plan.sweeps[0].task)["result"]["trials"]
    assert [row["status"] for row in rows] == ["done"] * 3
    for row in rows:
        assert [numbers["epoch"] for numbers in row["history"]] == list(range(1, 31))


def test_a_trial_whose_workers_all_die_is_gone_on_with_by_the_same_command(shared_settings):
    from autosparse.runner.jobs.sweep import _Seen  # here: Ray is imported after its session's settings

    plan = plan_of_sweep("deadly", points=[{"lr": 0.01}], epochs=30)
    sweep = plan.sweeps[0].task

    killed = set()

    def kill_each(self, iteration, trials, trial, result, **info):
        if result["epoch"] not in killed:
            killed.add(result["epoch"])
            os.kill(result["pid"], signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Seen, "on_trial_result", kill_each)
        outcome = run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
    [(left, reason)] = outcome.to_do
    assert (left.task, outcome.failed) == (sweep, [])
    assert "its worker died; run again to go on" in reason
    outcome = run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
    assert (outcome.done, outcome.failed) == (1, [])
    [row] = Store(shared_settings.storage).record(sweep)["result"]["trials"]
    assert [numbers["epoch"] for numbers in row["history"]] == list(range(1, 31))


@pytest.mark.parametrize("search", ["points", "optuna"])
def test_a_trial_that_kills_its_workers_has_failed_and_the_others_are_chosen_from(shared_settings, search, monkeypatch):
    from autosparse.runner.jobs import sweep as module  # here: Ray is imported after its session's settings

    whole = module._trainable

    def deadly(config, given):
        if config.get("point", config).get("batch_size") == 123:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(config, given)

    monkeypatch.setattr(module, "_trainable", deadly)
    points, searched = [{"batch_size": 123}, {"batch_size": 256}], {}
    if search == "optuna":
        pytest.importorskip("optuna")
        space = {"batch_size": {"choice": [123, 256]}}
        points, searched = [], {"search": "optuna", "space": space, "trials": 4, "search_seed": 1}
    plan = plan_of_sweep(f"killer-{search}", points=points, epochs=2, **searched)
    outcome = run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
    assert outcome.failed == []
    good, *_, bad = Store(shared_settings.storage).record(plan.sweeps[0].task)["result"]["trials"]
    assert (good["status"], good["epochs"]) == ("done", 2)
    assert bad["status"] == "failed"
    assert "its worker process died each time, also alone" in bad["error"]


def test_a_trial_that_raises_each_time_has_failed_and_the_others_are_chosen_from(shared_settings, monkeypatch):
    from autosparse.runner.jobs import sweep as module  # here: Ray is imported after its session's settings

    whole = module._trainable

    def raising(config, given):
        from autosparse.runner.work import sweep_trial

        def run_fit(task, *given, **more):
            if task.fit.batch_size == 124:
                raise MemoryError("too large a batch")
            return fit(task, *given, **more)

        fit, sweep_trial.run_fit = sweep_trial.run_fit, run_fit
        try:
            whole(config, given)
        finally:
            sweep_trial.run_fit = fit

    monkeypatch.setattr(module, "_trainable", raising)
    plan = plan_of_sweep("raising", points=[{"batch_size": 124}, {"batch_size": 256}], epochs=2)
    outcome = run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
    assert outcome.failed == []
    good, bad = Store(shared_settings.storage).record(plan.sweeps[0].task)["result"]["trials"]
    assert (good["status"], bad["status"], bad["error"]) == ("done", "failed", "MemoryError: too large a batch")
    assert "in run_fit" in bad["traceback"]


def test_the_driver_reads_the_records_of_irp_runs_once_and_not_for_each_trial_or_event(shared_settings, monkeypatch):
    from autosparse.runner.jobs.sweep import _Seen  # here: Ray is imported after its session's settings

    sweep = plan_of_sweep("read-once", points=[{"lr": 0.01}, {"lr": 0.02}]).sweeps[0].task
    store, read = Store(shared_settings.storage), []
    monkeypatch.setattr(store, "written", lambda kind, task_id: read.append(task_id))
    seen = _Seen(sweep, store, lambda event: None)
    for number, point in enumerate(sweep.points):
        trial = SimpleNamespace(config=point, trial_id=str(number))
        seen.on_trial_start(0, [], trial)
        seen.on_trial_complete(0, [], trial)
    assert [trial.status for trial in seen.trials] == ["stopped", "stopped"]
    assert read == list(sweep.irp)


def test_a_storage_that_goes_away_as_a_trial_ends_is_told_of_and_the_same_command_goes_on(shared_settings, capsys):
    from autosparse.runner.jobs.sweep import _Seen  # here: Ray is imported after its session's settings

    def away(self, iteration, trials, trial, **info):
        with self._keeping_error():
            raise Unreachable("s3://bucket/x does not answer")

    plan = plan_of_sweep("away", points=[{"lr": 0.01}, {"lr": 0.02}, {"lr": 0.03}], epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Seen, "on_trial_complete", away)
        outcome = run_plan(plan, replace(shared_settings, workers=1), Screen(), only=("irp", "sweeps"))
    assert ["run again to go on" in reason for _, reason in outcome.to_do] == [True]
    assert len(tried(plan.sweeps[0].task, Store(shared_settings.storage))) < 3, "the search has stopped"
    assert "s3://bucket/x does not answer" in capsys.readouterr().err
    outcome = run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
    assert (outcome.done, outcome.failed) == (1, [])
    rows = Store(shared_settings.storage).record(plan.sweeps[0].task)["result"]["trials"]
    assert [row["status"] for row in rows] == ["done"] * 3


def test_optuna_chooses_where_it_is_asked_to(shared_settings):
    pytest.importorskip("optuna")
    plan = plan_of_sweep("optuna", space={"lr": {"loguniform": [1e-4, 0.05]}}, trials=4, search="optuna", epochs=2)
    outcome = run_plan(plan, shared_settings, Screen(), only=("irp", "sweeps"))
    assert outcome.failed == []
    rows = Store(shared_settings.storage).record(plan.sweeps[0].task)["result"]["trials"]
    assert len({row["fit"]["lr"] for row in rows}) == 4
