"""Scorers as MLflow's logged models: one for each scorer's run, with its settings, files, figures and their data."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList

from autosparse.experiment.planned import Planned
from autosparse.experiment.tasks import Task
from autosparse.tracking.client import all_pages

TYPE = "autosparse-scorer"
OF_MODEL = ("train_r2", "held_out_r2", "binned_mean_r2")
"""The metrics of a scorer's run that say how good the model is, measured on its survival data."""
UNKNOWN = {"ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED"}
"""Error codes of servers that are older than logged models or data set inputs."""
T = TypeVar("T")


def if_known(request: Callable[[], T]) -> T | None:
    """What a request returns; None if the server is too old for it.

    :raises MlflowException: if the request fails for another reason.
    """
    try:
        return request()
    except NotImplementedError:
        return None
    except MlflowException as error:
        if error.error_code in UNKNOWN:
            return None
        raise


def models_of(client: MlflowClient, experiment_id: str, task_id: str = "") -> list[LoggedModel] | None:
    """The logged models of an experiment's scorers, or of one of them; None if the server is too old for them."""
    asked = f"tags.task_id = '{task_id}'" if task_id else "tags.kind = 'scorer'"

    def ask(token: str | None) -> PagedList[LoggedModel]:
        return client.search_logged_models([experiment_id], asked, page_token=token)

    return if_known(lambda: list(all_pages(ask)))


class ScorerModels:
    """The logged models of one experiment's scorers."""

    def __init__(self, client: MlflowClient, experiment_id: str):
        self.client, self.experiment_id = client, experiment_id
        self.lock = threading.Lock()
        self._whole: set[tuple[str, str]] | None = None
        self.supported = True

    def has(self, run_id: str | None, label: str) -> bool:
        """Whether a scorer's run has its model, or cannot have one because the server is too old."""
        with self.lock:
            if self._whole is None:
                found = models_of(self.client, self.experiment_id)
                self.supported = found is not None
                self._whole = {(m.source_run_id, m.name) for m in found or [] if m.status == LoggedModelStatus.READY}
            return not self.supported or (run_id, name_of(label)) in self._whole

    def begin(
        self, run_id: str, planned: Planned[Task], tags: Mapping[str, str], params: dict[str, str]
    ) -> LoggedModel | None:
        """The model of a scorer's run, which is made unless an earlier try has left it; older ones are deleted.

        :param tags: more tags of a new model.
        """
        found, name = models_of(self.client, self.experiment_id, planned.task.id), name_of(planned.label)
        if found is None:
            return None
        ours = [model for model in found if (model.source_run_id, model.name) == (run_id, name)]
        for model in found:
            if model is not next(iter(ours), None):
                self.client.delete_logged_model(model.model_id)
        if ours:
            return ours[0]
        told = {**tags, "kind": "scorer", "task_id": planned.task.id, "label": planned.label}
        return self.client.create_logged_model(self.experiment_id, name, run_id, told, params, TYPE)

    def end(self, model: LoggedModel, run_id: str, folder: Path) -> None:
        """Add the scorer's files and the link from its run; then the model is whole."""
        outputs = self.client.get_run(run_id).outputs
        if outputs is None or all(output.model_id != model.model_id for output in outputs.model_outputs):
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        if folder.is_dir():
            self.client.log_model_artifacts(model.model_id, str(folder))
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        with self.lock:
            if self._whole is not None:
                self._whole.add((run_id, str(model.name)))

    def drop(self, task_id: str, but: str | None = None) -> None:
        """Delete the models of a scorer whose run is deleted.

        :param but: another run of the scorer, which keeps its model.
        """
        for model in models_of(self.client, self.experiment_id, task_id) or []:
            if model.source_run_id != but:
                self.client.delete_logged_model(model.model_id)


def name_of(label: str) -> str:
    """A label as the name of a logged model, without the characters that MLflow refuses there."""
    return re.sub(r"""[/:.%"'`]""", "-", label) or "scorer"


def of_model(metrics: Sequence[Metric], model: LoggedModel | None, data: Sequence[DatasetInput]) -> list[Metric]:
    """The metrics of a scorer's run; those of its model get its id and the survival data they were measured on."""
    if model is None:
        return list(metrics)
    told = {"model_id": model.model_id}
    if data:
        told |= {"dataset_name": data[0].dataset.name, "dataset_digest": data[0].dataset.digest}
    return [
        Metric(each.key, each.value, each.timestamp, each.step, **told) if each.key in OF_MODEL else each
        for each in metrics
    ]
