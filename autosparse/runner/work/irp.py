"""Do an IRP run, with checkpoints, so that an interrupted run can continue."""

import logging
from typing import Any, cast

import pyarrow.parquet as pq

from autosparse.criteria import score
from autosparse.data.split import Dataset
from autosparse.errors import NonFiniteLoss, first_line
from autosparse.experiment.record import Json
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.files import atomic_folder
from autosparse.irp import rewind_prune, save_survival
from autosparse.models import build_model
from autosparse.runner.work.irp_states import IrpStates
from autosparse.runner.work.progress import ANYTHING, Progress
from autosparse.runner.work.samples import survival_sample
from autosparse.runner.work.train_cells import attempt
from autosparse.seeds import generator
from autosparse.training import Execution
from autosparse.weights import left_out

logger = logging.getLogger(__name__)


def run_irp(
    task: IrpTask,
    store: Store,
    dataset: Dataset,
    device: str,
    progress: Progress,
    execution: Execution | None = None,
    checkpoint_every: float | None = None,
) -> Json:
    """Do iterative rewind pruning; write a survival dataset, and a sample of it for reports.

    Reports also show saliencies. If a saliency cannot be computed, a warning says so, and the sample lacks it.
    An interrupted run continues from its last checkpoint, and ends the same, to the bit on a CPU.

    :param checkpoint_every: least seconds between checkpoints within an iteration, at the end of an epoch; None: each
        iteration is kept, and nothing within one.
    """
    execution = execution or Execution()
    model = build_model(task.model, dataset.num_classes, dataset.input_shape, task.init_seed).to(device)
    states = IrpStates(task, store, dataset, model, execution, checkpoint_every)
    before = states.reached()
    if before and before.iteration:
        progress({"share": before.iteration / task.iterations, "accuracy": before.accuracy[-1]})
    try:
        survival = rewind_prune(
            model, dataset, criterion=task.criterion, iterations=task.iterations, final_density=task.final_density,
            schedule=task.schedule, recipe=task.recipe, seed=task.seed, score_examples=task.score_examples,
            gradient_mode=task.gradient_mode, execution=execution, resume=before, on_reached=states.keep,
            on_state=states.keep_within,
            on_iteration=lambda i, masks, accuracy: progress({"share": i / task.iterations, "accuracy": accuracy}),
            **cast(dict[str, Any], task.options),
        )  # fmt: skip
    except NonFiniteLoss:
        states.forget_training()
        raise
    survival.provenance["model"] = task.model
    batches = list(dataset.scoring_batches(generator(task.seed, "score", 0), limit=task.score_examples))
    saliency = {}
    for name in ("snip", "grasp"):
        found = attempt(score, model, name, batches)  # the network, or the memory, may not allow it
        if isinstance(found, Exception):
            logger.warning("reports of IRP run %s will not show scores of %r: %s", task.id, name, first_line(found))
        else:
            saliency[name] = found
    with atomic_folder(store.files_path("irp", task.id), ours=ANYTHING) as temporary:
        save_survival(survival, temporary / "survival")
        pq.write_table(survival_sample(survival, saliency), temporary / "sample.parquet")
    final = survival.masks(task.iterations)
    return {
        "accuracy": survival.provenance["accuracy"],
        "kept": final.kept,
        "total": final.total,
        "left_out": left_out(model).record(),
        "density_by_layer": final.density_by_layer(),
        "collapsed_layers": final.collapsed_layers(),
        "dataset_fingerprint": survival.provenance["dataset_fingerprint"],
        "images": task.iterations * task.recipe.epochs * len(dataset.train),
        "precision": execution.precision_on(device),
        "seconds_earlier": states.earlier,
    }
