"""The data sets of IRP runs and scorers as MLflow's data set inputs. Cells have tags in their place: they are many."""

import json
from collections.abc import Callable, Iterable, Mapping

from mlflow.entities import Dataset, DatasetInput, InputTag

from autosparse.errors import AutosparseError
from autosparse.experiment.record import Record
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask, ScorerTask, Task
from autosparse.files import content_id

CONTEXT = "mlflow.data.context"
"""The tag that says what a run did with a data set."""


def inputs_of(task: Task, record: Record, store: Store, label_of: Callable[[str], str]) -> list[DatasetInput]:
    """The data sets that a finished IRP run or scorer learned from; those of a scorer begin with its survival data.

    :param label_of: what the experiment calls the IRP run of an id.
    """
    match task:
        case ScorerTask():
            return [*_survival(task, record, store, label_of), *_images(task.dataset, record)]
        case IrpTask():
            return list(_images(task.dataset, record))
    return []


def _images(name: str | None, record: Record) -> Iterable[DatasetInput]:
    """The images and labels, unless the record, as an older one, lacks their fingerprint."""
    digest = record.get("result", {}).get("dataset_fingerprint")
    if name and digest:
        yield _input(name, str(digest), {"autosparse.dataset": name})


def _survival(task: ScorerTask, record: Record, store: Store, label_of: Callable[[str], str]) -> Iterable[DatasetInput]:
    """The survival scores that the scorer was fitted on, of all its IRP runs together."""
    fitted = record
    if task.sweep is not None:
        try:
            fitted = store.record_of("sweep", task.sweep)
        except AutosparseError:  # damaged since: the scorer itself is whole
            return
    runs = tuple(fitted["spec"].get("irp", ()))
    if not runs:
        return
    built_on = fitted.get("built_on", {})
    digests = [built_on.get(run, run) for run in runs]
    names = " ".join(dict.fromkeys(filter(None, map(label_of, runs))))
    digest = digests[0] if len(digests) == 1 else content_id({"survival": sorted(digests)})
    yield _input(f"survival {names}".strip()[:500], digest, {"autosparse.irp": " ".join(runs)[:5000]})


def _input(name: str, digest: str, told: Mapping[str, str]) -> DatasetInput:
    source = json.dumps({"tags": {"mlflow.source.name": "autosparse", "mlflow.source.type": "LOCAL", **told}})
    return DatasetInput(Dataset(name, digest, "code", source), [InputTag(CONTEXT, "training")])
