"""Doing an IRP run or a scorer fit, in whatever process. No Ray here."""

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, cast

import pyarrow.parquet as pq
from torch import nn

from autosparse.autos import fit_scorer
from autosparse.autos.fit import Epoch
from autosparse.autos.regression import State
from autosparse.criteria import score
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.experiment.resolved import differences, resolve, resolved_of
from autosparse.experiment.sources import code_of
from autosparse.experiment.store import Record, Store
from autosparse.experiment.tasks import Cell, FitSpec, IrpTask, ScorerTask, Task
from autosparse.files import atomic_folder
from autosparse.irp import Reached, Survival, load_survival, rewind_prune, save_survival
from autosparse.models import build_model
from autosparse.runner.work.refinement import run_refinement, start_of
from autosparse.runner.work.samples import prediction_sample, states_sample, survival_sample
from autosparse.seeds import generator
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution
from autosparse.weights import left_out, prunable

ANYTHING = ("*",)
"""May be in a folder that is named by what it holds: it is ours."""

Progress = Callable[[dict[str, float]], None]
"""Called after each iteration or epoch with the ``share`` of them that is done, and the ``accuracy`` or ``loss``."""


def do(
    task: IrpTask | ScorerTask,
    store: Store,
    dataset: Dataset | None,
    device: str,
    progress: Progress,
    execution: Execution | None = None,
    share: float = 1.0,
) -> Record:
    """Do one task, write its files, and return the result that goes into its record."""
    started = time.perf_counter()
    if isinstance(task, IrpTask):
        assert dataset is not None
        result = run_irp(task, store, dataset, device, progress, execution)
    elif task.sweep:
        result = take_winner(task, store, dataset, device, progress)
    else:
        result = run_fit(
            task, survivals_of(task.irp, store), store, device, progress, dataset, execution=execution, share=share
        )
    return {**result, "seconds": time.perf_counter() - started, "device": device}


def run_irp(
    task: IrpTask,
    store: Store,
    dataset: Dataset,
    device: str,
    progress: Progress,
    execution: Execution | None = None,
) -> Record:
    """Iterative rewind pruning; leaves a survival dataset and a sample of it for reports.

    Each iteration is kept: a run that was broken off goes on after the last that was done.
    """
    model = build_model(task.model, dataset.num_classes, dataset.input_shape, task.init_seed).to(device)
    states = store.states(task)
    origin = {"dataset_fingerprint": dataset.fingerprint, "initial_network": _sketch(model)}
    origin |= {"kind": task.kind, "spec": task.spec, "resolved": resolve(task), "code": code_of(task)}
    before = _reached(states, origin, prunable(model))
    if before:
        progress({"share": before.iteration / task.iterations, "accuracy": before.accuracy[-1]})

    def keep(reached: Reached) -> None:
        states.save(reached.iteration, reached.survived, {"accuracy": reached.accuracy, **origin})

    survival = rewind_prune(
        model,
        dataset,
        criterion=task.criterion,
        iterations=task.iterations,
        final_density=task.final_density,
        schedule=task.schedule,
        recipe=task.recipe,
        seed=task.seed,
        score_examples=task.score_examples,
        gradient_mode=task.gradient_mode,
        on_iteration=lambda i, masks, accuracy: progress({"share": i / task.iterations, "accuracy": accuracy}),
        on_reached=keep,
        resume=before,
        execution=execution,
        **cast(dict[str, Any], task.options),
    )
    survival.provenance["model"] = task.model
    batches = list(dataset.scoring_batches(generator(task.seed, "score", 0), limit=task.score_examples))
    saliency = {name: score(model, name, batches) for name in ("snip", "grasp")}
    folder = store.files_path("irp", task.id)
    with atomic_folder(folder, ours=ANYTHING) as temporary:
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


def _reached(states: Checkpoints, origin: Record, weights: Collection[str]) -> Reached | None:
    """Where an earlier process had come to: same data, initial network and weights, by the same values and code."""
    found = states.newest()
    if found is None or found.tensors.keys() != set(weights):
        return None
    if found.content.get("dataset_fingerprint") != origin["dataset_fingerprint"]:
        return None
    if not _alike(found.content.get("initial_network", {}), origin["initial_network"]):
        return None
    then = {"kind": origin["kind"], "spec": origin["spec"], **found.content}  # version 0.1.0 kept neither
    if any(differences(resolved_of(then), origin["resolved"])) or found.content.get("code", {}) != origin["code"]:
        return None
    return Reached(found.tensors, found.content["accuracy"])


