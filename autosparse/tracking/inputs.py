"""The data sets of IRP runs and scorers as MLflow's data set inputs. Cells, which are many, have tags instead."""

import json
from collections.abc import Callable, Iterable, Mapping

from mlflow.entities import Dataset, DatasetInput, InputTag

from autosparse.errors import AutosparseError
from autosparse.experiment.record import Record
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask, ScorerTask, Task
from autosparse.files import content_id


def inputs_of(task: Task, record: Record, store: Store, label_of: Callable[[str], str]) -> list[DatasetInput]:
    """The data sets that a finished IRP run or scorer learned from; those of a scorer begin with its survival data.

    :param label_of: returns what the experiment calls the IRP run with an id.
    """
    if not isinstance(task, IrpTask | ScorerTask):
        return []
    found = list(_survival(task, record, store, label_of)) if isinstance(task, ScorerTask) else []
    images = record.get("result", {}).get("dataset_fingerprint")
    if task.dataset and images:  # older records lack the fingerprint
        found.append(_input(task.dataset, str(images), {"autosparse.dataset": task.dataset}))
    return found


def _survival(task: ScorerTask, record: Record, store: Store, label_of: Callable[[str], str]) -> Iterable[DatasetInput]:
    """The survival scores of all IRP runs that the scorer was fitted on, as one data set."""
    fitted = record
    if task.sweep is not None:
        try:
            fitted = store.record_of("sweep", task.sweep)
        except AutosparseError:  # damaged since; the scorer itself is whole
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
    return DatasetInput(Dataset(name, digest, "code", source), [InputTag("mlflow.data.context", "training")])
