"""Try each model, data set and criterion of the work to do on one batch, before Ray starts."""

from collections.abc import Mapping, Sequence

from autosparse.criteria import CRITERIA
from autosparse.data.split import Batch, Dataset
from autosparse.experiment.fields import BRANCH, DENSE
from autosparse.experiment.planned import Planned
from autosparse.experiment.tasks import Cell, IrpTask, Task
from autosparse.files import canonical_json
from autosparse.runner.screen.console import Screen
from autosparse.runner.work.one_batch import batch_of, doubt_about, try_criterion, try_model
from autosparse.users_code import is_ours


def rehearse(todo: Sequence[Planned[Task]], datasets: Mapping[str, Dataset], screen: Screen) -> None:
    """Try each pair of a model and a data set once, and each of the user's criteria on each model.

    :param todo: the tasks to do.
    :param datasets: on the CPU, by the names in the tasks.
    :raises AutosparseError: at the first that does not work.
    """
    tasks: dict[tuple[str, str], list[Cell | IrpTask]] = {}
    for planned in todo:
        task = planned.task
        if isinstance(task, Cell | IrpTask):
            tasks.setdefault((task.model, task.dataset), []).append(task)
    batches: dict[str, Batch] = {}
    tried: set[str] = set()
    for (model, dataset), those in tasks.items():
        if dataset not in batches:
            batches[dataset] = batch_of(datasets[dataset], dataset)
            if doubt := doubt_about(datasets[dataset], dataset):
                screen.warn(doubt)
        try_model(model, datasets[dataset], batches[dataset])
        for task in those:
            key = canonical_json([task.model, task.criterion, task.options])
            ours = task.criterion in (DENSE, BRANCH) or is_ours(CRITERIA[task.criterion].function)  # ours work
            if key not in tried and not ours:
                tried.add(key)
                screen.say(f"trying criterion {task.criterion!r} on one batch of {dataset} with {model}")
                try_criterion(task, datasets[dataset], batches[dataset])