def _sketch(model: nn.Module) -> dict[str, list[float]]:
    """Shape, sum and norm of every parameter: its name does not say how the user's own network begins.

    No checksum: nodes with other processors draw values that differ in their last bits.
    """
    values = {name: value.detach().cpu().double() for name, value in model.named_parameters()}
    return {name: [*value.shape, float(value.sum()), float(value.norm())] for name, value in values.items()}


def _alike(some: dict[str, list[float]], other: dict[str, list[float]]) -> bool:
    """Whether two sketches are of one network, but for rounding."""
    if some.keys() != other.keys():
        return False
    for name in some:
        (*shape, total, norm), (*other_shape, other_total, other_norm) = some[name], other[name]
        if shape != other_shape or max(abs(total - other_total), abs(norm - other_norm)) > 1e-5 * norm:
            return False
    return True


def inputs_whole(task: Task, store: Store) -> bool:
    """Whether what ``task`` builds on can be read and is whole; what is not is made again by the next run."""
    try:
        for kind, own in _built_on(task, store):
            store.record_of(kind, own)
    except AutosparseError:
        return False
    return True


def _built_on(task: Task, store: Store) -> Iterator[tuple[str, str]]:
    if isinstance(task, ScorerTask):  # the winner of a sweep may have to be fitted again, on what the sweep has
        irp = store.record_of("sweep", task.sweep)["spec"]["irp"] if task.sweep else task.irp
        yield from (("irp", own) for own in irp)
    if isinstance(task, Cell):
        if task.scorer:
            yield "scorer", task.scorer
        if task.trunk:
            yield "irp", task.trunk.id


def survivals_of(irp: Sequence[str], store: Store) -> list[Survival]:
    """The survival datasets of IRP runs."""
    return [load_survival(store.fetched("irp", own) / "survival") for own in irp]


def run_fit(
    task: ScorerTask,
    survivals: list[Survival],
    store: Store,
    device: str,
    progress: Progress,
    dataset: Dataset | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: State | None = None,
    execution: Execution | None = None,
    share: float = 1.0,
) -> Record:
    """Fit a scorer, and refine it if the task says so; leaves its folder, with a sample of its predictions for reports.

    Each generation of a refinement is kept: one that was broken off goes on after the last that was done.

    :param dataset: of the IRP runs, for a scorer that prunes in rounds.
    :param on_epoch, resume: see :func:`autosparse.autos.fit_scorer`.
    :param share: of the device that this process is to use.
    """

    def told(epoch: Epoch) -> None:
        if on_epoch:
            on_epoch(epoch)
        progress({"share": epoch.number / task.fit.epochs, "loss": epoch.loss})

    datasets = {dataset.name: dataset} if dataset else {}
    scorer = fit_scorer(
        survivals,
        **task.fit.arguments,
        device=device,
        on_epoch=told,
        resume=resume,
        datasets=datasets,
        execution=execution,
    )
    if task.fit.refine is not None:
        assert dataset is not None
        scorer = start_of(task, scorer, survivals, datasets, device)
        scorer = run_refinement(task, scorer, survivals[0], store, dataset, device, progress, execution, share)
    with atomic_folder(store.files_path("scorer", task.id), ours=ANYTHING) as temporary:
        scorer.save(temporary / "scorer")
        if scorer.in_rounds is None:
            sample = prediction_sample(scorer, survivals[0], task.fit.seed, device)
        else:
            sample = states_sample(scorer, survivals[0], datasets, device)
        pq.write_table(sample, temporary / "sample.parquet")
    seen = [scorer.report[name]["images"] for name in ("dagger", "refined") if name in scorer.report]
    images = {"images": sum(seen)} if seen else {}
    data = {"dataset_fingerprint": dataset.fingerprint} if dataset and task.fit.in_rounds else {}
    return {"report": scorer.report, "rows": scorer.provenance["rows"], **images, **data}


def take_winner(task: ScorerTask, store: Store, dataset: Dataset | None, device: str, progress: Progress) -> Record:
    """Make the scorer that won a sweep the scorer of ``task``; one that has been damaged since is fitted again."""
    assert task.sweep
    sweep = store.record_of("sweep", task.sweep)
    best = sweep["result"]["best"]
    try:
        winner = store.record_of("scorer", best["id"])
    except CorruptFile:
        fit = FitSpec.model_validate(best["fit"], strict=False)
        again = ScorerTask.on(tuple(sweep["spec"]["irp"]), fit, task.dataset)
        store.finish(again, do(again, store, dataset, device, progress), sweep["environment"])
        winner = store.record_of("scorer", best["id"])
    with atomic_folder(store.files_path("scorer", task.id), ours=ANYTHING) as temporary:
        shutil.copytree(store.fetched("scorer", best["id"]), temporary, dirs_exist_ok=True)
    return {**winner["result"], "winner": best}
