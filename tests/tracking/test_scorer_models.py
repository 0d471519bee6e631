"""A scorer is one logged model of MLflow, with its data and figures, however often it is written, and by whomever."""

import pytest
from builders import DIRTY
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from autosparse.experiment.planned import Planned
from autosparse.experiment.tasks import FitSpec, IrpTask, ScorerTask
from autosparse.tracking.known import FINISHED
from autosparse.tracking.log import Tracker
from autosparse.tracking.scorer_models import models_of
from autosparse.training import Recipe

RUN = Planned(IrpTask(model="lenet-300-100", dataset="digits", iterations=2, seed=7, recipe=Recipe(epochs=1)), "snip")
SCORER = Planned(ScorerTask(irp=(RUN.task.id,), fit=FitSpec(epochs=3)), "mine (v1.0)")
REPORT = {"train_r2": 0.6, "held_out_r2": 0.5, "layer_density_at_95": {"fc1.weight": 0.1}, "warnings": []}
OF_IRP = {"accuracy": [90.0, 80.0], "kept": 5, "total": 100, "dataset_fingerprint": "f" * 16}


@pytest.fixture
def store_with_scorer(store):
    for planned, result in ((RUN, OF_IRP), (SCORER, {"report": REPORT})):
        folder = store.files_path(planned.task.kind, planned.task.id)
        (folder / "scorer").mkdir(parents=True)
        (folder / "sample.parquet").write_bytes(b"sample")
        (folder / "scorer" / "scorer.json").write_text("{}")
        store.finish(planned.task, {"seconds": 1.0, **result}, DIRTY)
    return store


def written(client, store):
    tracker = Tracker(client, "exp", store)
    for planned in (RUN, SCORER):
        tracker.log(planned)
    return tracker


def the_model(tracker):
    (model,) = models_of(tracker.client, tracker.experiment_id)
    return model


def run_of(tracker, planned=SCORER):
    return tracker.client.get_run(tracker.known[planned.task.id].run_id)


def test_a_scorer_is_a_ready_model_of_its_run_with_settings_files_and_figures(client, store_with_scorer):
    tracker = written(client, store_with_scorer)
    model, run = the_model(tracker), run_of(tracker)
    assert (model.name, model.status) == ("mine (v1-0)", LoggedModelStatus.READY)
    assert model.source_run_id == run.info.run_id
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert model.params["fit.epochs"] == "3"
    assert {"label": "mine (v1.0)", "mlflow.source.git.commit": "abc"}.items() <= model.tags.items()
    assert [file.path for file in client.list_logged_model_artifacts(model.model_id)] == ["scorer.json"]
    assert {metric.key: metric.value for metric in model.metrics} == {"train_r2": 0.6, "held_out_r2": 0.5}
    assert run.data.metrics["held_out_r2"] == 0.5


def test_figures_of_a_scorer_name_the_survival_data_that_it_was_fitted_on(client, store_with_scorer):
    tracker = written(client, store_with_scorer)
    (data,) = [held.dataset for held in run_of(tracker).inputs.dataset_inputs]
    assert data.name == "survival snip"
    assert data.digest == store_with_scorer.record(SCORER.task)["built_on"][RUN.task.id]
    assert {(metric.dataset_name, metric.dataset_digest) for metric in the_model(tracker).metrics} == {
        (data.name, data.digest)
    }


def test_an_irp_run_names_its_images_by_their_fingerprint(client, store_with_scorer):
    (held,) = run_of(written(client, store_with_scorer), RUN).inputs.dataset_inputs
    assert (held.dataset.name, held.dataset.digest) == ("digits", "f" * 16)
    assert [(tag.key, tag.value) for tag in held.tags] == [("mlflow.data.context", "training")]


def test_one_thread_at_a_time_writes_data_sets_because_mlflow_refuses_one_that_two_threads_make(
    client, store_with_scorer, monkeypatch
):
    tracker, held, log_inputs = Tracker(client, "exp", store_with_scorer), [], client.log_inputs
    monkeypatch.setattr(
        client, "log_inputs", lambda *given: held.append(tracker.naming_data.locked()) or log_inputs(*given)
    )
    tracker.log(RUN)
    tracker.log(SCORER)
    assert held == [True, True]


@pytest.mark.parametrize("killed_in", ["log_batch", "log_inputs", "log_model_artifacts", "set_terminated"])
def test_writing_that_was_killed_and_repeated_leaves_one_model_and_one_of_each_figure(
    client, store_with_scorer, monkeypatch, killed_in
):
    tracker = Tracker(client, "exp", store_with_scorer)
    tracker.log(RUN)

    def die(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, killed_in, die)
        with pytest.raises(KeyboardInterrupt):
            tracker.log(SCORER)
    again = written(client, store_with_scorer)
    model, run = the_model(again), run_of(again)
    assert (run.info.status, model.status) == (FINISHED, LoggedModelStatus.READY)
    assert model.source_run_id == run.info.run_id
    assert len(run.outputs.model_outputs) == len(run.inputs.dataset_inputs) == 1
    assert sorted(metric.key for metric in model.metrics) == ["held_out_r2", "train_r2"]
    assert len(client.get_metric_history(run.info.run_id, "held_out_r2")) == 1


def test_a_scorer_that_an_earlier_version_wrote_gets_its_model(client, store_with_scorer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("autosparse.tracking.scorer_models.models_of", lambda *_: None)
        patch.setattr("autosparse.tracking.entries.text_of", str)  # up to version 0.2.0, lists were Python text
        before = run_of(written(client, store_with_scorer))
    assert before.data.params["irp"] == str([RUN.task.id])
    tracker = written(client, store_with_scorer)
    assert the_model(tracker).source_run_id == before.info.run_id
    assert len(client.get_metric_history(before.info.run_id, "held_out_r2")) == 1
    assert not Tracker(client, "exp", store_with_scorer).log(SCORER), "now it has all"


def test_a_server_without_logged_models_and_inputs_gets_the_rest(client, store_with_scorer, monkeypatch):
    def unknown(*arguments, **options):
        raise MlflowException("failed with error code 404", error_code=ENDPOINT_NOT_FOUND)

    for name in ("search_logged_models", "create_logged_model", "log_inputs"):
        monkeypatch.setattr(client, name, unknown)
    tracker = written(client, store_with_scorer)
    assert (run_of(tracker).info.status, run_of(tracker).data.metrics["held_out_r2"]) == (FINISHED, 0.5)
    assert not Tracker(client, "exp", store_with_scorer).log(SCORER)


def test_a_scorer_that_is_renamed_or_done_again_has_one_model(client, store_with_scorer):
    tracker = written(client, store_with_scorer)
    tracker.log(Planned(SCORER.task, "yours"))
    assert the_model(tracker).name == "yours"
    tracker.forget([SCORER.task.id])
    assert models_of(client, tracker.experiment_id) == []
    tracker.log(SCORER)
    assert the_model(tracker).name == "mine (v1-0)"
