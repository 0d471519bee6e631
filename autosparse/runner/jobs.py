"""A job in its worker process: the function that Ray Tune runs as a trial."""

import traceback
import warnings
from dataclasses import is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from ray import get_gpu_ids, tune

from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.experiment.store import Record, Store
from autosparse.experiment.tasks import Cell, IrpTask, Task, task_from
from autosparse.runner.work import do


class Arrays(NamedTuple):
    """A data set, or a part of it, with NumPy arrays for its tensors: Ray's object store shares them without a copy.

    Of a streamed data set they are its paths and labels: each worker opens the files itself.
    """

    kind: type
    fields: dict[str, Any]


def to_arrays(dataset: Dataset) -> Arrays:
    """Take a data set apart for the object store."""
    apart: Arrays = _apart(dataset)
    return apart


def from_arrays(arrays: Arrays) -> Dataset:
    """Put it together again; the tensors share the object store's memory and are never written to."""
    dataset: Dataset = _together(arrays)
    return dataset


def _apart(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if is_dataclass(value):
        return Arrays(type(value), {name: _apart(part) for name, part in vars(value).items()})
    return value


def _together(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _shared(value)
    if isinstance(value, Arrays):
        return value.kind(**{name: _together(part) for name, part in value.fields.items()})
    return value


def _shared(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def run_job(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """Do the tasks of one job in a row and report each; finished ones are skipped, failed ones recorded.

    :param config: ``{"job": index}``.
    :param shared: ``jobs`` (lists of (kind, spec)), ``datasets`` (name -> Arrays), ``storage``, ``environment``,
        ``execution`` (an :class:`autosparse.training.Execution`).
    """
    torch.set_num_threads(1)  # one core per job: results do not depend on how many jobs share the machine
    device = "cuda" if get_gpu_ids() else "cpu"
    store = Store(shared["storage"])
    datasets: dict[str, Dataset] = {}
    for kind, spec in shared["jobs"][config["job"]]:
        task = task_from(kind, spec)
        if store.record(task) is None:
            name = task.dataset if isinstance(task, IrpTask | Cell) else None
            if name is not None and name not in datasets:
                datasets[name] = from_arrays(shared["datasets"][name]).to(device)
            _attempt(task, store, datasets.get(name) if name else None, device, shared)
        tune.report({"event": "done", "task_id": task.id})


def _attempt(task: Task, store: Store, dataset: Dataset | None, device: str, shared: dict[str, Any]) -> None:
    """Do one task; what goes wrong with it is written down, and the job goes on with the next."""
    environment: Record = shared["environment"]

    def report(numbers: dict[str, float]) -> None:
        tune.report({"event": "progress", **numbers})

    try:
        result = do(task, store, dataset, device, report, shared["execution"])
        store.finish(task, result, environment)
    except AutosparseError as error:
        store.fail(task, str(error), traceback.format_exc(), environment)
    except Exception as error:
        store.fail(task, f"{type(error).__name__}: {error}", traceback.format_exc(), environment)
