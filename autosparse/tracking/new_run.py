"""All that MLflow is to hold of a task, worked out before anything is written."""

from typing import NamedTuple

from mlflow.entities import Metric

from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Record
from autosparse.experiment.tasks import Task
from autosparse.tracking.described import shown_tags
from autosparse.tracking.entries import ended, metrics_of, params_of, run_name, tag_texts
from autosparse.tracking.known import FAILED, FINISHED


class NewRun(NamedTuple):
    """All that MLflow stores of a run, except data sets and files."""

    name: str
    began: int
    """The time at which the task began, in milliseconds since 1970; the run may be written much later."""
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[Metric]


def new_run(planned: Planned[Task], record: Record, parent: str, source: str) -> NewRun:
    """The run of a finished or failed task.

    :param parent: the id of the run that stands for the whole experiment.
    :param source: the experiment file.
    """
    task, failed = planned.task, "error" in record
    tags = {"task_id": task.id, "mlflow.parentRunId": parent, **tag_texts(planned, record)}
    tags |= shown_tags(planned, record, source)
    began = ended(record) - int(1000 * record.get("result", {}).get("seconds", 0.0))
    metrics = [] if failed else metrics_of(task, record["result"], ended(record))
    return NewRun(run_name(planned), began, FAILED if failed else FINISHED, tags, params_of(task, record), metrics)
