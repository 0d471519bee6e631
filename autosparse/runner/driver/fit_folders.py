"""Fit a scorer in this process on survival datasets from any folders; record and track it like any fit."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch

from autosparse.autos.fit import require_streamable
from autosparse.autos.streamed.write import require_ours
from autosparse.data import load_dataset
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.experiment.environment import describe_device, describe_environment
from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Json, Record
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import changed_records, set_aside
from autosparse.experiment.tasks import FitSpec, ScorerTask
from autosparse.files import content_id, require_writable
from autosparse.irp import Survival, load_survival
from autosparse.runner.driver.changed import told
from autosparse.runner.driver.session import ray_session
from autosparse.runner.driver.stopping import interruptible
from autosparse.runner.screen.console import Screen
from autosparse.runner.screen.tally import Event
from autosparse.runner.settings import Settings
from autosparse.runner.work.fit import run_fit
from autosparse.runner.work.gpu_check import device_named
from autosparse.runner.work.progress import Progress
from autosparse.storage import Folder
from autosparse.tracking.client import connect
from autosparse.tracking.log import Tracker
from autosparse.tracking.steadily import steadily


def fit_on_folders(
    folders: Sequence[Path],
    spec: FitSpec,
    experiment: str,
    settings: Settings,
    screen: Screen,
    device: str = "auto",
    rows_in: Path | None = None,
) -> tuple[Path, Record]:
    """Fit, record and track; a fit on the same data with the same settings is reused.

    Returns a folder with the scorer, and its record.

    :param experiment: MLflow's name for the experiment that the fit goes to.
    :param device: see :func:`autosparse.runner.work.gpu_check.device_named`.
    :param rows_in: a folder for the rows of all weights in all states, which Ray Data streams; None: in memory.
    """
    if rows_in is not None:
        require_streamable(spec.backbone, spec.in_rounds, spec.rows, spec.dagger is not None)
        require_ours(rows_in)
    device = device_named(device)
    survivals = [load_survival(folder) for folder in folders]
    dataset = _data_of(survivals, settings).to(device) if spec.in_rounds else None
    irp = tuple(content_id(survival.fingerprint) for survival in survivals)
    task = ScorerTask.on(irp, spec, dataset.name if dataset else None, rows_in is not None)
    seen: dict[str, Path] = {}
    for folder, task_id in zip(folders, task.irp, strict=True):
        if task_id in seen:
            raise AutosparseError(
                f"{seen[task_id]} and {folder} hold the same survival dataset, so its rows would be both fitted and "
                "held out; give only one"
            )
        seen[task_id] = folder
    store = Store(settings.storage)
    with store.one_driver(), interruptible("interrupted: run the same command to fit it"):
        tracker = steadily(lambda: Tracker(connect(settings.tracking_uri), experiment, store))
        try:
            if store.record(task) is None:
                work = functools.partial(run_fit, task, survivals, store, device, dataset=dataset)
                if rows_in is not None:
                    work = functools.partial(_streamed, work, rows_in, settings)
                _fit(task, work, store, screen, device)
            tracker.log(Planned(task, f"{task.fit.backbone}({','.join(task.fit.inputs)})"))
            record = store.record(task)
            assert record is not None
            return store.fetched("scorer", task.id) / "scorer", record
        finally:
            screen.guard(tracker.parent.end_untold)


def _data_of(survivals: Sequence[Survival], settings: Settings) -> Dataset:
    """The data set that the IRP runs were trained on.

    :raises AutosparseError: if they were trained on several, or if it cannot be loaded.
    """
    names = sorted({survival.provenance["dataset"] for survival in survivals})
    if len(names) > 1:
        raise AutosparseError(
            f"a scorer that prunes in rounds is fitted on one data set, these IRP runs are on {', '.join(names)}"
        )
    return load_dataset(names[0], settings.data_root, download=settings.download)


def _fit(task: ScorerTask, work: Callable[..., Json], store: Store, screen: Screen, device: str) -> None:
    """Do ``work``, which takes a callback for its progress, and record the scorer that it makes."""
    if changed := changed_records([task], store):
        screen.say(told(changed.values()))
        set_aside(task, store)
    with screen.stage("fitting the scorer", [task]) as tally:
        started = time.perf_counter()
        result = work(progress=lambda news: tally.advance(cast(Event, news)))
        tally.advance({"task_ids": [task.id]})
    kind = torch.device(device).type
    seconds = result.pop("seconds_earlier") + time.perf_counter() - started
    timing = {"seconds": seconds, "device": kind}
    whole = {} if kind == "cpu" else {"gpus_per_job": 1.0}
    store.finish(task, {**result, **timing}, {**describe_environment(), **describe_device(device), **whole})


def _streamed(work: Callable[..., Json], rows_in: Path, settings: Settings, progress: Progress) -> Json:
    """Do ``work`` on rows that Ray Data streams."""
    with ray_session(settings):
        from autosparse.runner.driver.shared import require_shared  # here: Ray reads its variables when it is imported
        from autosparse.runner.shards.mapped import RayMapped

        require_writable(rows_in)
        require_shared(Folder(rows_in.absolute()), "--rows-in", labels=settings.label_selector)
        return work(progress=progress, rows_in=rows_in, mapped=RayMapped(settings))
