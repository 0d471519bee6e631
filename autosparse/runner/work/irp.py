"""Do an IRP run; each iteration is kept, so that an interrupted run goes on."""

import logging
from collections.abc import Collection
from typing import Any, cast

import pyarrow.parquet as pq

from autosparse.criteria import score
from autosparse.data.split import Dataset
from autosparse.errors import first_line
from autosparse.experiment.record import Json
from autosparse.experiment.resolved import differences, resolve, resolved_of
from autosparse.experiment.sources import code_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.files import atomic_folder
from autosparse.irp import Reached, rewind_prune, save_survival
from autosparse.models import build_model
from autosparse.runner.work.network_sketch import alike, sketch_of
from autosparse.runner.work.progress import ANYTHING, Progress
from autosparse.runner.work.samples import survival_sample
from autosparse.runner.work.train_cells import attempt
from autosparse.seeds import generator
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution
from autosparse.weights import left_out, prunable

logger = logging.getLogger(__name__)


def run_irp(
    task: IrpTask,
    store: Store,
    dataset: Dataset,
    device: str,
    progress: Progress,
    execution: Execution | None = None,
) -> Json:
    """Do iterative rewind pruning; write a survival dataset, and a sample of it for reports.

    Reports draw saliencies beside it. If one cannot be computed, a warning says so, and the sample lacks it.
    Each iteration is kept, so that an interrupted run goes on after its last iteration.
    """
    model = build_model(task.model, dataset.num_classes, dataset.input_shape, task.init_seed).to(device)
    states = store.states(task)
    origin = {"dataset_fingerprint": dataset.fingerprint, "initial_network": sketch_of(model)}
    origin |= {"kind": task.kind, "spec": task.spec, "resolved": resolve(task), "code": code_of(task)}
    before = _reached(states, origin, prunable(model))
    if before:
        progress({"share": before.iteration / task.iterations, "accuracy": before.accuracy[-1]})

    def keep(reached: Reached) -> None:
        states.save(reached.iteration, reached.survived, {"accuracy": reached.accuracy, **origin})

    survival = rewind_prune(
        model, dataset, criterion=task.criterion, iterations=task.iterations, final_density=task.final_density,
        schedule=task.schedule, recipe=task.recipe, seed=task.seed, score_examples=task.score_examples,
        gradient_mode=task.gradient_mode, execution=execution, resume=before, on_reached=keep,
        on_iteration=lambda i, masks, accuracy: progress({"share": i / task.iterations, "accuracy": accuracy}),
        **cast(dict[str, Any], task.options),
    )  # fmt: skip
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
        "precision": (execution or Execution()).precision_on(device),
    }


def _reached(states: Checkpoints, origin: Json, weights: Collection[str]) -> Reached | None:
    """The state that an earlier process reached; None if its data, initial network, values or code were different."""
    found = states.newest()
    if found is None:
        return None
    then = {"kind": origin["kind"], "spec": origin["spec"], "code": {}, **found.content}  # version 0.1.0 kept none
    same = (
        found.tensors.keys() == set(weights)
        and all(then.get(name) == origin[name] for name in ("dataset_fingerprint", "code"))
        and alike(then.get("initial_network", {}), origin["initial_network"])
        and not any(differences(resolved_of(then), origin["resolved"]))
    )
    return Reached(found.tensors, found.content["accuracy"]) if same else None
