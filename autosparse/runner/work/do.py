"""Do one task, an IRP run or a scorer, from its inputs to its result."""

import shutil
import time
from collections.abc import Callable

from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.experiment.record import Json
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, IrpTask, ScorerTask, Task
from autosparse.files import atomic_folder
from autosparse.runner.work.fit import run_fit, survivals_of
from autosparse.runner.work.irp import run_irp
from autosparse.runner.work.progress import ANYTHING, Progress
from autosparse.training import Execution


def do(
    task: IrpTask | ScorerTask,
    store: Store,
    dataset: Dataset | None,
    device: str,
    progress: Progress,
    execution: Execution | None = None,
    share: float = 1.0,
    checkpoint_every: float | None = None,
) -> Json:
    """Do one task, write its files, and return the result that goes into its record.

    :param checkpoint_every: see :func:`autosparse.runner.work.irp.run_irp`.
    """
    started = time.perf_counter()
    if isinstance(task, IrpTask):
        assert dataset is not None
        result = run_irp(task, store, dataset, device, progress, execution, checkpoint_every)
    elif task.sweep:
        result = take_winner(task, store, lambda again: do(again, store, dataset, device, progress, execution, share))
    else:
        result = run_fit(
            task, survivals_of(task.irp, store), store, device, progress, dataset, execution=execution, share=share
        )
    seconds = result.pop("seconds_earlier", 0.0) + time.perf_counter() - started
    return {**result, "seconds": seconds, "device": device}


def inputs_whole(task: Task, store: Store) -> bool:
    """Whether everything that ``task`` builds on can be read and is whole; the next run makes again what is not."""
    try:
        for task_id, kind in task.inputs.items():
            record = store.record_of(kind, task_id)
            if kind == "sweep":  # its winner may have to be fitted again, on what the sweep has
                for irp in record["spec"]["irp"]:
                    store.record_of("irp", irp)
    except AutosparseError:
        return False
    return True


def take_winner(task: ScorerTask, store: Store, fit_again: Callable[[ScorerTask], Json]) -> Json:
    """Make the scorer that won a sweep the scorer of ``task``; if it has been damaged since, fit it again."""
    assert task.sweep
    sweep = store.record_of("sweep", task.sweep)
    best = sweep["result"]["best"]
    try:
        winner = store.record_of("scorer", best["id"])
    except CorruptFile:
        fit = FitSpec.model_validate(best["fit"], strict=False)
        again = ScorerTask.on(tuple(sweep["spec"]["irp"]), fit, task.dataset)
        store.finish(again, fit_again(again), sweep["environment"])
        winner = store.record_of("scorer", best["id"])
    with atomic_folder(store.files_path("scorer", task.id), ours=ANYTHING) as temporary:
        shutil.copytree(store.fetched("scorer", best["id"]), temporary, dirs_exist_ok=True)
    return {**winner["result"], "winner": best}
