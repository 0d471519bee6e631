"""Refine a scorer, and keep each generation. No Ray here."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from autosparse.autos import Scorer, fit_scorer
from autosparse.autos.diagnostics import densities_in_rounds, report_of
from autosparse.autos.rebuild import recipe_of
from autosparse.autos.refine import Generation, Refinement, refine, with_coefficients
from autosparse.criteria.features.find import find_feature
from autosparse.data.split import Dataset
from autosparse.experiment.resolved import differences, resolve
from autosparse.experiment.sources import code_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import ScorerTask
from autosparse.irp import Survival
from autosparse.models import build_model
from autosparse.storage.checkpoints import Checkpoint
from autosparse.training import Execution


def start_of(
    task: ScorerTask, scorer: Scorer, survivals: Sequence[Survival], datasets: Mapping[str, Dataset], device: str
) -> Scorer:
    """The scorer that a refinement starts from; if the task says so, fitted on some inputs, with 0 for the others."""
    assert task.fit.refine is not None
    names, whole = task.fit.refine.start, scorer.in_rounds
    assert whole is not None
    if not names:
        return scorer
    settings = {name: value for name, value in task.fit.arguments.items() if name not in ("inputs", "rounds", "steps")}
    trains = any("steps" in find_feature(name).needs for name in names)
    steps = whole.steps.count if trains else None
    part = fit_scorer(
        survivals, inputs=names, rounds=whole.rounds, steps=steps, **settings, device=device, datasets=datasets
    )
    found = dict(zip(part.inputs, part.network.state_dict()["coefficients"].tolist(), strict=True))
    return with_coefficients(scorer, np.array([found.get(name, 0.0) for name in scorer.inputs]))


def run_refinement(
    task: ScorerTask,
    scorer: Scorer,
    survival: Survival,
    store: Store,
    dataset: Dataset,
    device: str,
    progress: Callable[[dict[str, float]], None],
    execution: Execution | None,
    share: float,
    started: float,
) -> tuple[Scorer, float]:
    """The scorer, refined on networks of the kind that IRP pruned, and the seconds that earlier processes spent on it.

    The scorer's report says how the search went. It keeps the R^2 of the fit that it started from: coefficients that
    prune better need not predict the survival score better.

    :param started: when this process began with the task, by ``time.perf_counter``.
    """
    assert task.fit.refine is not None
    how = Refinement(**task.fit.refine.model_dump(exclude={"start"}))
    made, states = survival.provenance, store.states(task)
    origin = {
        "dataset_fingerprint": dataset.fingerprint,
        "resolved": resolve(task),
        "code": code_of(task),
        "built_on": store.built_on(task),
    }
    found = states.newest()
    if found is not None and not _same(found.content, origin):
        found = None
    done = _generations(found) if found is not None else []
    earlier = found.content.get("seconds", 0.0) if found is not None else 0.0

    def make(seed: int) -> nn.Module:
        return build_model(made["model"], dataset.num_classes, dataset.input_shape, seed).to(device)

    def keep(generation: Generation) -> None:
        done.append(generation)
        content = {"accuracy": [candidate.accuracy for candidate in done], "images": generation.images, **origin}
        content["seconds"] = earlier + time.perf_counter() - started
        values = {f"{candidate.number:06d}": candidate.values for candidate in done}
        states.save(generation.number, values, content)
        progress({"share": generation.number / how.generations, "accuracy": generation.accuracy})

    refined = refine(
        scorer, make, dataset, recipe_of(survival), how, made["score_examples"], task.fit.seed, execution, share,
        on_generation=keep, known=[candidate.values for candidate in done],
    )  # fmt: skip
    densities = densities_in_rounds(refined, survival, {dataset.name: dataset}, torch.device(device))
    search = {
        "validation_accuracy": [candidate.accuracy for candidate in done],
        "images": done[-1].images,
        "start": scorer.network.state_dict()["coefficients"].tolist(),
    }
    refined.report = report_of(scorer.report, densities, refined=search)
    return refined, earlier


def _same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether generations belong to this search: same data, values and code, and built on the same IRP run."""
    if any(before.get(name) != now[name] for name in ("dataset_fingerprint", "code", "built_on")):
        return False
    return not any(differences(before.get("resolved", {}), now["resolved"]))


def _generations(found: Checkpoint) -> list[Generation]:
    """The generations that are done, with what a search needs of them to go on."""
    values = [found.tensors[name] for name in sorted(found.tensors)]
    each = found.content["images"] // len(values)
    return [
        Generation(number, candidate, accuracy, each * number)
        for number, (candidate, accuracy) in enumerate(zip(values, found.content["accuracy"], strict=True), 1)
    ]
